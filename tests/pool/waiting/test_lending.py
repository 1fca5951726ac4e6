"""A job may lend its worker while it waits, and gets the same one back."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints

from tests.actors import Doors, nap, state_of, works
from tests.lenders import lends, lends_and_works
from tests.openers import OpenPool, both
from trio_pool import (
    CircuitBreaker,
    Hedge,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    RateLimit,
    Resource,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Callable


# What it is for


@both
async def test_others_run_on_the_worker_while_it_is_lent(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        lender = await pool.submit(lends, 5)
        assert await pool.run(nap, 2) == 2
        assert await lender.wait() == 5


async def test_a_job_can_wait_for_its_child_on_the_only_worker(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with current_job().lend():
            return await pool.run(nap, 2)

    async with open_pool(1) as pool:
        assert await pool.run(parent) == 2


@pytest.mark.parametrize("workers", [1, 2, 5])
async def test_a_recursion_comes_to_its_end_on_any_number_of_workers(autojump_clock: MockClock, workers: int) -> None:
    async def fibonacci(n: int) -> int:
        if n < 2:
            return n
        one = await pool.submit(fibonacci, n - 1)
        other = await pool.submit(fibonacci, n - 2)
        async with current_job().lend():
            return await one.wait() + await other.wait()

    async with open_pool(workers) as pool:
        assert await pool.run(fibonacci, 9) == 34


async def test_a_deep_recursion_comes_to_its_end_on_one_worker(autojump_clock: MockClock) -> None:
    async def count(n: int) -> int:
        if not n:
            return 0
        async with current_job().lend():
            below = await pool.run(count, n - 1)
        return below + 1

    async with open_pool(1) as pool:
        assert await pool.run(count, 200) == 200


async def test_a_job_may_lend_its_worker_again_and_again(autojump_clock: MockClock) -> None:
    async def parent() -> list[float]:
        found: list[float] = []
        for _ in range(3):
            async with current_job().lend():
                found.append(await pool.run(nap, 1))
        return found

    async with open_pool(1) as pool:
        assert await pool.run(parent) == [1, 2, 3]


async def test_jobs_after_the_lender_get_the_worker_as_ever(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(lends, 1)
        child = await pool.submit(nap, 3)
        after = await pool.submit(nap, 1)
        assert (await child.wait(), await after.wait()) == (3, 4)


async def test_the_worker_is_lent_to_jobs_with_a_resource_that_stays_open(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan) as pool:
        lender = await pool.submit(lends, 5)
        assert await pool.run(works) == "done"
        await lender.wait()
        assert (doors.entered, doors.left) == (["a"], [])


# Getting it back


async def test_a_job_gets_its_worker_back_after_at_most_the_attempt_that_is_on_it(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        for _ in range(4):
            await pool.submit(nap, 3, priority=-1)
        assert await lender.wait() == 6


async def test_a_job_gets_an_idle_worker_back_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        assert await pool.run(lends, 5) == 5


async def test_a_job_gets_the_same_worker_back_though_another_is_free(autojump_clock: MockClock) -> None:
    async def lends_long() -> tuple[Worker | None, Worker | None, float]:
        before = current_job().worker
        async with current_job().lend():
            await trio.sleep(1)
        return before, current_job().worker, trio.current_time()

    async with open_pool(2) as pool:
        first, second = pool.workers
        lender = await pool.submit(lends_long, worker=first)
        await pool.submit(nap, 4, worker=first)
        assert await lender.wait() == (first, first, 4)
        assert second.statistics().attempts == 0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((3, 2, 1), [3, 2, 1]), ((1, 2, 3), [1, 2, 3]), ((2, 3, 1), [2, 3, 1]), ((1, 3, 2), [1, 3, 2])],
)
async def test_several_jobs_may_lend_one_worker_and_come_back_in_any_order(
    autojump_clock: MockClock, seconds: tuple[int, ...], expected: list[int]
) -> None:
    async with open_pool(1) as pool:
        jobs = [await pool.submit(lends, after) for after in seconds]
        assert [await job.wait() for job in jobs] == expected


async def test_of_several_lenders_the_first_to_ask_is_the_first_to_get_it(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        one, two, three = [await pool.submit(lends_and_works, lent, 10) for lent in (3, 2, 1)]
        await pool.submit(nap, 5)
        await pool.submit(nap, 5)
        assert [await job.wait() for job in (three, two, one)] == [5, 15, 25]


async def test_those_who_come_back_can_be_cancelled_while_others_have_come_and_gone(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(lends, 30)
        second = await pool.submit(lends_and_works, 1, 2)
        third = await pool.submit(lends_and_works, 2, 50)
        await trio.sleep(10)
        assert state_of(second) is JobState.SUCCEEDED
        assert pool.workers[0].job is third
        third.cancel()
        with pytest.raises(JobCancelledError):
            await third.wait()
        assert trio.current_time() == 10


async def test_what_stood_in_last_does_not_disturb_who_has_come_back(autojump_clock: MockClock) -> None:
    # All three on one worker: the first is over, the second ends while the third wants it back.
    async with open_pool(1) as pool:
        first = await pool.submit(lends, 1)
        second = await pool.submit(lends_and_works, 2, 3)
        third = await pool.submit(lends_and_works, 3, 50)
        await trio.sleep(0.5)
        await first.wait()
        await trio.sleep(9)
        assert (await second.wait(), pool.workers[0].job) == (2, third)
        third.cancel()
        with pytest.raises(JobCancelledError):
            await third.wait()
        assert trio.current_time() == 10
        assert await pool.run(nap, 1) == 11


async def test_one_that_has_come_back_after_others_may_lend_the_worker_again(autojump_clock: MockClock) -> None:
    async def lends_twice() -> float:
        await lends(2)
        await lends(3)
        return trio.current_time()

    async with open_pool(1) as pool:
        first, second = await pool.submit(lends, 1), await pool.submit(lends_twice)
        await trio.sleep(3)
        assert await pool.run(nap, 1) == 4
        assert (await first.wait(), await second.wait()) == (1, 5)


async def test_the_queue_goes_on_after_one_that_has_come_back_after_others(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(lends, 1)
        await pool.submit(lends_and_works, 2, 3)
        await trio.sleep(3)
        jobs = [await pool.submit(nap, 1) for _ in range(2)]
        assert [await job.wait() for job in jobs] == [6, 7]


def rests(worker: Worker) -> None:
    worker.rest(100)


@pytest.mark.parametrize("hold", [Worker.pause, rests])
async def test_a_paused_or_resting_worker_is_given_back_at_once(
    autojump_clock: MockClock, hold: Callable[[Worker], None]
) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        await trio.sleep(1)
        hold(pool.workers[0])
        waiting = await pool.submit(nap, 1)
        assert await lender.wait() == 5
        assert state_of(waiting) is JobState.QUEUED
        waiting.cancel()


async def test_a_quarantined_worker_is_given_back_at_once(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        raise ValueError

    options: Any = {"breaker": CircuitBreaker(1, reset_after=100), "retry": RetryPolicy.never()}
    async with open_pool(1, **options, on_dead="keep") as pool:
        lender = await pool.submit(lends, 5)
        failing = await pool.submit(fails)
        await trio.sleep(1)
        assert state_of(pool.workers[0]) is WorkerState.QUARANTINED
        assert await lender.wait() == 5
        assert failing.state is JobState.DEAD


async def test_a_rate_limit_does_not_keep_a_job_from_its_worker(autojump_clock: MockClock) -> None:
    async with open_pool([Resource(None, rate_limit=RateLimit(1, per=10))]) as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(nap, 1)
        assert (await lender.wait(), await other.wait()) == (5, 11)


# What the block gives


async def test_the_body_raises_what_it_raises(autojump_clock: MockClock) -> None:
    async def parent() -> bool:
        with pytest.raises(OSError, match="mine"):
            async with current_job().lend():
                raise OSError("mine")
        worker = current_job().worker
        return worker is not None and worker.job is current_job()

    async with open_pool(1) as pool:
        assert await pool.run(parent)


async def test_a_body_that_raises_waits_for_the_worker_all_the_same(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with current_job().lend():
            await trio.sleep(1)
            raise OSError("mine")

    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(parent)
        await pool.submit(nap, 3)
        with pytest.raises(JobFailedError, match="mine"):
            await lender.wait()
        assert trio.current_time() == 3


async def test_entering_and_leaving_the_block_are_checkpoints(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with AsyncExitStack() as stack:
            with assert_checkpoints():
                await stack.enter_async_context(current_job().lend())
            with assert_checkpoints():
                await stack.aclose()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_block_that_is_cancelled_on_entering_lends_nothing(autojump_clock: MockClock) -> None:
    async def parent() -> bool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with current_job().lend():
                pass
        worker = current_job().worker
        return scope.cancelled_caught and worker is not None and worker.job is current_job()

    async with open_pool(1) as pool:
        assert await pool.run(parent)


async def test_a_function_that_ends_without_leaving_its_block_gets_its_worker_back_first(
    autojump_clock: MockClock,
) -> None:
    async def forgets(seconds: float) -> str:
        await current_job().lend().__aenter__()
        await trio.sleep(seconds)
        return "done"

    async with open_pool(1) as pool:
        lender = await pool.submit(forgets, 1)
        await pool.submit(nap, 3)
        assert await lender.wait() == "done"
        assert trio.current_time() == 3
        assert await pool.run(nap, 1) == 4


async def test_a_function_that_fails_without_leaving_its_block_gets_its_worker_back_first(
    autojump_clock: MockClock,
) -> None:
    async def forgets() -> None:
        await current_job().lend().__aenter__()
        await trio.sleep_forever()

    async with open_pool(1) as pool:
        lender = await pool.submit(forgets)
        await pool.submit(nap, 3)
        await trio.sleep(1)
        lender.cancel()
        with pytest.raises(JobCancelledError):
            await lender.wait()
        assert trio.current_time() == 3


# What is an error


async def test_to_lend_twice_is_an_error(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with current_job().lend():
            with pytest.raises(RuntimeError, match="has lent worker-1 already"):
                current_job().lend()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_block_can_be_entered_only_once(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        lending = current_job().lend()
        async with lending:
            pass
        with pytest.raises(RuntimeError, match="only once"):
            async with lending:
                pass

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_of_two_blocks_made_beforehand_only_one_can_be_entered(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        one, other = current_job().lend(), current_job().lend()
        async with one:
            with pytest.raises(RuntimeError, match="already"):
                await other.__aenter__()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_job_that_has_ended_has_nothing_to_lend() -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(nap, 0)
        await job.wait()
        with pytest.raises(RuntimeError, match="a job that has ended has no worker to lend"):
            job.lend()


async def test_only_the_job_itself_can_lend_its_worker(autojump_clock: MockClock) -> None:
    async def other(job: Job[Any]) -> None:
        with pytest.raises(RuntimeError, match="inside the job's function"):
            job.lend()

    async with open_pool(2) as pool:
        job = await pool.submit(nap, 1)
        with pytest.raises(RuntimeError, match="inside the job's function"):
            job.lend()
        await pool.run(other, job)


async def test_a_job_with_a_hedge_can_not_lend_its_worker(autojump_clock: MockClock) -> None:
    async def hedged() -> None:
        with pytest.raises(RuntimeError, match="a job with a hedge can't lend its worker"):
            current_job().lend()

    async with open_pool(1) as pool:
        await pool.run(hedged, hedge=Hedge(after=10))
