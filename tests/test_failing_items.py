"""Items that raise, are cancelled, or keep cancel scopes and nurseries open end their stream, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.exceptions import WAYS, Refuses, Unruly, nested, stray
from trio_pool import Job, PoolClosedError, SlotPool, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

EVERY_WAY = pytest.mark.parametrize("way", WAYS)
EITHER = pytest.mark.parametrize("name", ["map", "as_completed"])

Items = Callable[[BaseException], Any]


async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


async def collect(stream: AsyncIterator[Any]) -> list[float]:
    """The results, of one or the other kind of stream."""
    return [each.result() if isinstance(each, Job) else each async for each in stream]


async def read_to_the_end(stream: AsyncIterator[Any], found: list[float]) -> None:
    async for each in stream:
        found.append(each.result() if isinstance(each, Job) else each)


async def ending_of(stream: AsyncIterator[Any]) -> BaseException | None:
    """What it ends with; pytest would look at it too closely."""
    try:
        await collect(stream)
    except BaseException as error:
        return error
    return None


async def check_it_goes_on(pool: SlotPool) -> None:
    """The pool takes jobs and runs them, and so it does with other streams."""
    assert await pool.run(nap, 1) == 1
    async with pool.map(nap, [1, 2]) as results:
        assert await collect(results) == [1, 2]


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
            with pytest.raises(RuntimeError, match="trio.Cancelled") as told:
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
    assert ["the items of a stream failed unnoticed"] == [record.message for record in caplog.records]


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
    assert isinstance(record.exc_info[1], ExceptionGroup)
    (leaf,) = record.exc_info[1].exceptions
    assert isinstance(leaf, OSError)


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
    with pytest.raises(BaseExceptionGroup) as told:
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
    (outer,) = told.value.exceptions
    assert isinstance(outer, BaseExceptionGroup)
    assert outer.exceptions == (error,)


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


# The pool ends while a stream waits for a place


async def async_naps() -> AsyncGenerator[float]:
    for seconds in (10, *[1] * 9):
        yield seconds


def naps() -> Generator[float]:
    yield from (10, *[1] * 9)


SOURCES = [lambda: [10, *[1] * 9], naps, async_naps]


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
    with pytest.raises(KeyError):
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
    async with trio.open_nursery() as nursery:
        async with open_pool(1, max_queue=1) as pool:
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
        await trio.sleep_forever()
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
