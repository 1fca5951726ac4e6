"""3.6, 3.7: breakers that open by the share of failures, and breakers that are reset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, state_of, works
from trio_pool import (
    CircuitBreaker,
    GiveUp,
    JobFailedError,
    JobState,
    Pool,
    Resource,
    RetryAfter,
    WorkerState,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio_pool import Worker

TOUCHY = CircuitBreaker(failures=1, reset_after=10.0)
HALF = CircuitBreaker(failures=3, reset_after=10.0, rate=0.5, window=60.0)


async def gives_up(resource: str) -> None:
    raise GiveUp


async def asks_for_more(resource: str) -> None:
    raise RetryAfter(0.0)


async def fail(pool: Pool[str]) -> Worker:
    """Let the only worker fail a job."""
    with pytest.raises(JobFailedError):
        await pool.run(fails)
    return pool.workers[0]


# A rate.


async def test_failures_that_are_enough_and_a_large_enough_share_quarantine_a_worker(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"], breaker=HALF, on_dead="keep") as pool:
        for state in (WorkerState.IDLE, WorkerState.IDLE, WorkerState.QUARANTINED):
            await pool.run(works)
            assert state_of(await fail(pool)) is state


async def test_failures_that_are_too_small_a_share_do_not(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=HALF, on_dead="keep") as pool:
        for _ in range(20):
            await pool.run(works)
            await pool.run(works)
            assert state_of(await fail(pool)) is WorkerState.IDLE


@pytest.mark.parametrize("other", [gives_up, asks_for_more])
async def test_attempts_that_are_neither_belong_to_those_that_ended(
    other: Callable[[str], Awaitable[None]], autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], breaker=HALF, on_dead="keep") as pool:
        for _ in range(4):
            with pytest.raises(JobFailedError):
                await pool.run(other)
        for state in [WorkerState.IDLE] * 3 + [WorkerState.QUARANTINED]:
            assert state_of(await fail(pool)) is state


async def test_what_has_ended_before_the_window_does_not_count(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=HALF, on_dead="keep") as pool:
        await fail(pool)
        await fail(pool)
        await trio.sleep(60)
        assert state_of(await fail(pool)) is WorkerState.IDLE


# Resetting.


async def test_resetting_ends_a_quarantine_and_what_waits_starts(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        worker = await fail(pool)
        job = await pool.submit(works)
        await trio.sleep(3)
        worker.reset_breaker()
        assert job.state is JobState.RUNNING
        await job.wait()
        assert worker.statistics().available_at is None
        await trio.sleep(30)
        assert pool.idle_workers == (worker,)


async def test_after_a_reset_as_many_failures_are_needed_as_at_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=CircuitBreaker(failures=2, reset_after=10.0), on_dead="keep") as pool:
        worker = await fail(pool)
        worker.reset_breaker()
        for state in (WorkerState.IDLE, WorkerState.QUARANTINED):
            assert state_of(await fail(pool)) is state


async def test_after_a_reset_the_next_quarantine_is_as_long_as_the_first(autojump_clock: MockClock) -> None:
    doubling = CircuitBreaker(failures=1, reset_after=10.0, max_reset_after=80.0)
    async with open_pool(["a"], breaker=doubling, on_dead="keep") as pool:
        await fail(pool)
        await fail(pool)
        worker = await fail(pool)
        assert worker.statistics().available_at == trio.current_time() + 40
        worker.reset_breaker()
        await fail(pool)
        assert worker.statistics().available_at == trio.current_time() + 10


async def test_a_probe_under_way_goes_on_as_any_other_attempt(autojump_clock: MockClock) -> None:
    twice = CircuitBreaker(failures=2, reset_after=10.0)

    async def fails_later(resource: str) -> None:
        await trio.sleep(5)
        raise OSError

    async with open_pool(["a"], breaker=twice, on_dead="keep") as pool:
        await fail(pool)
        worker = await fail(pool)
        probe = await pool.submit(fails_later)
        await probe.wait_started()
        worker.reset_breaker()
        with pytest.raises(JobFailedError):
            await probe.wait()
        assert state_of(worker) is WorkerState.IDLE


async def test_resetting_does_not_end_a_pause_or_a_rest(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        worker = await fail(pool)
        worker.rest(5)
        worker.pause()
        worker.reset_breaker()
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        assert state_of(worker) is WorkerState.RESTING


async def test_resetting_what_needs_none_does_no_harm(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", breaker=TOUCHY), "b"]) as pool:
        workers = pool.workers
        for worker in workers:
            worker.reset_breaker()
        await wait_all_tasks_blocked()
        assert len(pool.idle_workers) == 2
    for worker in workers:
        worker.reset_breaker()


async def test_a_breaker_opened_at_the_instant_of_a_reset_is_closed_by_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=TOUCHY, on_dead="keep") as pool:
        worker = await fail(pool)
        await trio.sleep(10)  # the quarantine ends now
        worker.reset_breaker()
        await pool.run(works)
        assert state_of(worker) is WorkerState.IDLE
