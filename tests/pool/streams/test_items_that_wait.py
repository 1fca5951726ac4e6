"""Items of a stream that wait for jobs do so on behalf of whoever reads the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool import JobDeadlockError, JobFailedError, SlotPool, current_job, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock

STREAMS = pytest.mark.parametrize("stream", ["map", "as_completed"])


async def leaf(number: int) -> int:
    await trio.lowlevel.checkpoint()
    return number


async def items(pool: SlotPool) -> AsyncGenerator[int]:
    for number in range(2):
        yield await pool.run(leaf, number)


async def reads(pool: SlotPool, stream: str) -> list[Any]:
    async with getattr(pool, stream)(leaf, items(pool)) as results:
        return [each async for each in results]


@STREAMS
async def test_items_that_wait_in_vain_are_told(stream: str, autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(reads, pool, stream)
        assert isinstance(raised.value.__cause__, JobDeadlockError)


@STREAMS
async def test_with_another_worker_they_go_on(stream: str, autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        assert len(await pool.run(reads, pool, stream)) == 2


@STREAMS
async def test_lending_helps_them(stream: str, autojump_clock: MockClock) -> None:
    async def lends() -> list[Any]:
        async with current_job().lend():
            return await reads(pool, stream)

    async with open_pool(1) as pool:
        assert len(await pool.run(lends)) == 2


@STREAMS
async def test_outside_of_jobs_they_wait_for_whatever_comes(stream: str, autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        assert len(await reads(pool, stream)) == 2
