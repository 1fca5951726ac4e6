"""Workers, as their users see them: what they tell, pausing, resting, removing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both, over_resources
from trio_pool import (
    JobState,
    Pool,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

# The last argument is the job's own; a resource may come before it.


async def nap(*args: Any) -> None:
    await trio.sleep(args[-1])


def state_of(worker: Worker) -> WorkerState:
    """Its state now; type checkers would take what was seen before for what is seen now."""
    return worker.state


# What they tell


async def test_a_worker_tells_its_number_name_resource_and_tags() -> None:
    async with open_pool(["a", Resource("b", name="bee", tags=["gpu", "big"])]) as pool:
        first, second = pool.workers
    assert (first.id, first.name, first.resource, first.tags) == (1, "worker-1", "a", frozenset())
    assert (second.id, second.name, second.resource, second.tags) == (2, "bee", "b", frozenset(["gpu", "big"]))


@both
async def test_a_worker_tells_the_job_that_it_runs(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        seen = [(worker.job, worker.jobs)]
        job = await pool.submit(nap, 3)
        seen.append((worker.job, worker.jobs))
        await job.wait()
        seen.append((worker.job, worker.jobs))
    assert seen == [(None, ()), (job, (job,)), (None, ())]


async def test_numbers_are_not_used_again() -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.workers[1].remove()
        assert (await pool.add("c")).id == 3


async def test_a_worker_shows_what_a_reader_needs(autojump_clock: MockClock) -> None:
    async with over_resources() as pool:
        [worker] = pool.workers
        assert repr(worker) == "<trio_pool.Worker 1 worker-1, idle>"
        await pool.submit(nap, 3)
        assert repr(worker) == "<trio_pool.Worker 1 worker-1, busy with job 1 (nap(3)) for 0.0 s>"
    assert repr(worker) == "<trio_pool.Worker 1 worker-1, stopped>"


# States


@both
async def test_a_worker_is_idle_busy_and_in_the_end_stopped(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        seen = [worker.state]
        job = await pool.submit(nap, 3)
        seen.append(worker.state)
        await job.wait()
        seen.append(worker.state)
    seen.append(worker.state)
    assert seen == [WorkerState.IDLE, WorkerState.BUSY, WorkerState.IDLE, WorkerState.STOPPED]


async def test_a_worker_is_starting_while_its_lifespan_is_entered(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def slow(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(5)
        yield resource

    nobody: list[str] = []
    async with open_pool(nobody, lifespan=slow) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.add, "a")
        await trio.sleep(1)
        [worker] = pool.workers
        assert state_of(worker) is WorkerState.STARTING
        assert pool.idle_workers == ()
        await trio.sleep(5)
        assert state_of(worker) is WorkerState.IDLE


async def test_a_worker_is_reopening_while_its_lifespan_is_entered_again(autojump_clock: MockClock) -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def slow(resource: str) -> AsyncGenerator[str]:
        await trio.sleep(5)
        opened.append(resource)
        yield resource

    async def work(resource: str) -> None:
        if len(opened) == 1:
            raise ResourceBroken

    async with open_pool(["a"], lifespan=slow, retry=RetryPolicy.immediate()) as pool:
        [worker] = pool.workers
        job = await pool.submit(work)
        await trio.sleep(1)
        assert state_of(worker) is WorkerState.REOPENING
        assert job.state is JobState.QUEUED
        worker.pause()
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        await job.wait()
        assert state_of(worker) is WorkerState.IDLE


def pause(worker: Worker) -> None:
    worker.pause()


def rest(worker: Worker) -> None:
    worker.rest(100)


@pytest.mark.parametrize(("hold_back", "state"), [(pause, WorkerState.PAUSED), (rest, WorkerState.RESTING)])
@both
async def test_busy_is_shown_before_what_comes_after_it(
    opened: OpenPool, hold_back: Callable[[Worker], None], state: WorkerState, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        job = await pool.submit(nap, 3)
        hold_back(worker)
        assert state_of(worker) is WorkerState.BUSY
        await job.wait()
        assert state_of(worker) is state


async def test_paused_is_shown_before_resting(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        [worker] = pool.workers
        worker.rest(5)
        worker.pause()
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        assert state_of(worker) is WorkerState.RESTING


# pause and resume


@both
async def test_a_paused_worker_finishes_its_attempt_and_then_starts_nothing_more(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        running = await pool.submit(nap, 3)
        queued = await pool.submit(nap, 3)
        worker.pause()
        await running.wait()
        await trio.sleep(10)
        assert running.state is JobState.SUCCEEDED
        assert queued.state is JobState.QUEUED
        worker.resume()
        await queued.wait()
        assert trio.current_time() == 16


@both
async def test_a_paused_worker_takes_no_new_job(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.pause()
        job = await pool.submit(nap, 0)
        await trio.sleep(10)
        assert job.state is JobState.QUEUED
        assert pool.idle_workers == ()
        worker.resume()
        await job.wait()
        assert trio.current_time() == 10


@both
async def test_resuming_during_the_attempt_under_way_undoes_the_pause(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        await pool.submit(nap, 3)
        last = await pool.submit(nap, 3)
        worker.pause()
        await trio.sleep(1)
        worker.resume()
        await last.wait()
        assert trio.current_time() == 6


@both
async def test_one_resume_undoes_any_number_of_pauses(opened: OpenPool) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.pause()
        worker.pause()
        worker.resume()
        assert state_of(worker) is WorkerState.IDLE


@both
async def test_other_workers_take_what_a_paused_one_would_have_taken(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(2) as pool:
        pool.workers[0].pause()
        for _ in range(4):
            await pool.submit(nap, 1)
        await pool.join()
        assert trio.current_time() == 4


# rest


@both
async def test_a_rest_is_a_pause_that_ends_by_itself(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.rest(5)
        job = await pool.submit(nap, 0)
        await wait_all_tasks_blocked()
        assert job.state is JobState.QUEUED
        await job.wait()
        assert trio.current_time() == 5


@both
async def test_a_rest_lets_the_attempt_under_way_finish(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        first = await pool.submit(nap, 3)
        second = await pool.submit(nap, 0)
        worker.rest(5)
        await first.wait()
        assert trio.current_time() == 3
        await second.wait()
        assert trio.current_time() == 5


@both
async def test_a_rest_that_ends_during_the_attempt_holds_nothing_up(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        await pool.submit(nap, 5)
        last = await pool.submit(nap, 0)
        worker.rest(3)
        await last.wait()
        assert trio.current_time() == 5


@pytest.mark.parametrize("rests", [(5, 2), (2, 5)])
@both
async def test_of_two_rests_the_later_end_holds(
    opened: OpenPool, rests: tuple[float, float], autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        for seconds in rests:
            worker.rest(seconds)
        await pool.run(nap, 0)
        assert trio.current_time() == 5


@both
async def test_a_later_rest_may_end_later_though_it_is_shorter(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.rest(5)
        await trio.sleep(4)
        worker.rest(3)
        await pool.run(nap, 0)
        assert trio.current_time() == 7


@both
async def test_resume_does_not_end_a_rest(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.rest(5)
        worker.pause()
        worker.resume()
        assert state_of(worker) is WorkerState.RESTING
        await pool.run(nap, 0)
        assert trio.current_time() == 5


@both
async def test_the_end_of_a_rest_does_not_end_a_pause(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.rest(5)
        worker.pause()
        await trio.sleep(6)
        assert state_of(worker) is WorkerState.PAUSED


@both
async def test_a_rest_of_no_time_is_none(opened: OpenPool) -> None:
    async with opened() as pool:
        [worker] = pool.workers
        worker.rest(0)
        assert state_of(worker) is WorkerState.IDLE


@both
async def test_a_job_may_let_its_own_worker_rest(opened: OpenPool, autojump_clock: MockClock) -> None:
    async def rest_afterwards(*args: Any) -> None:
        worker = current_job().worker
        assert worker is not None
        worker.rest(5)

    async with opened() as pool:
        await pool.run(rest_afterwards)
        await pool.run(nap, 0)
        assert trio.current_time() == 5


# remove


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
