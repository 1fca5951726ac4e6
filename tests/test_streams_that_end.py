"""Streams whose pool or group ends before their items do."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.streams import EITHER, collect, nap, read_to_the_end
from trio_pool import Job, PoolClosedError, SlotPool, open_pool

if sys.version_info < (3, 11):
    pass


# The pool ends while a stream waits for a place


async def async_naps() -> AsyncGenerator[float]:
    for seconds in (10, *[1] * 9):
        yield seconds


def naps() -> Generator[float]:
    yield from (10, *[1] * 9)


SOURCES: list[Callable[[], Any]] = [lambda: [10, *[1] * 9], naps, async_naps]


async def group_cancelled(pool: SlotPool, items: Any) -> None:
    async with pool.open_group() as group, group.map(nap, items, buffer=5):
        await trio.sleep(0.5)
        group.cancel()
        await trio.sleep_forever()


async def group_closed(pool: SlotPool, items: Any) -> None:
    async with pool.open_group() as group, group.map(nap, items, buffer=5):
        await trio.sleep(0.5)
        group.close()
        await trio.sleep(5)


async def pool_cancelled(pool: SlotPool, items: Any) -> None:
    async with pool.map(nap, items, buffer=5):
        await trio.sleep(0.5)
        pool.cancel()
        await trio.sleep_forever()


async def pool_closed(pool: SlotPool, items: Any) -> None:
    async with pool.map(nap, items, buffer=5):
        await trio.sleep(0.5)
        pool.close()
        await trio.sleep(5)


async def cancelled_from_outside(pool: SlotPool, items: Any) -> None:
    with trio.move_on_after(0.5):
        async with pool.map(nap, items, buffer=5):
            await trio.sleep_forever()


async def left(pool: SlotPool, items: Any) -> None:
    async with pool.map(nap, items, buffer=5):
        await trio.sleep(0.5)


async def left_with_an_error(pool: SlotPool, items: Any) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with pool.map(nap, items, buffer=5):
            await trio.sleep(0.5)
            raise KeyError


ENDS = [group_cancelled, group_closed, pool_cancelled, pool_closed, cancelled_from_outside, left, left_with_an_error]


@pytest.mark.parametrize("source", range(len(SOURCES)))
@pytest.mark.parametrize("end", ENDS)
async def test_items_that_wait_for_a_place_in_the_end_have_not_failed(
    end: Any, source: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1, max_queue=1) as pool:
        await end(pool, SOURCES[source]())
        assert pool.statistics().submitters_waiting == 0
    assert caplog.records == []


@pytest.mark.parametrize("source", range(len(SOURCES)))
async def test_neither_have_they_where_a_death_ends_it_all(
    source: int, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def dies() -> None:
        await trio.sleep(0.5)
        raise ValueError("dead")

    with pytest.RaisesGroup(pytest.RaisesExc(Exception, match="dead")):
        async with open_pool(2, max_queue=1, on_dead="cancel") as pool:
            await pool.submit(dies)
            async with pool.map(nap, SOURCES[source](), buffer=5):
                await trio.sleep_forever()
    assert caplog.records == []


@pytest.mark.parametrize("source", range(len(SOURCES)))
@EITHER
async def test_the_reader_is_told_that_the_pool_was_closed(name: str, source: int, autojump_clock: MockClock) -> None:
    found: list[float] = []
    async with open_pool(1, max_queue=1) as pool, getattr(pool, name)(nap, SOURCES[source](), buffer=5) as results:
        await trio.sleep(0.5)
        pool.close()
        with pytest.raises(PoolClosedError):
            await read_to_the_end(results, found)
    assert found == [10, 1]


@pytest.mark.parametrize("source", range(len(SOURCES)))
async def test_a_reader_elsewhere_is_told_that_the_pool_has_ended(source: int, autojump_clock: MockClock) -> None:
    async def read(told: list[str]) -> None:
        async with pool.as_completed(nap, SOURCES[source](), buffer=5) as jobs:
            try:
                async for job in jobs:
                    told.append(job.state.name)  # noqa: PERF401
            except PoolClosedError:
                told.append("closed")

    told: list[str] = []
    async with trio.open_nursery() as nursery, open_pool(1, max_queue=1) as pool:
        nursery.start_soon(read, told)
        await trio.sleep(0.5)
        pool.cancel()
    assert told == ["CANCELLED", "CANCELLED", "closed"]


async def test_items_that_use_the_pool_see_its_end_as_a_cancellation(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def items() -> AsyncGenerator[float]:
        while True:
            yield await pool.run(nap, 1)

    async with open_pool(2) as pool, pool.map(nap, items()):
        await trio.sleep(5.5)
        pool.cancel()
    assert caplog.records == []


@EITHER
async def test_items_may_close_cancel_and_submit_to_their_pool(name: str, autojump_clock: MockClock) -> None:
    def items() -> Generator[float]:
        extra.append(pool.submit_nowait(nap, 3))
        yield 1
        yield 1
        pool.close()
        yield 1

    extra: list[Job[float]] = []
    async with open_pool(1) as pool, getattr(pool, name)(nap, items(), buffer=5) as results:
        with pytest.raises(PoolClosedError):
            await collect(results)
    assert extra[0].result() == 3


async def test_items_may_cancel_their_pool(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    def items() -> Generator[float]:
        yield 1
        pool.cancel()
        yield 1

    async with open_pool(1) as pool, pool.map(nap, items(), buffer=5):
        await trio.sleep(1000)
    assert caplog.records == []


async def test_a_generator_is_closed_before_its_iteration_has_begun(autojump_clock: MockClock) -> None:
    items = async_naps()
    async with open_pool(1, max_queue=0) as pool:
        await pool.submit(nap, 5)
        async with pool.map(nap, items):
            pass
        await wait_all_tasks_blocked()
        with pytest.raises(StopAsyncIteration):
            await anext(items)
