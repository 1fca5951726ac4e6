"""What items raise ends their stream, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.exceptions import WAYS, Refuses, Unruly, nested, stray
from tests.streams import EITHER, check_it_goes_on, collect, ending_of, nap
from trio_pool import open_pool
from trio_pool._error_rule import leaves

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


EVERY_WAY = pytest.mark.parametrize("way", WAYS)

Items = Callable[[BaseException], Any]


# Whatever raises a cancellation that nobody has asked for


def a_generator(error: BaseException) -> Generator[float]:
    yield 1
    raise error


async def an_async_generator(error: BaseException) -> AsyncGenerator[float]:
    yield 1
    await trio.sleep(1)
    raise error


class Iter:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __iter__(self) -> Iterator[float]:
        raise self.error


class Next(Iter):
    def __iter__(self) -> Next:
        return self

    def __next__(self) -> float:
        raise self.error


class Aiter(Iter):
    def __aiter__(self) -> AsyncIterator[float]:
        raise self.error


class Anext(Iter):
    def __aiter__(self) -> Anext:
        return self

    async def __anext__(self) -> float:
        await trio.lowlevel.checkpoint()
        raise self.error


class AnextAtOnce(Iter):
    def __aiter__(self) -> AnextAtOnce:
        return self

    def __anext__(self) -> Any:
        raise self.error


async def closing_one(error: BaseException) -> AsyncGenerator[float]:
    try:
        yield 1
    finally:
        raise error


PLACES: list[Items] = [a_generator, an_async_generator, Iter, Next, Aiter, Anext, AnextAtOnce, closing_one]
EVERYWHERE = pytest.mark.parametrize("items", PLACES)


@EVERY_WAY
@EVERYWHERE
@EITHER
async def test_a_cancellation_that_nobody_has_asked_for_is_told_to_the_reader(
    name: str, items: Items, way: str, autojump_clock: MockClock
) -> None:
    raised = WAYS[way](await stray())
    async with open_pool(2) as pool:
        async with getattr(pool, name)(nap, items(raised)) as results:
            with pytest.raises(RuntimeError, match=r"trio\.Cancelled") as told:
                await collect(results)
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert told.value.__cause__ is raised
        await check_it_goes_on(pool)


@EVERY_WAY
@EVERYWHERE
async def test_one_that_comes_when_the_reader_has_left_is_logged(
    items: Items, way: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(2) as pool:
        async with pool.map(nap, items(WAYS[way](await stray()))):
            await trio.sleep(5)
        await check_it_goes_on(pool)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


# Other errors


@EVERYWHERE
@EITHER
async def test_a_deep_group_is_told_as_it_is(name: str, items: Items, autojump_clock: MockClock) -> None:
    raised = nested(OSError("deep"))
    async with open_pool(1) as pool:
        async with getattr(pool, name)(nap, items(raised)) as results:
            assert await ending_of(results) is raised
        await check_it_goes_on(pool)


async def test_a_deep_group_that_nobody_reads_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(1) as pool:
        async with pool.map(nap, a_generator(nested(OSError("deep")))):
            await trio.sleep(5)
        await check_it_goes_on(pool)
    assert "the items of a stream failed unnoticed" in caplog.text


@pytest.mark.parametrize("error", [Refuses(3), Unruly()])
@EVERYWHERE
async def test_an_error_that_refuses_whatever_it_can_is_told_as_it_is(
    items: Items, error: Exception, autojump_clock: MockClock
) -> None:
    async with open_pool(1) as pool:
        async with pool.map(nap, items(error)) as results:
            assert await ending_of(results) is error
        await check_it_goes_on(pool)


@pytest.mark.parametrize("error", [StopIteration("early"), StopAsyncIteration("early")])
@pytest.mark.parametrize("items", [a_generator, an_async_generator, Iter, Aiter])
@EITHER
async def test_the_end_of_another_iteration_is_an_error_and_no_end(
    name: str, items: Items, error: Exception, autojump_clock: MockClock
) -> None:
    async with open_pool(1) as pool, getattr(pool, name)(nap, items(error)) as results:
        with pytest.raises(RuntimeError, match="Stop"):
            await collect(results)


async def test_a_sync_iterator_that_raises_the_end_of_an_async_one_fails(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool, pool.map(nap, Next(StopAsyncIteration())) as results:
        with pytest.raises(RuntimeError, match="StopAsyncIteration"):
            await collect(results)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("way", [way for way in WAYS if "beside" not in way])
@pytest.mark.parametrize("items", [a_generator, Iter, Next, Anext])
async def test_what_is_no_exception_ends_the_pool(
    items: Items, way: str, error: BaseException, autojump_clock: MockClock
) -> None:
    raised = WAYS[way](error)
    with pytest.raises(BaseExceptionGroup) as told:  # noqa: PT012
        async with open_pool(1) as pool, pool.map(nap, items(raised)) as results:
            await collect(results)
            await trio.sleep_forever()
    assert told.value.exceptions == (raised,)


async def test_one_beside_a_cancellation_ends_the_pool_without_that(autojump_clock: MockClock) -> None:
    error = SystemExit(3)
    raised = BaseExceptionGroup("both", [await stray(), error])
    with pytest.raises(BaseExceptionGroup) as told:
        async with open_pool(1) as pool, pool.map(nap, a_generator(raised)):
            await trio.sleep_forever()
    assert leaves(told.value) == [error]


async def test_an_error_of_the_items_and_one_of_closing_them_are_both_told(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def items() -> AsyncGenerator[float]:
        try:
            yield 1
        finally:
            raise OSError("can't be closed")

    def priority(_: float) -> float:
        raise ValueError("no priority")

    async with open_pool(1) as pool, pool.map(nap, items(), priority=priority) as results:
        with pytest.raises(ValueError, match="no priority"):
            await collect(results)
    assert "can't be closed" in caplog.text
