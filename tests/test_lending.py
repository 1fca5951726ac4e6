"""A job may lend its worker while it waits, and gets the same one back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from tests.actors import Doors, Mint, of_any_arguments, sleeps_forever, state_of, works
from tests.openers import OpenPool, both
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Elastic,
    Hedge,
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    Pool,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky


@of_any_arguments
async def nap(*args: Any) -> float:
    """The last argument is the job's own; a resource may come before it."""
    await trio.sleep(args[-1])
    return trio.current_time()


@of_any_arguments
async def lends(*args: Any) -> float:
    """Lends its worker for so many seconds; returns when it had it back."""
    async with current_job().lend():
        await trio.sleep(args[-1])
    return trio.current_time()


async def lends_and_works(lent: float, working: float) -> float:
    """Lends its worker, and works for a while when it has it back; returns when that was."""
    async with current_job().lend():
        await trio.sleep(lent)
    back = trio.current_time()
    await trio.sleep(working)
    return back


@of_any_arguments
async def lends_forever(*_: object) -> None:
    """Lends its worker until it is cancelled."""
    async with current_job().lend():
        await trio.sleep_forever()


@of_any_arguments
async def breaks(*_: object) -> None:
    """Finds its resource broken."""
    raise ResourceBroken("no use")


def cause_of(job: Job[Any]) -> BaseException | None:
    """What a dead job died of."""
    with pytest.raises(JobFailedError) as caught:
        job.result()
    return caught.value.__cause__


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


async def test_the_queue_goes_on_where_the_resource_breaks_before_its_next_job_has_begun(
    autojump_clock: MockClock,
) -> None:
    # What ends is another's task than the one that would begin the next.
    fragile = Fragile()

    async def breaks_it(_: object) -> None:
        async with current_job().lend():
            await trio.sleep(2)
        with trio.CancelScope(shield=True):
            fragile.breaking.set()
            await trio.sleep(1)

    async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never()) as pool:
        await pool.submit(lends, 1)
        await pool.submit(breaks_it)
        await trio.sleep(1.5)
        blocker = await pool.submit(nap, 2)
        waiting = await pool.submit(works)
        assert await waiting.wait() == "done"
        assert blocker.state is JobState.SUCCEEDED
        assert fragile.entered == 2


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


# Cancelling and timeouts


@pytest.mark.parametrize("when", [1, 6])
async def test_a_lender_that_is_cancelled_waits_to_get_its_worker_back(autojump_clock: MockClock, when: float) -> None:
    # At 1 it is in its block, at 6 it waits to get the worker back already.
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        await pool.submit(nap, 10)
        await trio.sleep(when)
        lender.cancel()
        with pytest.raises(JobCancelledError):
            await lender.wait()
        assert trio.current_time() == 10


@pytest.mark.parametrize("limit", ["attempt_timeout", "total_timeout"])
@pytest.mark.parametrize("when", [1, 6])
async def test_timeouts_go_on_while_the_worker_is_lent(autojump_clock: MockClock, when: float, limit: str) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        options: Any = {limit: when}
        lender = await pool.submit(lends, 5, **options)
        await pool.submit(nap, 10)
        with pytest.raises(JobFailedError, match="took longer than"):
            await lender.wait()
        assert trio.current_time() == 10


async def test_a_timeout_after_the_block_counts_from_the_attempts_beginning(autojump_clock: MockClock) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(lends_and_works, 5, 100, attempt_timeout=8)
        with pytest.raises(JobFailedError, match="took longer than"):
            await lender.wait()
        assert trio.current_time() == 8


async def test_the_timeout_of_one_on_a_lent_worker_is_its_own(autojump_clock: MockClock) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(lends, 5)
        late = await pool.submit(nap, 100, attempt_timeout=2)
        with pytest.raises(JobFailedError, match="took longer than"):
            await late.wait()
        assert trio.current_time() == 2
        assert await lender.wait() == 5


async def test_cancelling_one_on_a_lent_worker_leaves_the_lender_alone(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(nap, 100)
        await trio.sleep(1)
        other.cancel()
        assert await lender.wait() == 5


async def test_a_lender_that_is_cancelled_may_fail(autojump_clock: MockClock) -> None:
    async def sulks() -> None:
        try:
            await lends_forever()
        except trio.Cancelled:
            raise OSError("so there") from None

    async with open_pool(1, on_dead="keep") as pool:
        lender = await pool.submit(sulks)
        await wait_all_tasks_blocked()
        lender.cancel()
        with pytest.raises(JobFailedError, match="so there"):
            await lender.wait()


@pytest.mark.parametrize("when", [0.5, 1.5])
async def test_cancelling_the_pool_ends_lenders_and_those_on_their_workers(
    autojump_clock: MockClock, when: float
) -> None:
    async with open_pool(1) as pool:
        jobs = [await pool.submit(lends, 1), await pool.submit(lends_forever), await pool.submit(nap, 100)]
        await trio.sleep(when)
        pool.cancel()
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 3
    assert trio.current_time() == when


async def test_the_pools_block_waits_for_lenders(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(nap, 10)
    assert (lender.result(), other.result()) == (10, 10)


async def test_the_pools_block_resumes_a_paused_worker_that_is_lent(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        pool.workers[0].pause()
        other = await pool.submit(nap, 1)
    assert (lender.result(), other.result()) == (5, 1)


async def test_a_keyboard_interrupt_of_one_on_a_lent_worker_ends_the_pool(autojump_clock: MockClock) -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    jobs: list[Job[Any]] = []
    with pytest.RaisesGroup(KeyboardInterrupt):
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(lends_forever))
            await pool.submit(interrupted)
    assert jobs[0].state is JobState.CANCELLED


# The worker leaves


async def test_a_worker_that_is_removed_is_given_back_before_it_leaves(autojump_clock: MockClock) -> None:
    async def lends_at_first(_: object) -> int:
        if not current_job().attempt_count:
            async with current_job().lend():
                await trio.sleep(5)
        return current_job().attempt_count

    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, retry=RetryPolicy.immediate()) as pool:
        lender = await pool.submit(lends_at_first)
        await trio.sleep(1)
        assert lender.worker is not None
        await lender.worker.remove()
        assert (trio.current_time(), doors.left) == (5, ["a"])
        assert await lender.wait() == 1
        assert isinstance(lender.attempts[0].error, ResourceBroken)
        assert str(lender.attempts[0].error) == "worker-1 was removed while it was lent"


async def test_a_worker_that_is_removed_while_it_is_lent_takes_no_more_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=RetryPolicy.never(), on_dead="keep") as pool:
        first, second = pool.workers
        lender = await pool.submit(lends, 5, worker=first)
        under_way = await pool.submit(nap, 7, worker=first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.remove)
            await wait_all_tasks_blocked()
            assert await pool.run(nap, 1) == 1
        assert (trio.current_time(), pool.workers) == (7, (second,))
        assert under_way.result() == 7
        assert isinstance(cause_of(lender), ResourceBroken)


async def test_the_error_of_the_body_goes_before_that_of_the_removed_worker(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with current_job().lend():
            await trio.sleep(5)
            raise OSError("mine")

    async with open_pool(2, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(parent)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove()
        assert isinstance(cause_of(lender), OSError)


@pytest.mark.parametrize("when", [1, 6])
async def test_a_lender_is_evicted_with_its_worker(autojump_clock: MockClock, when: float) -> None:
    async with open_pool(2, on_dead="keep") as pool:
        first, second = pool.workers
        lender = await pool.submit(lends, 5)
        await wait_all_tasks_blocked()
        other = await pool.submit(nap, 10, worker=first) if when > 5 else None
        await pool.submit(nap, 20, worker=second, priority=-1)
        await trio.sleep(when)
        await first.remove(cancel=True)
        assert trio.current_time() == when
        assert (lender.state, lender.attempt_count) == (JobState.QUEUED, 0)
        assert await lender.wait() == 25
        assert other is None or other.dead_reason is DeadReason.NO_WORKER


async def test_a_lender_can_not_remove_its_worker(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with current_job().lend():
            worker = current_job().worker
            assert worker is not None
            with pytest.raises(RuntimeError, match="can't be removed by the job that runs on it"):
                await worker.remove()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_child_on_another_worker_can_not_remove_that_of_its_lender(autojump_clock: MockClock) -> None:
    async def child(worker: Worker) -> None:
        with pytest.raises(RuntimeError, match="can't be removed"):
            await worker.remove()

    async def parent() -> None:
        worker = current_job().worker
        assert worker is not None
        async with current_job().lend():
            await pool.run(child, worker, worker=pool.workers[1])

    async with open_pool(2) as pool:
        await pool.run(parent, worker=pool.workers[0])


async def test_a_lender_may_lend_once_more_though_its_worker_is_about_to_leave(autojump_clock: MockClock) -> None:
    async def parent() -> int:
        broken = 0
        for _ in range(2):
            try:
                async with current_job().lend():
                    await trio.sleep(5)
            except ResourceBroken:
                broken += 1
        return broken

    async with open_pool(2) as pool:
        lender = await pool.submit(parent)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove()
        assert (await lender.wait(), trio.current_time()) == (2, 10)


# The resource breaks


async def test_a_resource_that_another_job_breaks_is_given_back_broken(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(breaks)
        await trio.sleep(1)
        assert (state_of(other), doors.left) == (JobState.DEAD, [])
        waiting = await pool.submit(works)
        assert await waiting.wait() == "done"
        assert str(cause_of(lender)) == "the resource of worker-1 broke while it was lent"
        assert (doors.entered, doors.left, trio.current_time()) == (["a", "a"], ["a"], 5)


async def test_a_broken_resource_is_told_of_once(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        for _ in range(3):
            await pool.submit(lends, 5)
        await pool.submit(breaks)
        await trio.sleep(6)
        assert (doors.entered, doors.left) == (["a", "a"], ["a"])


async def test_a_worn_resource_is_opened_anew_only_when_its_lender_is_done(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([Resource("a", max_jobs=2)], lifespan=doors.lifespan) as pool:
        lender = await pool.submit(lends, 5)
        others = [await pool.submit(nap, 1) for _ in range(3)]
        assert [await job.wait() for job in (*others, lender)] == [1, 2, 3, 5]
        assert doors.entered == ["a"]
        await pool.run(works)
        assert (doors.entered, doors.left) == (["a", "a"], ["a"])


async def test_an_old_resource_is_opened_anew_only_when_its_lender_is_done(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([Resource("a", max_age=2)], lifespan=doors.lifespan) as pool:
        lender = await pool.submit(lends, 5)
        await trio.sleep(4)
        assert doors.entered == ["a"]
        assert await lender.wait() == 5
        await wait_all_tasks_blocked()
        assert (doors.entered, doors.left) == (["a", "a"], ["a"])


class Fragile:
    """A lifespan that ends by itself when it is told to, the first time it is entered."""

    def __init__(self, error: Exception | None = None) -> None:
        self.breaking = trio.Event()
        self.entered = 0
        self._error = error

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        """Pass it to ``open_pool``."""
        self.entered += 1
        is_first = self.entered == 1
        async with trio.open_nursery() as nursery:
            if is_first:
                nursery.start_soon(self._watch, nursery.cancel_scope)
            yield name
            nursery.cancel_scope.cancel()
        if is_first and self._error is not None:
            raise self._error

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self.breaking.wait()
        scope.cancel()


BREAKING: dict[str, tuple[list[tuple[Any, float]], list[tuple[Any, float]]]] = {
    "the lender is in its block": ([(lends, 30)], []),
    "a stand-in runs a job": ([(lends, 30)], [(nap, 20)]),
    "the lender waits to get it back": ([(lends, 5)], [(nap, 20)]),
    "two lend it": ([(lends, 30), (lends, 40)], []),
    "two lend it and a third runs": ([(lends, 30), (lends, 40)], [(nap, 20)]),
    "two wait to get it back": ([(lends, 3), (lends, 4)], [(nap, 20)]),
    "one has come back, and another lends it": ([(lends, 30), (lends, 5)], [(nap, 1)]),
    "nobody lends it any more": ([(lends, 1)], [(nap, 20)]),
}


@pytest.mark.parametrize("error", [None, OSError("gone")])
@pytest.mark.parametrize("case", BREAKING)
async def test_a_resource_that_breaks_by_itself_while_it_is_lent_fails_all_who_had_it(
    autojump_clock: MockClock, case: str, error: Exception | None
) -> None:
    lenders, others = BREAKING[case]
    fragile = Fragile(error)
    options: Any = {"lifespan": fragile.lifespan, "retry": RetryPolicy.never(), "on_dead": "keep"}
    with trio.fail_after(20):
        async with open_pool(["a"], **options) as pool:
            jobs = [await pool.submit(*call) for call in (*lenders, *others)]
            await trio.sleep(10)
            under_way = [job for job in jobs if not job.state.is_final]
            fragile.breaking.set()
            await wait_all_tasks_blocked()
            assert await pool.run(works) == "done"
            assert [job.dead_reason for job in under_way] == [DeadReason.ATTEMPTS_EXHAUSTED] * len(under_way)
            assert all(isinstance(cause_of(job), ResourceBroken) for job in under_way)
            assert fragile.entered == 2


async def test_a_resource_that_breaks_by_itself_while_it_is_lent_is_given_no_more_jobs(
    autojump_clock: MockClock,
) -> None:
    async def is_slow_to_leave(_: object) -> None:
        async with current_job().lend():
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)

    fragile = Fragile()
    async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(is_slow_to_leave)
        await trio.sleep(1)
        fragile.breaking.set()
        await wait_all_tasks_blocked()
        waiting = await pool.submit(works)
        with trio.fail_after(10):
            await waiting.wait()
        assert 4 <= trio.current_time() < 5  # it backs off for a moment
        assert isinstance(cause_of(lender), ResourceBroken)


async def test_a_stubborn_one_on_a_broken_resource_leaves_no_job_behind_in_it(autojump_clock: MockClock) -> None:
    # The worker's own task is free, since its job has ended, while the others' go on.
    async def back_and_stubborn(_: object) -> None:
        async with current_job().lend():
            await trio.sleep(2)
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    fragile = Fragile()
    async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        await pool.submit(lends, 1)
        stubborn = await pool.submit(back_and_stubborn)
        lender = await pool.submit(lends_forever)
        await trio.sleep(5)
        fragile.breaking.set()
        await wait_all_tasks_blocked()
        waiting = await pool.submit(works)
        with trio.fail_after(20):
            await waiting.wait()
        assert stubborn.state is JobState.SUCCEEDED
        assert 12 <= trio.current_time() < 13  # it backs off for a moment
        assert isinstance(cause_of(lender), ResourceBroken)


# Limits


async def test_a_lending_job_does_not_count_in_the_pools_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(3, max_running=1) as pool:
        await pool.submit(lends, 5)
        assert await pool.run(nap, 1) == 1
        pool.cancel()


async def test_a_job_that_gets_its_worker_back_may_make_one_more_than_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_running=1) as pool:
        first, second = pool.workers
        lender = await pool.submit(lends_and_works, 5, 4, worker=first)
        await pool.submit(nap, 7, worker=second)
        waiting = await pool.submit(nap, 1)
        assert await lender.wait() == 5
        assert await waiting.wait() == 10


async def test_a_lending_job_does_not_count_in_its_groups_max_running(autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, pool.open_group(max_running=1) as group:
        lender = await group.submit(lends_and_works, 5, 4)
        others = [await group.submit(nap, 3) for _ in range(3)]
        assert await lender.wait() == 5
        assert [await job.wait() for job in others] == [3, 6, 12]


async def test_a_lending_job_still_is_one_that_runs(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        await pool.submit(nap, 2)
        await trio.sleep(1)
        assert state_of(lender) is JobState.RUNNING
        assert pool.statistics().running == 2


async def test_a_reserved_worker_is_lent_to_its_group_only(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        async with pool.open_group(reserve=1) as group:
            lender = await group.submit(lends, 5)
            outside = await pool.submit(nap, 1)
            inside = await group.submit(nap, 1)
            assert await inside.wait() == 1
            assert await lender.wait() == 5
        assert await outside.wait() == 6


async def test_a_lent_worker_is_set_aside_for_no_group(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(lends, 5)
        async with pool.open_group(reserve=1) as group:
            assert (trio.current_time(), len(group.statistics().workers)) == (5, 1)


async def test_a_lent_worker_is_not_waited_for_by_a_job_that_bounces(autojump_clock: MockClock) -> None:
    tried: list[str] = []

    async def fails_once(name: str) -> str:
        tried.append(name)
        if len(tried) == 1:
            raise OSError
        return name

    async with open_pool(["a", "b"], retry=RetryPolicy.immediate(placement="other")) as pool:
        first, second = pool.workers
        await pool.submit(lends, 50, worker=first)
        await pool.submit(nap, 10, worker=first)
        await trio.sleep(1)
        assert await pool.run(fails_once) == "b"
        assert tried == ["b", "b"]
        assert trio.current_time() == 1
        pool.cancel()
    del second


@pytest.mark.parametrize("lenders", [1, 3])
@pytest.mark.parametrize("tags", [["x"], ["x", "y"]])
async def test_a_job_that_bounces_runs_again_on_the_lent_worker_if_that_is_the_only_one(
    autojump_clock: MockClock, tags: list[str], lenders: int
) -> None:
    async def lender(_: object, level: int) -> None:
        async with current_job().lend():
            if level:
                await pool.run(lender, level - 1, requires=["x"])
            else:
                await pool.run(Flaky(1), requires=["x"], retry=RetryPolicy.fixed(3, placement="other"))

    async with open_pool([Resource(tag, tags=[tag]) for tag in tags]) as pool:
        with trio.fail_after(60):
            await pool.run(lender, lenders - 1, requires=["x"])
    assert trio.current_time() == 3


async def test_an_elastic_pool_retires_no_lent_worker(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=2, idle_timeout=3)) as pool:
        lender = await pool.submit(lends, 50)
        await trio.sleep(40)
        assert (len(pool.workers), mint.closed) == (1, [])
        assert await lender.wait() == 50
        await trio.sleep(10)
        assert mint.closed == [0]


# What is told


async def test_a_lent_worker_shows_whom_it_runs(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        [worker] = pool.workers
        lender = await pool.submit(lends_and_works, 5, 1)
        await trio.sleep(1)
        seen: list[object] = [(worker.state, worker.job)]
        other = await pool.submit(nap, 1)
        seen.append((worker.state, worker.job))
        await other.wait()
        seen.append((worker.state, worker.job))
        await trio.sleep(3.5)
        seen.append((worker.state, worker.job))
        idle = (WorkerState.IDLE, None)
        assert seen == [idle, (WorkerState.BUSY, other), idle, (WorkerState.BUSY, lender)]
        assert lender.worker is worker


async def test_no_second_of_a_worker_is_counted_twice(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        [worker] = pool.workers
        lender = await pool.submit(lends_and_works, 5, 4)
        await pool.submit(nap, 2)
        await trio.sleep(7)
        assert worker.statistics().busy_seconds == 4  # two of the other's, two since it was back
        await lender.wait()
        statistics = worker.statistics()
        assert (statistics.busy_seconds, statistics.attempts, statistics.succeeded) == (6, 2, 2)


async def test_the_attempt_of_a_lender_lasts_from_its_beginning(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends_and_works, 5, 4)
        await lender.wait()
        [attempt] = lender.attempts
        assert (attempt.started_at, attempt.ended_at, attempt.worker_id) == (0, 9, 1)


async def test_jobs_on_a_lent_worker_see_the_variables_of_who_submitted_them(autojump_clock: MockClock) -> None:
    where: ContextVar[str] = ContextVar("where")

    async def look() -> tuple[str, Job[Any]]:
        await trio.lowlevel.checkpoint()
        return where.get(), current_job()

    async def parent() -> None:
        where.set("in the lender")
        async with current_job().lend():
            await trio.sleep(1)
        assert where.get() == "in the lender"

    where.set("outside")
    async with open_pool(1) as pool:
        await pool.submit(parent)
        job = await pool.submit(look)
        assert await job.wait() == ("outside", job)


async def test_a_pinned_child_runs_on_the_lent_worker(autojump_clock: MockClock) -> None:
    async def parent() -> float:
        async with current_job().lend():
            await pool.run(trio.sleep, 1, worker=current_job().worker)
        return trio.current_time()

    async with open_pool(2) as pool:
        assert await pool.run(parent) == 1


async def test_a_job_for_a_lent_worker_that_is_to_leave_finds_no_worker(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first, _ = pool.workers
        lender = await pool.submit(lends_forever)
        await wait_all_tasks_blocked()
        await first.remove(cancel=True)
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(nap, 1, worker=first)
        lender.cancel()


async def test_a_lender_that_sleeps_holds_up_no_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(lends_forever)
        jobs = [await pool.submit(works) for _ in range(50)]
        assert [await other.wait() for other in jobs] == ["done"] * 50
        stuck = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        stuck.cancel()
        job.cancel()


# All of it together

seconds = st.integers(0, 5)
programs = st.lists(st.tuples(st.sampled_from(["work", "lend", "break", "stubborn"]), seconds), max_size=4)
meddling = st.tuples(
    seconds, st.sampled_from(["cancel", "pause", "resume", "rest", "remove", "evict", "break"]), st.integers(0, 5)
)


@given(
    scripts=st.lists(programs, max_size=6),
    workers=st.integers(1, 2),
    meddlings=st.lists(meddling, max_size=4),
    options=st.fixed_dictionaries({}, optional={"max_running": st.just(1), "attempt_timeout": st.just(7)}),
)
def test_however_jobs_lend_their_workers_each_worker_serves_one_at_a_time_and_all_jobs_end(
    scripts: list[list[tuple[str, int]]],
    workers: int,
    meddlings: list[tuple[int, str, int]],
    options: dict[str, Any],
) -> None:
    fragiles: dict[str, Fragile] = {name: Fragile() for name in "ab"[:workers]}
    users: dict[str, Job[Any]] = {}

    @asynccontextmanager
    async def use(resource: str) -> AsyncGenerator[None]:
        """Nobody else may do this with the same resource at the same time."""
        assert resource not in users
        users[resource] = current_job()
        try:
            yield
        finally:
            del users[resource]

    async def follows(resource: str, script: list[tuple[str, int]]) -> str:
        for what, duration in script:
            if what == "lend":
                async with current_job().lend():
                    await trio.sleep(duration)
                continue
            async with use(resource):
                with trio.CancelScope(shield=what == "stubborn"):
                    await trio.sleep(duration)
            if what == "break":
                raise ResourceBroken
        return "done"

    async def meddle(pool: Pool[str], jobs: list[Job[Any]], what: str, which: int) -> None:
        worker = pool.workers[which % len(pool.workers)] if pool.workers else None
        if what == "cancel" and jobs:
            jobs[which % len(jobs)].cancel()
        elif what == "break":
            fragiles["ab"[which % workers]].breaking.set()
        elif worker is not None and what in ("remove", "evict"):
            await worker.remove(cancel=what == "evict")
        elif worker is not None and what == "rest":
            worker.rest(3)
        elif worker is not None and what in ("pause", "resume"):
            getattr(worker, what)()

    async def main() -> None:
        retry = RetryPolicy(max_attempts=2)
        with trio.fail_after(10_000):
            async with open_pool(
                list(fragiles),
                lifespan=lambda name: fragiles[name].lifespan(name),
                retry=retry,
                on_dead="keep",
                **options,
            ) as pool:
                jobs = [await pool.submit(follows, script) for script in scripts]
                async with trio.open_nursery() as nursery:
                    for after, what, which in meddlings:
                        await trio.sleep(after)
                        nursery.start_soon(meddle, pool, jobs, what, which)
        assert all(job.state.is_final for job in jobs)
        for job in jobs:
            assert not any(isinstance(attempt.error, AssertionError) for attempt in job.attempts)

    logger = logging.getLogger("trio_pool")
    logger.disabled = True
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        logger.disabled = False


# A job that has cancelled others waits for their ends with its worker in hand, which one of these may have lent.


async def test_a_stream_left_on_a_lent_worker_lets_its_cancelled_jobs_go_first(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def lends(resource: str, item: int) -> None:
        try:
            async with current_job().lend():
                await trio.sleep_forever()
        finally:
            ended.append(resource)

    async def parent(resource: str) -> str:
        async with pool.map(lends, [1]):
            async with current_job().lend():
                await trio.sleep(1.0)
            worker = current_job().worker
        assert worker is not None
        assert worker.job is current_job()
        return "back"

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            assert await pool.run(parent) == "back"
    assert ended == ["a"]
    assert trio.current_time() == 1.0


async def test_a_cancelled_run_on_a_lent_worker_lets_its_job_go_first(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def parent(resource: str) -> str:
        job = None
        with trio.move_on_after(1.0):
            async with trio.open_nursery() as nursery:

                async def runs() -> None:
                    await pool.run(lends)

                async with current_job().lend():
                    nursery.start_soon(runs)
                    await trio.sleep(0.5)
                await trio.sleep_forever()
        assert job is None
        return "back"

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            assert await pool.run(parent) == "back"
    assert trio.current_time() == 1.0


async def test_a_failed_group_on_a_lent_worker_lets_its_jobs_go_first(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def parent(resource: str) -> str:
        try:
            async with pool.open_group() as group:
                async with current_job().lend():
                    await group.submit(lends)
                    await trio.sleep(1.0)
                raise KeyError("from the body")
        except KeyError:
            return "back"

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            assert await pool.run(parent) == "back"
    assert trio.current_time() == 1.0


async def test_nobody_else_gets_the_worker_while_its_job_has_stepped_aside(autojump_clock: MockClock) -> None:
    started: list[float] = []

    async def lends(resource: str, item: int) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def other(resource: str) -> None:
        started.append(trio.current_time())

    async def parent(resource: str) -> None:
        async with pool.map(lends, [1]):
            async with current_job().lend():
                await trio.sleep(1.0)
            waiting = await pool.submit(other)
        assert waiting.state is JobState.QUEUED
        await trio.sleep(1.0)

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            await pool.run(parent)
    assert started == [2.0]


async def test_a_job_on_a_lent_worker_that_waits_for_its_cancelled_lender_is_told(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def waits(resource: str) -> None:
        lender.cancel()
        with pytest.raises(JobDeadlockError):
            await lender.wait()

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            lender = await pool.submit(lends)
            await lender.wait_started()
            await pool.run(waits)
    assert lender.state is JobState.CANCELLED


async def test_a_job_that_has_stepped_aside_goes_on_only_with_its_worker(autojump_clock: MockClock) -> None:
    async def child(resource: str, item: int) -> None:
        if item == 1:
            await trio.sleep_forever()
        try:
            async with current_job().lend():
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5.0)

    async def parent(resource: str) -> tuple[bool, float]:
        async with pool.map(child, [1, 2, 2]), current_job().lend():
            await trio.sleep(1.0)
        worker = current_job().worker
        assert worker is not None
        return worker.job is current_job(), trio.current_time()

    with trio.fail_after(60.0):
        async with open_pool(["a", "b"]) as pool:
            has_it_back, _ = await pool.run(parent)
    assert has_it_back
