"""An attempt: what is called, what is awaited, and in which cancel scope."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pool import DeadReason, JobState, RetryPolicy, open_pool
from trio_pool._driver import KEPT_FRAMES


class Foreign:
    """Awaits like a part of some other event loop: Trio doesn't know what it yields."""

    def __await__(self) -> Generator[object, None, None]:
        yield "for another event loop"


async def await_foreign() -> None:
    await Foreign()


async def test_what_trio_throws_in_reaches_the_function(autojump_clock: MockClock) -> None:
    async with open_pool(1, on_dead="keep") as pool:
        job = await pool.submit(await_foreign)
    assert isinstance(job.attempts[0].error, TypeError)
    assert "for another event loop" in str(job.attempts[0].error)


async def test_a_type_error_out_of_a_plain_function_is_an_ordinary_failure(autojump_clock: MockClock) -> None:
    calls = 0

    def prepare() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise TypeError("not yet")
        return trio.lowlevel.checkpoint()  # noqa: ASYNC105, the pool awaits it

    async with open_pool(1, retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(prepare)
    assert (job.state, job.attempt_count) == (JobState.SUCCEEDED, 2)


async def test_the_traceback_of_an_error_raised_again_and_again_stays_bounded(autojump_clock: MockClock) -> None:
    kept = ValueError("the same each time")

    async def fail() -> None:
        raise kept

    attempts = KEPT_FRAMES + 10
    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=attempts), on_dead="keep") as pool:
        job = await pool.submit(fail)
    frames, traceback = 0, kept.__traceback__
    while traceback is not None:
        frames, traceback = frames + 1, traceback.tb_next
    assert job.attempt_count == attempts
    assert frames <= KEPT_FRAMES + 1


async def test_a_deadline_that_passes_while_the_worker_is_idle_harms_no_later_job(autojump_clock: MockClock) -> None:
    async with open_pool(1, attempt_timeout=1) as pool:
        await pool.run(trio.sleep, 0.5)
        await trio.sleep(5)
        job = await pool.submit(trio.sleep, 0.5)
    assert (job.state, job.attempt_count) == (JobState.SUCCEEDED, 1)


async def test_nor_does_one_that_passes_between_handing_over_the_job_and_starting_it(mock_clock: MockClock) -> None:
    async def add(number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number + 1

    async with open_pool(1, attempt_timeout=1) as pool:
        await pool.run(add, 1)
        mock_clock.jump(0.75)
        await wait_all_tasks_blocked()
        job = pool.submit_nowait(add, 2)
        mock_clock.jump(0.5)  # past the first deadline, but not the second
        assert await job.wait() == 3
    assert job.attempt_count == 1


async def test_an_evicted_attempt_that_outlasts_the_total_timeout_is_not_queued_again(
    autojump_clock: MockClock,
) -> None:
    async def cling(_: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        await trio.sleep_forever()

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        job = await pool.submit(cling, total_timeout=5)
        await wait_all_tasks_blocked()
        assert job.worker is not None
        await job.worker.remove(cancel=True)
        assert (job.state, job.dead_reason) == (JobState.DEAD, DeadReason.TIMED_OUT)
        assert job.attempt_count == 0


async def test_what_is_no_exception_raised_by_on_failure_ends_the_pool_and_cancels_the_job(
    autojump_clock: MockClock,
) -> None:
    async def fail() -> None:
        raise ValueError

    def interrupt(*_: object) -> None:
        raise SystemExit(3)

    job = None
    with pytest.RaisesGroup(SystemExit):
        async with open_pool(1, on_failure=interrupt) as pool:
            job = await pool.submit(fail)
            await trio.sleep_forever()
    assert job is not None
    assert job.state is JobState.CANCELLED


async def test_a_worker_removed_while_it_starts_is_told_to_whoever_adds_it(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def slow(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(5)
        yield resource

    async with open_pool([], lifespan=slow) as pool, trio.open_nursery() as nursery:

        async def add() -> None:
            with pytest.raises(RuntimeError, match="removed before it had started"):
                await pool.add("a")

        nursery.start_soon(add)
        await wait_all_tasks_blocked()
        (worker,) = pool.workers
        await worker.remove()
        assert pool.workers == ()
