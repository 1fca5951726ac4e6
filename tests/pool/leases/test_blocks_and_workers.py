"""A worker neither leaves nor reopens its resource during a block; if its lifespan breaks, the block is cancelled."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, sleeps_forever, works
from tests.pool.leases.borrowers import Opened, fail, linger, stay
from trio_pool import JobCancelledError, JobState, Resource, ResourceBroken, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


# The worker goes


async def test_a_removed_worker_waits_for_the_block(autojump_clock: MockClock) -> None:
    opened = Opened()

    async def remove() -> None:
        await trio.sleep(1)
        await pool.workers[0].remove()

    async with open_pool(["a"], lifespan=opened.lifespan, no_worker="wait") as pool, trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        async with pool.acquire():
            await trio.sleep(3)
            assert (opened.closed, len(pool.workers)) == (0, 1)
        await wait_all_tasks_blocked()
        assert (opened.closed, len(pool.workers)) == (1, 0)


async def test_a_worker_that_is_removed_by_force_cancels_the_block(autojump_clock: MockClock) -> None:
    async def remove() -> None:
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        lease = pool.acquire(timeout=0.5)
        with pytest.raises(JobCancelledError):
            await stay(lease)
        assert lease.job.state is JobState.CANCELLED
        assert trio.current_time() == 1


async def test_a_resource_is_not_reopened_during_a_block(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        async with pool.acquire():
            pool.workers[0].reopen()
            await trio.sleep(3)
            assert (opened.count, opened.closed) == (1, 0)
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_the_other_places_finish_before_the_resource_is_reopened(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan) as pool:
        job = await pool.submit(nap, 5)
        with pytest.raises(ResourceBroken):
            await fail(pool.acquire(), ResourceBroken())
        assert opened.closed == 0
        async with pool.acquire() as resource:
            assert (resource, trio.current_time()) == ("a2", 5)
        assert job.state is JobState.SUCCEEDED


async def test_the_block_finishes_before_a_job_has_the_resource_reopened(autojump_clock: MockClock) -> None:
    async def breaks(resource: object) -> None:
        raise ResourceBroken

    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan, on_dead="keep") as pool:
        async with pool.acquire():
            await pool.submit(breaks)
            await trio.sleep(5)
            assert opened.closed == 0
        async with pool.acquire() as resource:
            assert resource == "a2"


# The lifespan breaks


@pytest.mark.parametrize("others", [0, 1])
async def test_a_lifespan_that_breaks_cancels_the_block(autojump_clock: MockClock, others: int) -> None:
    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan, on_dead="keep") as pool:
        for _ in range(others):
            await pool.submit(sleeps_forever)
        lease = pool.acquire()
        with pytest.raises(ResourceBroken, match="unplugged") as caught:
            await stay(lease, lambda: opened.breaks.set())
        assert caught.value.__cause__ is not None
        assert lease.job.state is JobState.DEAD
        assert isinstance(lease.job.attempts[0].error, ResourceBroken)
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_a_lifespan_that_breaks_waits_for_a_block_that_takes_its_time(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool, trio.open_nursery() as nursery:

        async def borrow() -> None:
            with pytest.raises(ResourceBroken):
                await linger(pool.acquire(), lambda: opened.breaks.set())
            assert trio.current_time() == 3

        nursery.start_soon(borrow)
        await trio.sleep(2)
        assert opened.closed == 0


async def test_a_lifespan_that_breaks_is_noticed_while_a_job_is_stubborn(autojump_clock: MockClock) -> None:
    async def stubborn(resource: str) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    cancelled_at: list[float] = []

    async def borrow() -> None:
        async with pool.acquire():
            try:
                await trio.sleep_forever()
            finally:
                cancelled_at.append(trio.current_time())

    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan) as pool:
        with pytest.RaisesGroup(ResourceBroken):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(borrow)
                await wait_all_tasks_blocked()
                await pool.submit(stubborn)
                await trio.sleep(1)
                opened.breaks.set()
    assert cancelled_at == [1]


async def test_a_block_that_ends_although_its_lifespan_breaks_has_succeeded(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        lease = pool.acquire()
        async with lease:
            opened.breaks.set()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
        assert lease.job.state is JobState.SUCCEEDED
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_an_error_of_the_block_stands_although_its_lifespan_breaks() -> None:
    opened = Opened()

    async def sulk() -> None:
        async with pool.acquire():
            opened.breaks.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise ValueError("no") from None

    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        with pytest.raises(ValueError, match="no"):
            await sulk()


class SlowToBreak(Opened):
    """Takes five seconds to break."""

    @asynccontextmanager
    async def lifespan(self, resource: str) -> AsyncGenerator[str]:
        async with super().lifespan(resource) as opened:
            try:
                yield opened
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)


@pytest.mark.parametrize("outcome", [JobCancelledError, trio.Cancelled])
async def test_cancelled_while_the_lifespan_takes_its_time_to_break(
    autojump_clock: MockClock, outcome: type[BaseException]
) -> None:
    opened = SlowToBreak()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()

        async def cancel() -> None:
            await trio.sleep(1)
            if outcome is JobCancelledError:
                lease.job.cancel()
            else:
                scope.cancel()

        nursery.start_soon(cancel)
        with trio.CancelScope() as scope, pytest.raises(outcome):
            await stay(lease, lambda: opened.breaks.set())
        assert trio.current_time() == 1
        assert lease.job.state is JobState.CANCELLED


@pytest.mark.parametrize("repetition", range(20))  # Trio runs what is due at one instant in any order
async def test_a_lifespan_that_breaks_before_the_block_begins_costs_only_another_wait(repetition: int) -> None:
    scopes: list[trio.CancelScope] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            yield f"{resource}{len(scopes)}"

    async def breaks(resource: str) -> None:
        await wait_all_tasks_blocked()
        scopes[0].cancel()

    async def borrow() -> None:
        try:
            async with pool.acquire() as resource:
                await trio.lowlevel.checkpoint()
                assert resource == "a2"
        except ResourceBroken:
            assert len(scopes) == 1  # the block had begun

    async with open_pool(["a"], lifespan=lifespan) as pool, trio.open_nursery() as nursery:
        await pool.submit(breaks)
        nursery.start_soon(borrow)


async def test_jobs_go_on_after_a_block_on_a_worker_that_has_reopened() -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        for _ in range(3):
            async with pool.acquire():
                pool.workers[0].reopen()
            assert await pool.run(works) == "done"
        assert opened.count == 4
