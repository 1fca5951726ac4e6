"""Scopes of the function's own, and what becomes of ``trio.Cancelled``."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, nap, sleeps, sleeps_forever, sulks
from tests.patience import PATIENT
from trio_pool import Attempt, DeadReason, Instrument, Job, JobCancelledError, JobFailedError, JobState, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


# The function's own scopes.


async def test_a_timeout_of_the_function_itself_is_its_own(autojump_clock: MockClock) -> None:
    async def is_impatient(resource: str) -> str:
        with trio.move_on_after(2):
            await trio.sleep_forever()
        return "went on"

    async with open_pool(["a"], attempt_timeout=10) as pool:
        assert await pool.run(is_impatient) == "went on"


async def test_a_scope_that_the_function_has_cancelled_is_its_own(autojump_clock: MockClock) -> None:
    async def cancels_a_part(resource: str) -> str:
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.sleep_forever()
        return "went on"

    async with open_pool(["a"]) as pool:
        assert await pool.run(cancels_a_part) == "went on"


async def test_the_nursery_of_a_function_is_its_own(autojump_clock: MockClock) -> None:
    async def has_helpers(resource: str) -> str:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        return "went on"

    async with open_pool(["a"]) as pool:
        assert await pool.run(has_helpers) == "went on"


async def test_a_scope_around_the_caller_of_submit_has_no_hold_on_the_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            job = await pool.submit(sleeps, 2.0)
            scope.cancel()
    assert job.state is JobState.SUCCEEDED


# trio.Cancelled


class Attempts(Instrument):
    """Notes how each attempt ended."""

    def __init__(self) -> None:
        self.errors: list[Exception | None] = []

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        self.errors.append(attempt.error)


async def test_an_attempt_that_was_cut_short_is_neither_counted_nor_kept_nor_retried(
    autojump_clock: MockClock,
) -> None:
    attempts = Attempts()
    async with open_pool(["a"], retry=PATIENT, instruments=[attempts]) as pool:
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        job.cancel()
    seen = pool.statistics()
    assert (seen.attempts, seen.failures, seen.retries) == (0, 0, 0)
    assert (job.attempts, job.attempt_count) == ((), 0)
    (error,) = attempts.errors
    assert isinstance(error, JobCancelledError)


async def test_on_failure_is_not_asked_about_a_cancellation(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def on_failure(job: Job[Any], error: Exception) -> None:
        asked.append(error)

    async with open_pool(["a"], on_failure=on_failure) as pool:
        job = await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        job.cancel()
    assert asked == []


async def test_a_cancelled_job_whose_nursery_raises_a_group_of_cancellations_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async def has_helpers(resource: str) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.sleep_forever)

    async with open_pool(["a"]) as pool:
        job = await pool.submit(has_helpers)
        await wait_all_tasks_blocked()
        job.cancel()
    assert job.state is JobState.CANCELLED


async def test_of_a_group_of_cancellations_and_errors_the_errors_are_the_failure(autojump_clock: MockClock) -> None:
    async def helper_fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("of the helper")

    async def has_helpers(resource: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper_fails)
            nursery.start_soon(trio.sleep_forever)

    async with open_pool(["a"], retry=PATIENT) as pool:
        job = await pool.submit(has_helpers)
        await wait_all_tasks_blocked()
        job.cancel()
        with pytest.raises(JobFailedError) as caught:
            await job.wait()
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert pytest.RaisesGroup(ValueError).matches(caught.value.__cause__)


async def test_errors_in_a_group_with_a_cancellation_by_a_timeout_are_the_failure(autojump_clock: MockClock) -> None:
    async def helper_fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("of the helper")

    async def has_helpers(resource: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper_fails)
            nursery.start_soon(trio.sleep_forever)

    async with open_pool(["a"], attempt_timeout=1) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(has_helpers)
    assert pytest.RaisesGroup(ValueError).matches(caught.value.__cause__)


async def test_a_group_of_the_function_s_own_keeps_its_shape(autojump_clock: MockClock) -> None:
    error = ExceptionGroup("mine", [ValueError(), ExceptionGroup("inner", [KeyError()])])

    async def raises_a_group(resource: str) -> None:
        raise error

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(raises_a_group)
    assert caught.value.__cause__ is error


async def test_cancellations_never_get_into_an_attempt(autojump_clock: MockClock) -> None:
    async def has_helpers(resource: str) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sulks, resource)
            nursery.start_soon(trio.sleep_forever)

    async with open_pool(["a"], attempt_timeout=1, on_dead="keep") as pool:
        job = await pool.submit(has_helpers)
    (attempt,) = job.attempts
    assert pytest.RaisesGroup(OSError).matches(attempt.error)


async def test_on_failure_may_cancel_its_job_and_does_nothing_to_the_next_one(autojump_clock: MockClock) -> None:
    def cancel(job: Job[Any], error: Exception) -> None:
        job.cancel()

    async with open_pool(["a"], on_failure=cancel) as pool:
        failed = await pool.submit(fails)
        following = await pool.submit(nap, 1)
        assert await following.wait() == 1
        assert failed.state is JobState.DEAD
        pool.dead.pop_all()
