"""3.7: rate limits, of the whole pool and of single workers: when attempts start, and what waits meanwhile."""

# A block that is cancelled has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import sleeps, sleeps_forever, works
from tests.openers import OpenPool, both, over_slots
from trio_pool import (
    DeadReason,
    Pool,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    open_pool,
)
from trio_pool.testing import Flaky

# One attempt every ten seconds.
SLOW = RateLimit(1, per=10.0)
PROMPT = RetryPolicy.immediate(max_attempts=3)


async def gets(resource: str) -> tuple[str, float]:
    """Returns what it is given, and when."""
    return resource, trio.current_time()


async def nap(resource: str, seconds: float) -> float:
    """Sleeps; returns when it began."""
    now = trio.current_time()
    await trio.sleep(seconds)
    return now


async def nap_in_any_pool(*args: Any) -> float:
    """The same, with a resource or without."""
    return await nap("", args[-1])


def limited_pool(limit: RateLimit = SLOW, **options: Any) -> AbstractAsyncContextManager[Pool[str]]:
    """A pool of one worker that has a limit as a whole."""
    return open_pool(["a"], rate_limit=limit, **options)


def limited_worker(limit: RateLimit = SLOW, **options: Any) -> AbstractAsyncContextManager[Pool[str]]:
    """A pool of one worker that has a limit of its own."""
    return open_pool([Resource("a", rate_limit=limit)], **options)


LimitedPool = Callable[..., AbstractAsyncContextManager[Pool[str]]]
either = pytest.mark.parametrize("limited", [limited_pool, limited_worker])


# When attempts start.


@either
async def test_a_burst_starts_at_once_and_the_rest_one_by_one(limited: LimitedPool, autojump_clock: MockClock) -> None:
    async with limited(RateLimit(2, per=10.0, burst=3)) as pool:
        jobs = [await pool.submit(gets) for _ in range(6)]
    assert [job.result()[1] for job in jobs] == [0.0, 0.0, 0.0, 5.0, 10.0, 15.0]


@either
async def test_of_an_idle_time_no_more_than_a_burst_is_made_up_for(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(RateLimit(1, per=10.0, burst=2)) as pool:
        await trio.sleep(1000)
        jobs = [await pool.submit(gets) for _ in range(4)]
    assert [job.result()[1] for job in jobs] == [1000.0, 1000.0, 1010.0, 1020.0]


@both
async def test_the_limit_of_the_pool_is_one_for_all_workers(opened: OpenPool, autojump_clock: MockClock) -> None:
    async with opened(3, rate_limit=SLOW) as pool:
        jobs = [await pool.submit(nap_in_any_pool, 25.0) for _ in range(4)]
    assert [job.result() for job in jobs] == [0.0, 10.0, 20.0, 30.0]


async def test_each_worker_has_a_limit_of_its_own_even_if_it_was_given_the_same(autojump_clock: MockClock) -> None:
    async with open_pool([Resource(name, rate_limit=SLOW) for name in "ab"]) as pool:
        jobs = [await pool.submit(gets) for _ in range(4)]
    assert [job.result() for job in jobs] == [("a", 0.0), ("b", 0.0), ("a", 10.0), ("b", 10.0)]


async def test_of_two_limits_the_later_time_holds(autojump_clock: MockClock) -> None:
    resources = [Resource("a", rate_limit=RateLimit(1, per=7.0)), Resource("b", rate_limit=RateLimit(1, per=100.0))]
    async with open_pool(resources, rate_limit=RateLimit(1, per=3.0)) as pool:
        jobs = [await pool.submit(gets) for _ in range(4)]
    assert [job.result() for job in jobs] == [("a", 0.0), ("b", 3.0), ("a", 7.0), ("a", 14.0)]


@both
async def test_workers_added_later_have_the_limit_that_they_were_added_with(
    opened: OpenPool, autojump_clock: MockClock
) -> None:
    async with opened(1) as pool:
        resources = [] if opened is over_slots else ["b"]
        worker = await pool.add(*resources, rate_limit=SLOW)
        jobs = [await pool.submit(nap_in_any_pool, 0.0, worker=worker) for _ in range(2)]
    assert [job.result() for job in jobs] == [0.0, 10.0]


@either
async def test_retries_count(limited: LimitedPool, autojump_clock: MockClock) -> None:
    async with limited(retry=PROMPT) as pool:
        job = await pool.submit(Flaky(2, result="done"))
    assert [attempt.started_at for attempt in job.attempts] == [0.0, 10.0, 20.0]


@either
async def test_attempts_that_were_cancelled_count(limited: LimitedPool, autojump_clock: MockClock) -> None:
    async with limited() as pool:
        first = await pool.submit(sleeps_forever)
        await trio.sleep(1)
        first.cancel()
        assert await pool.run(gets) == ("a", 10.0)


async def test_attempts_that_were_cut_short_with_their_worker_count(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], rate_limit=SLOW) as pool:
        job = await pool.submit(nap, 5.0)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
    assert job.result() == 10.0


@either
async def test_a_job_cancelled_while_it_waits_for_the_limit_takes_nothing_of_it(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        await pool.run(works)
        with trio.move_on_after(3):
            await pool.run(works)
        (await pool.submit(works)).cancel()
        assert await pool.run(gets) == ("a", 10.0)


@either
async def test_a_map_gets_its_results_as_the_limit_lets_its_jobs_start(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool, pool.map(sleeps, [1.0, 2.0, 3.0]) as results:
        seen = [(result, trio.current_time()) async for result in results]
    assert seen == [(1.0, 1.0), (2.0, 12.0), (3.0, 23.0)]


@either
async def test_attempts_longer_than_the_limits_pause_follow_at_once(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        jobs = [await pool.submit(nap, 15.0) for _ in range(3)]
    assert [job.result() for job in jobs] == [0.0, 15.0, 30.0]


# Which job starts.


@either
async def test_when_the_limit_lets_one_start_it_is_the_first_in_priority(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        await pool.run(works)
        late = await pool.submit(gets, priority=1)
        soon = await pool.submit(gets, priority=-1)
    assert (soon.result()[1], late.result()[1]) == (10.0, 20.0)


@either
async def test_a_delay_that_ends_as_the_limit_does_is_heeded_first(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(retry=RetryPolicy.fixed(10.0)) as pool:
        retried = await pool.submit(Flaky(1, result="done"), priority=-1)
        waiting = await pool.submit(gets)
    assert [attempt.started_at for attempt in retried.attempts] == [0.0, 10.0]
    assert waiting.result()[1] == 20.0


async def test_a_job_that_only_a_busy_worker_may_take_holds_back_none_behind_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], rate_limit=SLOW) as pool:
        first, _ = pool.workers
        await pool.submit(sleeps, 25.0, worker=first)
        pinned = await pool.submit(gets, worker=first, priority=-1)
        other = await pool.submit(gets)
    assert other.result() == ("b", 10.0)
    assert pinned.result() == ("a", 25.0)


async def test_a_limited_worker_holds_back_no_job_that_another_may_take(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=1000.0)), Resource("b")]) as pool:
        jobs = [await pool.submit(gets) for _ in range(10)]
    assert [job.result() for job in jobs] == [("a", 0.0)] + [("b", 0.0)] * 9


@pytest.mark.parametrize("options", [{"requires": ["red"]}, {"worker": 0}])
async def test_a_job_that_only_a_limited_worker_may_take_waits_and_those_behind_it_do_not(
    options: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with open_pool([Resource("a", tags=["red"], rate_limit=SLOW), Resource("b")]) as pool:
        if "worker" in options:
            options = {"worker": pool.workers[0]}
        await pool.run(gets, **options)
        held_up = await pool.submit(gets, priority=-1, **options)
        assert await pool.run(gets) == ("b", 0.0)
    assert held_up.result() == ("a", 10.0)


async def test_a_job_that_stays_with_its_worker_waits_for_its_limit(autojump_clock: MockClock) -> None:
    policy = RetryPolicy.fixed(1.0, placement="same")
    async with open_pool([Resource("a", rate_limit=SLOW), Resource("b")], retry=policy) as pool:
        job = await pool.submit(Flaky(1, result="done"))
    assert [(attempt.worker_id, attempt.started_at) for attempt in job.attempts] == [(1, 0.0), (1, 10.0)]


async def test_a_failed_job_need_not_wait_for_the_limit_of_the_worker_that_it_failed_on(
    autojump_clock: MockClock,
) -> None:
    async with open_pool([Resource("a", rate_limit=SLOW), Resource("b")], retry=PROMPT) as pool:
        job = await pool.submit(Flaky(1, result="done"), retry=RetryPolicy.fixed(1.0))
    assert [(attempt.worker_id, attempt.started_at) for attempt in job.attempts] == [(1, 0.0), (2, 1.0)]


async def test_a_bounced_job_waits_for_the_limit_of_a_worker_that_it_has_not_failed_on(
    autojump_clock: MockClock,
) -> None:
    """Such a worker is idle, and the job goes to no other that it has failed on as long as there is one."""
    bounce = RetryPolicy.fixed(1.0, placement="other")
    async with open_pool([Resource("a", rate_limit=SLOW), Resource("b")], retry=bounce) as pool:
        first, second = pool.workers
        await pool.run(works, worker=first)
        job = await pool.submit(Flaky(1, result="done"))
    assert [(attempt.worker_id, attempt.started_at) for attempt in job.attempts] == [(second.id, 0.0), (first.id, 10.0)]


async def test_max_running_holds_beside_a_limit(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"], max_running=2, rate_limit=RateLimit(1, per=10.0, burst=2)) as pool:
        jobs = [await pool.submit(nap, 15.0) for _ in range(5)]
    assert [job.result() for job in jobs] == [0.0, 0.0, 15.0, 20.0, 30.0]


async def test_what_a_limited_worker_leaves_free_of_max_running_others_take(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=SLOW), Resource("b")], max_running=1) as pool:
        jobs = [await pool.submit(gets) for _ in range(3)]
    assert [job.result() for job in jobs] == [("a", 0.0), ("b", 0.0), ("b", 0.0)]


# Timeouts.


@either
async def test_a_job_held_up_by_a_limit_dies_at_its_total_timeout(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(on_dead="keep") as pool:
        await pool.run(works)
        job = await pool.submit(works, total_timeout=4.0)
        behind = await pool.submit(gets)
    assert (job.dead_reason, job.finished_at, job.attempts) == (DeadReason.TIMED_OUT, 4.0, ())
    assert behind.result()[1] == 10.0


@either
async def test_a_total_timeout_that_passes_as_the_limit_does_wins(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(on_dead="keep") as pool:
        await pool.run(works)
        job = await pool.submit(works, total_timeout=10.0)
        behind = await pool.submit(gets)
    assert (job.dead_reason, job.attempts) == (DeadReason.TIMED_OUT, ())
    assert behind.result()[1] == 10.0


@either
async def test_waiting_for_a_limit_is_no_part_of_the_attempts_timeout(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(attempt_timeout=6.0) as pool:
        jobs = [await pool.submit(nap, 5.0) for _ in range(2)]
    assert [job.result() for job in jobs] == [0.0, 10.0]


# What a limited worker looks like.


@either
async def test_a_worker_that_only_a_limit_holds_back_is_idle_but_not_among_the_idle_workers(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        (worker,) = pool.workers
        assert list(pool.idle_workers) == [worker]
        await pool.run(works)
        assert worker.state is WorkerState.IDLE
        assert list(pool.idle_workers) == []
        await trio.sleep(10.5)
        assert list(pool.idle_workers) == [worker]


@either
async def test_idle_only_finds_no_worker_that_a_limit_holds_back(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited() as pool:
        pool.submit_nowait(works, idle_only=True)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, idle_only=True)
        await trio.sleep(10)
        job = pool.submit_nowait(gets, idle_only=True)
    assert job.result()[1] == 10.0
    assert pool.statistics().submitted == 2


async def test_available_at_is_when_the_limit_of_a_worker_lets_it_start(autojump_clock: MockClock) -> None:
    async with limited_worker() as pool:
        (worker,) = pool.workers
        assert worker.statistics().available_at is None
        await pool.run(works)
        assert worker.statistics().available_at == 10.0
        await trio.sleep(10.5)
        assert worker.statistics().available_at is None


async def rests_for(resource: str, seconds: float, done: list[float]) -> None:
    """Lets its worker rest, once."""
    if not done:
        done.append(seconds)
        raise RetryAfter(seconds, rest=True, counts=False)


@pytest.mark.parametrize(("seconds", "until"), [(4.0, 10.0), (14.0, 14.0)])
async def test_of_a_limit_and_a_rest_the_later_end_holds(
    seconds: float, until: float, autojump_clock: MockClock
) -> None:
    async with limited_worker() as pool:
        done: list[float] = []
        job = await pool.submit(rests_for, seconds, done)
        await wait_all_tasks_blocked()
        assert pool.workers[0].statistics().available_at == until
        assert pool.workers[0].state is WorkerState.RESTING
    assert [attempt.started_at for attempt in job.attempts] == [0.0, until]


# A full queue.


@either
async def test_a_submitter_waits_for_the_limit_if_there_is_no_place_in_the_queue(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(max_queue=0) as pool:
        await pool.run(works)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works)
        job = await pool.submit(gets)
        assert trio.current_time() == 10.0
    assert job.result()[1] == 10.0


@either
async def test_a_submitter_that_gives_up_takes_nothing_of_the_limit(
    limited: LimitedPool, autojump_clock: MockClock
) -> None:
    async with limited(max_queue=0) as pool:
        await pool.run(works)
        with trio.move_on_after(5) as scope:
            await pool.submit(works)
        assert scope.cancelled_caught
        assert await pool.run(gets) == ("a", 10.0)
        assert pool.statistics().submitted == 2
