"""What a block raises comes out as it is, and counts as the failure of its job."""

from __future__ import annotations

import sys

import pytest
import trio
from trio.testing import MockClock

from tests.actors import state_of, works
from tests.pool.leases.borrowers import Opened, Rude, fail, stay
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Discard,
    GiveUp,
    JobFailedError,
    JobState,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

NO = ValueError("no")


@pytest.mark.parametrize("error", [NO, ExceptionGroup("some", [ValueError(), KeyError()])])
async def test_what_the_block_raises_comes_out_as_it_is(error: Exception) -> None:
    async with open_pool(["a"], retry=RetryPolicy.endless(), on_dead="cancel") as pool:
        lease = pool.acquire()
        with pytest.raises(type(error)) as caught:
            await fail(lease, error)
        assert caught.value is error
        job = lease.job
        assert (job.state, job.dead_reason, job.attempt_count) == (JobState.DEAD, DeadReason.NOT_RETRYABLE, 1)
        assert job.attempts[0].error is error
        assert not pool.dead
        with pytest.raises(JobFailedError):
            job.result()
        assert pool.statistics().workers[0].failed == 1
        assert await pool.run(works) == "done"


async def test_a_failed_block_is_no_matter_for_on_failure_or_must_succeed() -> None:
    def on_failure(*_: object) -> None:
        raise AssertionError("nobody asks")

    async with open_pool(["a"], on_failure=on_failure) as pool, pool.open_group(must_succeed=True) as group:
        lease = group.acquire()
        with pytest.raises(ValueError, match="no"):
            await fail(lease, NO, lambda: group.submit_nowait(works, after=[lease.job]))
        assert await group.run(works) == "done"
        assert group.statistics().discarded == 1


@pytest.mark.parametrize("control", [RetryAfter(5, rest=True), GiveUp("no"), Discard("no")])
async def test_control_exceptions_are_errors_as_any(control: Exception) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(type(control)):
            await fail(lease, control)
        assert (lease.job.state, lease.job.dead_reason) == (JobState.DEAD, DeadReason.NOT_RETRYABLE)
        assert pool.workers[0].state is WorkerState.IDLE


@pytest.mark.parametrize("error", [ResourceBroken("no"), ExceptionGroup("", [ResourceBroken("no")])])
async def test_a_broken_resource_is_reopened_after_the_block(error: Exception) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        with pytest.raises(type(error)):
            await fail(pool.acquire(), error)
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_a_broken_resource_beside_another_error_is_an_error_as_any() -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        with pytest.raises(ExceptionGroup):
            await fail(pool.acquire(), ExceptionGroup("", [ResourceBroken("no"), NO]))
        async with pool.acquire() as resource:
            assert resource == "a1"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), Rude(), BaseExceptionGroup("", [Rude()])])
async def test_what_is_no_exception_comes_out_here_only(error: BaseException) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(type(error)) as caught:
            await fail(lease, error)
        assert caught.value is error
        assert lease.job.state is JobState.CANCELLED
        assert await pool.run(works) == "done"


async def test_a_stray_cancellation_comes_out_and_makes_the_job_dead() -> None:
    strays: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            strays.append(error)
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(trio.Cancelled):
            await fail(lease, strays[0])
        assert lease.job.state is JobState.DEAD
        assert isinstance(lease.job.attempts[0].error, RuntimeError)


async def test_failures_of_blocks_open_the_breaker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=CircuitBreaker(failures=2, reset_after=5)) as pool:
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await fail(pool.acquire(), NO)
        assert state_of(pool.workers[0]) is WorkerState.QUARANTINED
        async with pool.acquire():  # the probe
            assert trio.current_time() == 5
        assert state_of(pool.workers[0]) is WorkerState.IDLE


async def test_a_probe_that_is_cut_short_gives_its_place_to_another(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=CircuitBreaker(failures=1, reset_after=5)) as pool:
        with pytest.raises(ValueError, match="no"):
            await fail(pool.acquire(), NO)
        with trio.move_on_after(6):
            await stay(pool.acquire())
        async with pool.acquire():
            assert trio.current_time() == 6


async def test_a_breaker_that_fails_to_count_is_the_reason_of_the_death() -> None:
    def counts(error: Exception) -> bool:
        raise KeyError("counts")

    async with open_pool(["a"], breaker=CircuitBreaker(counts=counts)) as pool:
        lease = pool.acquire()
        with pytest.raises(ValueError, match="no"):
            await fail(lease, NO)
        assert "KeyError" in lease.job.reason


async def test_a_breaker_that_crashes_ends_the_pool() -> None:
    def counts(error: Exception) -> bool:
        raise Rude

    with pytest.RaisesGroup(Rude):
        async with open_pool(["a"], breaker=CircuitBreaker(counts=counts)) as pool:
            with pytest.raises(ValueError, match="no"):
                await fail(pool.acquire(), NO)
            await trio.sleep_forever()
