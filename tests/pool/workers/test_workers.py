"""Workers, as their users see them: what they tell, their states, and how they are paused and rest."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, state_of
from tests.openers import OpenPool, both, over_resources
from tests.pool.workers.holding_back import pause, rest
from trio_pool import (
    JobState,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

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
