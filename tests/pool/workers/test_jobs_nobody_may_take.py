"""What becomes of a job that none of the workers may take."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, sleeps, sleeps_forever
from tests.pool.workers.users_of_resources import breaks, gets
from trio_pool import DeadReason, JobState, NoEligibleWorkerError, Resource, RetryPolicy, WorkerState, open_pool


async def test_reject_buries_what_is_queued_when_the_last_worker_for_it_leaves(autojump_clock: MockClock) -> None:
    resources = [Resource("a", tags=["gpu"]), Resource("b")]
    async with open_pool(resources, on_dead="keep") as pool:
        first = pool.workers[0]
        await pool.submit(sleeps, 2.0, worker=first)
        tagged = await pool.submit(gets, requires=["gpu"])
        pinned = await pool.submit(gets, worker=first)
        free = await pool.submit(sleeps, 5.0)
        await first.remove()
        assert (tagged.dead_reason, pinned.dead_reason) == (DeadReason.NO_WORKER, DeadReason.NO_WORKER)
        assert tagged.finished_at == 2.0
    assert free.state is JobState.SUCCEEDED


async def test_reject_turns_away_a_submitter_that_waits_when_the_last_worker_for_it_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a", "b"], max_queue=0) as pool:
        first = pool.workers[0]
        for _ in range(2):
            await pool.submit(sleeps, 2.0)

        async def submits() -> None:
            with pytest.raises(NoEligibleWorkerError):
                await pool.submit(gets, worker=first)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(submits)
            await wait_all_tasks_blocked()
            await first.remove()
    assert pool.statistics().submitted == 2


async def test_bury_buries_at_submit_and_what_is_queued(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], no_worker="bury", on_dead="keep") as pool:
        first = pool.workers[0]
        at_once = await pool.submit(gets, requires=["gpu"])
        assert at_once.dead_reason is DeadReason.NO_WORKER
        await pool.submit(sleeps, 1.0, worker=first)
        later = await pool.submit(gets, worker=first)
        await first.remove()
        assert later.dead_reason is DeadReason.NO_WORKER
    assert pool.statistics().dead == 2


async def test_wait_keeps_a_job_whose_worker_has_left(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], no_worker="wait", on_dead="keep") as pool:
        first = pool.workers[0]
        await first.remove()
        job = await pool.submit(gets, worker=first)
        await trio.sleep(5)
        assert job.state is JobState.QUEUED
    assert job.dead_reason is DeadReason.NO_WORKER


async def test_a_job_is_buried_when_it_is_queued_again_and_nobody_may_take_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(3.0), on_dead="keep") as pool:
        first = pool.workers[0]
        job = await pool.submit(fails, worker=first)
        await wait_all_tasks_blocked()
        assert job.state is JobState.DELAYED
        await first.remove()
        await pool.join()
    assert job.dead_reason is DeadReason.NO_WORKER
    assert job.finished_at == 3.0
    assert job.attempt_count == 1


async def test_an_evicted_job_is_buried_if_nobody_else_may_take_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        first = pool.workers[0]
        job = await pool.submit(sleeps_forever, worker=first)
        await wait_all_tasks_blocked()
        await first.remove(cancel=True)
    assert job.dead_reason is DeadReason.NO_WORKER


async def test_workers_that_reopen_rest_or_are_paused_count(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep") as pool:
        (worker,) = pool.workers
        worker.pause()
        jobs = [await pool.submit(gets)]
        worker.resume()
        worker.rest(1.0)
        jobs.append(await pool.submit(gets))
        await pool.join()
        doors.seconds_in = 5.0
        await pool.submit(breaks)
        await wait_all_tasks_blocked()
        assert worker.state is WorkerState.REOPENING
        jobs.append(await pool.submit(gets))
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3


async def test_a_worker_that_starts_counts(autojump_clock: MockClock) -> None:
    doors = Doors()
    no_resources: list[str] = []
    async with open_pool(no_resources, lifespan=doors.lifespan) as pool, trio.open_nursery() as nursery:
        doors.seconds_in = 5.0
        nursery.start_soon(pool.add, "a")
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is WorkerState.STARTING
        job = await pool.submit(gets)
        assert await job.wait() == "a"


async def test_what_waited_for_a_worker_that_fails_to_open_is_buried(autojump_clock: MockClock) -> None:
    doors = Doors(errors_in={"a": [OSError()]})
    no_resources: list[str] = []

    async with open_pool(no_resources, lifespan=doors.lifespan, on_dead="keep") as pool:
        doors.seconds_in = 5.0

        async def adds() -> None:
            with pytest.raises(OSError, match=r"^$"):
                await pool.add("a")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(adds)
            await wait_all_tasks_blocked()
            job = await pool.submit(gets)
        assert job.dead_reason is DeadReason.NO_WORKER
        assert pool.workers == ()
