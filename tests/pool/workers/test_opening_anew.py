"""Lifespans, and resources that jobs find broken and that are reopened."""

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

from tests.actors import Doors, state_of
from tests.pool.workers.users_of_resources import BOUNCE, breaks, gets
from trio_pool import (
    DeadReason,
    Instrument,
    JobFailedError,
    JobState,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

PROMPT = RetryPolicy.immediate(max_attempts=3)


async def breaks_once(resource: str, broken: list[str]) -> str:
    if not broken:
        broken.append(resource)
        raise ResourceBroken("torn")
    return resource


# Lifespans.


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
