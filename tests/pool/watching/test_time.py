"""What the places of workers spend their time on: ``statistics().time`` and ``explain()``."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from trio_pool import (
    CircuitBreaker,
    Elastic,
    HealthCheck,
    PerKey,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool._model.explanation import explain
from trio_pool._model.time_account import CAUSES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from trio.testing import MockClock

    from trio_pool import Pool


def some(time: Mapping[str, float]) -> dict[str, float]:
    """The causes to which any time went."""
    return {cause: round(seconds, 6) for cause, seconds in time.items() if seconds > 1e-9}


async def work(_: object, seconds: float = 1) -> None:
    await trio.sleep(seconds)


async def rest_after(_: object, seconds: float) -> None:
    raise RetryAfter(seconds, rest=True)


async def break_down(_: object) -> None:
    raise ResourceBroken


async def fail(_: object) -> None:
    raise OSError


@asynccontextmanager
async def slow_to_open(resource: object) -> AsyncGenerator[object]:
    await trio.sleep(2)
    yield resource
    await trio.sleep(3)


async def test_a_place_runs_or_is_idle_where_nothing_holds_it_back(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, 3)
        await trio.sleep(1)
        assert some(pool.statistics().time) == {"running": 3, "idle": 5}
        assert [some(worker.time) for worker in pool.statistics().workers] == [{"running": 3, "idle": 1}, {"idle": 4}]


async def test_all_causes_are_named_in_order(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert list(pool.statistics().time) == list(CAUSES)
        assert list(pool.workers[0].statistics().time) == list(CAUSES)


async def test_what_still_runs_counts(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(work, 3)
        await trio.sleep(2)
        statistics = pool.statistics()
        assert some(statistics.time) == {"running": 2}
        assert statistics.workers[0].busy_seconds == 2


async def test_several_places_count_one_by_one(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", max_running=3)]) as pool:
        await pool.submit(work, 1)
        await pool.run(work, 4)
        assert some(pool.statistics().time) == {"running": 5, "idle": 7}


async def test_without_a_bound_only_what_runs_is_kept(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", max_running=math.inf)]) as pool:
        await pool.submit(work, 1)
        await pool.run(work, 4)
        await trio.sleep(9)
        assert some(pool.statistics().time) == {"running": 5}


async def test_places_beyond_a_lower_bound_exist_while_they_run(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", max_running=3)]) as pool:
        for seconds in (2, 4, 6):
            await pool.submit(work, seconds)
        await trio.sleep(1)
        pool.workers[0].max_running = 1
        await trio.sleep(9)
        # Three places for 2 s, two for 2 s more, one for 6 s more: it ran for 2 + 4 + 6 s.
        assert some(pool.statistics().time) == {"running": 12, "idle": 4}


async def test_entering_and_leaving_lifespans_is_opening(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], lifespan=slow_to_open) as pool:
        assert some(pool.statistics().time) == {"opening": 2}
        await pool.run(work, 1)
        await pool.workers[0].remove()
        assert some(pool.statistics().time) == {"opening": 5, "running": 1}


async def test_reopening_is_opening(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], lifespan=slow_to_open, on_dead="keep") as pool:
        await pool.submit(break_down)
        await trio.sleep(5.5)
        assert some(pool.statistics().time) == {"opening": 7, "idle": 0.5}


async def test_a_check_is_checking(autojump_clock: MockClock) -> None:
    check = HealthCheck(partial(work, seconds=2), every=3)
    async with open_pool(["a"], lifespan=slow_to_open, check=check) as pool:
        await trio.sleep(10)
        assert some(pool.statistics().time) == {"opening": 2, "idle": 6, "checking": 4}


async def test_quarantines_rests_and_pauses_count_whether_or_not_jobs_wait(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=4)
    async with open_pool([Resource("a", breaker=breaker), "b", "c"], on_dead="keep") as pool:
        a, b, c = pool.workers
        await pool.submit(fail, worker=a)
        b.rest(5)
        c.pause()
        await trio.sleep(6)
        assert [some(worker.time) for worker in pool.statistics().workers] == [
            {"quarantined": 4, "idle": 2},
            {"resting": 5, "idle": 1},
            {"paused": 6},
        ]


async def test_the_first_of_several_causes_counts(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.workers[0].pause()
        pool.workers[0].rest(2)
        pool.pause()
        await trio.sleep(3)
        pool.workers[0].resume()
        await trio.sleep(4)
        pool.resume()
        assert some(pool.statistics().time) == {"resting": 2, "paused": 5}


async def test_what_runs_is_running_while_its_worker_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(work, 3)
        await trio.sleep(1)
        pool.workers[0].pause()
        await trio.sleep(4)
        assert some(pool.statistics().time) == {"running": 3, "paused": 2}


async def test_a_rest_after_an_attempt_is_resting(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy(max_attempts=2), on_dead="keep") as pool:
        await pool.submit(rest_after, 3)
        await trio.sleep(7)
        assert some(pool.statistics().time) == {"resting": 6, "idle": 1}


@pytest.mark.parametrize("waits", [True, False])
async def test_a_rate_limit_of_a_worker_counts_whether_or_not_jobs_wait(waits: bool, autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=5))]) as pool:
        await pool.submit(work, 1)
        if waits:
            await pool.submit(work, 1)
        await trio.sleep(5)
        assert some(pool.statistics().time) == {"running": 1, "rate_limit": 4}


async def test_so_does_one_with_a_unit(autojump_clock: MockClock) -> None:
    limit = RateLimit(10, per=10, burst=10, unit="tokens")
    async with open_pool([Resource("a", rate_limit=limit, max_running=2)]) as pool:
        await pool.submit(work, 1, uses={"tokens": 15})
        await pool.submit(work, 1, uses={"tokens": 1})
        await trio.sleep(8)
        # The level is at -5 at first, and at 1 after 6 seconds, when the next job draws that.
        assert some(pool.statistics().time) == {"running": 2, "rate_limit": 1 + 5 * 2 + 1, "idle": 2}


async def test_reserved_places_are_told_apart_from_idle_ones(autojump_clock: MockClock) -> None:
    async with open_pool(["a", Resource("b", max_running=2)]) as pool:
        async with pool.open_group(reserve=2) as group:
            await group.run(work, 1)
            await trio.sleep(3)
        await trio.sleep(1)
        time = some(pool.statistics().time)
        assert time == {"running": 1, "reserved": 7, "idle": 7}


async def test_max_running_of_the_pool_counts_while_jobs_wait(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"], max_running=1) as pool:
        await pool.submit(work, 2)
        await pool.run(work, 3)
        assert some(pool.statistics().time) == {"running": 5, "max_running": 4, "idle": 6}


async def test_max_running_counts_from_the_start_on_that_uses_it_up(autojump_clock: MockClock) -> None:
    resources = [Resource("a", tags={"a"}), Resource("b"), Resource("c")]
    async with open_pool(resources, max_running=2) as pool:
        await pool.submit(work, 9, requires={"a"})
        await pool.submit(work, 1, requires={"a"})  # it waits for a worker, and not for the pool's bound
        await trio.sleep(2)
        assert some(pool.statistics().time) == {"running": 2, "idle": 4}
        await pool.submit(work, 3)
        await trio.sleep(3)
        assert some(pool.statistics().time) == {"running": 8, "idle": 4, "max_running": 3}


async def test_submitters_that_wait_for_a_place_in_the_queue_count_as_waiting(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], max_running=1, max_queue=0) as pool:
        await pool.submit(work, 9)
        await trio.sleep(1)
        with trio.move_on_after(2):
            await pool.submit(work)
        await trio.sleep(3)
        assert some(pool.statistics().time) == {"running": 6, "idle": 4, "max_running": 2}


async def test_a_rate_limit_of_the_pool_counts_while_jobs_wait(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], rate_limit=RateLimit(1, per=4)) as pool:
        await pool.submit(work, 1)
        await pool.run(work, 1)
        await trio.sleep(2)
        assert some(pool.statistics().time) == {"running": 2, "pool_rate_limit": 7, "idle": 5}


async def test_so_does_one_with_a_unit_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], rate_limit=RateLimit(1, per=4, unit="pages")) as pool:
        await pool.submit(work, 1, uses={"pages": 1})
        await pool.run(work, 1, uses={"pages": 1})
        assert some(pool.statistics().time) == {"running": 2, "pool_rate_limit": 3}


async def test_so_does_one_that_workers_share(autojump_clock: MockClock) -> None:
    limit = RateLimit(1, per=4).shared()
    async with open_pool([Resource(name, rate_limit=limit) for name in "ab"]) as pool:
        await pool.submit(work, 1)
        await pool.run(work, 1)
        assert some(pool.statistics().time) == {"running": 2, "pool_rate_limit": 7, "idle": 1}


async def test_a_bound_of_a_group_counts_while_all_that_wait_are_held_by_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group(max_running=1) as group:
        await group.submit(work, 2)
        await group.run(work, 2)
        assert some(pool.statistics().time) == {"running": 4, "group": 2, "idle": 2}


async def test_a_bound_of_a_group_does_not_count_while_another_job_waits(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a"), Resource("b", tags={"b"})]) as pool, pool.open_group(max_running=1) as group:
        pool.workers[1].pause()
        await pool.submit(work, 2, requires={"b"})
        await group.submit(work, 1)
        await group.submit(work, 1)
        await trio.sleep(1)
        pool.workers[1].resume()
        assert some(pool.workers[0].statistics().time) == {"running": 1}


async def test_bounds_of_keys_count_while_all_that_wait_are_held_by_them(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], per_key=PerKey(max_running=1)) as pool:
        await pool.submit(work, 2, key="k")
        await pool.run(work, 2, key="k")
        assert some(pool.statistics().time) == {"running": 4, "key": 2, "idle": 2}


async def test_rate_limits_and_rests_of_keys_count_too(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], per_key=PerKey(rate_limit=RateLimit(1, per=3))) as pool:
        await pool.submit(work, 1, key="k")
        await pool.run(work, 1, key="k")
        assert some(pool.statistics().time) == {"running": 2, "key": 2}


async def test_lent_time_is_the_borrowers(autojump_clock: MockClock) -> None:
    async def lend_to(_: object, pool: Pool[str]) -> None:
        await trio.sleep(1)
        async with current_job().lend():
            await pool.run(work, 2)
        await trio.sleep(1)

    async with open_pool(["a"]) as pool:
        await pool.run(lend_to, pool)
        assert some(pool.statistics().time) == {"running": 4}


async def test_workers_that_have_left_count_for_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.run(work, 1)
        await pool.workers[0].remove()
        await trio.sleep(5)
        await pool.add("b")
        await trio.sleep(1)
        assert some(pool.statistics().time) == {"running": 1, "idle": 1}


async def test_the_workers_of_an_elastic_pool_count_from_their_opening_on(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        await trio.sleep(1)
        yield "elastic"

    async with open_pool(Elastic(factory, min=0, max=2, idle_timeout=5)) as pool:
        await pool.run(work, 2)
        await trio.sleep(20)
        assert some(pool.statistics().time) == {"opening": 1, "running": 2, "idle": 5}


async def test_the_figures_stay_after_the_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, 2)
    await trio.sleep(10)
    assert some(pool.statistics().time) == {"running": 2, "idle": 2}
    assert [some(worker.time) for worker in pool.statistics().workers] == [{"running": 2}, {"idle": 2}]


async def test_groups_have_no_time(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        await group.run(work, 1)
        assert group.statistics().time == {}


async def test_causes_from_before_a_quiet_time_are_kept(autojump_clock: MockClock) -> None:
    """In between nothing is in use that the accounts have to look at."""
    async with open_pool(["a", "b"]) as pool:
        pool.pause()
        await trio.sleep(2)
        pool.resume()
        await pool.run(work, 1)
        pool.pause()
        await trio.sleep(3)
        pool.resume()
        await pool.run(work, 1)
        assert some(pool.statistics().time) == {"paused": 10, "running": 2, "idle": 2}


# In words.


async def test_the_explanation_names_the_number_of_places_where_they_are_busy(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        for _ in range(10):
            await pool.submit(work)
        await pool.join()
        assert pool.explain().splitlines() == [
            "Bottleneck: the number of places, 100 % of the time.",
            "Of 10.0 seconds of all places together, they",
            "  100 %  10.0 s  ran attempts",
            "To be faster: more workers, or a higher max_running of their resources.",
        ]


async def test_the_explanation_names_the_workers_with_most_of_a_cause(autojump_clock: MockClock) -> None:
    async with open_pool(
        [Resource(None, name=f"key-{n}", rate_limit=RateLimit(1, per=n)) for n in (2, 4, 6, 8, 10)]
    ) as pool:
        for worker in pool.workers:
            await pool.submit(work, worker=worker)
            await pool.submit(work, worker=worker)
        await pool.join()
        lines = pool.explain().splitlines()
        assert lines[0] == "Bottleneck: the rate limits of the workers, 64 % of the time."
        assert "waited for rate limits of their workers (key-6 9.0 s, key-8 9.0 s, key-10 9.0 s, 2 more): " in lines[2]


async def first_line(**options: Any) -> str:
    """What keeps four workers busy for most of the time, and is the bottleneck all the time."""
    async with open_pool(list("abcd"), **options) as pool:
        for number in range(40):
            await pool.submit(work, key=number % 3)
        await pool.join()
        lines: list[str] = pool.explain().splitlines()
        return lines[0]


@pytest.mark.parametrize(
    ("options", "bottleneck"),
    [
        ({"max_running": 3}, "max_running of the pool, 93 %"),
        ({"rate_limit": RateLimit(3)}, "a rate limit that workers share, 93 %"),
        ({"per_key": PerKey(max_running=1)}, "the bounds of keys, 93 %"),
        ({}, "the number of places, 100 %"),
    ],
)
async def test_the_bottleneck_is_what_holds_back_any_place_though_most_run(
    options: Any, bottleneck: str, autojump_clock: MockClock
) -> None:
    assert await first_line(**options) == f"Bottleneck: {bottleneck} of the time."


async def test_the_limit_of_a_worker_is_the_bottleneck_though_most_of_its_places_run(autojump_clock: MockClock) -> None:
    async with open_pool([Resource(None, rate_limit=RateLimit(3), max_running=4)]) as pool:
        for _ in range(40):
            await pool.submit(work)
        await pool.join()
        (worker,) = pool.workers
        assert worker.statistics().time["running"] > 2 * worker.statistics().time["rate_limit"] > 0
        assert pool.explain().startswith("Bottleneck: the rate limits of the workers, 9")
        await worker.remove()
        assert pool.explain().startswith("Bottleneck: the rate limits of the workers, 9")


async def test_a_copy_of_statistics_is_explained_by_its_places_alone(autojump_clock: MockClock) -> None:
    async with open_pool(list("abcd"), max_running=3) as pool:
        for _ in range(40):
            await pool.submit(work)
        await pool.join()
        copy = attrs.evolve(pool.statistics())
    assert explain(copy).startswith("Bottleneck: the number of places, ")


async def test_the_explanation_says_so_where_there_was_nothing_to_do(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.run(work, 1)
        await trio.sleep(9)
        assert pool.explain().splitlines() == [
            "Bottleneck: the jobs. The places had nothing to run for 95 % of the time.",
            "Of 20.0 seconds of all places together, they",
            "   5 %   1.0 s  ran attempts",
            "  95 %  19.0 s  had nothing to run: more jobs at once: a larger buffer, fewer dependencies,"
            " tags of more workers",
        ]


async def test_the_explanation_leaves_out_causes_of_almost_no_time(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.pause()
        await trio.sleep(0.01)
        pool.resume()
        await pool.run(work, 10)
        assert "paused" not in pool.explain()


async def test_the_explanation_counts_what_failed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep", retry=RetryPolicy.immediate()) as pool:
        await pool.submit(fail)
        await pool.run(work)
        assert pool.explain().splitlines()[-1] == (
            "3 of 4 attempts failed, and 2 were retried; what they took counts as running."
        )


async def test_the_explanation_of_a_pool_that_has_just_been_opened(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        assert pool.explain() == "No time has passed in which the pool could have run anything."


async def test_the_explanation_names_workers_that_have_left_together(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool:
        pool.workers[0].pause()
        await trio.sleep(2)
        await pool.workers[0].remove()
        assert "  were paused (workers that have left): resume() earlier" in pool.explain()


async def test_the_printed_statistics_have_the_shares(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], rate_limit=RateLimit(1, per=4)) as pool:
        await pool.run(work)
        await pool.run(work)
        assert "\n  time: running 40 %, pool_rate_limit 60 %\n" in str(pool.statistics())
