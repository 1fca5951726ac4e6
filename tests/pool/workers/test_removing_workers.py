"""Workers that are removed, with and without the job that they run."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, is_stubborn, sleeps, sleeps_forever
from tests.pool.workers.users_of_resources import BOUNCE
from trio_pool import (
    Attempt,
    Instrument,
    Job,
    JobCancelledError,
    JobState,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)

# Removing.


async def test_a_removed_worker_finishes_its_attempt_leaves_its_lifespan_and_is_gone(
    autojump_clock: MockClock,
) -> None:
    doors = Doors(seconds_out=1.0)
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        first, second = pool.workers
        running = await pool.submit(sleeps, 2.0)
        await first.remove()
        assert trio.current_time() == 3.0
        assert running.state is JobState.SUCCEEDED
        assert doors.left == ["a"]
        assert pool.workers == (second,)
        assert first.state is WorkerState.STOPPED


async def test_a_worker_being_removed_takes_nothing_more(autojump_clock: MockClock) -> None:
    used: list[str] = []

    async def notes(resource: str) -> None:
        used.append(resource)
        await trio.sleep(1)

    async with open_pool(["a", "b"]) as pool:
        jobs = [await pool.submit(notes) for _ in range(4)]
        await pool.workers[0].remove()
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 4
    assert used == ["a", "b", "b", "b"]


async def test_an_attempt_cut_short_by_removing_is_neither_counted_nor_kept(autojump_clock: MockClock) -> None:
    ends: list[Exception | None] = []

    class Ends(Instrument):
        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            ends.append(attempt.error)

    async with open_pool(["a", "b"], instruments=[Ends()]) as pool:
        job = await pool.submit(sleeps, 2.0)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
    assert job.state is JobState.SUCCEEDED
    assert job.attempt_count == 1
    assert [attempt.worker_name for attempt in job.attempts] == ["worker-2"]
    assert isinstance(ends[0], JobCancelledError)
    assert ends[1:] == [None]


async def test_removing_with_cancel_breaks_no_retry_limit(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"], retry=RetryPolicy.never()) as pool:
        job = await pool.submit(sleeps, 2.0)
        for _ in range(2):
            await trio.sleep(1)
            assert job.worker is not None
            await job.worker.remove(cancel=True)
    assert job.state is JobState.SUCCEEDED


async def test_a_value_returned_in_spite_of_removing_with_cancel_is_a_success(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(is_stubborn, 2.0)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove(cancel=True)
    assert job.state is JobState.SUCCEEDED
    assert job.finished_at == 2.0


async def test_an_error_raised_when_removed_with_cancel_is_a_failure_that_may_be_retried(
    autojump_clock: MockClock,
) -> None:
    used: list[str] = []

    async def sulks_once(resource: str) -> str:
        used.append(resource)
        if len(used) == 1:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise OSError from None
        return resource

    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        job = await pool.submit(sulks_once)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove(cancel=True)
        assert await job.wait() == "b"


async def test_a_job_cancelled_and_then_evicted_is_cancelled(autojump_clock: MockClock) -> None:
    async def cleans_up(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    async with open_pool(["a", "b"]) as pool:
        first = pool.workers[0]
        job = await pool.submit(cleans_up)
        await wait_all_tasks_blocked()
        job.cancel()
        await first.remove(cancel=True)
        assert job.state is JobState.CANCELLED
        second = await pool.submit(cleans_up)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            assert second.worker is not None
            nursery.start_soon(lambda: pool.workers[0].remove(cancel=True))
            await wait_all_tasks_blocked()
            second.cancel()
        assert second.state is JobState.CANCELLED


async def test_removing_twice_waits_for_the_same_end(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=2.0)
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        worker = pool.workers[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.remove)
            nursery.start_soon(worker.remove)
        await worker.remove()
    assert sorted(doors.left) == ["a", "b"]


async def test_removing_with_cancel_hurries_a_removal_that_waits(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        worker = pool.workers[0]
        job = await pool.submit(sleeps_forever)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.remove)
            await trio.sleep(2)
            await worker.remove(cancel=True)
        assert worker.state is WorkerState.STOPPED
        assert job.state is JobState.RUNNING
        job.cancel()


async def test_a_removal_that_is_cancelled_goes_on_without_its_caller(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        worker = pool.workers[0]
        await pool.submit(sleeps, 3.0)
        with trio.move_on_after(1) as scope:
            await worker.remove()
        assert scope.cancelled_caught
        await trio.sleep(3)
        assert worker.state is WorkerState.STOPPED


# Errors of leaving, seen from remove().


async def test_an_error_of_leaving_comes_out_of_each_remove_that_waits(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=1.0, errors_out={"a": OSError("stuck")})
    told: list[str] = []

    async def removes(worker: Worker) -> None:
        with pytest.raises(OSError, match="stuck"):
            await worker.remove()
        told.append(worker.name)

    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        worker = pool.workers[0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(removes, worker)
            nursery.start_soon(removes, worker)
    assert told == ["worker-1", "worker-1"]
