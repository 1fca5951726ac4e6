"""A function that turns out not to be async, or to take other arguments."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import pytest
import trio

from tests.pool.jobs.kept_deaths import whoami
from trio_pool import DeadReason, Job, JobFailedError, JobState, RetryAfter, RetryPolicy, open_pool


def not_async(*args: Any) -> str:
    return "a value"


async def generator(*args: Any) -> AsyncGenerator[int]:
    yield 1


async def needs_two(resource: str, first: int, second: int) -> int:
    return first + second


async def check_dead_of_its_call(fn: Any, *words: str) -> None:
    async with open_pool(["a"], retry=RetryPolicy.immediate(), on_dead="keep") as pool:
        job: Job[Any] = await pool.submit(fn)
        await pool.join()
        assert await pool.run(whoami) == "a"  # the worker goes on
    assert (job.state, job.dead_reason) == (JobState.DEAD, DeadReason.NOT_RETRYABLE)
    assert job.attempt_count == 1
    with pytest.raises(JobFailedError) as caught:
        job.result()
    cause = caught.value.__cause__
    assert isinstance(cause, TypeError)
    assert [word for word in words if word not in str(cause)] == []


async def test_a_function_that_is_not_async_is_told_so_by_name() -> None:
    await check_dead_of_its_call(not_async, "not_async is not an async function", "'a value'")


async def test_a_partial_of_a_function_that_is_not_async_is_told_so_by_its_name() -> None:
    await check_dead_of_its_call(partial(not_async, 1), "not_async is not an async function")


async def test_a_class_that_is_no_function_is_told_so_by_name() -> None:
    class Fetcher:
        def __init__(self, resource: str) -> None:
            self.resource = resource

    await check_dead_of_its_call(Fetcher, "Fetcher is not an async function")


async def test_an_async_generator_function_is_told_so_by_name() -> None:
    await check_dead_of_its_call(generator, "generator is an async generator function", "must not yield")


async def test_a_function_of_other_arguments_is_told_so_by_name() -> None:
    await check_dead_of_its_call(needs_two, "needs_two", "like this, with the resource before", "missing 2 required")


async def test_a_function_that_wants_a_resource_is_told_that_slots_have_none() -> None:
    async def fetch(client: str, url: str) -> None:
        await trio.lowlevel.checkpoint()

    fn: Any = fetch
    async with open_pool(1, on_dead="keep") as pool:
        with pytest.raises(JobFailedError, match=r"fetch can't be called like this, with no resource before .* 'url'"):
            await pool.run(fn, "/one")


async def test_a_type_error_in_the_function_itself_is_an_ordinary_failure() -> None:
    calls: list[int] = []

    async def work(resource: str) -> None:
        calls.append(1)
        raise TypeError("of its own")

    async with open_pool(["a"], retry=RetryPolicy.immediate(max_attempts=3), on_dead="keep") as pool:
        job = await pool.submit(work)
    assert len(calls) == 3
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_on_failure_is_not_asked_about_a_function_that_is_not_async() -> None:
    asked: list[Exception] = []

    def ask(job: Job[Any], error: Exception) -> RetryAfter:
        asked.append(error)
        return RetryAfter(0)

    wrong: Any = not_async
    async with open_pool(["a"], on_failure=ask, retry=RetryPolicy.immediate(), on_dead="keep") as pool:
        job: Job[Any] = await pool.submit(wrong)
    assert asked == []
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
