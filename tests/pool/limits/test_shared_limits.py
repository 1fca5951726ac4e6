"""3.7: several workers and pools of one Trio run draw from one shared limit, and take turns."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pool import (
    Elastic,
    Hedge,
    Job,
    JobState,
    Pool,
    RateLimit,
    Resource,
    SharedRateLimit,
    current_job,
    open_pool,
)

SLOW = RateLimit(1, per=10)


async def when(resource: object = None) -> float:
    """When it was called."""
    return trio.current_time()


async def submit_four(pool: Pool[str]) -> list[Job[float]]:
    return [await pool.submit(when) for _ in range(4)]


async def times_of(jobs: list[Job[float]]) -> list[float]:
    return [await job.wait() for job in jobs]


async def test_workers_with_a_shared_limit_draw_from_the_same(autojump_clock: MockClock) -> None:
    shared = SLOW.shared()
    async with open_pool([Resource(name, rate_limit=shared) for name in "abc"]) as pool:
        jobs = [await pool.submit(when) for _ in range(4)]
        assert await times_of(jobs) == [0.0, 10.0, 20.0, 30.0]
        assert pool.workers[0].rate_limit is shared


async def test_a_run_draws_once_however_many_of_its_holders_have_the_limit(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10, burst=2).shared()
    async with open_pool([Resource("a", rate_limit=[shared, shared])], rate_limit=shared) as pool:
        jobs = [await pool.submit(when) for _ in range(3)]
        assert await times_of(jobs) == [0.0, 0.0, 10.0]


@pytest.mark.parametrize("of_pool", [True, False])
async def test_pools_that_wait_take_turns(autojump_clock: MockClock, of_pool: bool) -> None:
    shared = SLOW.shared(name="quota")

    def opened() -> Any:
        if of_pool:
            return open_pool(["a"], rate_limit=shared)
        return open_pool([Resource("a", rate_limit=shared)])

    async with opened() as one, opened() as other, opened() as third:
        pools = (one, other, third)
        jobs = [await submit_four(pool) for pool in pools]
        times = [await times_of(each) for each in jobs]
        assert times == [[0.0, 10.0, 40.0, 70.0], [20.0, 50.0, 80.0, 100.0], [30.0, 60.0, 90.0, 110.0]]


async def test_a_pool_that_has_nothing_to_start_when_its_turn_comes_lets_the_next_one_go(
    autojump_clock: MockClock,
) -> None:
    shared = SLOW.shared()
    async with open_pool(1, rate_limit=shared) as one, open_pool(1, rate_limit=shared) as other:
        assert await one.run(when) == 0.0
        waiting = await one.submit(when)
        behind = await other.submit(when)
        await trio.sleep(5)
        waiting.cancel()
        assert await behind.wait() == 10.0


async def test_a_draw_that_is_given_back_wakes_a_pool_that_waits(autojump_clock: MockClock) -> None:
    async def says(seconds: float) -> None:
        await trio.sleep(seconds)
        current_job().set_used(tokens=0)

    shared = RateLimit(1, per=10, burst=5, unit="tokens").shared()
    async with open_pool(1, rate_limit=shared) as one, open_pool(1, rate_limit=shared) as other:
        long = await one.submit(says, 7, uses={"tokens": 500})
        job = await other.submit(when, uses={"tokens": 1})
        free = await other.submit(when)
        assert await free.wait() == 0.0
        assert await job.wait() == 7.0
        await long.wait()


async def test_a_run_cut_before_it_began_wakes_a_pool_that_waits(autojump_clock: MockClock) -> None:
    shared = SLOW.shared()
    async with open_pool(1, rate_limit=shared) as one, open_pool(1, rate_limit=shared) as other:
        job = one.submit_nowait(when)
        behind = other.submit_nowait(when)
        assert (job.state, behind.state) == (JobState.RUNNING, JobState.QUEUED)
        job.cancel()
        assert await behind.wait() == 0.0


async def test_units_of_workers_in_several_pools_are_shared(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10, unit="tokens").shared()
    resource = Resource("a", rate_limit=shared)
    async with open_pool([resource]) as one, open_pool([resource]) as other:
        jobs = [await pool.submit(when, uses={"tokens": 1}) for pool in (one, other, one, other)]
        free = [await pool.submit(when) for pool in (one, other)]
        assert await times_of(free) == [0.0, 0.0]
        assert sorted(await times_of(jobs)) == [0.0, 10.0, 20.0, 30.0]


async def test_what_another_pool_has_drawn_is_seen_by_one_that_was_idle(autojump_clock: MockClock) -> None:
    shared = SLOW.shared()
    async with (
        open_pool([Resource("a", rate_limit=shared)]) as one,
        open_pool([Resource("b", rate_limit=shared)]) as two,
    ):
        assert [len(pool.free_workers) for pool in (one, two)] == [1, 1]
        assert await one.run(when) == 0.0
        assert [len(pool.free_workers) for pool in (one, two)] == [0, 0]
        with pytest.raises(trio.WouldBlock):
            two.submit_nowait(when, idle_only=True)
        assert await two.run(when) == 10.0


async def test_the_limit_can_be_assigned_and_keeps_its_level(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10, burst=3).shared()
    async with open_pool(1, rate_limit=shared) as pool:
        for _ in range(3):
            assert await pool.run(when) == 0.0
        job = await pool.submit(when)
        shared.limit = RateLimit(1, per=4, burst=30)
        assert shared.limit == RateLimit(1, per=4, burst=30)
        assert await job.wait() == 4.0
        with pytest.raises(ValueError, match=r"^limit must have the unit None, as before"):
            shared.limit = RateLimit(1, unit="tokens")
        with pytest.raises(TypeError, match=r"^limit must be a RateLimit, got 5"):
            shared.limit = 5  # type: ignore[assignment]


async def test_it_can_rest(autojump_clock: MockClock) -> None:
    shared = RateLimit(100, burst=100).shared(name="quota")
    with pytest.raises(RuntimeError, match="no pool has done so yet"):
        shared.rest(5)
    async with open_pool(2, rate_limit=shared) as pool:
        shared.rest(5)
        shared.rest(3)
        assert await times_of([await pool.submit(when) for _ in range(2)]) == [5.0, 5.0]
        with pytest.raises(ValueError, match=r"^seconds must not be negative"):
            shared.rest(-1)


def test_in_a_second_trio_run_it_is_an_error() -> None:
    shared = SLOW.shared(name="quota")

    async def run_one() -> None:
        async with open_pool(1, rate_limit=shared) as pool:
            await pool.run(when)

    async def run_with_a_worker() -> None:
        async with open_pool([Resource("a", rate_limit=shared)]):
            pass

    async def assign() -> None:
        async with open_pool(["a"]) as pool:
            with pytest.raises(RuntimeError, match="belongs to another Trio run"):
                pool.rate_limit = shared
            with pytest.raises(RuntimeError, match="belongs to another Trio run"):
                pool.workers[0].rate_limit = shared

    trio.run(run_one)
    for again in (run_one, run_with_a_worker):
        with pytest.raises(RuntimeError, match=r"'quota'.* belongs to another Trio run; create one for each run"):
            trio.run(again)
    trio.run(assign)


def test_to_change_it_in_a_second_trio_run_is_an_error_also_where_no_pool_uses_it() -> None:
    shared = SLOW.shared()

    async def use() -> None:
        async with open_pool(1, rate_limit=shared) as pool:
            await pool.run(when)

    async def change() -> None:
        with pytest.raises(RuntimeError, match="belongs to another Trio run"):
            shared.limit = RateLimit(2)
        with pytest.raises(RuntimeError, match="belongs to another Trio run"):
            shared.rest(5)

    trio.run(use)
    trio.run(change)
    assert shared.limit == SLOW
    shared.limit = RateLimit(2)  # in no Trio run
    assert shared.limit == RateLimit(2)


async def test_in_another_thread_it_is_an_error() -> None:
    shared = SLOW.shared()

    def assign() -> None:
        shared.limit = SLOW

    async with open_pool(1, rate_limit=shared):
        with pytest.raises(RuntimeError, match="belongs to another Trio run or thread"):
            await trio.to_thread.run_sync(assign)


async def test_one_that_is_taken_away_leaves_its_level_to_the_next(autojump_clock: MockClock) -> None:
    shared = SLOW.shared()
    async with open_pool(1, rate_limit=shared) as pool:
        await pool.run(when)
        pool.rate_limit = RateLimit(1, per=4)
        assert await pool.run(when) == 4.0
        pool.rate_limit = shared  # which has its own level
        assert await pool.run(when) == 10.0


def test_it_is_an_object_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"^name must not be empty"):
        RateLimit(5).shared(name="")
    shared = RateLimit(5, unit="tokens").shared(name="quota")
    assert isinstance(shared, SharedRateLimit)
    assert (shared.name, shared.unit, shared.limit) == ("quota", "tokens", RateLimit(5, unit="tokens"))
    assert repr(shared) == f"<trio_pool.SharedRateLimit 'quota': {shared.limit!r}>"
    assert shared != RateLimit(5, unit="tokens").shared(name="quota")
    with pytest.raises(TypeError, match="can't be pickled or copied"):
        copy.copy(shared)
    with pytest.raises(AttributeError, match="what can be: limit"):
        shared.burst = 5


async def test_an_elastic_pool_opens_no_workers_for_jobs_that_a_shared_limit_delays(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10, burst=3).shared()
    elastic = Elastic(lambda: nullcontext("a"), max=9)
    async with open_pool(elastic, rate_limit=shared) as one, open_pool(1, rate_limit=shared) as other:
        await other.run(when)
        jobs = [await one.submit(when) for _ in range(4)]
        await wait_all_tasks_blocked()
        assert len(one.workers) == 2
        assert await times_of(jobs) == [0.0, 0.0, 10.0, 20.0]


async def test_limits_that_change_at_the_same_instant_all_let_jobs_start(autojump_clock: MockClock) -> None:
    limits = [SLOW.shared() for _ in range(2)]
    async with open_pool([Resource("a", rate_limit=shared) for shared in limits]) as pool:
        jobs = [await pool.submit(when) for _ in range(4)]
        await trio.sleep(5)
        for shared in limits:
            shared.limit = RateLimit(1, per=4)
        assert await times_of(jobs) == [0.0, 0.0, 7.0, 7.0]


async def test_a_hedge_waits_for_a_limit_that_another_pool_has_used_up(autojump_clock: MockClock) -> None:
    began: list[float] = []

    async def slow(resource: object) -> None:
        began.append(trio.current_time())
        await trio.sleep(100)

    shared = RateLimit(1, per=10, burst=2).shared()
    resources = [Resource(name, rate_limit=shared) for name in "ab"]
    async with open_pool(resources) as one, open_pool(1, rate_limit=shared) as other:
        job = await one.submit(slow, hedge=Hedge(3))
        await other.run(when)
        await job.wait()
    assert began == [0.0, 10.0]


async def test_a_worker_is_available_again_when_its_shared_limit_is(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=SLOW.shared())]) as pool:
        await pool.run(when)
        assert pool.workers[0].statistics().available_at == 10.0
