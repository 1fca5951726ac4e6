"""3.1: an elastic pool opens workers only for jobs that no limit holds back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import Mint, sleeps, works
from tests.pool.workers.elastic_crew import crew
from trio_pool import Elastic, RateLimit, Resource, current_job, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


@pytest.mark.parametrize("open_after", [0, 0.5])
@pytest.mark.parametrize("unit", [None, "tokens"])
@pytest.mark.parametrize("where", ["worker", "pool"])
async def test_none_is_opened_that_a_shared_limit_would_hold_back_too(
    where: str, unit: str | None, open_after: float, autojump_clock: MockClock
) -> None:
    limits = {where: RateLimit(1, unit=unit).shared()}
    elastic = Elastic(Mint(), max=10, open_after=open_after, rate_limit=limits.get("worker"))
    async with open_pool(elastic, rate_limit=limits.get("pool")) as pool:
        for _ in range(20):
            await pool.submit(sleeps, 0.1, uses={"tokens": 1})
        await trio.sleep(10)
        assert len(crew(pool)) == 1
        pool.cancel()


@pytest.mark.parametrize("where", ["worker", "pool"])
async def test_one_is_opened_each_time_a_shared_limit_lets_a_job_start(where: str, autojump_clock: MockClock) -> None:
    limits = {where: RateLimit(1, per=10).shared()}
    mint = Mint()
    async with open_pool(Elastic(mint, max=10, rate_limit=limits.get("worker")), rate_limit=limits.get("pool")) as pool:
        for _ in range(4):
            await pool.submit(sleeps, 100)
    assert mint.called == [0, 10, 20, 30]


@pytest.mark.parametrize("amount", [0, 1, 2, 3, 5, 7.5, 100])
@pytest.mark.parametrize("where", ["worker", "pool", "own"])
async def test_as_many_are_opened_as_the_level_of_a_unit_lets_start(
    where: str, amount: float, autojump_clock: MockClock
) -> None:
    limit = RateLimit(1, per=1000, burst=10, unit="tokens")
    limits = {where: limit if where == "own" else limit.shared()}
    elastic = Elastic(Mint(), max=15, rate_limit=limits.get("worker"))
    async with open_pool(elastic, rate_limit=limits.get("own", limits.get("pool"))) as pool:
        for _ in range(15):
            await pool.submit(sleeps, 50, uses={"tokens": amount})
        await trio.sleep(5)
        running = pool.statistics().running
        assert running == {0: 15, 1: 10, 2: 5, 3: 4, 5: 2, 7.5: 2, 100: 1}[amount]
        assert len(crew(pool)) == running
        pool.cancel()


async def test_jobs_of_other_units_have_workers_opened_meanwhile(autojump_clock: MockClock) -> None:
    limits = [RateLimit(1, per=1000, burst=2, unit="tokens"), RateLimit(1, per=1000, burst=3, unit="calls")]
    async with open_pool(Elastic(Mint(), max=30), rate_limit=limits) as pool:
        for _ in range(6):
            await pool.submit(sleeps, 50, uses={"tokens": 1})
            await pool.submit(sleeps, 50, uses={"calls": 1, "tokens": 1})
            await pool.submit(sleeps, 50, uses={"calls": 1, "bytes": 1})
        for _ in range(4):
            await pool.submit(sleeps, 50)
        await trio.sleep(5)
        assert len(crew(pool)) == pool.statistics().running == 4 + 2 + 2  # one of the first two used a call too
        pool.cancel()


async def test_what_another_pool_has_used_up_is_noticed(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10).shared()
    mint = Mint()
    async with (
        open_pool([Resource("a", rate_limit=shared)]) as other,
        open_pool(Elastic(mint, max=5, rate_limit=shared)) as pool,
    ):
        await other.submit(sleeps, 1)
        await pool.submit(works)
        await pool.join()
    assert mint.called == [10]


async def test_the_time_in_which_a_limit_of_its_workers_holds_a_job_back_does_not_count(
    autojump_clock: MockClock,
) -> None:
    shared = RateLimit(1, per=10).shared()
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=5, open_after=2, rate_limit=shared)) as pool:
        await pool.submit(sleeps, 30)
        await pool.submit(sleeps, 30)
    assert mint.called == [0, 12]


async def test_what_was_given_back_opens_workers(autojump_clock: MockClock) -> None:
    async def says(resource: int) -> None:
        await trio.sleep(3)
        current_job().set_used(tokens=0)
        await trio.sleep(50)

    mint = Mint()
    limit: Any = RateLimit(1, per=1000, burst=5, unit="tokens")
    async with open_pool(Elastic(mint, max=5), rate_limit=limit) as pool:
        await pool.submit(says, uses={"tokens": 5})
        await pool.submit(sleeps, 1, uses={"tokens": 5})
    assert mint.called == [0, 3]


async def test_each_unit_of_limits_that_workers_share_counts_for_itself(autojump_clock: MockClock) -> None:
    limits = [RateLimit(1, per=1000, burst=burst, unit=unit).shared() for unit, burst in (("a", 2), ("b", 3))]
    async with open_pool(Elastic(Mint(), max=30, rate_limit=limits)) as pool:
        for _ in range(6):
            await pool.submit(sleeps, 50, uses={"a": 1})
            await pool.submit(sleeps, 50, uses={"b": 1})
        await trio.sleep(5)
        assert len(crew(pool)) == pool.statistics().running == 5
        pool.cancel()
