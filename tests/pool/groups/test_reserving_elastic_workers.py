"""Groups that want workers of an elastic pool for themselves."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.actors import Mint, sleeps, works
from trio_pool import Elastic, open_pool


async def test_an_elastic_pool_opens_the_workers_that_a_group_wants(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=2.0)
    async with open_pool(Elastic(mint, max=5)) as pool, pool.open_group(reserve=3) as group:
        assert trio.current_time() == 2.0
        assert len(group.statistics().workers) == 3
    assert mint.called == [0.0] * 3


async def test_an_elastic_pool_opens_only_what_is_missing(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=2, max=5)) as pool, pool.open_group(reserve=3):
        pass
    assert len(mint.called) == 3


async def test_an_elastic_pool_opens_workers_for_others_beside_the_reserved_ones(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3)) as pool, pool.open_group(reserve=2):
        for _ in range(4):
            await pool.submit(sleeps, 1.0)
        await pool.join()
        assert trio.current_time() == 4.0
        assert len(mint.called) == 3


async def test_an_elastic_pool_has_no_more_to_reserve_than_its_most() -> None:
    async with open_pool(Elastic(Mint(), max=3)) as pool:
        with pytest.raises(ValueError, match="reserve must be at most 3"):
            pool.open_group(reserve=4)


async def test_workers_that_the_program_has_added_to_an_elastic_pool_can_be_reserved_too(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(Elastic(Mint(), max=2)) as pool:
        await pool.add(7)
        async with pool.open_group(reserve=3) as group:
            assert len(group.statistics().workers) == 3
        with pytest.raises(ValueError, match="reserve must be at most 3"):
            pool.open_group(reserve=4)


async def test_reserved_workers_are_not_retired(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, idle_timeout=10.0)) as pool:
        async with pool.open_group(reserve=2) as group:
            await trio.sleep(100.0)
            assert len(group.statistics().workers) == 2
        await trio.sleep(20.0)
        assert pool.workers == ()
    assert len(mint.called) == 2


async def test_an_elastic_pool_goes_on_trying_for_a_group_that_waits(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=[OSError("no answer") for _ in range(3)])
    async with open_pool(Elastic(mint, max=5), rng=Random(0)) as pool, pool.open_group(reserve=1) as group:
        assert await group.run(works) == "done"
    assert len(mint.called) == 4


async def test_an_elastic_pool_stops_trying_when_the_group_no_longer_waits(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=[OSError("no answer") for _ in range(1000)])
    async with open_pool(Elastic(mint, max=5), rng=Random(0)) as pool:
        with trio.move_on_after(10.0) as scope:
            async with pool.open_group(reserve=1):
                pass
        assert scope.cancelled_caught
        tried = len(mint.called)
        await trio.sleep(1000.0)
        assert pool.workers == ()
        assert len(mint.called) == tried
