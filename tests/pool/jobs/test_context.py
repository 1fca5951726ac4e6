"""4.8: the context in which a job's function runs, and what is no such function."""

from __future__ import annotations

import gc
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast
from weakref import ReferenceType, ref

import pytest
import trio

from tests.actors import sleeps, works
from tests.platforms import frees_at_once
from trio_pool import DeadReason, Job, JobFailedError, JobState, Pool, RetryPolicy, current_job, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

request_id: ContextVar[str] = ContextVar("request_id", default="none")

PROMPT = RetryPolicy.immediate(max_attempts=3)


async def reads(resource: object) -> str:
    """Returns the context variable."""
    await trio.lowlevel.checkpoint()
    return request_id.get()


# Context variables.


async def test_a_function_sees_the_variables_of_whoever_submitted_it(autojump_clock: MockClock) -> None:
    request_id.set("at the opening")
    async with open_pool(["a"]) as pool:
        request_id.set("at submit")
        job = await pool.submit(reads)
        request_id.set("afterwards")
        assert await job.wait() == "at submit"


async def test_each_submitter_has_variables_of_its_own(autojump_clock: MockClock) -> None:
    results: dict[str, str] = {}

    async def submits(pool: Pool[str], name: str) -> None:
        request_id.set(name)
        results[name] = await pool.run(reads)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        for name in ("x", "y", "z"):
            nursery.start_soon(submits, pool, name)
    assert results == {"x": "x", "y": "y", "z": "z"}


async def test_the_variables_are_those_of_the_call_of_submit_not_of_its_admission(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 1.0)
        results: list[str] = []

        async def submits() -> None:
            request_id.set("of the submitter")
            job = await pool.submit(reads)
            results.append(await job.wait())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submits)
    assert results == ["of the submitter"]


async def test_each_attempt_has_a_fresh_copy(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def writes_and_fails(resource: str) -> None:
        seen.append(request_id.get())
        request_id.set("written by an attempt")
        raise ValueError

    request_id.set("at submit")
    async with open_pool(["a"], retry=PROMPT, on_dead="keep") as pool:
        await pool.submit(writes_and_fails)
    assert seen == ["at submit"] * 3


async def test_what_a_function_sets_is_seen_by_nobody_else(autojump_clock: MockClock) -> None:
    async def writes(resource: str) -> None:
        request_id.set("written by a job")
        await trio.lowlevel.checkpoint()
        assert request_id.get() == "written by a job"

    request_id.set("mine")
    async with open_pool(["a"]) as pool:
        await pool.run(writes)
        assert request_id.get() == "mine"
        assert await pool.run(reads) == "mine"


async def test_what_a_function_sets_lasts_over_its_checkpoints(autojump_clock: MockClock) -> None:
    async def writes_and_reads(resource: str) -> list[str]:
        found: list[str] = []
        for number in range(3):
            request_id.set(f"step {number}")
            await trio.sleep(1)
            found.append(request_id.get())
        return found

    async with open_pool(["a", "b"]) as pool:
        jobs = [await pool.submit(writes_and_reads) for _ in range(2)]
        for job in jobs:
            assert await job.wait() == ["step 0", "step 1", "step 2"]


async def test_a_function_reads_its_variables_while_it_is_cancelled_too(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def cleans_up(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            seen.append(request_id.get())

    async with open_pool(["a"]) as pool:
        request_id.set("of the job")
        job = await pool.submit(cleans_up)
        request_id.set("afterwards")
        await trio.sleep(1)
        job.cancel()
    assert seen == ["of the job"]


async def test_child_tasks_and_threads_inherit_the_variables(autojump_clock: MockClock) -> None:
    async def has_helpers(resource: str) -> list[str]:
        found: list[str] = []

        async def helper() -> None:
            found.append(request_id.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
        found.append(await trio.to_thread.run_sync(request_id.get))
        return found

    async with open_pool(["a"]) as pool:
        request_id.set("of the job")
        assert await pool.run(has_helpers) == ["of the job", "of the job"]


async def test_a_lifespan_runs_in_the_context_of_the_opener(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def looks(name: str) -> AsyncGenerator[str]:
        seen.append(request_id.get())
        yield name
        seen.append(request_id.get())

    request_id.set("of the opener")
    async with open_pool(["a"], lifespan=looks) as pool:
        request_id.set("of the body")
        await pool.run(works)
    assert seen == ["of the opener", "of the opener"]


async def test_a_requeued_job_sees_the_variables_of_who_requeued_it(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def notes_and_fails(resource: str) -> None:
        seen.append(request_id.get())
        raise ValueError

    async with open_pool(["a"], on_dead="keep") as pool:
        request_id.set("at first")
        job = await pool.submit(notes_and_fails)
        await pool.join()
        request_id.set("at last")
        pool.dead.requeue(job)
    assert seen == ["at first", "at last"]


# current_job()


async def test_a_function_can_ask_which_job_it_is(autojump_clock: MockClock) -> None:
    async def asks(resource: str) -> Job[Any]:
        await trio.lowlevel.checkpoint()
        return current_job()

    async with open_pool(["a"]) as pool:
        jobs = [await pool.submit(asks) for _ in range(2)]
        for job in jobs:
            assert await job.wait() is job


async def test_child_tasks_and_threads_can_ask_it_too(autojump_clock: MockClock) -> None:
    async def has_helpers(resource: str) -> list[int]:
        found: list[int] = []

        async def helper() -> None:
            found.append(current_job().id)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)
        found.append((await trio.to_thread.run_sync(current_job)).id)
        return found

    async with open_pool(["a"]) as pool:
        job = await pool.submit(has_helpers)
        assert await job.wait() == [job.id, job.id]


async def test_a_job_submitted_by_a_job_is_another(autojump_clock: MockClock) -> None:
    async def asks(resource: str) -> int:
        return current_job().id

    async def has_a_child(resource: str, pool: Pool[str]) -> tuple[int, int, int]:
        before = current_job().id
        child = await pool.run(asks)
        return before, child, current_job().id

    async with open_pool(["a", "b"]) as pool:
        before, child, after = await pool.run(has_a_child, pool)
    assert before == after != child


async def test_a_lifespan_is_no_part_of_a_job(autojump_clock: MockClock) -> None:
    seen: list[bool] = []

    @asynccontextmanager
    async def looks(name: str) -> AsyncGenerator[str]:
        with pytest.raises(RuntimeError):
            current_job()
        seen.append(True)
        yield name

    async with open_pool(["a"], lifespan=looks) as pool:

        async def adds(resource: str) -> None:
            await pool.add("b")

        await pool.run(adds)
    assert seen == [True, True]


# What is no async function.


async def expect_refusal(pool: Pool[str], fn: object, *args: object) -> str:
    """Run something that is no async function; returns what was said about it."""
    job = await pool.submit(cast("Any", fn), *args)
    with pytest.raises(JobFailedError) as caught:
        await job.wait()
    assert job.state is JobState.DEAD
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert job.attempt_count == 1
    assert isinstance(caught.value.__cause__, TypeError)
    return str(caught.value.__cause__)


async def test_a_call_with_the_wrong_arguments_is_told_so_by_name(autojump_clock: MockClock) -> None:
    async def takes_one_more(resource: str, item: int) -> None: ...

    async with open_pool(["a"], retry=PROMPT) as pool:
        message = await expect_refusal(pool, takes_one_more, 1, 2)
    assert "takes_one_more" in message


async def test_a_plain_function_that_raises_is_an_ordinary_failure(autojump_clock: MockClock) -> None:
    def raises(resource: str) -> Any:
        raise ValueError

    async with open_pool(["a"], retry=PROMPT, on_dead="keep") as pool:
        job = await pool.submit(raises)
    assert job.attempt_count == 3


async def test_a_plain_function_that_returns_a_coroutine_will_do(autojump_clock: MockClock) -> None:
    def makes_one(resource: str) -> Any:
        return works(resource)

    async with open_pool(["a"]) as pool:
        assert await pool.run(makes_one) == "done"


async def test_an_object_with_an_async_call_will_do(autojump_clock: MockClock) -> None:
    class Fetcher:
        async def __call__(self, resource: str, item: int) -> str:
            return f"{resource}{item}"

    async with open_pool(["a"]) as pool:
        assert await pool.run(Fetcher(), 1) == "a1"


async def test_a_worker_goes_on_after_what_was_no_async_function(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await expect_refusal(pool, len)
        assert await pool.run(works) == "done"


@frees_at_once
async def test_a_failed_attempt_keeps_nothing_alive_that_its_function_has_put_into_its_context() -> None:
    class Thing:
        pass

    variable: ContextVar[Thing | None] = ContextVar("variable", default=None)
    things: list[ReferenceType[Thing]] = []

    async def fail() -> None:
        thing = Thing()
        things.append(ref(thing))
        variable.set(thing)
        await trio.lowlevel.checkpoint()
        raise ValueError

    async with open_pool(1) as pool:
        job = await pool.submit(fail)
        await pool.join()
        gc.collect()
        assert [thing() for thing in things] == [None]
        assert isinstance(job.attempts[-1].error, ValueError)
        pool.dead.pop_all()
