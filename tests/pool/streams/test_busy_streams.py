"""Streams give workers as much to do as there is, and items are taken as soon as there is room."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.openers import OpenPool, both
from trio_pool import (
    Job,
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


# Workers have as much to do as they can have


@EVERY_KIND
@EITHER
async def test_a_few_jobs_that_back_off_leave_no_worker_idle(
    name: str, items: Items, autojump_clock: MockClock
) -> None:
    async with open_pool(3, retry=RetryPolicy()) as pool, getattr(pool, name)(fail_at_first, items(100)) as results:
        assert sorted(await collect(results)) == list(range(100))
    assert trio.current_time() == 604


@EVERY_KIND
@EITHER
async def test_neither_does_one_that_takes_long(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, getattr(pool, name)(be_slow_at_first, items(101)) as results:
        assert sorted(await collect(results)) == list(range(101))
    assert trio.current_time() == 600


@EVERY_KIND
@EITHER
async def test_workers_are_busy_all_the_time_while_one_job_in_seven_backs_off(
    name: str, items: Items, autojump_clock: MockClock
) -> None:
    async def work(item: int) -> None:
        await trio.sleep(0.2)
        if item % 7 == 0 and current_job().attempt_count < 2:
            raise RetryAfter(2 + item % 5)

    async with open_pool(4, retry=RetryPolicy()) as pool, getattr(pool, name)(work, items(700)) as results:
        async for _ in results:
            pass
    busy = sum(worker.busy_seconds for worker in pool.statistics().workers)
    assert busy == pytest.approx(0.2 * (700 + 2 * 100))
    # In the end there are only jobs left that back off, twice at most.
    assert trio.current_time() <= busy / 4 + 2 * 6 + 1


@EVERY_KIND
@EITHER
async def test_a_slow_reader_holds_the_pool_back(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(3) as pool, getattr(pool, name)(nap, items(100), buffer=6) as results:
        for number in range(1, 10):
            await anext(results)
            await trio.sleep(1000)
            assert pool.statistics().submitted <= number + 7


@both
@EVERY_KIND
async def test_jobs_that_end_at_the_same_instant_are_not_out_of_turn(
    opened: OpenPool, items: Items, autojump_clock: MockClock
) -> None:
    async def work(*args: Any) -> int:
        item: int = args[-1]
        return item

    for _ in range(20):
        async with opened(3) as pool, pool.map(work, items(100), buffer=6) as results:
            await trio.sleep(1)
            assert pool.statistics().submitted == 6
            for number in range(1, 10):
                await anext(results)
                await trio.sleep(1)
                assert pool.statistics().submitted == 6 + number


# Who takes the items


async def test_items_of_a_list_are_there_when_the_block_has_been_entered() -> None:
    async with open_pool(1) as pool, pool.map(wait_for_ever, [1, 2, 3]):
        assert states(pool) == 2


async def test_a_list_that_grows_meanwhile_is_followed(autojump_clock: MockClock) -> None:
    items = [3, 2, 1]
    found: list[float] = []
    async with open_pool(1) as pool, pool.map(nap, items) as results:
        async for result in results:
            found.append(result)
            if len(found) == 1:
                items.append(5)
    assert found == [3, 2, 1, 5]


async def test_a_set_that_changes_meanwhile_is_told_to_the_reader(autojump_clock: MockClock) -> None:
    items = {1, 2, 3, 4}
    async with open_pool(1) as pool, pool.as_completed(nap, items) as jobs:
        assert (await anext(jobs)).result() == 1
        items.add(7)
        with pytest.raises(RuntimeError, match="changed size"):
            await collect(jobs)


@EITHER
async def test_a_container_that_fails_while_nobody_reads_is_told_later(name: str, autojump_clock: MockClock) -> None:
    items = dict.fromkeys(range(100), "")
    async with open_pool(1, retry=FOREVER) as pool, getattr(pool, name)(fail, items, buffer=2) as results:
        items[100] = ""
        await trio.sleep(1)
        for job in pool.jobs():
            job.cancel()
        ends: list[str] = []
        while len(ends) < 3:
            try:
                ends.append((await anext(results)).state.name)
            except Exception as error:
                ends.append(type(error).__name__)
    assert ends[2] == "RuntimeError"


async def test_a_reader_may_be_another_task_than_who_has_entered_the_block(autojump_clock: MockClock) -> None:
    found: list[float] = []

    async def read(results: AsyncIterator[float]) -> None:
        async for result in results:
            found.append(result)  # noqa: PERF401

    async with open_pool(2) as pool, pool.map(nap, range(20)) as results, trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(read, results)
    assert sorted(found) == list(range(20))


async def test_streams_of_jobs_read_by_others_obey_the_bound_of_the_queue(autojump_clock: MockClock) -> None:
    # Whoever takes the items, they count as those of who has entered the block.
    async def read(resource: str, results: AsyncIterator[float]) -> int:
        return len([each async for each in results])

    async def work(resource: str, item: float) -> float:
        return await nap(item)

    async with open_pool(["a", "b"], max_queue=1) as pool, pool.map(work, [1] * 20, buffer=10) as results:
        reader = await pool.submit(read, results)
        await wait_all_tasks_blocked()
        await trio.sleep(5.5)
        assert pool.statistics().queued <= 1
        assert await reader.wait() == 20
