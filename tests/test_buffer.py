"""``buffer``: how many of a stream's jobs count at a time, which ones do, and who takes more items when."""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from trio_pool import (
    Elastic,
    Job,
    JobCancelledError,
    JobState,
    RetryAfter,
    RetryPolicy,
    SlotPool,
    current_job,
    open_pool,
)

EITHER = pytest.mark.parametrize("name", ["map", "as_completed"])
FOREVER = RetryPolicy.fixed(10.0**6, max_attempts=None)


# Items of all kinds: some are taken by whoever makes room for them, some by a task.


Items = Callable[[int], Any]


def a_list(number: int) -> list[int]:
    return list(range(number))


def a_generator(number: int) -> Generator[int]:
    yield from range(number)


async def an_async_generator(number: int) -> AsyncGenerator[int]:
    for item in range(number):
        yield item


KINDS: list[Items] = [a_list, a_generator, an_async_generator]
EVERY_KIND = pytest.mark.parametrize("items", KINDS)


def states(pool: SlotPool, *wanted: JobState) -> int:
    return len(list(pool.jobs(*wanted)))


async def nap(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


async def fail(item: int) -> None:
    raise OSError("no luck")


async def wait_for_ever(item: int) -> None:
    await trio.sleep_forever()


async def fail_at_first(item: int) -> int:
    if item < 10 and current_job().attempt_count == 0:
        raise RetryAfter(600)
    await trio.sleep(1)
    return item


async def be_slow_at_first(item: int) -> int:
    await trio.sleep(600 if item == 0 else 1)
    return item


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [each.result() if isinstance(each, Job) else each async for each in stream]


# Which jobs count


@EVERY_KIND
@EITHER
async def test_running_and_queued_ones_count(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool, getattr(pool, name)(wait_for_ever, items(100), buffer=7):
        await trio.sleep(1)
        assert (states(pool, JobState.RUNNING), states(pool, JobState.QUEUED)) == (2, 5)


@EVERY_KIND
@EITHER
async def test_blocked_ones_count(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        first = await pool.submit(trio.sleep_forever)
        async with getattr(pool, name)(wait_for_ever, items(100), buffer=7, after=[first]):
            await trio.sleep(1)
            assert states(pool, JobState.BLOCKED) == 7
        first.cancel()


@EVERY_KIND
@EITHER
async def test_one_that_waits_for_a_place_counts(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(1, max_queue=2) as pool, getattr(pool, name)(wait_for_ever, items(100), buffer=7):
        await trio.sleep(1)
        assert (states(pool), pool.statistics().submitters_waiting) == (3, 1)


@EVERY_KIND
@EITHER
async def test_ended_ones_count_until_they_are_read(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool, getattr(pool, name)(nap, items(100), buffer=7) as results:
        await trio.sleep(500)
        ended = pool.statistics().succeeded
        await anext(results)
        await trio.sleep(500)
    assert pool.statistics().succeeded == ended + 1


@EVERY_KIND
@EITHER
async def test_those_that_back_off_do_not_count(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=FOREVER) as pool, getattr(pool, name)(fail, items(50), buffer=3):
        await trio.sleep(1)
        assert states(pool, JobState.DELAYED) == 50


@EVERY_KIND
@EITHER
async def test_of_those_there_are_at_most_1000_more(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=FOREVER) as pool, getattr(pool, name)(fail, items(3000), buffer=3):
        await trio.sleep(1)
        assert states(pool) == 1003


@EVERY_KIND
@pytest.mark.parametrize("max_queue", [0, 1, 20, math.inf])
@EITHER
async def test_and_at_most_max_queue(name: str, max_queue: float, items: Items, autojump_clock: MockClock) -> None:
    async with (
        open_pool(2, retry=FOREVER, max_queue=max_queue) as pool,
        getattr(pool, name)(fail, items(3000), buffer=3),
    ):
        await trio.sleep(1)
        assert states(pool) == 3 + min(1000, max_queue)


@EVERY_KIND
async def test_those_that_wait_for_their_turn_do_not_count(items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool, pool.map(be_slow_at_first, items(100), buffer=3) as results:
        await trio.sleep(101)
        assert pool.statistics().succeeded == 99
        assert await collect(results) == list(range(100))
    assert trio.current_time() == 600


@EVERY_KIND
async def test_of_those_too_there_are_at_most_1000_more(items: Items, autojump_clock: MockClock) -> None:
    async def work(item: int) -> int:
        await trio.sleep(10**6 if item == 0 else 1)
        return item

    async with open_pool(2) as pool, pool.map(work, items(3000), buffer=3):
        await trio.sleep(5000)
        assert pool.statistics().submitted == 1003


@EVERY_KIND
async def test_both_together_are_at_most_1000_more(items: Items, autojump_clock: MockClock) -> None:
    async def work(item: int) -> int:
        if item == 0:
            await trio.sleep(10**6)
        if item < 700:
            raise OSError("no luck")
        return item

    async with open_pool(2, retry=FOREVER) as pool, pool.map(work, items(3000), buffer=3):
        await trio.sleep(5000)
        assert pool.statistics().submitted == 1003
        assert states(pool, JobState.DELAYED) == 699


@EVERY_KIND
async def test_those_whose_turn_has_come_count_again(items: Items, autojump_clock: MockClock) -> None:
    found: list[int] = []
    async with open_pool(2) as pool, pool.map(be_slow_at_first, items(1000), buffer=3) as results:
        await trio.sleep(300)
        taken = pool.statistics().submitted
        assert taken > 300
        async for result in results:
            found.append(result)
            if len(found) == 1:
                taken = pool.statistics().submitted
            elif len(found) < taken - 5:
                assert pool.statistics().submitted == taken  # there is no room yet
            elif len(found) == taken:
                break
            await trio.sleep(2)
        assert pool.statistics().submitted > taken


@EVERY_KIND
@EITHER
async def test_one_that_comes_back_counts_again(name: str, items: Items, autojump_clock: MockClock) -> None:
    async def work(item: int) -> int:
        if item < 50 and current_job().attempt_count == 0:
            raise RetryAfter(600)
        await trio.sleep(10)
        return item

    async with open_pool(1, retry=RetryPolicy()) as pool, getattr(pool, name)(work, items(1000), buffer=3):
        await trio.sleep(599)
        assert states(pool, JobState.DELAYED) == 50
        await trio.sleep(5)
        taken = pool.statistics().submitted
        assert states(pool, JobState.QUEUED) > 40
        await trio.sleep(300)
        assert pool.statistics().submitted == taken


@EVERY_KIND
async def test_one_that_ends_while_it_backs_off_counts_until_it_is_read(
    items: Items, autojump_clock: MockClock
) -> None:
    async with open_pool(2, retry=FOREVER) as pool, pool.as_completed(fail, items(200), buffer=3) as jobs:
        await trio.sleep(1)
        delayed = list(pool.jobs(JobState.DELAYED))
        for job in delayed[:100]:
            job.cancel()
        await trio.sleep(1)
        assert states(pool, JobState.DELAYED) == 100
        assert len([await anext(jobs) for _ in range(100)]) == 100


@EVERY_KIND
async def test_one_that_ends_while_it_backs_off_waits_for_its_turn(items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=FOREVER) as pool, pool.map(fail, items(200), buffer=3) as results:
        await trio.sleep(1)
        first, *others = pool.jobs(JobState.DELAYED)
        for job in others:
            job.cancel()
        with trio.move_on_after(1):
            await anext(results)
        first.cancel()
        for _ in range(200):
            with pytest.raises(JobCancelledError):
                await anext(results)
        with pytest.raises(StopAsyncIteration):
            await anext(results)


# How many may


@pytest.mark.parametrize("buffer", [1, 2, 50, 10**30])
@EVERY_KIND
@EITHER
async def test_any_size_will_do(name: str, items: Items, buffer: int, autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool, getattr(pool, name)(wait_for_ever, items(100), buffer=buffer):
        await trio.sleep(1)
        assert states(pool) == min(100, buffer)


@EVERY_KIND
@EITHER
async def test_inf_is_no_bound(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with (
        open_pool(1, max_queue=math.inf) as pool,
        getattr(pool, name)(wait_for_ever, items(4000), buffer=math.inf),
    ):
        await trio.sleep(1)
        assert states(pool) == 4000


@EITHER
async def test_without_any_bound_others_run_too(name: str, autojump_clock: MockClock) -> None:
    async with open_pool(1, max_queue=math.inf) as pool:
        async with getattr(pool, name)(wait_for_ever, itertools.count(), buffer=math.inf):
            for _ in range(50):
                await trio.lowlevel.checkpoint()
        assert 0 < pool.statistics().submitted < 50_000


@pytest.mark.parametrize(("workers", "taken"), [(1, 2), (3, 6)])
@EVERY_KIND
@EITHER
async def test_by_default_it_is_twice_the_workers(
    name: str, items: Items, workers: int, taken: int, autojump_clock: MockClock
) -> None:
    async with open_pool(workers) as pool, getattr(pool, name)(wait_for_ever, items(3000)):
        await trio.sleep(1)
        assert states(pool) == taken


@pytest.mark.parametrize(("workers", "taken"), [(499, 998), (501, 1000)])
async def test_and_at_most_1000(workers: int, taken: int, autojump_clock: MockClock) -> None:
    async with open_pool(workers) as pool, pool.as_completed(wait_for_ever, range(3000)):
        await trio.sleep(1)
        assert states(pool) == taken


@EVERY_KIND
@EITHER
async def test_with_more_workers_more_are_taken_at_once(name: str, items: Items, autojump_clock: MockClock) -> None:
    async def work(resource: object, item: int) -> None:
        await trio.sleep_forever()

    async with open_pool(["a"]) as pool, getattr(pool, name)(work, items(100)):
        await trio.sleep(1)
        assert len(list(pool.jobs())) == 2
        await pool.add("b")
        await pool.add("c")
        await trio.sleep(1)
        assert len(list(pool.jobs())) == 6
        assert len(list(pool.jobs(JobState.RUNNING))) == 3


@EVERY_KIND
@EITHER
async def test_with_fewer_workers_fewer_are_taken(name: str, items: Items, autojump_clock: MockClock) -> None:
    async def work(resource: object, item: int) -> None:
        await trio.sleep(1)

    async with open_pool(["a", "b", "c"]) as pool, getattr(pool, name)(work, items(100)) as results:
        await trio.sleep(10)
        assert pool.statistics().submitted == 6
        for worker in pool.workers[1:]:
            await worker.remove()
        for _ in range(4):
            await anext(results)
        await trio.sleep(10)
        assert pool.statistics().submitted == 6
        await anext(results)
        await trio.sleep(10)
        assert pool.statistics().submitted == 7


@EVERY_KIND
@EITHER
async def test_in_a_pool_without_workers_a_few_wait_for_one(name: str, items: Items, autojump_clock: MockClock) -> None:
    async def work(resource: object, item: int) -> int:
        return item

    nothing: list[object] = []
    async with open_pool(nothing, no_worker="wait") as pool, getattr(pool, name)(work, items(10)) as results:
        await trio.sleep(1)
        assert len(list(pool.jobs())) == 2
        await pool.add("a")
        assert sorted(await collect(results)) == list(range(10))


@pytest.mark.parametrize("least", [0, 1, 3])
@EVERY_KIND
@EITHER
async def test_an_elastic_pool_grows_with_a_stream(
    name: str, items: Items, least: int, autojump_clock: MockClock
) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[None]:
        await trio.sleep(1)
        yield

    async def work(resource: object, item: int) -> int:
        await trio.sleep(100)
        return item

    async with (
        open_pool(Elastic(factory, min=least, max=5, idle_timeout=10)) as pool,
        getattr(pool, name)(work, items(30)) as results,
    ):
        await trio.sleep(50)
        assert len(list(pool.jobs(JobState.RUNNING))) == 5
        assert len(list(pool.jobs(JobState.QUEUED))) == 5
        assert sorted(await collect(results)) == list(range(30))
        await trio.sleep(100)
        assert len(pool.workers) == least


@EVERY_KIND
@EITHER
async def test_in_a_group_it_is_the_same(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with (
        open_pool(2) as pool,
        pool.open_group(max_running=1) as group,
        getattr(group, name)(wait_for_ever, items(100)),
    ):
        await trio.sleep(1)
        assert (states(pool, JobState.RUNNING), states(pool, JobState.QUEUED)) == (1, 3)
