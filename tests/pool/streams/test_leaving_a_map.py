"""Leaving the block of a ``map`` ends what is left of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.openers import OpenPool, both
from tests.pool.streams.mapped import collect, double, fail_at_3, nap
from trio_pool import JobFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@both
async def test_leaving_the_block_cancels_what_is_left_and_waits_for_it(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    ended_at: list[float] = []

    async def tidy_up_slowly(*args: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            ended_at.append(trio.current_time())

    async with opened(2) as pool:
        async with pool.map(tidy_up_slowly, itertools.count()):
            await trio.sleep(1)
        assert ended_at == [4, 4]
        assert list(pool.jobs()) == []
        assert pool.statistics().cancelled == 4


@both
async def test_leaving_the_block_by_an_error_does_the_same_and_raises_it(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async def leave() -> None:
        async with pool.map(nap, itertools.repeat(100)):
            await trio.sleep(1)
            raise KeyError

    async with opened(2) as pool:
        with pytest.raises(KeyError):
            await leave()
        assert list(pool.jobs()) == []
        assert trio.current_time() == 1


@both
async def test_leaving_the_block_by_cancellation_does_the_same(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        with trio.move_on_after(1) as scope:
            async with pool.map(nap, itertools.repeat(100)) as results:
                await anext(results)
        assert scope.cancelled_caught
        assert list(pool.jobs()) == []


@both
async def test_all_deaths_among_its_jobs_count_as_dealt_with_then(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        async with pool.map(fail_at_3, [3, 3, 3, 3]) as results:
            with pytest.raises(JobFailedError):
                await anext(results)
            await trio.sleep(1)
        assert pool.statistics().dead == 4
    assert len(pool.dead) == 4  # nothing came out of the block of the pool


@both
async def test_an_async_generator_of_items_is_closed(opened: OpenPool, autojump_clock: MockClock) -> None:
    closed: list[float] = []

    async def items() -> AsyncGenerator[int]:
        try:
            for number in itertools.count():
                yield number
        finally:
            closed.append(trio.current_time())

    async with opened(2) as pool:
        async with pool.map(double, items()) as results:
            await anext(results)
        assert closed == [0]


@both
async def test_taking_an_item_is_cancelled_when_the_block_is_left(opened: OpenPool, autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[int]:
        await trio.sleep(100)
        yield 1

    async with opened(2) as pool:
        async with pool.map(double, items()):
            await trio.sleep(1)
        assert trio.current_time() == 1


@both
async def test_jobs_of_others_are_left_alone(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool:
        other = await pool.submit(nap, 10)
        async with pool.map(nap, itertools.repeat(100)):
            await trio.sleep(1)
        assert await other.wait() == 10


@both
async def test_after_the_block_there_are_no_results_to_be_had(opened: OpenPool) -> None:
    async with opened(2) as pool:
        async with pool.map(double, [1, 2]) as results:
            await anext(results)
        with pytest.raises(trio.ClosedResourceError):
            await anext(results)


@both
async def test_before_the_block_there_are_none_either(opened: OpenPool) -> None:
    async with opened(2) as pool:
        results = pool.map(double, [1, 2])
        with pytest.raises(RuntimeError, match="enter"):
            await anext(results)


@both
async def test_the_block_can_be_entered_only_once(opened: OpenPool) -> None:
    async with opened(2) as pool:
        stream = pool.map(double, [1, 2])
        async with stream as results:
            assert await collect(results) == [2, 4]
        with pytest.raises(RuntimeError, match="only once"):
            async with stream:
                pass


@both
async def test_a_cancelled_wait_for_a_result_loses_none(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(2) as pool, pool.map(nap, [5, 6, 7]) as results:
        found: list[float] = []
        while len(found) < 3:
            with trio.move_on_after(0.75):
                found.append(await anext(results))
    assert found == [5, 6, 7]
