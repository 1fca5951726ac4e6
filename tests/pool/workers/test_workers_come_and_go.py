"""4.6: pausing, resting, removing and adding workers, their lifespans, and opening them anew."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, is_stubborn, sleeps, sleeps_forever, state_of, works
from trio_pool import (
    Attempt,
    DeadReason,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    PoolClosedError,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BOUNCE = RetryPolicy.fixed(1.0, placement="other")
PROMPT = RetryPolicy.immediate(max_attempts=3)


async def gets(resource: str) -> str:
    """Returns what it is given."""
    return resource


async def breaks(resource: str) -> None:
    raise ResourceBroken("torn")


async def breaks_once(resource: str, broken: list[str]) -> str:
    if not broken:
        broken.append(resource)
        raise ResourceBroken("torn")
    return resource


# Pausing.


async def test_a_paused_worker_finishes_its_attempt_and_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        running = await pool.submit(sleeps, 2.0)
        queued = await pool.submit(works)
        worker.pause()
        assert state_of(worker) is WorkerState.BUSY
        await trio.sleep(5)
        assert running.finished_at == 2.0
        assert state_of(worker) is WorkerState.PAUSED
        assert queued.state is JobState.QUEUED
        worker.resume()
        assert await queued.wait() == "done"


async def test_a_paused_worker_is_not_idle(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        first.pause()
        assert pool.idle_workers == (second,)
        assert await pool.run(gets) == "b"
        first.resume()
        assert set(pool.idle_workers) == {first, second}


async def test_pausing_twice_is_undone_by_resuming_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.pause()
        worker.pause()
        worker.resume()
        assert worker.state is WorkerState.IDLE
        assert await pool.run(works) == "done"


async def test_a_worker_paused_and_resumed_while_busy_goes_on(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 1.0)
        queued = await pool.submit(works)
        worker.pause()
        worker.resume()
        await queued.wait()
        assert queued.finished_at == 1.0


async def test_a_worker_paused_while_it_starts_is_paused_when_it_has_started(autojump_clock: MockClock) -> None:
    class PausesAtOnce(Instrument):
        def worker_started(self, worker: Worker) -> None:
            worker.pause()

    async with open_pool(["a"], instruments=[PausesAtOnce()]) as pool:
        assert pool.workers[0].state is WorkerState.PAUSED
        assert pool.idle_workers == ()


# Resting.


async def test_a_rest_ends_by_itself(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.rest(3.0)
        assert state_of(worker) is WorkerState.RESTING
        assert worker.statistics().available_at == 3.0
        job = await pool.submit(works)
        await job.wait()
        assert trio.current_time() == 3.0
        assert state_of(worker) is WorkerState.IDLE


async def test_a_worker_told_to_rest_finishes_its_attempt_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        running = await pool.submit(sleeps, 2.0)
        queued = await pool.submit(works)
        worker.rest(5.0)
        await pool.join()
    assert (running.finished_at, queued.finished_at) == (2.0, 5.0)


async def test_of_two_rests_the_later_end_holds(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.rest(5.0)
        worker.rest(3.0)
        job = await pool.submit(works)
        await job.wait()
        assert trio.current_time() == 5.0
        worker.rest(1.0)
        worker.rest(4.0)
        assert worker.statistics().available_at == 9.0


async def test_resuming_does_not_end_a_rest(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.rest(3.0)
        worker.pause()
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        assert state_of(worker) is WorkerState.RESTING
        await pool.run(works)
        assert trio.current_time() == 3.0


async def test_the_end_of_a_rest_does_not_end_a_pause(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.pause()
        worker.rest(3.0)
        await trio.sleep(5)
        assert worker.state is WorkerState.PAUSED


async def test_a_job_that_stays_with_its_worker_waits_for_the_end_of_its_rest(autojump_clock: MockClock) -> None:
    used: list[tuple[str, float]] = []

    async def is_told_to_wait(resource: str) -> None:
        used.append((resource, trio.current_time()))
        if len(used) == 1:
            raise RetryAfter(10, rest=True, placement="same")

    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        await pool.run(is_told_to_wait)
    assert used == [("a", 0.0), ("a", 10.0)]


async def test_a_job_whose_worker_rests_goes_on_at_once_with_another(autojump_clock: MockClock) -> None:
    used: list[tuple[str, float]] = []

    async def is_told_to_wait(resource: str) -> None:
        used.append((resource, trio.current_time()))
        if len(used) == 1:
            raise RetryAfter(10, rest=True)

    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        await pool.run(is_told_to_wait)
        assert used == [("a", 0.0), ("b", 0.0)]
        assert pool.workers[0].state is WorkerState.RESTING


async def test_a_job_whose_only_worker_rests_goes_on_afterwards(autojump_clock: MockClock) -> None:
    used: list[float] = []

    async def is_told_to_wait(resource: str) -> None:
        used.append(trio.current_time())
        if len(used) == 1:
            raise RetryAfter(10, rest=True)

    async with open_pool(["a"], retry=RetryPolicy()) as pool:
        await pool.run(is_told_to_wait)
    assert used == [0.0, 10.0]


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


async def test_removing_with_cancel_queues_the_job_again_at_the_front(autojump_clock: MockClock) -> None:
    began: list[tuple[str, str]] = []

    async def notes(resource: str, name: str) -> None:
        began.append((resource, name))
        await trio.sleep(2)

    async with open_pool(["a", "b"]) as pool:
        for name in ("first", "second", "third"):
            await pool.submit(notes, name)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
        assert trio.current_time() == 1.0
    assert began == [("a", "first"), ("b", "second"), ("b", "first"), ("b", "third")]


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


async def test_a_paused_or_resting_worker_can_be_removed(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool:
        first, second, third = pool.workers
        first.pause()
        second.rest(10.0)
        await first.remove()
        await second.remove()
        assert pool.workers == (third,)
    assert trio.current_time() == 0.0


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


async def test_a_worker_cannot_be_removed_by_the_job_that_runs_on_it(autojump_clock: MockClock) -> None:
    async def removes_its_worker(resource: str) -> str:
        worker = current_job().worker
        assert worker is not None
        with pytest.raises(RuntimeError, match="worker-1 can't be removed by the job that runs on it"):
            await worker.remove()
        return "still here"

    async with open_pool(["a"]) as pool:
        assert await pool.run(removes_its_worker) == "still here"


async def test_a_worker_can_be_removed_by_a_job_on_another(autojump_clock: MockClock) -> None:
    async def removes(resource: str, worker: Worker) -> None:
        await worker.remove()

    async with open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        await pool.run(removes, first, worker=second)
        assert pool.workers == (second,)


# Jobs that no worker may take.


async def test_reject_raises_at_submit(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["gpu"])]) as pool:
        with pytest.raises(NoEligibleWorkerError, match="gets"):
            await pool.submit(gets, requires=["gpu", "fast"])
        with pytest.raises(NoEligibleWorkerError):
            pool.submit_nowait(gets, requires=["fast"])
        with pytest.raises(NoEligibleWorkerError):
            await pool.run(gets, requires=["fast"])
    assert pool.statistics().submitted == 0


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


async def test_wait_keeps_a_job_for_a_worker_that_may_come(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool:
        job = await pool.submit(gets, requires=["gpu"])
        await trio.sleep(5)
        assert job.state is JobState.QUEUED
        await pool.add("b", tags=["gpu"])
        assert await job.wait() == "b"


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


# Adding.


async def test_a_new_worker_is_there_once_its_lifespan_has_been_entered(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan) as pool:
        doors.seconds_in = 2.0
        worker = await pool.add("b", name="second", tags=["new"])
        assert trio.current_time() == 2.0
        assert (worker.name, worker.resource, worker.tags) == ("second", "b", frozenset({"new"}))
        assert pool.workers[1] is worker
        assert await pool.run(gets, requires=["new"]) == "b"


async def test_a_new_worker_takes_what_is_queued(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps, 5.0)
        queued = await pool.submit(gets)
        await pool.add("b")
        assert await queued.wait() == "b"
        assert trio.current_time() == 0.0


async def test_a_failing_add_raises_and_leaves_no_worker_behind(autojump_clock: MockClock) -> None:
    error = OSError("no such device")
    doors = Doors(errors_in={"b": [error]})
    stopped: list[Worker] = []

    class Stops(Instrument):
        def worker_stopped(self, worker: Worker) -> None:
            stopped.append(worker)

    async with open_pool(["a"], lifespan=doors.lifespan, instruments=[Stops()]) as pool:
        with pytest.raises(OSError, match="no such device") as caught:
            await pool.add("b")
        assert caught.value is error
        assert [worker.resource for worker in pool.workers] == ["a"]
        assert stopped == []
        assert await pool.run(gets) == "a"
    assert doors.left == ["a"]


async def test_a_cancelled_add_leaves_no_worker_behind(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan) as pool:
        doors.seconds_in = 10.0
        with trio.move_on_after(1) as scope:
            await pool.add("b")
        assert scope.cancelled_caught
        assert trio.current_time() == 1.0
        assert len(pool.workers) == 1
    assert doors.entered == doors.left == ["a"]


async def test_a_job_may_add_a_worker_that_outlives_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:

        async def adds(resource: str) -> None:
            await pool.add("b")

        await pool.run(adds)
        assert await pool.run(gets, worker=pool.workers[1]) == "b"


async def test_nobody_is_added_once_the_workers_have_been_stopped(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pass
    with pytest.raises(PoolClosedError):
        await pool.add("b")
    assert pool.workers == ()


async def test_an_add_under_way_when_the_pool_is_cancelled_is_told_so(autojump_clock: MockClock) -> None:
    doors = Doors()
    told: list[bool] = []
    async with trio.open_nursery() as nursery, open_pool(["a"], lifespan=doors.lifespan) as pool:
        doors.seconds_in = 10.0

        async def adds() -> None:
            with pytest.raises(PoolClosedError):
                await pool.add("b")
            told.append(True)

        nursery.start_soon(adds)
        await wait_all_tasks_blocked()
        pool.cancel()
    assert told
    assert doors.entered == doors.left == ["a"]


# Lifespans.


async def test_jobs_get_what_the_lifespan_yields(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def counted(name: str) -> AsyncGenerator[int]:
        yield len(name)

    async def doubles(resource: int) -> int:
        return 2 * resource

    async with open_pool(["abc"], lifespan=counted) as pool:
        assert await pool.run(doubles) == 6
        assert pool.workers[0].resource == "abc"


async def test_a_lifespan_is_entered_and_left_in_the_same_task(autojump_clock: MockClock) -> None:
    tasks: list[trio.lowlevel.Task] = []

    @asynccontextmanager
    async def has_a_nursery(name: str) -> AsyncGenerator[str]:
        tasks.append(trio.lowlevel.current_task())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield name
            nursery.cancel_scope.cancel()
        tasks.append(trio.lowlevel.current_task())

    async with open_pool(["a"], lifespan=has_a_nursery) as pool:
        assert await pool.run(gets) == "a"
    assert tasks[0] is tasks[1]


async def test_a_lifespan_that_is_no_context_manager_is_told_so(autojump_clock: MockClock) -> None:
    def not_a_manager(name: str) -> Any:
        return name

    with pytest.raises(TypeError, match="lifespan must return an async context manager, returned 'a'"):
        async with open_pool(["a"], lifespan=not_a_manager):
            raise AssertionError("unreachable")


# Opening anew.


async def test_a_broken_resource_is_left_and_entered_again_between_jobs(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, retry=PROMPT) as pool:
        assert await pool.run(breaks_once, list[str]()) == "a"
        assert doors.entered == ["a", "a"]
        assert doors.left == ["a"]
    assert doors.left == ["a", "a"]


async def test_a_broken_resource_is_a_failure_like_any_other(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, retry=BOUNCE) as pool:
        used: list[str] = []

        async def breaks_then_works(resource: str) -> str:
            used.append(resource)
            if len(used) == 1:
                raise ResourceBroken("torn")
            return resource

        job = await pool.submit(breaks_then_works)
        assert await job.wait() == "b"
        assert job.finished_at == 1.0
        assert isinstance(job.attempts[0].error, ResourceBroken)
        failing = await pool.submit(breaks, retry=RetryPolicy.never())
        with pytest.raises(JobFailedError):
            await failing.wait()
    assert failing.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_while_it_reopens_a_worker_says_so_and_takes_no_job(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=2.0)
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep") as pool:
        (worker,) = pool.workers
        doors.seconds_in = 3.0
        await pool.submit(breaks)
        queued = await pool.submit(gets)
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.REOPENING
        assert pool.idle_workers == ()
        await queued.wait()
        assert queued.finished_at == 5.0
        assert state_of(worker) is WorkerState.IDLE


async def test_instruments_are_told_of_reopening(autojump_clock: MockClock) -> None:
    told: list[str] = []

    class Tells(Instrument):
        def worker_started(self, worker: Worker) -> None:
            told.append("started")

        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            told.append(f"reopening: {error}")

        def worker_stopped(self, worker: Worker) -> None:
            told.append("stopped")

    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep", instruments=[Tells()]) as pool:
        await pool.submit(breaks)
        await pool.join()
        await wait_all_tasks_blocked()
    assert told == ["started", "reopening: torn", "started", "stopped"]


async def test_if_entering_fails_the_worker_backs_off_and_tries_again(autojump_clock: MockClock) -> None:
    errors: list[Exception] = [OSError("still torn") for _ in range(4)]
    doors = Doors(errors_in={"a": []})
    reopenings: list[float] = []

    class Reopens(Instrument):
        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            reopenings.append(trio.current_time())

    async with open_pool(["a"], lifespan=doors.lifespan, retry=PROMPT, instruments=[Reopens()], rng=Random(0)) as pool:
        doors.errors_in["a"] = errors
        assert await pool.run(breaks_once, list[str]()) == "a"
    assert doors.entered == doors.left == ["a", "a"]
    assert len(reopenings) == 5
    waits = [after - before for before, after in pairwise(reopenings[1:])]
    assert all(wait >= 0.05 for wait in waits)
    assert waits == sorted(waits)


async def test_the_error_of_reopening_shows_in_the_statistics(autojump_clock: MockClock) -> None:
    error = OSError("still torn")
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep") as pool:
        doors.errors_in["a"] = [error]
        await pool.submit(breaks)
        await wait_all_tasks_blocked()
        assert pool.workers[0].statistics().last_error is error


async def test_a_worker_that_backs_off_from_reopening_can_be_removed_at_once(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, on_dead="keep") as pool:
        doors.errors_in["a"] = [OSError() for _ in range(100)]
        worker = pool.workers[0]
        await pool.submit(breaks, worker=worker)
        await trio.sleep(10)
        before = trio.current_time()
        await worker.remove()
        assert trio.current_time() == before
        assert worker.state is WorkerState.STOPPED


async def test_a_worker_that_is_entering_again_can_be_removed_at_once(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, on_dead="keep") as pool:
        worker = pool.workers[0]
        doors.seconds_in = 100.0
        await pool.submit(breaks, worker=worker)
        await trio.sleep(10)
        await worker.remove()
        assert trio.current_time() == 10.0
        assert worker.state is WorkerState.STOPPED


async def test_the_block_does_not_wait_for_a_reopening_that_nobody_needs(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep") as pool:
        doors.errors_in["a"] = [OSError() for _ in range(1000)]
        await pool.submit(breaks)
        await trio.sleep(10)
    assert trio.current_time() == 10.0


async def test_the_block_waits_for_a_reopening_that_jobs_need(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep") as pool:
        doors.errors_in["a"] = [OSError() for _ in range(3)]
        await pool.submit(breaks)
        queued = await pool.submit(gets)
    assert queued.state is JobState.SUCCEEDED


async def test_an_error_of_leaving_a_broken_resource_comes_out_of_the_block(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("really torn")})
    with pytest.RaisesGroup(OSError):
        async with open_pool(["a"], lifespan=doors.lifespan, retry=PROMPT) as pool:
            job = await pool.submit(breaks_once, list[str]())
            await job.wait()
            doors.errors_out.clear()
    assert job.state is JobState.SUCCEEDED


async def test_without_a_lifespan_a_broken_resource_is_just_used_again(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PROMPT) as pool:
        assert await pool.run(breaks_once, list[str]()) == "a"


async def test_a_pause_outlasts_a_reopening(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, on_dead="keep") as pool:
        (worker,) = pool.workers
        await pool.submit(breaks)
        worker.pause()
        await wait_all_tasks_blocked()
        assert doors.entered == ["a", "a"]
        assert worker.state is WorkerState.PAUSED


# A lifespan that breaks by itself.


class Cable:
    """A lifespan with a background task that ends it when told to."""

    def __init__(self) -> None:
        self.entered = 0
        self.left = 0
        self.cut = trio.Event()
        self.error: Exception | None = None

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self.cut.wait()
        self.cut = trio.Event()
        if self.error is not None:
            raise self.error
        scope.cancel()

    @asynccontextmanager
    async def lifespan(self, name: str) -> AsyncGenerator[str]:
        async with trio.open_nursery() as nursery:
            self.entered += 1
            nursery.start_soon(self._watch, nursery.cancel_scope)
            try:
                yield name
            finally:
                self.left += 1
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("error", [None, OSError("cut")])
async def test_a_lifespan_that_ends_while_its_worker_is_idle_is_entered_again(
    autojump_clock: MockClock, error: Exception | None
) -> None:
    cable = Cable()
    cable.error = error
    async with open_pool(["a"], lifespan=cable.lifespan) as pool:
        await wait_all_tasks_blocked()
        cable.cut.set()
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is WorkerState.REOPENING
        assert await pool.run(gets) == "a"
        assert (cable.entered, cable.left) == (2, 1)
    assert (cable.entered, cable.left) == (2, 2)


@pytest.mark.parametrize("error", [None, OSError("cut")])
async def test_a_lifespan_that_ends_under_a_job_fails_it_as_a_broken_resource(
    autojump_clock: MockClock, error: Exception | None
) -> None:
    cable = Cable()
    cable.error = error
    async with open_pool(["a"], lifespan=cable.lifespan, retry=RetryPolicy.fixed(1.0)) as pool:
        job = await pool.submit(sleeps, 2.0)
        await wait_all_tasks_blocked()
        cable.cut.set()
        assert await job.wait() == 2.0
    assert job.attempt_count == 2
    assert isinstance(job.attempts[0].error, ResourceBroken)
    assert (cable.entered, cable.left) == (2, 2)


async def test_a_lifespan_that_ends_under_a_job_without_retries_kills_it(autojump_clock: MockClock) -> None:
    cable = Cable()
    cable.error = OSError("cut")
    async with open_pool(["a"], lifespan=cable.lifespan) as pool:
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        cable.cut.set()
        with pytest.raises(JobFailedError) as caught:
            await job.wait()
        assert await pool.run(gets) == "a"
    assert isinstance(caught.value.__cause__, ResourceBroken)
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


async def test_a_job_that_was_cancelled_while_its_lifespan_ended_is_cancelled(autojump_clock: MockClock) -> None:
    async def cleans_up(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)

    cable = Cable()
    async with open_pool(["a"], lifespan=cable.lifespan) as pool:
        job = await pool.submit(cleans_up)
        await wait_all_tasks_blocked()
        cable.cut.set()
        await trio.sleep(1)
        job.cancel()
    assert job.state is JobState.CANCELLED
    assert cable.entered == cable.left


async def test_a_job_handed_over_as_the_lifespan_ends_runs_afterwards_uncounted(autojump_clock: MockClock) -> None:
    cable = Cable()
    async with open_pool(["a"], lifespan=cable.lifespan) as pool:
        await wait_all_tasks_blocked()
        cable.cut.set()
        job = pool.submit_nowait(gets)
        assert await job.wait() == "a"
    assert job.attempt_count == 1


async def test_a_function_that_returns_though_its_lifespan_has_ended_has_succeeded(autojump_clock: MockClock) -> None:
    cable = Cable()
    async with open_pool(["a"], lifespan=cable.lifespan) as pool:
        job = await pool.submit(is_stubborn, 3.0)
        await wait_all_tasks_blocked()
        cable.cut.set()
        assert await job.wait() == "done all the same"
        assert await pool.run(gets) == "a"
    assert cable.entered == cable.left == 2


async def test_a_worker_whose_lifespan_has_ended_can_be_removed(autojump_clock: MockClock) -> None:
    cable = Cable()
    async with open_pool(["a", "b"], lifespan=cable.lifespan) as pool:
        worker = pool.workers[0]
        await wait_all_tasks_blocked()
        cable.cut.set()
        await wait_all_tasks_blocked()
        await worker.remove()
        assert worker.state is WorkerState.STOPPED
    assert cable.entered == cable.left


async def test_a_lifespan_that_swallows_the_end_of_its_session_is_entered_again(autojump_clock: MockClock) -> None:
    """Its scope is cancelled and caught inside the lifespan, so no error comes out at all."""
    entered: list[str] = []
    scopes: list[trio.CancelScope] = []

    @asynccontextmanager
    async def scoped(name: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            entered.append(name)
            yield name

    async with open_pool(["a"], lifespan=scoped) as pool:
        await wait_all_tasks_blocked()
        scopes[0].cancel()
        await wait_all_tasks_blocked()
        assert await pool.run(gets) == "a"
    assert entered == ["a", "a"]


async def test_what_is_no_exception_out_of_a_reopening_ends_everything(autojump_clock: MockClock) -> None:
    entered: list[str] = []

    @asynccontextmanager
    async def exits_at_the_second(name: str) -> AsyncGenerator[str]:
        entered.append(name)
        if len(entered) == 2:
            raise SystemExit
        yield name

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(["a"], lifespan=exits_at_the_second, on_dead="keep") as pool:
            await pool.submit(breaks)
            await trio.sleep_forever()
    assert pool.workers == ()


async def test_what_is_no_exception_out_of_leaving_comes_out_in_a_group(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def exits_at_the_end(name: str) -> AsyncGenerator[str]:
        yield name
        raise SystemExit

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(["a"], lifespan=exits_at_the_end) as pool:
            job = await pool.submit(gets)
    assert job.state is JobState.SUCCEEDED


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
