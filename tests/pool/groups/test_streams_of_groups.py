"""``map``, ``as_completed`` and ``run`` of a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from tests.actors import cleans_up, sleeps
from trio_pool import JobGroup, PoolClosedError, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def test_map_in_a_group_gives_results_in_order(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        async with group.map(sleeps, [2.0, 1.0, 3.0]) as results:
            assert [result async for result in results] == [2.0, 1.0, 3.0]
        assert group.statistics().succeeded == 3


async def test_as_completed_in_a_group_gives_jobs_as_they_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group() as group:
        async with group.as_completed(sleeps, [2.0, 1.0, 3.0]) as jobs:
            assert [job.args[0] async for job in jobs] == [1.0, 2.0, 3.0]
        assert group.statistics().succeeded == 3


async def test_map_over_async_items_in_a_group(autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[float]:
        for number in range(4):
            await trio.sleep(1.0)
            yield float(number)

    async with open_pool(["a", "b"]) as pool, pool.open_group() as group, group.map(sleeps, items()) as results:
        assert [result async for result in results] == [0.0, 1.0, 2.0, 3.0]


async def test_cancel_ends_a_map_over_endless_items(autojump_clock: MockClock) -> None:
    async def endless() -> AsyncGenerator[float]:
        while True:
            await trio.sleep(1.0)
            yield 0.0

    got = 0
    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as group, group.map(sleeps, endless()) as results:
            async for _ in results:
                got += 1
                if got == 3:
                    group.cancel()
        assert got == 3
        assert trio.current_time() == 3.0


async def test_another_task_that_maps_is_told_of_the_end_of_the_group(autojump_clock: MockClock) -> None:
    async def endless() -> AsyncGenerator[float]:
        while True:
            await trio.sleep(1.0)
            yield 0.0

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:

        async def maps(group: JobGroup[str]) -> None:
            async with group.map(sleeps, endless()) as results:
                with pytest.raises(PoolClosedError):
                    async for _ in results:
                        pass

        async with pool.open_group() as group:
            nursery.start_soon(maps, group)
            await trio.sleep(2.5)
            group.cancel()


async def test_a_map_of_a_closed_group_says_so_when_it_is_read(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        group.close()
        async with group.map(sleeps, [1.0]) as results:
            with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
                await anext(results)


async def test_run_that_is_cancelled_in_a_group_cancels_its_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        with trio.move_on_after(1.0):
            await group.run(cleans_up)
        assert trio.current_time() == 3.0
        assert group.statistics().cancelled == 1
