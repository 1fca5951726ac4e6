"""Jobs that come after others and wait for a place in a full queue."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, state_of, works
from tests.pool.jobs.waited_for import fails_after_a_second, states
from trio_pool import DeadReason, JobState, NoEligibleWorkerError, PoolClosedError, Resource, current_job, open_pool

BLOCKED = JobState.BLOCKED
DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


async def test_blocked_jobs_count_for_the_bound_of_the_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=2) as pool:
        first = await pool.submit(sleeps, 1.0)
        for _ in range(2):
            pool.submit_nowait(works, after=[first])
        for after in ([], [first]):
            with pytest.raises(trio.WouldBlock):
                pool.submit_nowait(works, after=after)
        await pool.submit(works)
        assert trio.current_time() == 1.0


async def test_a_job_that_is_to_wait_for_others_waits_for_a_place_first(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=1) as pool:
        long, short = await pool.submit(sleeps, 9.0), await pool.submit(sleeps, 2.0)
        await pool.submit(works)
        job = await pool.submit(works, after=[long])
        assert trio.current_time() == 2.0
        assert [state_of(job), state_of(short)] == [BLOCKED, SUCCEEDED]
        await job.wait()
        assert trio.current_time() == 9.0


async def test_one_that_may_start_before_there_is_a_place_goes_to_an_idle_worker(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=0) as pool:
        first = await pool.submit(sleeps, 2.0, worker=pool.workers[0])
        await pool.submit(sleeps, 9.0, worker=pool.workers[1])
        job = await pool.submit(works, after=[first])
        assert trio.current_time() == 2.0
        assert await job.wait() == "done"


async def test_one_that_may_start_before_there_is_a_place_waits_on_for_a_worker(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0) as pool:
        await pool.submit(sleeps, 5.0, requires=["x"])
        first = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[first], requires=["x"])
        assert trio.current_time() == 5.0
        assert await job.wait() == "done"
    assert states(job) == [QUEUED, RUNNING, SUCCEEDED]


@pytest.mark.parametrize("max_queue", [0, 1])
async def test_one_that_is_discarded_before_there_is_a_place_is_returned(
    max_queue: int, autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], max_queue=max_queue, on_dead="keep") as pool:
        first = await pool.submit(fails_after_a_second, name="first")
        for _ in range(max_queue):
            await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first])
        assert trio.current_time() == 1.0
        assert job.state is DISCARDED
        assert job.reason == "it waited for first, which is dead"
        assert pool.statistics().submitters_waiting == 0


async def test_one_whose_time_is_up_before_there_is_a_place_is_returned_dead(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        first = await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], total_timeout=2.0)
        assert trio.current_time() == 2.0
        assert (job.state, job.dead_reason) == (DEAD, DeadReason.TIMED_OUT)


async def test_one_that_is_cancelled_before_there_is_a_place_is_none(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        first = await pool.submit(sleeps, 5.0)
        with trio.move_on_after(1.0) as scope:
            await pool.submit(works, after=[first], total_timeout=60.0)
        assert scope.cancelled_caught
        assert pool.statistics().submitters_waiting == 0
        await first.wait()
        assert pool.statistics().submitted == 1


async def test_whoever_waits_for_a_place_is_turned_away_when_the_pool_is_closed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        first = await pool.submit(sleeps, 5.0)

        async def waits() -> None:
            with pytest.raises(PoolClosedError):
                await pool.submit(works, after=[first])

        nursery.start_soon(waits)
        await wait_all_tasks_blocked()
        pool.close()
    assert pool.statistics().submitted == 1


async def test_a_worker_that_leaves_turns_away_whoever_waits_for_a_place(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0) as pool:
        first = await pool.submit(sleeps, 5.0, worker=pool.workers[1])
        await pool.submit(sleeps, 5.0, requires=["x"])
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(NoEligibleWorkerError):
                    await pool.submit(works, after=[first], requires=["x"])

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            nursery.start_soon(pool.workers[0].remove)
        assert pool.statistics().submitters_waiting == 0


async def test_a_job_may_submit_blocked_jobs_however_full_the_queue_is(autojump_clock: MockClock) -> None:
    async def has_children(resource: str) -> None:
        for _ in range(5):
            await pool.submit(works, after=[current_job()])

    async with open_pool(["a"], max_queue=0) as pool:
        await pool.run(has_children)
        await pool.join()
    assert pool.statistics().succeeded == 6


async def test_with_idle_only_a_job_does_not_wait_for_others(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        first = await pool.submit(sleeps, 1.0)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, after=[first], idle_only=True)
        await first.wait()
        assert pool.submit_nowait(works, after=[first], idle_only=True).state is RUNNING
