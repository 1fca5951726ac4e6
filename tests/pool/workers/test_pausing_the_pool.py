"""3.2: a pool that is paused or rests starts nothing, and changes nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, nap, sleeps, sleeps_forever, works
from tests.openers import OpenPool, both
from trio_pool import (
    Elastic,
    Hedge,
    JobDeadlockError,
    JobFailedError,
    JobState,
    JobTimeoutError,
    Resource,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

# Pausing.


@both
async def test_a_paused_pool_starts_nothing_until_it_is_resumed(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        pool.pause()
        job = await pool.submit(nap, 1)
        await trio.sleep(5)
        assert job.state is JobState.QUEUED
        pool.resume()
        assert await job.wait() == 6


@both
async def test_a_paused_pool_says_so(opened: OpenPool) -> None:
    async with opened() as pool:
        assert not pool.paused
        pool.pause()
        assert pool.paused
        pool.resume()
        assert not pool.paused


async def test_an_attempt_under_way_finishes_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first, second = await pool.submit(sleeps, 2), await pool.submit(sleeps, 1)
        pool.pause()
        await trio.sleep(5)
        assert first.finished_at == 2
        assert second.state is JobState.QUEUED
        pool.resume()
        await second.wait()
        assert trio.current_time() == 6


async def test_the_states_of_workers_do_not_change_with_a_pause(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(sleeps, 2)
        await job.wait_started()
        pool.pause()
        pool.rest(3)
        assert [worker.state for worker in pool.workers] == [WorkerState.BUSY, WorkerState.IDLE]
        await job.wait()
        assert [worker.state for worker in pool.workers] == [WorkerState.IDLE, WorkerState.IDLE]


async def test_no_worker_of_a_paused_pool_can_start_something(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        pool.pause()
        assert pool.idle_workers == ()
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, idle_only=True)
        pool.resume()
        assert len(pool.idle_workers) == 2


async def test_a_worker_that_comes_to_a_paused_pool_starts_nothing(autojump_clock: MockClock) -> None:
    nothing: list[str] = []
    async with open_pool(nothing) as pool:
        pool.pause()
        await pool.add("a", tags=["x"])
        job = await pool.submit(works)
        tagged = await pool.submit(works, requires=["x"])
        await pool.add("b")
        await trio.sleep(1)
        assert (job.state, tagged.state) == (JobState.QUEUED, JobState.QUEUED)
        pool.resume()
        assert await job.wait() == await tagged.wait() == "done"


async def test_pausing_a_pool_twice_is_undone_by_resuming_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        pool.pause()
        pool.resume()
        assert await pool.run(works) == "done"
        pool.resume()


async def test_resuming_a_pool_resumes_no_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.pause()
        pool.pause()
        pool.resume()
        assert worker.state is WorkerState.PAUSED


async def test_jobs_of_a_paused_pool_start_in_their_order(autojump_clock: MockClock) -> None:
    order: list[int] = []

    async def notes(resource: str, number: int) -> None:
        order.append(number)

    async with open_pool(["a"]) as pool:
        pool.pause()
        for number, priority in ((1, 0), (2, -1), (3, 0), (4, -1)):
            await pool.submit(notes, number, priority=priority)
        pool.resume()
    assert order == [2, 4, 1, 3]


async def test_a_full_queue_stays_full_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=1) as pool:
        pool.pause()
        await pool.submit(works)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
        with trio.move_on_after(5) as scope:
            await pool.submit(works)
        assert scope.cancelled_caught
        assert pool.statistics().submitted == 1


async def test_who_waits_at_the_full_queue_of_a_paused_pool_gets_in_when_it_is_resumed(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        pool.pause()
        nursery.start_soon(pool.run, sleeps, 1)
        nursery.start_soon(pool.run, sleeps, 1)
        await trio.sleep(3)
        pool.resume()
    assert trio.current_time() == 5


async def test_a_retry_waits_until_the_pool_is_resumed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(1, max_attempts=2, jitter="none")) as pool:
        job = await pool.submit(Flaky(1))
        await job.wait_started()
        pool.pause()
        await trio.sleep(3)
        assert (job.state, job.attempt_count) == (JobState.QUEUED, 1)
        pool.resume()
        await job.wait()
        assert trio.current_time() == 3


async def test_a_retry_at_once_waits_until_the_pool_is_resumed(autojump_clock: MockClock) -> None:
    async def fails_and_pauses(resource: str) -> None:
        pool.pause()
        raise ValueError

    async with open_pool(["a"], retry=RetryPolicy.immediate(max_attempts=2), on_dead="keep") as pool:
        job = await pool.submit(fails_and_pauses)
        await trio.sleep(3)
        assert (job.state, job.attempt_count) == (JobState.QUEUED, 1)
        pool.resume()
        await trio.lowlevel.checkpoint()


async def test_a_slow_attempt_is_started_nowhere_else_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(sleeps, 10, hedge=Hedge(2))
        await job.wait_started()
        pool.pause()
        await trio.sleep(5)
        assert [worker.state for worker in pool.workers] == [WorkerState.BUSY, WorkerState.IDLE]
        pool.resume()
        assert [worker.state for worker in pool.workers] == [WorkerState.BUSY, WorkerState.BUSY]


async def test_timeouts_go_on_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        running = await pool.submit(sleeps_forever, attempt_timeout=2)
        await running.wait_started()
        pool.pause()
        waiting = await pool.submit(works, total_timeout=3)
        with pytest.raises(JobFailedError) as caught:
            await waiting.wait()
        assert isinstance(caught.value.__cause__, JobTimeoutError)
        assert (running.finished_at, waiting.finished_at) == (2, 3)


async def test_a_job_of_a_paused_pool_gets_its_worker_back(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> float:
        async with current_job().lend():
            await trio.sleep(2)
        return trio.current_time()

    async with open_pool(["a"]) as pool:
        job = await pool.submit(lends)
        await trio.sleep(1)
        pool.pause()
        assert await job.wait() == 2
        pool.resume()


async def test_no_job_gets_the_lent_worker_of_a_paused_pool(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        pool.pause()
        async with current_job().lend():
            await trio.sleep(2)

    async with open_pool(["a"]) as pool:
        lender, other = await pool.submit(lends), await pool.submit(works)
        await lender.wait()
        assert other.state is JobState.QUEUED


async def test_a_broken_resource_is_reopened_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    entered: list[float] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        entered.append(trio.current_time())
        yield resource

    async with open_pool([Resource("a", max_age=2)], lifespan=lifespan) as pool:
        pool.pause()
        await trio.sleep(3)
        assert len(entered) == 2


async def test_join_waits_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        await pool.join()  # of no job
        await pool.submit(works)
        with trio.move_on_after(5) as scope:
            await pool.join()
        assert scope.cancelled_caught


async def test_a_wait_for_a_job_of_a_paused_pool_is_no_deadlock(autojump_clock: MockClock) -> None:
    async def waits(resource: str) -> str:
        pool.pause()
        return await pool.run(works)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(waits)
        await trio.sleep(5)
        assert job.state is JobState.RUNNING
        pool.resume()
        assert await job.wait() == "done"


async def test_a_deadlock_that_the_pause_has_not_made_is_told(autojump_clock: MockClock) -> None:
    async def waits(resource: str) -> None:
        pool.pause()
        with pytest.raises(JobDeadlockError):
            await pool.run(works)

    async with open_pool(["a"]) as pool:
        await pool.run(waits)


async def test_a_group_gets_its_workers_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        pool.pause()
        async with pool.open_group(reserve=2) as group:
            job = await group.submit(works)
            await trio.sleep(1)
            assert job.state is JobState.QUEUED
            pool.resume()
            assert await job.wait() == "done"


async def test_an_elastic_pool_opens_no_worker_for_jobs_that_wait_for_the_pause(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(lambda: open_pool(1), max=5)) as pool:
        pool.pause()
        jobs = [await pool.submit(works) for _ in range(3)]
        await trio.sleep(5)
        assert pool.workers == ()
        pool.resume()
        for job in jobs:
            await job.wait()
        assert len(pool.workers) == 3


async def test_a_job_that_only_a_worker_to_come_may_take_is_not_lost_to_a_pause(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool:
        pool.pause()
        job = await pool.submit(works, requires=["x"])
        await trio.sleep(1)
        await pool.add("b", tags=["x"])
        pool.resume()
        assert await job.wait() == "done"


async def test_removing_a_worker_of_a_paused_pool_loses_no_job_that_others_may_take(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        pool.pause()
        job = await pool.submit(works)
        await pool.workers[0].remove()
        assert job.state is JobState.QUEUED
        pool.resume()
        assert await job.wait() == "done"


# Resting.


async def test_a_rest_of_the_pool_ends_by_itself(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.rest(3)
        assert pool.resting_until == 3
        assert not pool.paused
        assert await pool.run(sleeps, 1) == 1
        assert trio.current_time() == 4
        assert pool.resting_until is None


async def test_of_two_rests_of_the_pool_the_later_end_holds(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.rest(3)
        pool.rest(5)
        pool.rest(4)
        pool.rest(0)
        assert pool.resting_until == 5
        await pool.run(works)
        assert trio.current_time() == 5


async def test_resuming_does_not_end_a_rest_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        pool.rest(3)
        pool.resume()
        await pool.run(works)
        assert trio.current_time() == 3


async def test_the_end_of_a_rest_does_not_end_a_pause_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        pool.rest(3)
        job = await pool.submit(works)
        await trio.sleep(5)
        assert job.state is JobState.QUEUED
        assert pool.paused


async def test_a_rest_is_over_at_its_end_for_whoever_looks_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.rest(3)
        with trio.CancelScope(deadline=3):
            await trio.sleep_forever()
        assert pool.resting_until is None
        assert len(pool.idle_workers) == 1


async def test_a_rest_of_no_time_is_none(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.rest(0)
        assert pool.resting_until is None
        assert pool.submit_nowait(works, idle_only=True).state is JobState.RUNNING


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
async def test_a_rest_of_the_pool_is_finite(seconds: float) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match="seconds"):
            pool.rest(seconds)


async def test_a_rest_takes_a_number() -> None:
    async with open_pool(["a"]) as pool:
        wrong: Any = "1"
        with pytest.raises(TypeError, match="seconds"):
            pool.rest(wrong)


# The end of the pool.


async def test_leaving_the_block_resumes_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        pool.workers[0].pause()
        job = await pool.submit(works)
    assert job.result() == "done"
    assert not pool.paused


async def test_leaving_the_block_waits_for_a_rest_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.rest(5)
        job = await pool.submit(works)
    assert job.finished_at == 5


async def test_leaving_the_block_waits_for_no_rest_that_no_job_waits_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.rest(5)
    assert trio.current_time() == 0


async def test_jobs_that_nobody_may_take_die_after_the_rest(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait", on_dead="keep") as pool:
        pool.rest(5)
        lost = await pool.submit(works, requires=["x"])
        job = await pool.submit(works)
    assert (lost.state, lost.finished_at) == (JobState.DEAD, 5)
    assert job.result() == "done"


async def test_a_pause_after_the_body_lasts_only_while_something_runs(autojump_clock: MockClock) -> None:
    async def pauses(resource: str) -> None:
        await trio.sleep(1)
        pool.pause()
        await trio.sleep(1)

    async with open_pool(["a", "b"]) as pool:
        await pool.submit(pauses)
        await pool.submit(sleeps, 1.5)
        waiting = await pool.submit(works)
    assert waiting.finished_at == 2


async def test_a_rest_after_the_body_is_waited_for(autojump_clock: MockClock) -> None:
    async def rests(resource: str) -> None:
        await trio.sleep(1)
        pool.rest(5)

    async with open_pool(["a"]) as pool:
        await pool.submit(rests)
        waiting = await pool.submit(works)
    assert waiting.finished_at == 6


async def test_cancelling_a_paused_pool_ends_its_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        pool.rest(100)
        job = await pool.submit(works)
        pool.cancel()
    assert job.state is JobState.CANCELLED
    assert trio.current_time() == 0


async def test_the_body_that_raises_ends_a_paused_pool(autojump_clock: MockClock) -> None:
    async def body() -> None:
        async with open_pool(["a"]) as pool:
            pool.pause()
            await pool.submit(works)
            raise OSError("body")

    with pytest.raises(OSError, match="body"):
        await body()


async def test_a_pool_that_has_ended_is_not_paused_any_more() -> None:
    async with open_pool(["a"]) as pool:
        pass
    pool.pause()
    pool.rest(1)
    assert not pool.paused
    assert pool.resting_until is None
    pool.resume()


async def test_a_failure_of_an_attempt_counts_while_the_pool_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(fails)
        pool.pause()
        await pool.join()
        assert job.state is JobState.DEAD


async def test_groups_that_wait_get_workers_that_a_pause_leaves_idle(autojump_clock: MockClock) -> None:
    async def opens(resource: str) -> None:
        async with pool.open_group(reserve=1) as group:
            assert len(group.statistics().workers) == 1

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(opens)
        pool.pause()
        await job.wait()
