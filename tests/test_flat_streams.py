"""What an item of a stream costs depends neither on how many wait beside it nor on how many workers there are."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.core.makers import calls_of
from tests.streams import EITHER, collect
from trio_pool import RetryAfter, RetryPolicy, current_job, open_pool

Items = Callable[[int], Any]
Work = Callable[[int], Awaitable[int]]


def a_list(number: int) -> list[int]:
    return list(range(number))


def a_generator(number: int) -> Generator[int]:
    yield from range(number)


EVERY_KIND = pytest.mark.parametrize("items", [a_list, a_generator])
EVERY_READER = pytest.mark.parametrize("in_a_job", [False, True], ids=["a task reads", "a job reads"])


async def end_one_by_one(item: int) -> int:
    await trio.sleep(1 + item / 1000)
    return item


async def back_off_once(item: int) -> int:
    if current_job().attempt_count == 0:
        raise RetryAfter(1000 + item)
    await trio.sleep(1)
    return item


async def keep_the_first_back(item: int) -> int:
    await trio.sleep(10**6 if item == 0 else 1 + item / 1000)
    return item


EVERY_WORK = pytest.mark.parametrize("work", [end_one_by_one, back_off_once, keep_the_first_back])


def calls(name: str, work: Work, items: Items, number: int, *, workers: int, in_a_job: bool, **options: Any) -> int:
    """How many calls it takes to open a pool and to read so many results of a stream."""

    async def main() -> None:
        async with open_pool(workers + in_a_job, retry=RetryPolicy(), max_queue=math.inf) as pool:

            async def read() -> None:
                async with getattr(pool, name)(work, items(number), **options) as results:
                    assert sorted(await collect(results)) == list(range(number))

            await (pool.run(read) if in_a_job else read())

    return calls_of(lambda: trio.run(main, clock=MockClock(autojump_threshold=0)))


@EVERY_WORK
@EVERY_READER
@EVERY_KIND
@EITHER
def test_an_item_costs_no_more_where_very_many_wait(name: str, items: Items, in_a_job: bool, work: Work) -> None:
    few, many = (
        calls(name, work, items, number, workers=4, in_a_job=in_a_job, buffer=math.inf) / number for number in (20, 160)
    )
    assert many <= 1.2 * few


@EVERY_WORK
@EVERY_READER
@EVERY_KIND
@EITHER
def test_an_item_costs_no_more_where_there_are_many(name: str, items: Items, in_a_job: bool, work: Work) -> None:
    few, many = (calls(name, work, items, number, workers=4, in_a_job=in_a_job) / number for number in (20, 160))
    assert many <= 1.2 * few


@EVERY_WORK
@EVERY_READER
@EVERY_KIND
@EITHER
def test_an_item_costs_no_more_where_there_are_many_workers(
    name: str, items: Items, in_a_job: bool, work: Work
) -> None:
    few, many = (
        calls(name, work, items, 200, workers=workers, in_a_job=in_a_job)
        - calls(name, work, items, 100, workers=workers, in_a_job=in_a_job)
        for workers in (4, 40)
    )
    assert many <= 1.2 * few
