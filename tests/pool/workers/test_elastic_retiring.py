"""Elastic pools: when workers are retired, and at how many they settle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, sleeps, works
from tests.pool.workers.elastic_crew import crew
from trio_pool import Elastic, open_pool
from trio_pool._model.pool_config import PICKS

if TYPE_CHECKING:
    from trio_pool import Pool
    from trio_pool._model.pool_config import Pick


async def load(pool: Pool[int], seconds: float, *, until: float, gap: float = 0.0) -> None:
    """Run one job after another."""
    while trio.current_time() < until:
        await pool.run(sleeps, seconds)
        await trio.sleep(gap)


# Retiring.


async def test_workers_are_retired_when_they_have_been_idle_for_so_long(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3, idle_timeout=10.0)) as pool:
        for seconds in (1.0, 2.0, 3.0):
            await pool.submit(sleeps, seconds)
        seen: list[int] = []
        for _ in range(14):
            await trio.sleep(1)
            await wait_all_tasks_blocked()
            seen.append(len(crew(pool)))
    assert seen == [3] * 10 + [2, 1, 0, 0]
    assert mint.closed == [0, 1, 2]


@pytest.mark.parametrize("least", [1, 2])
async def test_the_least_number_is_kept(least: int, autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=least, max=5, idle_timeout=10.0)) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 1.0)
        await trio.sleep(1000)
        assert len(crew(pool)) == least


async def test_the_longest_idle_are_retired_first(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=1, max=3, idle_timeout=10.0), pick="last_used") as pool:
        for seconds in (3.0, 1.0, 2.0):
            await pool.submit(sleeps, seconds)
        await trio.sleep(20)
        assert [worker.resource for worker in pool.workers] == [0]


async def test_with_no_idle_timeout_at_all_they_are_retired_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3, idle_timeout=0.0)) as pool:
        await pool.run(works)
        await wait_all_tasks_blocked()
        assert crew(pool) == ()


async def test_with_an_endless_idle_timeout_none_is_retired(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3, idle_timeout=float("inf"))) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 1.0)
        await trio.sleep(80_000)
        assert len(crew(pool)) == 3


async def test_a_paused_worker_is_not_retired(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), max=3, idle_timeout=10.0)) as pool:
        await pool.run(works)
        (worker,) = pool.workers
        worker.pause()
        await trio.sleep(100)
        assert pool.workers == (worker,)
        worker.resume()
        await trio.sleep(11)
        assert crew(pool) == ()


async def test_a_burst_after_a_quiet_time_opens_workers_again(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, idle_timeout=10.0)) as pool:
        for _ in range(2):
            for _ in range(5):
                await pool.submit(sleeps, 1.0)
            await trio.sleep(50)
            assert crew(pool) == ()
    assert mint.called == [0.0] * 5 + [50.0] * 5


# Settling.


@pytest.mark.parametrize("pick", PICKS)
async def test_under_a_steady_load_there_settle_as_many_as_jobs_run_at_once(
    pick: Pick, autojump_clock: MockClock
) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=9, idle_timeout=10.0), pick=pick) as pool:
        for _ in range(9):  # a burst to begin with
            await pool.submit(sleeps, 0.5)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(lambda seconds: load(pool, seconds, until=200.0), 0.9 + 0.1 * number)
            await trio.sleep(12)
            settled = set(pool.workers)
            assert len(settled) == 3
            while trio.current_time() < 190:
                await trio.sleep(0.7)
                assert set(pool.workers) == settled
    assert len(mint.called) == 9


@pytest.mark.parametrize("pick", PICKS)
async def test_short_gaps_between_jobs_retire_nobody(pick: Pick, autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=9, idle_timeout=10.0), pick=pick) as pool, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(lambda gap: load(pool, 5.0, until=300.0, gap=gap), 1.0 + number)
        await trio.sleep(290)
        assert len(mint.called) == len(crew(pool)) <= 3
