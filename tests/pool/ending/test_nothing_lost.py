"""4.2: every job reaches one final state, and everybody who waits for it is woken."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, sleeps, sleeps_forever, works
from trio_pool import (
    DeadReason,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Pool,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import assert_settled


def finals(job: Job[object]) -> list[JobState]:
    """The final states that a job has been in."""
    return [each.state for each in job.history if each.state.is_final]


async def test_after_the_block_the_counts_add_up(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        await pool.submit(works)
        await pool.submit(fails)
        (await pool.submit(sleeps_forever)).cancel()
        for _ in range(4):
            await pool.submit(sleeps, 1.0)
    seen = pool.statistics()
    assert (seen.succeeded, seen.dead, seen.cancelled, seen.discarded) == (5, 1, 1, 0)
    assert seen.submitted == 7
    assert_settled(pool)


async def test_after_a_failed_body_the_counts_add_up(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a", "b"], retry=RetryPolicy.fixed(5.0)) as pool:
            for fn in (works, fails, sleeps_forever, sleeps_forever, works):
                await pool.submit(fn)
            await wait_all_tasks_blocked()
            raise KeyError
    seen = pool.statistics()
    assert seen.submitted == 5
    assert_settled(pool)


async def test_every_job_ends_once(autojump_clock: MockClock) -> None:
    ended: list[Job[object]] = []

    class Ends(Instrument):
        def job_finished(self, job: Job[object]) -> None:
            ended.append(job)

    with trio.move_on_after(1.5):
        async with open_pool(["a", "b"], instruments=[Ends()]) as pool:
            jobs = [await pool.submit(sleeps, 1.0) for _ in range(6)]
            jobs[0].cancel()
            jobs[0].cancel()
            jobs[5].cancel()
            await trio.sleep_forever()
    assert sorted(job.id for job in ended) == [job.id for job in jobs]
    assert [len(finals(job)) for job in jobs] == [1] * 6


async def test_a_job_with_a_final_state_stays_in_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(works)
        await job.wait()
        job.cancel()
        pool.cancel()
    assert finals(job) == [JobState.SUCCEEDED]


async def test_everybody_who_waits_for_a_job_is_woken_by_its_end(autojump_clock: MockClock) -> None:
    woken: list[str] = []

    async def waits(job: Job[float], name: str) -> None:
        await job.wait()
        woken.append(name)

    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps, 1.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits, job, "first")
            nursery.start_soon(waits, job, "second")
    assert sorted(woken) == ["first", "second"]


async def test_who_waits_outside_of_the_block_is_woken_when_everything_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    woken: list[Job[None]] = []

    async def waits(job: Job[None]) -> None:
        with pytest.raises(JobCancelledError):
            await job.wait()
        woken.append(job)

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with open_pool(["a"]) as pool:
                jobs = [await pool.submit(sleeps_forever) for _ in range(3)]
                for job in jobs:
                    nursery.start_soon(waits, job)
                await trio.sleep_forever()
    assert sorted(job.id for job in woken) == [job.id for job in jobs]


async def test_who_waits_for_a_start_is_woken_by_an_end_without_one(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        busy = await pool.submit(sleeps_forever)
        queued = await pool.submit(works)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queued.wait_started)
            await wait_all_tasks_blocked()
            queued.cancel()
        busy.cancel()
    assert queued.attempt_count == 0


async def test_who_joins_is_woken_when_the_last_job_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.join)
            await wait_all_tasks_blocked()
            job.cancel()
    assert job.state is JobState.CANCELLED


async def test_a_queued_job_waits_for_a_new_worker_when_the_last_has_left(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool:
        await pool.submit(sleeps, 1.0)
        queued = await pool.submit(works)
        await pool.workers[0].remove()
        assert queued.state is JobState.QUEUED
        await pool.add("b")
        assert await queued.wait() == "done"


async def test_a_job_handed_to_a_worker_that_is_removed_at_once_runs_elsewhere(autojump_clock: MockClock) -> None:
    used: list[str] = []

    async def notes(resource: str) -> None:
        used.append(resource)

    async with open_pool(["a", "b"]) as pool:
        first = pool.workers[0]
        pool.workers[1].pause()
        job = pool.submit_nowait(notes)
        pool.workers[1].resume()
        await first.remove(cancel=True)
    assert job.state is JobState.SUCCEEDED
    assert used == ["b"]


async def test_a_job_that_was_handed_over_when_the_pool_is_cancelled_never_begins(autojump_clock: MockClock) -> None:
    began: list[str] = []

    async def begins(resource: str) -> None:
        began.append(resource)

    async with open_pool(["a"]) as pool:
        job = pool.submit_nowait(begins)
        pool.cancel()
    assert job.state is JobState.CANCELLED
    assert began == []


async def test_a_failed_submit_leaves_no_job_behind(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        await pool.submit(sleeps, 5.0)
        with trio.move_on_after(1) as scope:
            await pool.submit(works)
    assert scope.cancelled_caught
    assert pool.statistics().submitted == 1


async def test_a_submitter_that_is_cancelled_as_its_place_gets_free_leaves_the_place_to_the_next(
    autojump_clock: MockClock,
) -> None:
    """A place must not go to somebody who is no longer there to take it."""
    admitted: list[str] = []

    async def submits(pool: Pool[str], name: str, scope: trio.CancelScope) -> None:
        with scope:
            await pool.submit(works)
            admitted.append(name)

    async with open_pool(["a"], max_queue=1) as pool:
        busy = await pool.submit(sleeps_forever)
        queued = await pool.submit(works)
        scopes = [trio.CancelScope(), trio.CancelScope()]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(submits, pool, "first", scopes[0])
            await wait_all_tasks_blocked()
            nursery.start_soon(submits, pool, "second", scopes[1])
            await wait_all_tasks_blocked()
            scopes[0].cancel()
            queued.cancel()
        busy.cancel()
    assert admitted == ["second"]
    assert pool.statistics().submitted == 3


async def test_jobs_are_settled_though_an_instrument_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Instrument):
        def job_finished(self, job: Job[object]) -> None:
            raise ValueError("in the instrument")

    async with open_pool(["a"], instruments=[Broken()]) as pool:
        jobs = [await pool.submit(works) for _ in range(3)]
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3
    assert "job_finished" in caplog.text


async def test_jobs_of_a_worker_whose_lifespan_breaks_for_good_run_elsewhere(autojump_clock: MockClock) -> None:
    doors = Doors(errors_in={})
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        for worker in pool.workers:
            worker.pause()
        jobs = [await pool.submit(works) for _ in range(4)]
        await pool.workers[0].remove(cancel=True)
        pool.workers[0].resume()
        for job in jobs:
            assert await job.wait() == "done"


async def test_a_buried_job_wakes_who_waits_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        first = pool.workers[0]
        first.pause()
        job = await pool.submit(works, worker=first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.remove)
            with pytest.raises(JobFailedError, match="no worker"):
                await job.wait()
    assert job.dead_reason is DeadReason.NO_WORKER
