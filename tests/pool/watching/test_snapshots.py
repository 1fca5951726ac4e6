"""``snapshots``: statistics now, after each interval, and when all is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.openers import OpenPool, both

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_pool import PoolStatistics


async def nap(*args: Any) -> None:
    await trio.sleep(args[-1])


class Watch:
    """A task that notes each snapshot and when it came."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, PoolStatistics]] = []
        self.ended_at: float | None = None

    async def run(self, pool: Any, interval: float) -> None:
        async for statistics in pool.snapshots(interval):
            self.seen.append((trio.current_time(), statistics))
        self.ended_at = trio.current_time()

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.seen]


@both
async def test_a_snapshot_comes_now_and_after_each_interval(opened: OpenPool, autojump_clock: MockClock) -> None:
    watch = Watch()
    async with trio.open_nursery() as nursery, opened() as pool:
        nursery.start_soon(watch.run, pool, 2)
        await pool.run(nap, 5)
    assert watch.times == [0, 2, 4, 5]


@both
async def test_a_snapshot_is_the_statistics_of_that_moment(opened: OpenPool, autojump_clock: MockClock) -> None:
    watch = Watch()
    async with trio.open_nursery() as nursery, opened(name="watched") as pool:
        nursery.start_soon(watch.run, pool, 2)
        await pool.submit(nap, 1)
        await pool.submit(nap, 2)
        await pool.submit(nap, 2)
    assert [statistics.name for _, statistics in watch.seen] == ["watched"] * 4
    assert [statistics.succeeded for _, statistics in watch.seen] == [0, 1, 2, 3]


@both
async def test_the_last_one_comes_when_the_pool_is_closed_and_every_job_has_ended(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    watch = Watch()
    async with trio.open_nursery() as nursery, opened() as pool:
        nursery.start_soon(watch.run, pool, 2)
        await pool.submit(nap, 7)
        await trio.sleep(1)
        pool.close()
    assert watch.times == [0, 2, 4, 6, 7]
    assert watch.ended_at == 7


@both
async def test_it_goes_on_while_the_pool_is_open_though_nothing_runs(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    watch = Watch()
    async with trio.open_nursery() as nursery, opened() as pool:
        nursery.start_soon(watch.run, pool, 2)
        await pool.run(nap, 1)
        await trio.sleep(6)
    assert watch.times == [0, 2, 4, 6, 7]
    assert watch.ended_at == 7


@both
async def test_it_ends_inside_the_block_if_the_pool_is_closed_there(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened() as pool:
        await pool.submit(nap, 3)
        pool.close()
        times = [trio.current_time() async for _ in pool.snapshots(2)]
        assert times == [0, 2, 3]
        assert trio.current_time() == 3


@both
async def test_of_a_pool_that_is_over_there_is_one(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened() as pool:
        await pool.run(nap, 3)
    assert [statistics.succeeded async for statistics in pool.snapshots(2)] == [1]
    assert trio.current_time() == 3


@both
async def test_it_ends_when_the_pool_is_cancelled(opened: OpenPool, autojump_clock: MockClock) -> None:
    watch = Watch()
    async with trio.open_nursery() as nursery, opened() as pool:
        nursery.start_soon(watch.run, pool, 2)
        await pool.submit(nap, 100)
        await trio.sleep(5)
        pool.cancel()
        await trio.sleep(100)
    assert watch.times == [0, 2, 4, 5]
    assert watch.seen[-1][1].cancelled == 1
    assert watch.ended_at == 5


@both
async def test_who_is_slow_gets_one_at_once_and_not_all_that_were_missed(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    times: list[float] = []
    async with opened() as pool:
        snapshots = pool.snapshots(1)
        await anext(snapshots)
        await trio.sleep(10)
        for _ in range(3):
            await anext(snapshots)
            times.append(trio.current_time())
    assert times == [10, 11, 12]


@both
async def test_several_may_watch_each_at_its_own_pace(opened: OpenPool, autojump_clock: MockClock) -> None:
    slow, fast = Watch(), Watch()
    async with trio.open_nursery() as nursery, opened() as pool:
        nursery.start_soon(slow.run, pool, 4)
        nursery.start_soon(fast.run, pool, 2)
        await pool.run(nap, 7)
    assert (slow.times, fast.times) == ([0, 4, 7], [0, 2, 4, 6, 7])
