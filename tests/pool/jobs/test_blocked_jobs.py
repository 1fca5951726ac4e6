"""What a job costs that waits for others, and what becomes of it meanwhile."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, is_stubborn, sleeps, sleeps_forever, state_of, works
from tests.pool.jobs.waited_for import states
from trio_pool import (
    DeadReason,
    Elastic,
    JobCancelledError,
    JobFailedError,
    JobNotFinishedError,
    JobState,
    NoEligibleWorkerError,
    Resource,
    open_pool,
)
from trio_pool.testing import assert_settled

BLOCKED = JobState.BLOCKED
CANCELLED = JobState.CANCELLED
DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


# Waiting costs nothing.


async def test_a_blocked_job_holds_no_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0, worker=pool.workers[0])
        for _ in range(10):
            await pool.submit(sleeps, 1.0, after=[first])
        added = await pool.add("b")
        assert pool.idle_workers == (added,)
        assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0


async def test_a_blocked_job_costs_no_task(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            await pool.submit(works, after=[first], total_timeout=60.0)
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_blocked_jobs_are_counted_and_listed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        blocked = [await pool.submit(works, after=[first]) for _ in range(3)]
        queued = await pool.submit(works)
        seen = pool.statistics()
        assert (seen.submitted, seen.blocked, seen.queued, seen.running) == (5, 3, 1, 1)
        assert list(pool.jobs(BLOCKED)) == blocked
        assert list(pool.jobs()) == [first, *blocked, queued]
        await pool.join()
        seen = pool.statistics()
        assert (seen.blocked, seen.succeeded, seen.queue_peak) == (0, 5, 4)


async def test_what_has_ended_is_not_kept_by_what_has_waited_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(works)
        first = weakref.ref(job)
        for _ in range(3):
            job = await pool.submit(works, after=[job])
        await job.wait()
        gc.collect()
        assert first() is None


# What becomes of a blocked job itself.


async def test_cancel_ends_a_blocked_job_at_once_and_discards_what_waits_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], name="job")
        behind = await pool.submit(works, after=[job])
        job.cancel()
        assert job.state is CANCELLED
        with pytest.raises(JobCancelledError, match="it waited for job, which is cancelled"):
            await behind.wait()
        assert trio.current_time() == 0.0
        assert await first.wait() == 5.0
    assert_settled(pool)


async def test_the_total_timeout_of_a_blocked_job_passes_at_its_time(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], total_timeout=2.0)
        behind = await pool.submit(works, after=[job])
        with pytest.raises(JobFailedError, match="its total timeout passed"):
            await job.wait()
        assert trio.current_time() == 2.0
        assert job.dead_reason is DeadReason.TIMED_OUT
        assert states(job) == [BLOCKED, DEAD]
        assert behind.state is DISCARDED


async def test_the_total_timeout_goes_on_when_the_job_is_no_longer_blocked(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], total_timeout=3.0)
        with pytest.raises(JobFailedError):
            await job.wait()
        assert trio.current_time() == 3.0
        assert states(job) == [BLOCKED, QUEUED, DEAD]


async def test_a_total_timeout_that_ends_with_what_it_waits_for_wins(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[first], total_timeout=2.0)
        with pytest.raises(JobFailedError):
            await job.wait()
        assert first.state is SUCCEEDED


async def test_a_job_whose_time_is_up_at_once_is_dead_and_not_blocked(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        first = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[first], total_timeout=0.0)
        assert states(job) == [DEAD]


async def test_the_attempt_timeout_begins_with_the_attempt(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 9.0)
        assert await pool.run(sleeps, 1.0, after=[first], attempt_timeout=2.0) == 1.0


async def test_a_blocked_job_has_not_finished(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[first])
        with pytest.raises(JobNotFinishedError, match="blocked"):
            job.result()
        with trio.move_on_after(0.5) as scope:
            await job.wait()
        assert scope.cancelled_caught
        assert job.state is BLOCKED


async def test_wait_started_waits_until_it_runs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(sleeps, 1.0, after=[first])
        await job.wait_started()
        assert trio.current_time() == 1.0
        assert job.state is RUNNING


async def test_wait_started_of_one_that_is_discarded_returns(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps_forever)
        job = await pool.submit(works, after=[first])
        first.cancel()
        await job.wait_started()
        assert job.state is DISCARDED


async def test_a_cancelled_run_cancels_its_blocked_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        with trio.move_on_after(1.0):
            await pool.run(works, after=[first])
        assert pool.statistics().cancelled == 1
        assert trio.current_time() == 1.0


async def test_the_pool_ends_only_when_blocked_jobs_have_run(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps, 1.0)
        for _ in range(3):
            job = await pool.submit(sleeps, 1.0, after=[job])
    assert job.state is SUCCEEDED
    assert trio.current_time() == 4.0


async def test_join_waits_for_blocked_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0, after=[first])
        await pool.join()
        assert trio.current_time() == 2.0


async def test_pool_cancel_cancels_blocked_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(is_stubborn, 3.0)
        jobs = [await pool.submit(works, after=[first], total_timeout=60.0)]
        jobs.append(await pool.submit(works, after=jobs))
        await wait_all_tasks_blocked()
        pool.cancel()
    assert first.state is SUCCEEDED
    assert [job.state for job in jobs] == [CANCELLED] * 2


async def test_an_elastic_pool_opens_no_worker_for_a_blocked_job(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5)) as pool:
        first = await pool.submit(sleeps, 1.0)
        jobs = [await pool.submit(sleeps, 1.0, after=[first]) for _ in range(3)]
        await trio.sleep(0.5)
        assert len(mint.called) == 1
        for job in jobs:
            await job.wait()
        assert len(mint.called) == 3
        assert trio.current_time() == 2.0


# Jobs that no worker may take.


async def test_one_that_no_worker_may_take_is_told_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(works, after=[first], requires=["gpu"])
        assert pool.statistics().submitted == 1


async def test_one_that_no_worker_may_take_any_more_dies_when_it_is_queued(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], on_dead="keep") as pool:
        first = await pool.submit(sleeps, 3.0, worker=pool.workers[1])
        job = await pool.submit(works, after=[first], requires=["x"])
        behind = await pool.submit(works, after=[job])
        await pool.workers[0].remove()
        assert job.state is BLOCKED
        await first.wait()
        assert (state_of(job), job.dead_reason) == (DEAD, DeadReason.NO_WORKER)
        assert behind.state is DISCARDED


async def test_one_that_a_worker_may_come_for_waits_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[first], requires=["x"])
        assert job.state is BLOCKED
        await first.wait()
        assert state_of(job) is QUEUED
        await pool.add("b", tags=["x"])
        assert await job.wait() == "done"
