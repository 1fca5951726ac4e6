"""Lifespans that break by themselves while their worker is idle or runs a job."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import is_stubborn, sleeps_forever
from tests.pool.workers.users_of_resources import breaks, gets
from trio_pool import DeadReason, JobFailedError, JobState, ResourceBroken, WorkerState, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


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
