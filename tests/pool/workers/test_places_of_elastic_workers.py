"""Elastic pools whose workers have several places."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, sleeps, sleeps_forever, works
from tests.pool.workers.elastic_crew import crew
from tests.pool.workers.places import Gauge, running
from trio_pool import Elastic, Hedge, JobState, ResourceBroken, RetryPolicy, current_job, open_pool


@pytest.mark.parametrize(("jobs", "opened"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (30, 4)])
async def test_as_many_workers_are_opened_as_the_waiting_jobs_fill(
    jobs: int, opened: int, autojump_clock: MockClock
) -> None:
    mint, gauge = Mint(seconds_in=1.0), Gauge()
    async with open_pool(Elastic(mint, min=0, max=4, max_running=3)) as pool:
        for _ in range(jobs):
            await pool.submit(gauge)
        await pool.join()
    assert len(mint.opened) == opened
    assert max(gauge.peak.values()) <= 3


async def test_openings_under_way_count_with_all_their_places(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=5.0)
    async with open_pool(Elastic(mint, min=0, max=4, max_running=3)) as pool:
        for _ in range(3):
            await pool.submit(sleeps, 1.0)
            await trio.sleep(1.0)
            assert len(mint.called) == 1
        await pool.submit(sleeps, 1.0)
        await wait_all_tasks_blocked()
        assert len(mint.called) == 2


async def test_nobody_is_opened_while_places_are_free(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=4, max_running=3)) as pool:
        for _ in range(3):
            await pool.submit(sleeps_forever)
        await trio.sleep(1.0)
        assert (len(mint.called), running(pool)) == (1, [3])
        await pool.submit(sleeps_forever)
        await trio.sleep(1.0)
        assert len(mint.called) == 2
        pool.cancel()


async def test_one_worker_without_a_bound_is_enough(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=1.0)
    async with open_pool(Elastic(mint, min=0, max=4, max_running=math.inf)) as pool:
        for _ in range(100):
            await pool.submit(sleeps, 1.0)
        await pool.join()
        assert trio.current_time() == 2.0
    assert len(mint.called) == 1


async def test_a_worker_is_retired_only_once_nothing_runs_on_it(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=4, max_running=3, idle_timeout=5.0)) as pool:
        await pool.submit(sleeps, 20.0)
        await pool.submit(sleeps, 1.0)
        await trio.sleep(15.0)
        assert len(crew(pool)) == 1
        await trio.sleep(9.5)
        assert len(crew(pool)) == 1
        await trio.sleep(1.0)
        assert crew(pool) == ()


async def test_a_worker_with_one_job_at_a_time_is_never_retired_with_it(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=4, max_running=3, idle_timeout=5.0)) as pool:
        for _ in range(10):
            await pool.submit(sleeps, 4.0)
            await trio.sleep(3.0)  # so that one always runs
        assert len(crew(pool)) == 1
    assert len(mint.called) == 1


@pytest.mark.parametrize("change", ["group", "places"])
async def test_idle_time_goes_on_when_places_are_reserved_or_changed(change: str, autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=1, max_running=3, idle_timeout=5.0)) as pool:
        await pool.run(works)
        (worker,) = crew(pool)
        await trio.sleep(2.0)
        if change == "group":
            async with pool.open_group(reserve=2):
                await trio.sleep(1.0)
        else:
            worker.max_running = 4
            await trio.sleep(1.0)
        await trio.sleep(1.5)
        assert crew(pool) == (worker,)
        await trio.sleep(6.0)
        assert crew(pool) == ()


async def test_a_worker_with_reserved_places_is_not_retired(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=2, max_running=3, idle_timeout=5.0)) as pool:
        async with pool.open_group(reserve=1):
            await trio.sleep(50.0)
            assert len(crew(pool)) == 1
        await trio.sleep(6.0)
        assert crew(pool) == ()


async def test_a_lower_max_lets_workers_go_once_they_run_nothing(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=0, max=2, max_running=2)) as pool:
        for seconds in (1.0, 4.0, 2.0, 6.0):
            await pool.submit(sleeps, seconds)
        await wait_all_tasks_blocked()
        assert len(crew(pool)) == 2
        assert pool.elastic is not None
        pool.elastic = attrs.evolve(pool.elastic, max=1)
        await trio.sleep(3.0)
        assert len(crew(pool)) == 2
        await trio.sleep(2.0)
        assert len(crew(pool)) == 1


async def test_more_places_of_a_worker_take_jobs_that_wait_for_one(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=1, max=1, max_running=1)) as pool:
        (worker,) = crew(pool)
        for _ in range(4):
            await pool.submit(sleeps, 1.0)
        worker.max_running = 4
        await pool.join()
        assert trio.current_time() == 1.0


async def test_a_broken_resource_is_replaced_after_the_other_places_have_finished(autojump_clock: MockClock) -> None:
    mint = Mint()
    calls: list[float] = []

    async def breaks_once(resource: int) -> int:
        calls.append(trio.current_time())
        if len(calls) == 1:
            raise ResourceBroken("torn")
        return resource

    async with open_pool(
        Elastic(mint, min=1, max=1, max_running=3), retry=RetryPolicy.immediate(max_attempts=5)
    ) as pool:
        other = await pool.submit(sleeps, 3.0)
        assert await pool.run(breaks_once) == 1
        assert calls == [0.0, 3.0]
        assert other.state is JobState.SUCCEEDED


async def test_no_worker_is_opened_for_a_hedge_and_a_lent_place_serves_the_children(
    autojump_clock: MockClock,
) -> None:
    mint = Mint()

    async def parent(resource: int) -> None:
        async with current_job().lend():
            await pool.run(sleeps, 1.0)

    async with open_pool(Elastic(mint, min=0, max=3, max_running=2)) as pool:
        hedged = await pool.submit(sleeps, 5.0, hedge=Hedge(1.0))
        await pool.run(parent)
        await trio.sleep(2.0)
        assert len(mint.called) == 1
        assert (await hedged.wait(), hedged.attempts[0].hedges) == (5.0, ())


async def test_parents_that_hold_all_places_get_more_workers_up_to_max(autojump_clock: MockClock) -> None:
    mint = Mint()

    async def parent(resource: int) -> Any:
        return await pool.run(sleeps, 1.0)

    async with open_pool(Elastic(mint, min=0, max=2, max_running=2)) as pool:
        with trio.fail_after(60):
            jobs = [await pool.submit(parent) for _ in range(2)]
            assert [await job.wait() for job in jobs] == [1.0, 1.0]
    assert len(mint.called) == 2


async def test_groups_may_reserve_what_elastic_workers_without_a_bound_could_have(autojump_clock: MockClock) -> None:
    mint = Mint()

    async def opens(resource: int) -> int:
        async with pool.open_group(reserve=7) as group:
            return len(group.reserved)

    async with open_pool(Elastic(mint, min=0, max=1, max_running=math.inf)) as pool:
        async with pool.open_group(reserve=100) as group:
            assert len(group.reserved) == 100
        with trio.fail_after(60):
            assert await pool.run(opens) == 7
