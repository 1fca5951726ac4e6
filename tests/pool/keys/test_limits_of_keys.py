"""3.7, 3.11: rate limits of each key by itself, and keys that rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import of_any_arguments, state_of
from trio_pool import (
    DeadReason,
    Hedge,
    Job,
    JobState,
    PerKey,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock


@of_any_arguments
async def when(*_: object) -> float:
    """When it was called."""
    return trio.current_time()


async def starts(jobs: list[Job[float]]) -> list[float]:
    return [await job.wait() for job in jobs]


async def test_each_key_has_its_own_rate(autojump_clock: MockClock) -> None:
    async with open_pool(2, per_key=PerKey(rate_limit=RateLimit(1, per=10))) as pool:
        jobs = [await pool.submit(when, key=key) for key in ("a", "b", "a", "b", None, None)]
        assert await starts(jobs) == [0, 0, 10, 10, 0, 0]


async def test_several_limits_of_a_key_all_hold(autojump_clock: MockClock) -> None:
    limits = [RateLimit(1, per=1, burst=2), RateLimit(3, per=100, burst=3)]
    async with open_pool(2, per_key=PerKey(rate_limit=limits)) as pool:
        jobs = [await pool.submit(when, key="a") for _ in range(4)]
        assert [round(time, 3) for time in await starts(jobs)] == [0, 0, 1, 33.333]


async def test_a_limit_with_a_unit_holds_back_the_jobs_of_its_key_that_use_it(autojump_clock: MockClock) -> None:
    per_key = PerKey(rate_limit=RateLimit(10, burst=100, unit="tokens"))
    async with open_pool(2, per_key=per_key) as pool:
        jobs = [await pool.submit(when, key="a", uses={"tokens": 200}) for _ in range(2)]
        jobs.append(await pool.submit(when, key="a"))
        jobs.append(await pool.submit(when, key="a", uses={"bytes": 1}))
        jobs.append(await pool.submit(when, key="b", uses={"tokens": 1}))
        assert [round(time, 3) for time in await starts(jobs)] == [0, 10.1, 0, 0, 0]


async def test_what_a_run_has_really_used_counts_for_its_key(autojump_clock: MockClock) -> None:
    async def uses(amount: float) -> float:
        current_job().set_used(tokens=amount)
        return trio.current_time()

    per_key = PerKey(rate_limit=RateLimit(10, burst=100, unit="tokens"))
    async with open_pool(1, per_key=per_key) as pool:
        jobs = [await pool.submit(uses, amount, key="a", uses={"tokens": 50}) for amount in (150, 0, 0)]
        assert [round(time, 3) for time in await starts(jobs)] == [0, 5.1, 5.1]


async def test_the_limits_of_key_worker_and_pool_hold_together(autojump_clock: MockClock) -> None:
    resources = [Resource("x", rate_limit=RateLimit(1, per=3))]
    async with open_pool(
        resources, rate_limit=RateLimit(1, per=2), per_key=PerKey(rate_limit=RateLimit(1, per=5))
    ) as pool:
        jobs = [await pool.submit(when, key=key) for key in "aab"]
        assert await starts(jobs) == [0, 6, 3]


async def test_a_run_that_never_began_gives_its_start_back_to_its_key(autojump_clock: MockClock) -> None:
    async with open_pool(1, per_key=PerKey(rate_limit=RateLimit(1, per=10))) as pool:
        job = pool.submit_nowait(when, key="a")
        job.cancel()
        assert await pool.run(when, key="a") == 0
        assert state_of(job) is JobState.CANCELLED


async def test_each_run_of_a_hedged_job_draws_from_its_key(autojump_clock: MockClock) -> None:
    async with open_pool(3, per_key=PerKey(rate_limit=RateLimit(1, per=10))) as pool:
        job = await pool.submit(trio.sleep, 100, key="a", hedge=Hedge(1, extra=2))
        idle: list[int] = []
        for seconds in (9, 2):
            await trio.sleep(seconds)
            idle.append(len(pool.idle_workers))
        assert idle == [2, 1]
        other = await pool.submit(when, key="a")
        job.cancel()
        assert await other.wait() == 20


async def test_a_limit_that_keys_share_is_drawn_from_together(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10).shared()
    per_key = PerKey(rate_limit=lambda key: shared if key != "c" else None)
    async with open_pool(2, per_key=per_key) as one, open_pool(2, rate_limit=shared) as other:
        jobs = [await one.submit(when, key=key) for key in "abc"]
        jobs.append(await other.submit(when))
        assert await starts(jobs) == [0, 10, 0, 20]


async def test_keys_that_share_a_limit_with_units_take_turns_with_other_pools(autojump_clock: MockClock) -> None:
    shared = RateLimit(1, per=10, unit="tokens").shared()
    async with open_pool(2, per_key=PerKey(rate_limit=shared)) as one, open_pool(2, rate_limit=shared) as other:
        pools = (one, other, one, other)
        jobs = [await pool.submit(when, key="a", uses={"tokens": 1}) for pool in pools]
        assert await starts(jobs) == [0, 20, 10, 30]  # the one that has drawn gets into line at once


async def test_a_slow_attempt_waits_for_the_turn_of_its_key_in_a_shared_limit(
    autojump_clock: MockClock,
) -> None:
    shared = RateLimit(1, per=10).shared()
    async with open_pool(2, per_key=PerKey(rate_limit=shared)) as one, open_pool(1, rate_limit=shared) as other:
        job = await one.submit(trio.sleep, 25, key="a", hedge=Hedge(10))
        taken = [await other.submit(when) for _ in range(2)]
        await trio.sleep(11)
        assert len(one.idle_workers) == 0
        job.cancel()
        assert await starts(taken) == [20, 30]


async def test_a_key_without_jobs_keeps_its_level(autojump_clock: MockClock) -> None:
    async with open_pool(2, per_key=PerKey(rate_limit=RateLimit(1, per=10))) as pool:
        assert await pool.run(when, key="a") == 0
        assert len(pool.keys) == 0
        for key in ("b", "c", "b", "c"):
            await pool.run(when, key=key)
        assert await pool.run(when, key="a") == 10


async def test_a_shared_limit_of_another_run_is_an_error_at_submit() -> None:
    shared = RateLimit(1).shared()

    async def use() -> None:
        async with open_pool(1, rate_limit=shared):
            pass

    await trio.to_thread.run_sync(trio.run, use)
    async with open_pool(1, per_key=PerKey(rate_limit=shared)) as pool:
        with pytest.raises(RuntimeError, match="belongs to another Trio run"):
            await pool.submit(when, key="a")


# Rests


def refused_at_first(answers: dict[Any, list[Any]]) -> Any:
    """A function that raises the answers with its key, one after the other, then says when it was called."""

    async def call(*_: object) -> float:
        left = answers.get(current_job().key, [])
        if left and (error := left.pop(0)) is not None:
            raise error
        return trio.current_time()

    return call


async def test_nothing_of_a_resting_key_starts(autojump_clock: MockClock) -> None:
    call = refused_at_first({"a": [RetryAfter(30, rest="key", counts=False)]})
    async with open_pool(1, per_key=PerKey()) as pool:
        jobs = [await pool.submit(call, key=key) for key in ("a", "a", "b", None)]
        assert await starts(jobs) == [30, 30, 0, 0]
        assert pool.statistics().attempts == 5


async def test_of_two_rests_the_later_end_holds(autojump_clock: MockClock) -> None:
    async def is_refused(seconds: float, delay: float) -> float:
        if not current_job().attempts:
            await trio.sleep(seconds)
            raise RetryAfter(delay, rest="key")
        return trio.current_time()

    async with open_pool(3, per_key=PerKey(), retry=RetryPolicy()) as pool:
        jobs = [pool.submit_nowait(is_refused, *times, key="a") for times in ((1, 30), (2, 10), (3, 40))]
        assert await starts(jobs) == [43, 43, 43]


async def test_a_key_rests_though_its_job_dies(autojump_clock: MockClock) -> None:
    call = refused_at_first({"a": [RetryAfter(30, rest="key")]})
    async with open_pool(1, per_key=PerKey(), on_dead="keep") as pool:
        first, second = [await pool.submit(call, key="a") for _ in range(2)]
        assert await second.wait() == 30
        assert first.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED
        assert len(pool.keys) == 0


async def test_a_key_that_rests_without_jobs_still_rests_when_it_comes_back(autojump_clock: MockClock) -> None:
    call = refused_at_first({"a": [RetryAfter(30, rest="key")]})
    async with open_pool(1, per_key=PerKey(), on_dead="keep") as pool:
        await pool.submit(call, key="a")
        await pool.join()
        for _ in range(3):
            await pool.run(call, key="b")
        assert await pool.run(call, key="a") == 30


async def test_on_failure_may_let_the_key_rest(autojump_clock: MockClock) -> None:
    call = refused_at_first({"a": [ValueError()]})
    async with open_pool(
        1, per_key=PerKey(), retry=RetryPolicy(), on_failure=lambda job, error: RetryAfter(30, rest="key")
    ) as pool:
        jobs = [await pool.submit(call, key=key) for key in "aab"]
        assert await starts(jobs) == [30, 30, 0]


@pytest.mark.parametrize("options", [{}, {"per_key": PerKey()}], ids=["no bounds for keys", "no key"])
async def test_without_a_key_to_rest_only_the_job_waits(autojump_clock: MockClock, options: dict[str, Any]) -> None:
    call = refused_at_first({None: [RetryAfter(30, rest="key")]})
    async with open_pool(1, retry=RetryPolicy(), **options) as pool:
        jobs = [await pool.submit(call) for _ in range(2)]
        assert await starts(jobs) == [30, 0]


async def test_a_rest_that_a_job_has_no_time_for_ends_it_at_once(autojump_clock: MockClock) -> None:
    call = refused_at_first({"a": [RetryAfter(30, rest="key")]})
    async with open_pool(1, per_key=PerKey(), retry=RetryPolicy(), on_dead="keep") as pool:
        job = await pool.submit(call, key="a", total_timeout=10)
        await pool.join()
        assert (job.dead_reason, trio.current_time()) == (DeadReason.TIMED_OUT, 0)


async def test_the_block_waits_for_keys_that_rest(autojump_clock: MockClock) -> None:
    call = refused_at_first({"a": [RetryAfter(30, rest="key")]})
    async with open_pool(1, per_key=PerKey(), no_worker="wait", on_dead="keep") as pool:
        jobs = [await pool.submit(call, key="a") for _ in range(2)]
        lost = await pool.submit(call, key="a", requires=["nobody has this"])
    assert trio.current_time() == 30
    assert [job.state for job in (*jobs, lost)] == [JobState.DEAD, JobState.SUCCEEDED, JobState.DEAD]


def test_who_rests_is_checked_and_said() -> None:
    assert str(RetryAfter(3, rest="key")) == "its key rests 3 s"
    assert RetryAfter.parse("3", rest="key").rest == "key"
    bad: Any = "worker"
    with pytest.raises(TypeError, match=r"^rest must be a bool or 'key', got 'worker'"):
        RetryAfter(3, rest=bad)
    bad = 1
    with pytest.raises(TypeError, match=r"^rest must be a bool or 'key', got 1"):
        RetryAfter(3, rest=bad)
