"""Jobs that read streams of their own pool: they are told where they would wait forever, and only there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.streams import EITHER, collect
from trio_pool import (
    DeadReason,
    JobDeadlockError,
    JobFailedError,
    Pool,
    Resource,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

# Items are the names of workers.


def a_list(*items: str) -> list[str]:
    return list(items)


def a_generator(*items: str) -> Generator[str]:
    yield from items


async def a_quick_generator(*items: str) -> AsyncGenerator[str]:
    for item in items:
        yield item


async def a_slow_generator(*items: str) -> AsyncGenerator[str]:
    for item in items:
        await trio.sleep(1)
        yield item


Items = Callable[..., Any]
EVERY_KIND = pytest.mark.parametrize("items", [a_list, a_generator, a_quick_generator, a_slow_generator])


async def nap(resource: str, item: str) -> str:
    await trio.sleep(1)
    return resource


async def fail_at_first(resource: str, item: str) -> str:
    if current_job().attempt_count == 0:
        raise RetryAfter(10)
    return await nap(resource, item)


def on(pool: Pool[str]) -> Callable[[str], Any]:
    """The option that has each item's job run by the worker of that name."""
    workers = {worker.resource: worker for worker in pool.workers}
    return lambda item: workers[item]


async def open_and_read(resource: str, open_stream: Callable[[], Any]) -> list[Any]:
    """A job that opens a stream and reads it."""
    async with open_stream() as stream:
        return await collect(stream)


@EVERY_KIND
@EITHER
async def test_jobs_that_need_the_worker_of_their_reader_are_a_deadlock(
    name: str, items: Items, autojump_clock: MockClock
) -> None:
    async with open_pool(["mine"]) as pool:
        job = await pool.submit(open_and_read, partial(getattr(pool, name), nap, items("a", "b", "c")))
        with pytest.raises(Exception, match="would wait forever for nap") as told:
            await job.wait()
        assert isinstance(told.value.__cause__, JobDeadlockError)


@EVERY_KIND
@EITHER
async def test_they_are_none_while_the_worker_is_lent(name: str, items: Items, autojump_clock: MockClock) -> None:
    async def lend_and_read(resource: str) -> list[Any]:
        async with current_job().lend():
            return await open_and_read(resource, partial(getattr(pool, name), nap, items("a", "b", "c")))

    async with open_pool(["mine"]) as pool:
        assert await pool.run(lend_and_read) == ["mine"] * 3


@EVERY_KIND
@EITHER
async def test_they_are_none_with_another_worker(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(["mine", "other"]) as pool:
        stream = partial(getattr(pool, name), nap, items("a", "b", "c"))
        assert await pool.run(open_and_read, stream) == ["other"] * 3


@EVERY_KIND
@EITHER
async def test_nor_while_they_back_off(name: str, items: Items, autojump_clock: MockClock) -> None:
    async with open_pool(["mine", "other"], retry=RetryPolicy()) as pool:
        stream = partial(getattr(pool, name), fail_at_first, items("a", "b", "c"), buffer=1)
        assert await pool.run(open_and_read, stream) == ["other"] * 3


@EVERY_KIND
async def test_where_others_may_come_and_end_any_will_do(items: Items, autojump_clock: MockClock) -> None:
    async def first(resource: str) -> str:
        async with pool.as_completed(nap, items("mine", "mine", "other"), buffer=3, worker=on(pool)) as jobs:
            return (await anext(jobs)).result()

    async with open_pool(["mine", "other"]) as pool:
        assert await pool.run(first, worker=pool.workers[0]) == "other"


@EVERY_KIND
async def test_where_no_others_can_come_it_is_a_deadlock(items: Items, autojump_clock: MockClock) -> None:
    async def first(resource: str) -> None:
        async with pool.as_completed(nap, items("mine", "mine", "other"), buffer=2, worker=on(pool)) as jobs:
            with pytest.raises(JobDeadlockError):
                await anext(jobs)

    async with open_pool(["mine", "other"]) as pool:
        await pool.run(first, worker=pool.workers[0])


@EVERY_KIND
async def test_with_map_it_is_the_next_one_that_counts(items: Items, autojump_clock: MockClock) -> None:
    async def first(resource: str) -> None:
        async with pool.map(nap, items("other", "mine", "other"), worker=on(pool)) as results:
            assert await anext(results) == "other"
            with pytest.raises(JobDeadlockError):
                await anext(results)

    async with open_pool(["mine", "other"]) as pool:
        await pool.run(first, worker=pool.workers[0])


@EVERY_KIND
async def test_one_that_backs_off_lets_others_come(items: Items, autojump_clock: MockClock) -> None:
    async def work(resource: str, item: str) -> str:
        if item == "other" and current_job().attempt_count == 0:
            raise RetryAfter(100)
        return await nap(resource, item)

    async def first(resource: str) -> str:
        async with pool.as_completed(work, items("other", "mine", "third"), buffer=2, worker=on(pool)) as jobs:
            return (await anext(jobs)).result()

    async with open_pool(["mine", "other", "third"], retry=RetryPolicy()) as pool:
        assert await pool.run(first, worker=pool.workers[0]) == "third"
        assert trio.current_time() < 100


@EVERY_KIND
async def test_one_that_backs_off_is_waited_for(items: Items, autojump_clock: MockClock) -> None:
    async def work(resource: str, item: str) -> str:
        if item == "other" and current_job().attempt_count == 0:
            raise RetryAfter(100)
        return await nap(resource, item)

    async def first(resource: str) -> str:
        async with pool.as_completed(work, items("other", "mine", "mine"), buffer=2, worker=on(pool)) as jobs:
            return (await anext(jobs)).result()

    async with open_pool(["mine", "other"], retry=RetryPolicy()) as pool:
        assert await pool.run(first, worker=pool.workers[0]) == "other"


@EVERY_KIND
@EITHER
async def test_a_worker_that_leaves_makes_it_a_deadlock(name: str, items: Items, autojump_clock: MockClock) -> None:
    async def slow(resource: str, item: str) -> None:
        await trio.sleep(100)

    async with open_pool(["mine", "other"]) as pool, trio.open_nursery() as nursery:
        mine, other = pool.workers
        stream = partial(getattr(pool, name), slow, items("a", "b", "c"))
        job = await pool.submit(open_and_read, stream, worker=mine)
        await trio.sleep(10)
        nursery.start_soon(partial(other.remove, cancel=True))
        with pytest.raises(Exception, match="would wait forever"):
            await job.wait()
        assert trio.current_time() == 10


@EVERY_KIND
@EITHER
async def test_one_that_waits_for_a_place_behind_its_reader_is_a_deadlock(
    name: str, items: Items, autojump_clock: MockClock
) -> None:
    opened = trio.Event()
    streams: list[AsyncIterator[Any]] = []

    async def read(resource: str) -> None:
        await opened.wait()
        await collect(streams[0])

    async with open_pool(["mine"], max_queue=1) as pool:
        reader = await pool.submit(read)
        async with getattr(pool, name)(nap, items("a", "b", "c", "d"), buffer=4) as stream:
            await trio.sleep(5)
            assert pool.statistics().submitters_waiting == 1
            streams.append(stream)
            opened.set()
            with pytest.raises(JobFailedError) as told:
                await reader.wait()
            assert isinstance(told.value.__cause__, JobDeadlockError)
            assert await collect(stream) == ["mine"] * 4


@EITHER
async def test_items_that_take_their_time_are_waited_for(name: str, autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[str]:
        yield "mine"
        await trio.sleep(100)

    async def first(resource: str) -> float:
        async with getattr(pool, name)(nap, items(), worker=on(pool)) as stream:
            with pytest.raises(JobDeadlockError):
                await anext(stream)
            return trio.current_time()

    async with open_pool(["mine", "other"]) as pool:
        # With map it is known at once, and else as soon as no other job can come.
        assert await pool.run(first, worker=pool.workers[0]) == (0 if name == "map" else 100)


async def test_a_tree_of_jobs_that_read_ends(autojump_clock: MockClock) -> None:
    async def count(resource: str, depth: int) -> int:
        if depth == 0:
            await trio.sleep(1)
            return 1
        async with current_job().lend(), pool.map(count, [depth - 1] * 3) as results:
            return sum([each async for each in results])

    async with open_pool(["a", "b"]) as pool:
        assert await pool.run(count, 4) == 81
    assert trio.current_time() == 41


@EVERY_KIND
@EITHER
async def test_a_job_that_is_cancelled_while_it_reads_takes_its_stream_along(
    name: str, items: Items, autojump_clock: MockClock
) -> None:
    async with open_pool(["mine", "other"]) as pool:
        job = await pool.submit(open_and_read, partial(getattr(pool, name), nap, items(*"abcdefgh")))
        await trio.sleep(2.5)
        job.cancel()
        await pool.join()
        assert trio.current_time() == 2.5
        assert list(pool.jobs()) == []


@EVERY_KIND
@EITHER
async def test_a_job_may_leave_a_stream_of_a_group_that_must_succeed(
    name: str, items: Items, autojump_clock: MockClock
) -> None:
    async def die(resource: str, item: str) -> None:
        await trio.sleep(1)
        raise OSError("no luck")

    async def parent(resource: str) -> None:
        async with pool.open_group(must_succeed=True) as group, getattr(group, name)(die, items(*"abc")) as stream:
            await collect(stream)

    async with open_pool(["mine", "other"]) as pool:
        job = await pool.submit(parent)
        with pytest.raises(JobFailedError):
            await job.wait()


async def test_at_the_end_what_a_job_reads_dies_though_it_had_started_on_a_worker_that_is_gone(
    autojump_clock: MockClock,
) -> None:
    async def parent(resource: str) -> list[DeadReason | None]:
        async with pool.as_completed(nap, ["item"], requires=["x"]) as stream:
            return [job.dead_reason async for job in stream]

    async with (
        trio.open_nursery() as nursery,
        open_pool([Resource("mine"), Resource("other", tags=["x"])], no_worker="wait") as pool,
    ):
        await pool.submit(nap, "first", requires=["x"])
        job = await pool.submit(parent, worker=pool.workers[0])
        await trio.sleep(1.5)
        nursery.start_soon(partial(pool.workers[1].remove, cancel=True))
        await wait_all_tasks_blocked()
    assert job.result() == [DeadReason.NO_WORKER]
    assert trio.current_time() == 1.5
