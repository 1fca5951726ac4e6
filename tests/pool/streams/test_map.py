"""``map``: the results of a job for each item, in the order of the items."""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both
from tests.pool.streams.mapped import collect, double, fail_at_3, nap
from trio_pool import (
    Discard,
    JobCancelledError,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    PoolClosedError,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator


async def countdown(start: int) -> AsyncGenerator[int]:
    for number in range(start, 0, -1):
        await trio.sleep(1)
        yield number


async def take_all(results: AsyncIterator[Any], found: list[Any]) -> None:
    """Add what comes to what was found; it is there also if it ends with an error."""
    async for result in results:
        found.append(result)  # noqa: PERF401


# The results


@both
async def test_the_results_come_in_the_order_of_the_items(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(5) as pool, pool.map(nap, [5, 1, 4, 2, 3]) as results:
        assert await collect(results) == [5, 1, 4, 2, 3]
    assert trio.current_time() == 5


@both
async def test_each_result_comes_as_soon_as_its_turn_has_come(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(3) as pool, pool.map(nap, [2, 1, 3]) as results:
        came_at = [trio.current_time() async for _ in results]
    assert came_at == [2, 2, 3]


@both
async def test_no_items_give_no_results(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.map(double, []) as results:
        assert await collect(results) == []


@both
async def test_many_more_items_than_workers_all_get_their_turn(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.map(double, range(500)) as results:
        assert await collect(results) == [2 * number for number in range(500)]


@both
async def test_the_items_may_be_an_async_iterable(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool, pool.map(double, countdown(4)) as results:
        assert await collect(results) == [8, 6, 4, 2]


@both
async def test_the_items_may_be_an_endless_iterable(opened: OpenPool) -> None:
    found: list[int] = []
    async with opened(2) as pool, pool.map(double, itertools.count()) as results:
        async for result in results:
            found.append(result)
            if len(found) == 50:
                break
    assert found == [2 * number for number in range(50)]


@both
async def test_the_items_may_be_an_endless_async_iterable(opened: OpenPool) -> None:
    async def numbers() -> AsyncGenerator[int]:
        for number in itertools.count():
            await trio.lowlevel.checkpoint()
            yield number

    found: list[int] = []
    async with opened(2) as pool, pool.map(double, numbers()) as results:
        async for result in results:
            found.append(result)
            if len(found) == 50:
                break
    assert found == [2 * number for number in range(50)]


@both
async def test_the_items_may_be_a_memory_channel(opened: OpenPool, autojump_clock: MockClock) -> None:
    send, receive = trio.open_memory_channel[int](0)

    async def produce() -> None:
        async with send:
            for number in range(3):
                await trio.sleep(1)
                await send.send(number)

    async with opened(2) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        async with pool.map(double, receive) as results:
            assert await collect(results) == [0, 2, 4]


# How far it looks ahead


class Counted:
    """Endless items, and how many of them have been taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        return self.taken


@pytest.mark.parametrize("buffer", [1, 2, 7])
@both
async def test_at_most_buffer_items_are_taken_ahead(opened: OpenPool, buffer: int, autojump_clock: MockClock) -> None:
    items = Counted()
    async with opened(2) as pool, pool.map(double, items, buffer=buffer) as results:
        await trio.sleep(1)
        assert items.taken == buffer
        for handed_out in range(1, 10):
            await anext(results)
            await trio.sleep(1)
            assert items.taken == handed_out + buffer


@pytest.mark.parametrize("workers", [1, 3])
@both
async def test_by_default_twice_the_workers_are_taken_ahead(
    opened: OpenPool, workers: int, autojump_clock: MockClock
) -> None:
    items = Counted()
    async with opened(workers) as pool, pool.map(double, items):
        await trio.sleep(1)
        assert items.taken == 2 * workers


@both
async def test_no_more_than_buffer_jobs_run_at_once(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(5) as pool, pool.map(nap, [1] * 6, buffer=2) as results:
        assert await collect(results) == [1] * 6
    assert trio.current_time() == 3


@both
async def test_map_waits_while_the_queue_is_full(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(1, max_queue=1) as pool, pool.map(nap, [1] * 6, buffer=6) as results:
        await trio.sleep(0.5)
        assert pool.statistics().queued == 1
        assert await collect(results) == [1] * 6
    assert trio.current_time() == 6


# A job that ends otherwise


@both
async def test_a_dead_job_raises_when_its_turn_comes_not_wrapped_in_a_group(opened: OpenPool) -> None:
    found: list[int] = []
    async with opened(2) as pool, pool.map(fail_at_3, range(10)) as results:
        with pytest.raises(JobFailedError, match="three") as caught:
            await take_all(results, found)
    assert found == [0, 1, 2]
    assert isinstance(caught.value.__cause__, ValueError)


@both
async def test_after_a_dead_job_the_iteration_may_go_on(opened: OpenPool) -> None:
    found: list[Any] = []
    async with opened(2) as pool, pool.map(fail_at_3, range(6)) as results:
        while True:
            try:
                found.append(await anext(results))
            except JobFailedError:
                found.append("dead")
            except StopAsyncIteration:
                break
    assert found == [0, 1, 2, "dead", 4, 5]


@both
async def test_a_discarded_job_raises_when_its_turn_comes(opened: OpenPool) -> None:
    async def discard(*args: Any) -> None:
        raise Discard("nobody wants it")

    async with opened(2) as pool, pool.map(discard, [1]) as results:
        with pytest.raises(JobCancelledError, match="nobody wants it"):
            await anext(results)


@both
async def test_a_job_that_somebody_cancelled_raises_when_its_turn_comes(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(2) as pool, pool.map(nap, [5, 1]) as results:
        await wait_all_tasks_blocked()
        next(pool.jobs()).cancel()
        with pytest.raises(JobCancelledError):
            await anext(results)
        assert await anext(results) == 1


@both
async def test_a_retried_job_keeps_its_turn(opened: OpenPool, autojump_clock: MockClock) -> None:
    failed: list[int] = []

    async def once(*args: Any) -> int:
        number: int = args[-1]
        if number % 2 and number not in failed:
            failed.append(number)
            raise ValueError("once")
        return number

    async with opened(2, retry=RetryPolicy.fixed(1)) as pool, pool.map(once, range(8)) as results:
        assert await collect(results) == list(range(8))
    assert failed == [1, 3, 5, 7]


# Items that raise


@both
async def test_what_the_items_raise_is_raised_after_the_results_of_those_before(opened: OpenPool) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the file is broken")

    found: list[int] = []
    async with opened(2) as pool, pool.map(double, items()) as results:
        with pytest.raises(OSError, match="the file is broken"):
            await take_all(results, found)
    assert found == [2, 4]


@both
async def test_what_async_items_raise_is_raised_after_the_results_of_those_before(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async def items() -> AsyncGenerator[float]:
        yield 3
        await trio.sleep(1)
        raise OSError("the line is broken")

    found: list[float] = []
    async with opened(2) as pool, pool.map(nap, items()) as results:
        with pytest.raises(OSError, match="the line is broken"):
            await take_all(results, found)
    assert found == [3]


@both
async def test_items_that_raise_at_once_give_that_error(opened: OpenPool) -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise OSError("no such file")

    async with opened(2) as pool, pool.map(double, Broken()) as results:
        with pytest.raises(OSError, match="no such file"):
            await anext(results)


@both
async def test_after_the_error_of_the_items_there_is_nothing_more(opened: OpenPool) -> None:
    def items() -> Iterator[int]:
        yield from map(int, ["not a number"])

    async with opened(2) as pool, pool.map(double, items()) as results:
        with pytest.raises(ValueError, match="not a number"):
            await anext(results)
        with pytest.raises(StopAsyncIteration):
            await anext(results)


@both
async def test_a_job_that_is_turned_away_raises_in_its_turn(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.map(double, [1], requires=["gpu"]) as results:
        with pytest.raises(NoEligibleWorkerError):
            await anext(results)


@both
async def test_a_pool_that_is_closed_meanwhile_raises_after_the_results_of_the_jobs_it_took(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    found: list[float] = []
    async with opened(2) as pool, pool.map(nap, itertools.repeat(2), buffer=2) as results:
        await wait_all_tasks_blocked()
        pool.close()
        with pytest.raises(PoolClosedError):
            await take_all(results, found)
    assert found == [2, 2]


# Options


@both
async def test_the_options_are_those_of_each_job(opened: OpenPool) -> None:
    async def look(*args: Any) -> tuple[str, Any]:
        return current_job().name, current_job().metadata["tenant"]

    async with opened(2) as pool, pool.map(look, range(3), name="look", metadata={"tenant": 7}) as results:
        assert await collect(results) == [("look", 7)] * 3


@both
async def test_attempts_may_have_a_timeout(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool, pool.map(nap, [1, 3], attempt_timeout=2) as results:
        assert await anext(results) == 1
        with pytest.raises(JobFailedError, match="took longer than 2 s"):
            await anext(results)


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@both
async def test_the_jobs_see_the_context_of_whoever_entered_the_block(opened: OpenPool) -> None:
    async def look(*args: Any) -> str:
        return tenant.get()

    async with opened(2) as pool:
        tenant.set("me")
        async with pool.map(look, range(3)) as results:
            assert await collect(results) == ["me"] * 3


# Inside jobs


@both
async def test_a_job_may_map_over_its_own_pool(opened: OpenPool) -> None:
    async def outer(*args: Any) -> list[int]:
        async with pool.map(double, range(5)) as results:
            return await collect(results)

    async with opened(2) as pool:
        assert await pool.run(outer) == [0, 2, 4, 6, 8]


@both
async def test_two_streams_may_share_a_pool(opened: OpenPool) -> None:
    async with opened(2) as pool, pool.map(double, range(20)) as evens, pool.map(fail_at_3, range(4, 24)) as others:
        for number in range(20):
            assert await anext(evens) == 2 * number
            assert await anext(others) == number + 4


@both
async def test_everything_is_settled_after_the_block(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        async with pool.map(nap, [1, 100, 100]) as results:
            await anext(results)
        states = [job.state for job in pool.jobs()]
    assert states == []
    statistics = pool.statistics()
    assert (statistics.succeeded, statistics.cancelled) == (1, 2)
    assert JobState.RUNNING not in states


async def wait_for_ever() -> AsyncGenerator[int]:
    yield 1
    await trio.sleep_forever()


async def test_a_pool_that_ends_before_the_items_says_so_to_the_reader(autojump_clock: MockClock) -> None:
    async def read(pool: Any, told: trio.Event) -> None:
        async with pool.map(trio.sleep, wait_for_ever()) as results:
            assert await anext(results) is None
            with pytest.raises(PoolClosedError, match="before the items did"):
                await anext(results)
        told.set()

    told = trio.Event()
    async with trio.open_nursery() as nursery, open_pool(1) as pool:
        nursery.start_soon(read, pool, told)
        await trio.sleep(2)
    assert told.is_set()


async def test_a_stream_of_a_pool_that_has_ended_cannot_be_entered(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        results = pool.map(trio.sleep, [1])
    with pytest.raises(PoolClosedError):
        await results.__aenter__()


async def test_items_that_exit_end_the_pool(autojump_clock: MockClock) -> None:
    def items() -> Iterator[float]:
        yield 1
        raise SystemExit(3)

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(1) as pool, pool.map(trio.sleep, items()) as results:
            async for _ in results:
                pass
            raise AssertionError("the pool should have ended")


async def test_async_items_that_exit_end_the_pool(autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[float]:
        yield 1
        raise SystemExit(3)

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(1) as pool, pool.map(trio.sleep, items()) as results:
            async for _ in results:
                pass
            raise AssertionError("the pool should have ended")


@both
async def test_items_are_taken_on_where_the_queue_was_full(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(1, max_queue=1) as pool:
        others = [await pool.submit(nap, 5) for _ in range(2)]
        async with pool.map(nap, [1, 2, 3]) as results:
            assert await collect(results) == [1, 2, 3]
        assert [other.state for other in others] == [JobState.SUCCEEDED] * 2
    assert trio.current_time() == 16


@both
async def test_a_result_is_followed_at_once_by_the_next_item(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(1) as pool, pool.map(nap, [1, 1, 1, 1], buffer=1) as results:
        assert await anext(results) == 1
        assert pool.statistics().running == 1  # while nobody asks for it yet
        await trio.sleep(10)
        assert await anext(results) == 1
        assert trio.current_time() == 11
