"""3.7: a pool that can't start anything now has no turn at a shared limit, whatever holds it back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import works
from trio_pool import CircuitBreaker, JobState, RateLimit, Resource, current_job, open_pool
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

    from trio_pool import Pool, SharedRateLimit

    Hold = Callable[["Pool[str]", "Starts"], Any]


class Starts:
    """Notes when jobs start."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def note(self, _: object, *__: object) -> None:
        self.times.append(trio.current_time())

    async def note_and_sleep(self, _: object, seconds: float) -> None:
        self.times.append(trio.current_time())
        await trio.sleep(seconds)


async def starts_of_five(shared: SharedRateLimit, after: float = 0.0) -> list[float]:
    """When five jobs of another pool start, submitted after some time."""
    starts = Starts()
    async with open_pool([Resource("b", rate_limit=shared)]) as pool:
        await trio.sleep(after)
        for _ in range(5):
            await pool.submit(starts.note)
    return starts.times


@pytest.mark.parametrize("waiting", [0, 1])
@pytest.mark.parametrize("own_first", [False, True])
async def test_a_worker_that_its_own_limit_holds_back_too_has_no_turn(
    waiting: int, own_first: bool, autojump_clock: MockClock
) -> None:
    shared, own = RateLimit(1).shared(), RateLimit(1, per=30)
    limits: list[RateLimit | SharedRateLimit] = [own, shared] if own_first else [shared, own]
    starts = Starts()
    async with open_pool([Resource("a", rate_limit=limits), "free"]) as pool:
        for _ in range(1 + waiting):
            await pool.submit(starts.note, worker=pool.workers[0])
        assert await starts_of_five(shared) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert starts.times == [0.0, 30.0][: 1 + waiting]


@pytest.mark.parametrize("waiting", [0, 1])
@pytest.mark.parametrize("own_first", [False, True])
@pytest.mark.parametrize("unit", [None, "tokens"])
async def test_a_pool_that_its_own_limit_holds_back_too_has_no_turn(
    waiting: int, own_first: bool, unit: str | None, autojump_clock: MockClock
) -> None:
    shared, own = RateLimit(1).shared(), RateLimit(1, per=30, unit=unit)
    starts = Starts()
    async with open_pool(["a"], rate_limit=[own, shared] if own_first else [shared, own]) as pool:
        for _ in range(1 + waiting):
            await pool.submit(starts.note, uses={"tokens": 1})
        assert await starts_of_five(shared) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert starts.times == [0.0, 30.0][: 1 + waiting]


async def test_a_pool_whose_quota_of_the_day_is_used_up_leaves_the_shared_rate_to_others(
    autojump_clock: MockClock,
) -> None:
    shared = RateLimit(10, burst=10).shared()
    one, other = Starts(), Starts()
    async with open_pool(20, rate_limit=[shared, RateLimit(10_000, per=86_400, burst=50)]) as first:
        async with open_pool(20, rate_limit=shared) as second:
            for _ in range(100):
                await first.submit(one.note, None)
            for _ in range(200):
                await second.submit(other.note, None)
        assert len(other.times) == 200
        assert other.times[-1] < 26  # 260 starts at 10 a second
        first.cancel()


def pause(pool: Pool[str], starts: Starts) -> None:
    pool.pause()


def rest(pool: Pool[str], starts: Starts) -> None:
    pool.rest(50)


def pause_the_worker(pool: Pool[str], starts: Starts) -> None:
    pool.workers[0].pause()


def rest_the_worker(pool: Pool[str], starts: Starts) -> None:
    pool.workers[0].rest(50)


def cancel_the_jobs(pool: Pool[str], starts: Starts) -> None:
    for job in list(pool.jobs()):
        job.cancel()


def allow_no_more(pool: Pool[str], starts: Starts) -> None:
    for holder in (pool, pool.workers[0]):
        if holder.rate_limit is not None:
            holder.rate_limit = RateLimit(1, per=1000)  # which keeps the level


def take_the_limit_away(pool: Pool[str], starts: Starts) -> None:
    pool.rate_limit = pool.workers[0].rate_limit = None


@pytest.mark.parametrize(
    "hold", [pause, rest, pause_the_worker, rest_the_worker, cancel_the_jobs, allow_no_more, take_the_limit_away]
)
@pytest.mark.parametrize("of_pool", [False, True])
async def test_a_pool_that_is_held_back_while_it_waits_for_its_turn_passes_it_on(
    hold: Hold, of_pool: bool, autojump_clock: MockClock
) -> None:
    shared = RateLimit(1).shared()
    starts = Starts()
    opened = open_pool(["a"], rate_limit=shared) if of_pool else open_pool([Resource("a", rate_limit=shared)])
    async with opened as pool:
        for _ in range(3):
            await pool.submit(starts.note)
        await trio.sleep(0.5)
        hold(pool, starts)
        assert await starts_of_five(shared) == [1.0, 2.0, 3.0, 4.0, 5.0]
        pool.cancel()


async def test_a_pool_whose_worker_is_removed_while_it_waits_for_its_turn_passes_it_on(
    autojump_clock: MockClock,
) -> None:
    shared = RateLimit(1).shared()
    starts = Starts()
    async with open_pool([Resource("a", rate_limit=shared)], no_worker="wait") as pool:
        for _ in range(3):
            await pool.submit(starts.note)
        await trio.sleep(0.5)
        await pool.workers[0].remove()
        assert await starts_of_five(shared) == [1.0, 2.0, 3.0, 4.0, 5.0]
        pool.cancel()


async def test_a_pool_that_may_run_no_more_at_once_passes_its_turn_on(autojump_clock: MockClock) -> None:
    shared = RateLimit(1).shared()
    starts = Starts()
    async with open_pool(["a", "b"], rate_limit=shared, max_running=1) as pool:
        for _ in range(3):
            await pool.submit(starts.note_and_sleep, 20)
        assert await starts_of_five(shared) == [1.0, 2.0, 3.0, 4.0, 5.0]
        pool.cancel()


async def test_a_quarantined_worker_passes_its_turn_on(autojump_clock: MockClock) -> None:
    shared = RateLimit(1).shared()
    starts = Starts()
    resource = Resource("a", rate_limit=shared, breaker=CircuitBreaker(1, reset_after=100))
    async with open_pool([resource], on_dead="keep") as pool:
        await pool.submit(Flaky(1))
        await pool.submit(starts.note)
        assert await starts_of_five(shared) == [1.0, 2.0, 3.0, 4.0, 5.0]
        pool.cancel()


async def test_the_turn_comes_back_when_nothing_else_holds_the_pool_back(autojump_clock: MockClock) -> None:
    shared = RateLimit(1).shared()
    one, other = Starts(), Starts()
    async with open_pool(["a"], rate_limit=shared) as first, open_pool(["b"], rate_limit=shared) as second:
        for _ in range(4):
            await first.submit(one.note)
            await second.submit(other.note)
        await trio.sleep(0.5)
        first.pause()
        await trio.sleep(3)
        first.resume()
    assert one.times == [0.0, 5.0, 6.0, 7.0]
    assert other.times == [1.0, 2.0, 3.0, 4.0]


async def test_pools_that_need_two_limits_in_either_order_all_go_on(autojump_clock: MockClock) -> None:
    calls, tokens = RateLimit(1).shared(), RateLimit(1, unit="tokens").shared()
    each = [Starts() for _ in range(3)]
    async with (
        open_pool(["a"], rate_limit=[calls, tokens]) as one,
        open_pool(["b"], rate_limit=[tokens, calls]) as two,
        open_pool([Resource("c", rate_limit=calls)], rate_limit=tokens) as three,
    ):
        for _ in range(5):
            for pool, starts in zip((one, two, three), each, strict=True):
                await pool.submit(starts.note, uses={"tokens": 1})
    assert sorted(time for starts in each for time in starts.times) == [float(second) for second in range(15)]


async def test_a_limit_that_rests_or_changes_while_pools_wait_starts_the_first_of_them_in_time(
    autojump_clock: MockClock,
) -> None:
    shared = RateLimit(1, per=10).shared()
    one, other = Starts(), Starts()
    async with open_pool(["a"], rate_limit=[shared, RateLimit(1, per=100)]) as first:
        async with open_pool(["b"], rate_limit=shared) as second:
            for _ in range(3):
                await first.submit(one.note)
                await second.submit(other.note)
            await trio.sleep(5)
            shared.rest(15)
            await trio.sleep(25)
            shared.limit = RateLimit(1, per=2)
        assert other.times == [20.0, 30.0, 32.0]
        first.cancel()


async def test_what_an_attempt_has_not_used_wakes_a_pool_behind_one_that_is_held_back(
    autojump_clock: MockClock,
) -> None:
    async def says(_: str) -> None:
        await trio.sleep(4)
        current_job().set_used(tokens=0)

    shared = RateLimit(1, burst=5, unit="tokens").shared()
    starts = Starts()
    async with open_pool(["a"], rate_limit=[shared, RateLimit(1, per=100)]) as first:
        async with open_pool(["b"], rate_limit=shared) as second:
            await first.submit(says, uses={"tokens": 500})
            await first.submit(starts.note, uses={"tokens": 1})
            await second.submit(starts.note, uses={"tokens": 1})
        assert starts.times == [4.0]
        first.cancel()


async def test_a_lost_job_is_buried_although_a_shared_limit_holds_back_others(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10).shared()
    async with open_pool([Resource("a", rate_limit=shared)], no_worker="wait", on_dead="keep") as pool:
        lost = await pool.submit(works, requires=["nobody has this"])
        jobs = [await pool.submit(works) for _ in range(3)]
    assert lost.state is JobState.DEAD
    assert [job.state for job in jobs] == [JobState.SUCCEEDED] * 3


async def test_a_lost_job_is_buried_although_other_pools_use_up_the_shared_limit(autojump_clock: MockClock) -> None:
    shared = RateLimit(1).shared()
    async with open_pool([Resource("b", rate_limit=shared)], max_queue=math.inf) as other:
        for _ in range(100):
            await other.submit(works)
        async with open_pool([Resource("a", rate_limit=shared)], no_worker="wait", on_dead="keep") as pool:
            lost = await pool.submit(works, requires=["nobody has this"])
            await pool.submit(works)
            await trio.sleep(0.5)
        assert lost.state is JobState.DEAD
        assert trio.current_time() < 10
