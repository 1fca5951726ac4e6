"""3.1 and 3.7: an elastic pool and jobs whose units are at their limits."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import Mint
from trio_pool import Elastic, JobState, RateLimit, open_pool


async def began(resource: Any, seconds: float = 0.0) -> float:
    """When the job runs."""
    started = trio.current_time()
    await trio.sleep(seconds)
    return started


@pytest.mark.parametrize("open_after", [0, 2])
@pytest.mark.parametrize("holder", ["pool", "its workers"])
async def test_what_was_cancelled_while_its_unit_was_closed_opens_no_worker(
    autojump_clock: MockClock, holder: str, open_after: float
) -> None:
    mint = Mint()
    limit = RateLimit(1, per=20, unit="a")
    of_workers = limit.shared() if holder == "its workers" else None
    elastic = Elastic(mint, max=5, idle_timeout=100, open_after=open_after, rate_limit=of_workers)
    async with open_pool(elastic, rate_limit=limit if holder == "pool" else None) as pool:
        await pool.submit(began, 200.0, uses={"a": 1})
        await trio.sleep(5)
        jobs = [await pool.submit(began, uses={"a": 1}) for _ in range(3)]
        await trio.sleep(5)
        for job in jobs:
            job.cancel()
        assert [job.state for job in jobs] == [JobState.CANCELLED] * 3
        await trio.sleep(40)
        assert mint.called == [open_after]
        assert await pool.run(began, uses={"a": 1}) == 50 + open_after
    assert mint.called == [open_after, 50 + open_after]


async def test_a_worker_is_opened_when_the_unit_opens_again(autojump_clock: MockClock) -> None:
    mint = Mint()
    elastic = Elastic(mint, max=5, idle_timeout=100)
    async with open_pool(elastic, rate_limit=[RateLimit(1, per=20, unit="a"), RateLimit(1, per=30, unit="b")]) as pool:
        jobs = [await pool.submit(began, 200.0, uses={unit: 1}) for unit in "abab"]
        both = await pool.submit(began, 200.0, uses={"a": 1, "b": 1})
        assert [await job.wait() for job in jobs] == [0, 0, 20, 30]
        assert await both.wait() == 60
    assert mint.called == [0, 0, 20, 30, 60]


async def test_jobs_that_wait_for_their_group_leave_the_units_to_others(autojump_clock: MockClock) -> None:
    elastic = Elastic(Mint(), max=5, idle_timeout=100)
    async with open_pool(elastic, rate_limit=RateLimit(1, per=1000, burst=3, unit="a")) as pool:
        async with pool.open_group(max_running=1) as group:
            waiting = [await group.submit(began, 10.0, uses={"a": 1}) for _ in range(3)]
            jobs = [await pool.submit(began, 10.0, uses={"a": 1}) for _ in range(2)]
            assert [await job.wait() for job in jobs] == [0, 0]
            group.cancel()
        assert [job.state for job in waiting] == [JobState.SUCCEEDED, *[JobState.CANCELLED] * 2]
