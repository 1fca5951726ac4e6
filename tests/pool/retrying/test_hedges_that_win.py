"""Of a hedged attempt the first value counts, and the others are cancelled."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import after, cancelled, counts, script, shielded, slow_on, state_of
from trio_pool import (
    CircuitBreaker,
    Discard,
    GiveUp,
    Hedge,
    Job,
    JobState,
    Pool,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


@pytest.mark.parametrize("first", ["a", "b", "c"])
async def test_the_first_value_is_the_result_and_the_others_are_cancelled(
    first: str, autojump_clock: MockClock
) -> None:
    work = slow_on("a", "b", "c")
    work.acts[first] = after(4)
    async with open_pool(["a", "b", "c"]) as pool:
        assert await pool.run(work, hedge=Hedge(1, extra=2)) == first
        assert [at for _, at in work.ended] == [work.began["abc".index(first)][1] + 4] * 3
        assert len(pool.idle_workers) == 3


async def test_the_result_is_handed_out_when_the_others_have_ended(autojump_clock: MockClock) -> None:
    work = script(a=shielded(8), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        await trio.sleep(4)
        assert job.state is JobState.RUNNING
        assert job.worker is pool.workers[0]
        assert await job.wait() == "b"
        assert trio.current_time() == 8.0
        assert len(pool.idle_workers) == 2
    assert job.attempts[0].ended_at == 8.0


async def test_the_winner_s_worker_goes_on_at_once(autojump_clock: MockClock) -> None:
    work = script(a=shielded(8), b=after(1))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        await trio.sleep(2.5)
        assert await pool.run(after(1)) == "b"
        assert trio.current_time() == 4.0
        assert state_of(job) is JobState.RUNNING


async def test_what_a_loser_returns_in_spite_of_its_cancellation_changes_nothing(autojump_clock: MockClock) -> None:
    work = script(a=shielded(8), b=shielded(6), c=after(1))
    async with open_pool(["a", "b", "c"]) as pool:
        assert await pool.run(work, hedge=Hedge(1, extra=2)) == "c"
        assert counts(pool) == [(1, 0)] * 3
        assert pool.statistics().succeeded == 1


async def test_what_a_loser_raises_is_no_failure(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    work = script(a=cancelled(OSError()), b=after(1))
    touchy = CircuitBreaker(failures=1)
    async with open_pool(["a", "b"], on_failure=on_failure, breaker=touchy) as pool:
        job = await pool.submit(work, hedge=Hedge(2))
        assert await job.wait() == "b"
        assert pool.workers[0].state is WorkerState.IDLE
    assert asked == []
    assert (job.attempts[0].error, pool.statistics().failures) == (None, 0)


@pytest.mark.parametrize(
    "error", [GiveUp(), Discard(), RetryAfter(1.0), ResourceBroken(), ExceptionGroup("both", [GiveUp(), ValueError()])]
)
async def test_whatever_a_loser_raises_the_value_counts(error: Exception, autojump_clock: MockClock) -> None:
    work = script(a=cancelled(error), b=after(1))
    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        assert await pool.run(work, hedge=Hedge(2)) == "b"
        assert trio.current_time() == 3.0
    assert work.began == [("a", 0.0), ("b", 2.0)]


@pytest.mark.parametrize("error", [ValueError(), GiveUp(), Discard(), RetryAfter(1.0), ResourceBroken()])
async def test_a_value_counts_whatever_was_raised_before(error: Exception, autojump_clock: MockClock) -> None:
    work = script(a=after(3, error), b=shielded(5))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1))
        assert await job.wait() == "b"
    (attempt,) = job.attempts
    assert (attempt.worker_name, attempt.error, attempt.ended_at) == ("worker-1", None, 6.0)


def by_cancel(pool: Pool[str], job: Job[Any]) -> None:
    job.cancel()


def by_pool_cancel(pool: Pool[str], job: Job[Any]) -> None:
    pool.cancel()


def not_at_all(pool: Pool[str], job: Job[Any]) -> None:
    """The timeout will do it."""


@pytest.mark.parametrize(
    ("end", "options"),
    [
        (by_cancel, {}),
        (by_pool_cancel, {}),
        (not_at_all, {"attempt_timeout": 3.0}),
        (not_at_all, {"total_timeout": 3.0}),
    ],
)
async def test_a_value_counts_though_it_was_too_late(
    end: Callable[[Pool[str], Job[Any]], None], options: dict[str, Any], autojump_clock: MockClock
) -> None:
    work = script(a=after(100), b=shielded(5))
    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(work, hedge=Hedge(1), **options)
        await trio.sleep(3)
        end(pool, job)
        await trio.sleep(10)
    assert job.result() == "b"
    assert work.ended == [("a", 3.0), ("b", 6.0)]
    assert (job.state, job.attempt_count) == (JobState.SUCCEEDED, 1)
