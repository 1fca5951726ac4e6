"""3.1 and 3.11: what a job waits for its key's bound is no time for which it waits for a worker."""

from __future__ import annotations

from typing import Any

import attrs
import trio
from trio.testing import MockClock

from tests.actors import Mint, sleeps
from trio_pool import Elastic, Job, PerKey, RateLimit, open_pool


async def began(resource: Any, seconds: float = 0.0) -> float:
    """When the job runs."""
    started = trio.current_time()
    await trio.sleep(seconds)
    return started


async def times(*jobs: Job[float]) -> list[float]:
    return [await job.wait() for job in jobs]


async def test_a_job_waits_as_long_whatever_waits_for_the_bounds_of_other_keys(autojump_clock: MockClock) -> None:
    mint = Mint()
    elastic = Elastic(mint, min=1, max=5, open_after=3, idle_timeout=100)
    async with open_pool(elastic, per_key=PerKey(max_running=1)) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 20, key="a")
        await trio.sleep(10)
        assert await pool.run(began, key="b") == 13
        pool.cancel()
    assert mint.called == [0, 13]


async def test_the_time_at_the_bound_of_its_key_does_not_count(autojump_clock: MockClock) -> None:
    mint = Mint()
    elastic = Elastic(mint, min=2, max=5, open_after=3, idle_timeout=100)
    async with open_pool(elastic, per_key=PerKey(max_running=1)) as pool:
        first = await pool.submit(began, 10.0, key="a")
        second = await pool.submit(began, key="a")
        await trio.sleep(1)
        long = await pool.submit(began, 50.0, key="b")
        await trio.sleep(8)
        third = await pool.submit(began, 50.0, key="c")
        # From 10 on the second could start, but is behind the third in its turn.
        assert await times(first, third) == [0, 10]
        assert await times(second, long) == [13, 1]
    assert mint.called == [0, 0, 13]


async def test_a_key_that_its_limit_holds_back_waits_for_no_worker(autojump_clock: MockClock) -> None:
    mint = Mint()
    elastic = Elastic(mint, min=1, max=5, open_after=3, idle_timeout=100)
    async with open_pool(elastic, per_key=PerKey(rate_limit=RateLimit(1, per=30))) as pool:
        jobs = [await pool.submit(began, 100.0, key="a") for _ in range(3)]
        assert await times(*jobs) == [0, 33, 63]
    assert mint.called == [0, 33, 63]


async def test_times_of_waiting_for_nothing_but_a_worker_add_up(autojump_clock: MockClock) -> None:
    mint = Mint()
    elastic = Elastic(mint, min=1, max=5, open_after=3, idle_timeout=100)
    async with open_pool(elastic, per_key=PerKey(max_running=2)) as pool:
        await pool.submit(began, 100.0, key="b")
        job = await pool.submit(began, key="a")
        await trio.sleep(2)
        pool.pause()
        await trio.sleep(10)
        pool.resume()
        assert await job.wait() == 13
    assert mint.called == [0, 13]


async def test_what_was_cancelled_after_a_change_of_open_after_keeps_no_worker_from_other_keys(
    autojump_clock: MockClock,
) -> None:
    elastic = Elastic(Mint(), max=5, open_after=3, idle_timeout=100)
    async with open_pool(elastic, per_key=PerKey(max_running=1)) as pool:
        await pool.submit(sleeps, 50, key="a")
        await trio.sleep(4)
        waiting = [await pool.submit(sleeps, 1, key="a") for _ in range(3)]
        pool.elastic = attrs.evolve(elastic, open_after=0)
        for job in waiting[:2]:
            job.cancel()
        jobs = [await pool.submit(began, 9, key=key) for key in "bcde"]
        assert await times(*jobs) == [4] * 4
