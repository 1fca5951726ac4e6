"""How long a number of jobs will take, as the pool's limits have it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from trio_pool import (
    PerKey,
    RateLimit,
    Resource,
    RetryPolicy,
    SharedRateLimit,
    current_worker,
    open_pool,
)
from trio_pool._core.forecast import seconds_left

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from trio.testing import MockClock

    from trio_pool import Pool


async def work(_: object, number: int) -> None:
    await trio.sleep(0.5 + number % 7 / 6)


def sharing(shared: SharedRateLimit) -> list[Resource[str]]:
    """Four keys, two of which share the quota of their organization."""
    own = RateLimit(60, per=1, burst=60, unit="tokens")
    limits: list[Any] = [own, own, [own, shared], [own, shared]]
    return [Resource("key", max_running=20, rate_limit=limit) for limit in limits]


class FailsEachThirdTime:
    """A function that fails every third time that it is called, for whatever job."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, _: object, number: int) -> None:
        self.calls += 1
        fails = self.calls % 3 == 0
        await trio.sleep(1)
        if fails:
            raise OSError(number)


def in_tokens(number: int) -> dict[str, Any]:
    """Options of jobs that use more and less."""
    return {"uses": {"tokens": 100 + 17 * number % 50}}


def for_keys(number: int) -> dict[str, Any]:
    """Options of jobs of which half are for one key."""
    return {"key": "big" if number % 2 else number % 9}


def left_of(pool: Pool[Any], jobs: float) -> float | None:
    """The seconds that so many jobs will take, as forecast now."""
    return seconds_left(pool._engine.core.state, jobs, pool.statistics().time, trio.current_time())


def no_options(number: int) -> dict[str, Any]:
    return {}


async def forecasts(
    jobs: int,
    *,
    fn: Callable[[object, int], Awaitable[object]] = work,
    resources: Any = ("a", "b"),
    options: Callable[[int], dict[str, Any]] = no_options,
    during: Callable[[Pool[Any]], None] | None = None,
    **pool_options: Any,
) -> list[tuple[float, float]]:
    """Run so many jobs; return what was left from the middle of the time on, as forecast and in truth."""
    made: list[tuple[float, float]] = []
    given: Any = resources() if callable(resources) else resources
    opening = cast("Callable[..., AbstractAsyncContextManager[Pool[Any]]]", open_pool)
    async with opening(given, max_queue=math.inf, **pool_options) as pool:

        async def look() -> None:
            while True:
                await trio.sleep(1)
                done = pool.statistics().succeeded
                left = left_of(pool, jobs - done)
                if done < jobs and left is not None:
                    made.append((trio.current_time(), left))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            for number in range(jobs):
                await pool.submit(fn, number, **options(number))
            if during is not None:
                during(pool)
            await pool.join()
            nursery.cancel_scope.cancel()
    end = trio.current_time()
    return [(left, end - at) for at, left in made if at > end / 2]


CASES: dict[str, Callable[[], Awaitable[list[tuple[float, float]]]]] = {
    "places": partial(forecasts, 400),
    "several places": partial(forecasts, 400, resources=[Resource("a", max_running=5), Resource("b", max_running=2)]),
    "max_running": partial(forecasts, 200, resources=["a", "b", "c", "d"], max_running=2),
    "limits of workers": partial(
        forecasts, 200, resources=[Resource(n, rate_limit=RateLimit(1, per=n), max_running=3) for n in (2, 4)]
    ),
    "a limit of the pool with a burst": partial(
        forecasts, 300, resources=[Resource("a", max_running=20)], rate_limit=RateLimit(1, per=2, burst=200)
    ),
    "tokens": partial(
        forecasts,
        300,
        resources=[
            Resource(n, max_running=10, rate_limit=RateLimit(60, per=1, burst=600, unit="tokens")) for n in "ab"
        ],
        options=in_tokens,
    ),
    "a limit that some workers share": partial(
        forecasts,
        300,
        resources=lambda: sharing(RateLimit(90, per=1, burst=90, unit="tokens").shared()),
        options=in_tokens,
    ),
    "only a shared limit": partial(
        forecasts,
        100,
        resources=lambda: [Resource("a", max_running=9, rate_limit=RateLimit(1, per=2).shared())],
    ),
    "retries": partial(
        forecasts,
        300,
        fn=FailsEachThirdTime(),
        retry=RetryPolicy.fixed(3, max_attempts=None),
        resources=["a", "b", "c"],
    ),
    "a busy key": partial(
        forecasts,
        200,
        resources=[Resource("a", max_running=20)],
        per_key=PerKey(max_running=1),
        options=for_keys,
    ),
    "a limit of a key": partial(
        forecasts,
        200,
        resources=[Resource("a", max_running=20)],
        per_key=PerKey(rate_limit=RateLimit(1, per=3)),
        options=for_keys,
    ),
}


# How long the last jobs may take one after the other, in seconds, which is no flow any more.
TAILS = dict.fromkeys(CASES, 3) | {"retries": 7}


@pytest.mark.parametrize("case", CASES)
async def test_from_the_middle_on_it_is_right_within_a_tenth(case: str, autojump_clock: MockClock) -> None:
    made = await CASES[case]()
    assert len(made) > 20
    for forecast, truth in made:
        assert forecast == pytest.approx(truth, rel=0.1, abs=TAILS[case]), case


async def work_then_rest(_: object, number: int) -> None:
    await trio.sleep(1)
    if number % 4 == 0:
        current_worker().rest(6)


async def test_rests_of_workers_are_expected_as_often_as_before(autojump_clock: MockClock) -> None:
    made = await forecasts(300, fn=work_then_rest)
    assert len(made) > 20
    for forecast, truth in made:
        assert forecast == pytest.approx(truth, rel=0.1, abs=7)


async def test_a_rest_of_the_pool_comes_on_top(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.run(work, 3)
        before = left_of(pool, 10)
        pool.rest(50)
        assert before is not None
        assert left_of(pool, 10) == before + 50


async def test_nothing_is_known_before_an_attempt_has_ended_or_in_a_pause(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert left_of(pool, 10) is None
        await pool.run(work, 1)
        pool.pause()
        assert left_of(pool, 10) is None
        pool.resume()
        pool.workers[0].pause()
        assert left_of(pool, 10) is None


async def test_no_time_is_left_for_no_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert left_of(pool, 0) == 0


async def test_a_second_limit_that_not_all_workers_have_bounds_nothing(autojump_clock: MockClock) -> None:
    often, seldom = RateLimit(1, per=1), RateLimit(1, per=1000)
    async with open_pool([Resource("a", rate_limit=[often, seldom]), Resource("b", rate_limit=often)]) as pool:
        await pool.run(work, 3, worker=pool.workers[1])
        left = left_of(pool, 10)
    assert left is not None
    assert left < 20


async def test_a_limit_that_not_all_workers_have_bounds_nothing(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=1000)), "b"]) as pool:
        await pool.run(work, 3, worker=pool.workers[1])
        left = left_of(pool, 10)
    assert left == pytest.approx(5)
