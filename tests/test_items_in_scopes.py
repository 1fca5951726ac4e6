"""Items that keep cancel scopes and nurseries open while they yield end their stream, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.streams import EITHER, check_it_goes_on, collect, nap, read_to_the_end
from trio_pool import open_pool
from trio_pool._error_rule import leaves

if sys.version_info < (3, 11):
    pass


# Items that have a timeout of their own around what they yield


async def with_a_timeout(seconds: float = 3) -> AsyncGenerator[float]:
    with trio.move_on_after(seconds):
        while True:
            yield 2


async def with_a_deadline() -> AsyncGenerator[float]:
    with trio.fail_after(3):
        while True:
            yield 2


async def with_two_scopes() -> AsyncGenerator[float]:
    with trio.CancelScope(), trio.move_on_after(3), trio.CancelScope(shield=True), trio.move_on_after(3):
        while True:
            yield 2


async def cancelled_by_another_task() -> AsyncGenerator[float]:
    async with trio.open_nursery() as nursery:

        async def cancel() -> None:
            await trio.sleep(3)
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel)
        while True:
            yield 2


async def with_an_inner_generator() -> AsyncGenerator[float]:
    async for each in with_a_timeout():
        yield each


def not_async() -> Generator[float]:
    with trio.move_on_after(3):
        while True:
            yield 2


CANCELLED = [with_a_timeout, with_a_deadline, with_two_scopes, cancelled_by_another_task, not_async]
CANCELLED_ITEMS = pytest.mark.parametrize("items", CANCELLED)


@CANCELLED_ITEMS
@EITHER
async def test_a_timeout_of_the_items_that_passes_while_there_is_no_room_is_told_to_the_reader(
    name: str, items: Any, autojump_clock: MockClock
) -> None:
    found: list[float] = []
    async with open_pool(1) as pool:
        async with getattr(pool, name)(nap, items(), buffer=2) as results:
            with pytest.raises(RuntimeError, match="cancel scope that they keep open") as told:
                await read_to_the_end(results, found)
        assert isinstance(told.value.__cause__, trio.Cancelled)
        assert found == [2] * 3
        await check_it_goes_on(pool)


@CANCELLED_ITEMS
@EITHER
async def test_one_that_passes_while_a_job_waits_for_its_place_is_told_after_that_job(
    name: str, items: Any, autojump_clock: MockClock
) -> None:
    found: list[float] = []
    async with open_pool(1, max_queue=1) as pool:
        async with getattr(pool, name)(nap, items(), buffer=20) as results:
            with pytest.raises(RuntimeError, match="cancel scope that they keep open"):
                await read_to_the_end(results, found)
        assert found == [2] * 4
        assert pool.statistics().submitters_waiting == 0
        await check_it_goes_on(pool)


@CANCELLED_ITEMS
async def test_the_block_of_a_stream_whose_items_were_cancelled_can_be_left(
    items: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1) as pool:
        async with pool.map(nap, items()):
            await trio.sleep(10)
        assert trio.current_time() == 10
        await check_it_goes_on(pool)
    assert [record.message for record in caplog.records] == ["the items of a stream failed unnoticed"]


@CANCELLED_ITEMS
async def test_a_pool_whose_items_were_cancelled_can_be_cancelled_from_outside(
    items: Any, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(10) as scope:
        async with open_pool(1) as pool, pool.map(nap, items()):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == 10


async def test_a_timeout_of_the_items_that_passes_where_they_wait_is_theirs(autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[float]:
        with trio.move_on_after(3):
            yield 1
            await trio.sleep_forever()
        yield 2

    async with open_pool(1) as pool, pool.map(nap, items()) as results:
        assert await collect(results) == [1, 2]
    assert trio.current_time() == 5


# Items that have a nursery open when the block is left


async def in_a_nursery() -> AsyncGenerator[float]:
    yield 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        nursery.start_soon(trio.sleep_forever)
    yield 2


async def in_nested_nurseries() -> AsyncGenerator[float]:
    yield 1
    async with trio.open_nursery(), trio.open_nursery() as inner, trio.open_nursery() as innermost:
        inner.start_soon(trio.sleep_forever)
        innermost.start_soon(trio.sleep_forever)


async def yielding_in_a_nursery() -> AsyncGenerator[float]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        while True:
            yield 1


async def yielding_in_nested_nurseries() -> AsyncGenerator[float]:
    async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
        nursery.start_soon(trio.sleep_forever)
        inner.start_soon(trio.sleep_forever)
        while True:
            yield 1


class InANursery:
    """An iterator that waits in a nursery of its own."""

    def __aiter__(self) -> InANursery:
        return self

    async def __anext__(self) -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
        raise AssertionError


class AsyncIterable:
    """Gives a generator that nobody else knows of."""

    def __aiter__(self) -> AsyncGenerator[float]:
        return yielding_in_a_nursery()


async def in_a_nursery_that_fails() -> AsyncGenerator[float]:
    yield 1
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)


IN_NURSERIES = [
    in_a_nursery,
    in_nested_nurseries,
    yielding_in_a_nursery,
    yielding_in_nested_nurseries,
    InANursery,
    AsyncIterable,
]


@pytest.mark.parametrize("items", IN_NURSERIES)
@EITHER
async def test_leaving_early_while_the_items_are_in_a_nursery_ends_the_stream_and_no_more(
    name: str, items: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1) as pool:
        async with getattr(pool, name)(nap, items()):
            await trio.sleep(5)
        assert trio.current_time() == 5
        await check_it_goes_on(pool)
    assert caplog.records == []


@pytest.mark.parametrize("items", IN_NURSERIES)
@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_the_end_of_the_pool_meanwhile_is_no_failure_of_theirs(
    how: str, items: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1) as pool, pool.map(nap, items()):
        await trio.sleep(5)
        getattr(pool, how)()
        await trio.sleep(5)
    assert caplog.records == []


async def test_what_else_the_items_raise_as_they_are_cancelled_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails_in_the_end() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("the line broke")

    async def items() -> AsyncGenerator[float]:
        yield 1
        async with trio.open_nursery() as nursery, trio.open_nursery() as inner:
            nursery.start_soon(fails_in_the_end)
            inner.start_soon(trio.sleep_forever)

    async with open_pool(1) as pool:
        async with pool.map(nap, items()):
            await trio.sleep(5)
        await check_it_goes_on(pool)
    (record,) = caplog.records
    assert record.exc_info is not None
    error = record.exc_info[1]
    assert error is not None
    assert [type(leaf) for leaf in leaves(error)] == [OSError]


async def test_a_task_of_the_items_that_fails_is_told_rather_than_what_it_cancelled(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        await trio.sleep(3)
        raise OSError("the line broke")

    async def items() -> AsyncGenerator[float]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            while True:
                yield 2

    async with open_pool(1) as pool:
        async with pool.map(nap, items()) as results:
            with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="the line broke"), flatten_subgroups=True):
                await collect(results)
        await check_it_goes_on(pool)


# Items that don't close as they should


class LeavingAScopeOpen:
    def __aiter__(self) -> LeavingAScopeOpen:
        return self

    async def __anext__(self) -> float:
        trio.CancelScope().__enter__()
        return 1


REFUSING = """
from contextlib import asynccontextmanager, suppress
import trio
from trio.testing import MockClock
from trio_pool import open_pool

@asynccontextmanager
async def a_nursery():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        yield

@asynccontextmanager
async def a_scope():
    with trio.CancelScope():
        yield

async def items():
    async with OPENED():
        while True:
            with suppress(GeneratorExit):
                yield 1

async def main():
    async with open_pool(1) as pool:
        async with pool.map(trio.sleep, items()) as results:
            await anext(results)
        await pool.run(trio.sleep, 1)
        print("the pool goes on")

trio.run(main, clock=MockClock(autojump_threshold=0))
"""


# In a process of its own, as they refuse Python too, which tells of it until it exits.
@pytest.mark.parametrize("opened", ["a_nursery", "a_scope"])
def test_items_that_refuse_to_close_are_told_and_left_behind(opened: str) -> None:
    program = [sys.executable, "-W", "ignore", "-c", REFUSING.replace("OPENED", opened)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "the pool goes on\n", done.stderr
    assert "the items of a stream failed unnoticed" in done.stderr
    assert "async generator ignored GeneratorExit" in done.stderr


@pytest.mark.parametrize("how_long", [1, 5, 500])
async def test_a_generator_is_closed_when_the_block_is_left(how_long: float, autojump_clock: MockClock) -> None:
    ended: list[str] = []

    def sync_items() -> Generator[float]:
        try:
            yield from [1] * 100
        finally:
            ended.append("sync")

    async def async_items() -> AsyncGenerator[float]:
        try:
            for _ in range(100):
                yield 1
        finally:
            ended.append("async")

    async with open_pool(1) as pool:
        async with pool.map(nap, sync_items()), pool.as_completed(nap, async_items()):
            await trio.sleep(how_long)
        assert sorted(ended) == ["async", "sync"]


async def test_a_scope_that_the_items_never_leave_is_left_behind(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        async with pool.map(nap, LeavingAScopeOpen()) as results:
            assert await anext(results) == 1
        await check_it_goes_on(pool)


async def yielding_in_a_nursery_further_in() -> AsyncGenerator[float]:
    async for each in yielding_in_a_nursery():
        yield each


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("items", [with_an_inner_generator, yielding_in_a_nursery_further_in])
async def test_a_generator_in_the_items_that_they_do_not_close_ends_the_stream_and_no_more(
    items: Any, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1) as pool:
        async with pool.map(nap, items()) as results:
            assert await anext(results) > 0
        await check_it_goes_on(pool)


async def test_items_that_take_their_time_to_close_are_waited_for(autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[float]:
        try:
            while True:
                yield 1
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(7)

    async with open_pool(1) as pool:
        async with pool.map(nap, items()) as results:
            assert await anext(results) == 1
        assert trio.current_time() == 8
