"""Workers that are removed, with and without the job that they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, is_stubborn, nap, sleeps, sleeps_forever, state_of
from tests.openers import OpenPool, both
from tests.pool.workers.holding_back import pause, rest
from tests.pool.workers.users_of_resources import BOUNCE
from trio_pool import (
    Attempt,
    Instrument,
    Job,
    JobCancelledError,
    JobState,
    Pool,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Callable

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


@both
async def test_remove_waits_for_the_attempt_under_way_and_the_worker_is_gone(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(2) as pool:
        first, second = pool.workers
        job = await pool.submit(nap, 3, worker=first)
        await first.remove()
        assert trio.current_time() == 3
        assert job.state is JobState.SUCCEEDED
        assert state_of(first) is WorkerState.STOPPED
        assert pool.workers == (second,)


@both
async def test_a_worker_that_is_being_removed_starts_nothing_more(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        first, second = pool.workers
        second.pause()
        await pool.submit(nap, 3)
        queued = await pool.submit(nap, 0)
        await first.remove()
        assert queued.state is JobState.QUEUED
        second.resume()
        await queued.wait()


@both
async def test_remove_of_an_idle_worker_takes_no_time(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.workers[0].remove()
        assert trio.current_time() == 0
        assert pool.workers == ()


@pytest.mark.parametrize("hold_back", [pause, rest])
@both
async def test_a_worker_that_is_held_back_can_be_removed(
    opened: OpenPool, hold_back: Callable[[Worker], None], autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        hold_back(worker)
        await worker.remove()
        assert state_of(worker) is WorkerState.STOPPED
        assert trio.current_time() == 0


@both
async def test_remove_with_cancel_cancels_the_attempt_and_queues_its_job_again_at_the_front(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    starts: list[str] = []

    async def work(*args: Any) -> None:
        starts.append(args[-1])
        await trio.sleep(10)

    async with opened(2) as pool:
        first, second = pool.workers
        await pool.submit(nap, 5, worker=second)
        job = await pool.submit(work, "first")
        await pool.submit(work, "second")
        await trio.sleep(1)
        await first.remove(cancel=True)
        assert trio.current_time() == 1
        assert job.state is JobState.QUEUED
    assert starts == ["first", "first", "second"]


@both
async def test_removing_a_worker_that_has_gone_does_nothing_more(opened: OpenPool) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        await worker.remove()
        await worker.remove()
        await worker.remove(cancel=True)
        assert state_of(worker) is WorkerState.STOPPED


@both
async def test_many_may_remove_the_same_worker(opened: OpenPool, autojump_clock: MockClock) -> None:
    done_at: list[float] = []

    async def remove(worker: Worker) -> None:
        await worker.remove()
        done_at.append(trio.current_time())

    async with opened() as pool:
        [worker] = pool.workers
        await pool.submit(nap, 3)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(remove, worker)
    assert done_at == [3, 3, 3]


@both
async def test_a_job_cannot_remove_the_worker_that_it_runs_on(opened: OpenPool) -> None:
    async def saw(*args: Any) -> str:
        worker = current_job().worker
        assert worker is not None
        with pytest.raises(RuntimeError, match="worker-1 can't be removed by the job that runs on it"):
            await worker.remove()
        with pytest.raises(RuntimeError, match="worker-1 can't be removed by the job that runs on it"):
            await worker.remove(cancel=True)
        return "still here"

    async with opened() as pool:
        assert await pool.run(saw) == "still here"
        assert pool.workers[0].state is WorkerState.IDLE


@both
async def test_a_job_may_remove_another_worker(opened: OpenPool) -> None:
    async with opened(2) as pool:
        first, second = pool.workers

        async def remove(*args: Any) -> None:
            await second.remove()

        await pool.run(remove, worker=first)
        assert pool.workers == (first,)


@both
async def test_a_worker_that_has_gone_is_not_brought_back(opened: OpenPool) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        await worker.remove()
        worker.pause()
        worker.resume()
        worker.rest(5)
        assert state_of(worker) is WorkerState.STOPPED


async def test_the_last_worker_may_leave_and_another_come(autojump_clock: MockClock) -> None:
    async def whoami(resource: str) -> str:
        return resource

    async def change(pool: Pool[str]) -> None:
        await trio.sleep(1)
        await pool.workers[0].remove()
        await trio.sleep(1)
        await pool.add("b")

    async with open_pool(["a"], no_worker="wait") as pool, trio.open_nursery() as nursery:
        pool.workers[0].pause()
        nursery.start_soon(change, pool)
        assert await pool.run(whoami) == "b"
        assert trio.current_time() == 2


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
