"""Leaving ``map`` and ``as_completed`` waits until their functions no longer run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sulks
from trio_pool import JobCancelledError, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def is_slow_to_end(resource: str, item: int) -> None:
    """Takes three seconds to clean up."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)


async def test_a_cancelled_map_waits_too_and_is_cancelled_then(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        with trio.move_on_after(1) as scope:
            async with pool.map(is_slow_to_end, range(5)) as results:
                async for _ in results:
                    raise AssertionError("unreachable")
        assert trio.current_time() == 4.0
        assert list(pool.jobs()) == []
    assert scope.cancelled_caught


async def test_a_job_that_dies_while_its_map_is_left_counts_as_dealt_with(autojump_clock: MockClock) -> None:
    async def sulks_over(resource: str, item: int) -> None:
        await sulks(resource)

    async with open_pool(["a"]) as pool, pool.map(sulks_over, [1]):
        await wait_all_tasks_blocked()
    assert pool.statistics().dead == 1


async def test_a_map_that_is_cancelled_as_it_is_entered_runs_nothing(autojump_clock: MockClock) -> None:
    began: list[int] = []

    async def begins(resource: str, item: int) -> None:
        began.append(item)

    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pool.map(begins, range(5)):
                pass
        await trio.sleep(1)
    assert scope.cancelled_caught
    assert began == []


async def test_a_map_can_be_left_while_another_task_reads_it(autojump_clock: MockClock) -> None:
    told: list[type[BaseException]] = []

    async def reads(results: AsyncIterator[None]) -> None:
        try:
            await anext(results)
        except (JobCancelledError, trio.ClosedResourceError) as error:
            told.append(type(error))

    async with open_pool(["a", "b", "c"]) as pool, trio.open_nursery() as nursery:
        async with pool.map(is_slow_to_end, range(5)) as results:
            nursery.start_soon(reads, results)
            await trio.sleep(1)
        assert list(pool.jobs()) == []
    assert told == [trio.ClosedResourceError]
