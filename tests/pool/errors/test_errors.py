"""The errors: what they are, what they carry, and what they say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

import trio_pool
from trio_pool import (
    AttemptTimeoutError,
    DeadReason,
    Discard,
    GiveUp,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFinishedError,
    JobTimeoutError,
    NoEligibleWorkerError,
    PoolClosedError,
    PoolError,
    RetryPolicy,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class Failing:
    """Fails with one error after another, the last one again and again."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self, *args: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise self.errors[0] if len(self.errors) == 1 else self.errors.pop(0)


async def failure_of(job: Job[Any]) -> JobFailedError:
    with pytest.raises(JobFailedError) as caught:
        await job.wait()
    return caught.value


# What they are


@pytest.mark.parametrize(
    "error",
    [PoolClosedError, NoEligibleWorkerError, JobFailedError, JobCancelledError, JobNotFinishedError],
)
def test_pool_error_is_the_base(error: type[Exception]) -> None:
    assert issubclass(error, PoolError)


def test_a_closed_pool_is_a_closed_resource() -> None:
    assert issubclass(PoolClosedError, trio.ClosedResourceError)


@pytest.mark.parametrize("error", [AttemptTimeoutError, JobTimeoutError])
def test_timeouts_are_recorded_as_what_trio_calls_too_slow(error: type[Exception]) -> None:
    assert issubclass(error, trio.TooSlowError)
    assert not issubclass(error, PoolError)


def test_control_exceptions_are_no_errors_of_the_pool() -> None:
    controls = [trio_pool.RetryAfter, GiveUp, Discard, trio_pool.ResourceBroken]
    assert [issubclass(control, PoolError) for control in controls] == [False] * 4
    assert [issubclass(control, Exception) for control in controls] == [True] * 4


def test_errors_are_called_what_users_import() -> None:
    public = [getattr(trio_pool, name) for name in trio_pool.__all__ if name.endswith("Error")]
    assert {error.__module__ for error in public} == {"trio_pool"}


def test_every_public_name_exists() -> None:
    assert [name for name in trio_pool.__all__ if not hasattr(trio_pool, name)] == []


# Causes


async def test_the_cause_of_a_failure_is_the_error_of_the_last_attempt() -> None:
    errors = [ValueError("first"), OSError("second"), KeyError("third")]
    async with open_pool(1, retry=RetryPolicy.immediate()) as pool:
        failure = await failure_of(await pool.submit(Failing(*errors)))
    assert failure.__cause__ is errors[-1]
    assert failure.__cause__ is failure.job.attempts[-1].error


async def test_the_cause_is_the_attempts_timeout_where_that_was_the_last_failure(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        failure = await failure_of(await pool.submit(trio.sleep, 9, attempt_timeout=1))
    assert isinstance(failure.__cause__, AttemptTimeoutError)


async def test_the_cause_is_the_jobs_timeout_where_it_ended_a_running_job(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        failure = await failure_of(await pool.submit(trio.sleep, 9, total_timeout=1))
    assert isinstance(failure.__cause__, JobTimeoutError)


async def test_the_cause_is_the_jobs_timeout_where_it_ended_a_queued_job(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        await pool.submit(trio.sleep, 9)
        failure = await failure_of(await pool.submit(trio.sleep, 9, total_timeout=1))
    assert isinstance(failure.__cause__, JobTimeoutError)


async def test_the_cause_is_the_jobs_timeout_where_there_was_no_time_to_try_again(autojump_clock: MockClock) -> None:
    error = ValueError("no luck")
    async with open_pool(1, retry=RetryPolicy.fixed(5)) as pool:
        failure = await failure_of(await pool.submit(Failing(error), total_timeout=3))
        assert trio.current_time() == 0
    assert failure.job.dead_reason is DeadReason.TIMED_OUT
    assert isinstance(failure.__cause__, JobTimeoutError)


async def test_the_cause_is_the_error_of_the_last_attempt_where_nobody_may_take_the_job_any_more(
    autojump_clock: MockClock,
) -> None:
    error = ValueError("no luck")
    async with open_pool(2, retry=RetryPolicy.fixed(5)) as pool:
        first, _ = pool.workers
        job = await pool.submit(Failing(error), worker=first)
        await trio.sleep(1)
        await first.remove()
        failure = await failure_of(job)
    assert job.dead_reason is DeadReason.NO_WORKER
    assert failure.__cause__ is error


async def test_a_job_that_never_ran_has_no_cause_of_death_but_its_reason() -> None:
    async with open_pool(1, no_worker="bury") as pool:
        failure = await failure_of(await pool.submit(trio.sleep, 0, requires=["gpu"]))
    assert failure.__cause__ is None
    assert failure.job.dead_reason is DeadReason.NO_WORKER


# Messages


async def test_a_failure_says_which_job_why_after_how_many_attempts_and_the_last_error() -> None:
    async with open_pool(1, retry=RetryPolicy.immediate()) as pool:
        failure = await failure_of(await pool.submit(Failing(ValueError("no luck")), name="fetch"))
    assert str(failure) == "job 1 (fetch) is dead after 3 attempts: no attempts left; last error: ValueError: no luck"


async def test_a_single_attempt_is_said_in_the_singular() -> None:
    async with open_pool(1) as pool:
        failure = await failure_of(await pool.submit(Failing(ValueError("no luck")), name="fetch"))
    assert "is dead after 1 attempt: " in str(failure)


async def test_no_attempt_is_said_too() -> None:
    async with open_pool(1, no_worker="bury") as pool:
        failure = await failure_of(await pool.submit(trio.sleep, 0, requires=["gpu"], name="fetch"))
    assert str(failure) == "job 1 (fetch) is dead after 0 attempts: no worker of the pool can run it"


async def test_an_error_that_is_the_reason_is_not_said_twice() -> None:
    async with open_pool(1, retry=RetryPolicy(retry_on=OSError)) as pool:
        failure = await failure_of(await pool.submit(Failing(ValueError("no luck")), name="fetch"))
    assert str(failure) == "job 1 (fetch) is dead after 1 attempt: not retryable: ValueError: no luck"


async def test_a_function_that_is_not_async_is_said_once() -> None:
    def fetch() -> int:
        return 1

    wrong: Any = fetch
    async with open_pool(1) as pool:
        failure = await failure_of(await pool.submit(wrong, name="fetch"))
    text = str(failure)
    assert text.startswith("job 1 (fetch) is dead after 1 attempt: ")
    assert "fetch is not an async function: calling it returned 1, not a coroutine" in text
    assert text.count("not an async function") == 1


async def test_a_failure_by_timeout_says_how_long_it_had(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        attempt = await failure_of(await pool.submit(trio.sleep, 9, attempt_timeout=1.5))
        job = await failure_of(await pool.submit(trio.sleep, 9, total_timeout=2.5))
    assert "AttemptTimeoutError: the attempt took longer than 1.5 s" in str(attempt)
    assert "JobTimeoutError: the job took longer than 2.5 s" in str(job)


async def test_a_timeout_while_it_backed_off_does_not_hide_the_last_error(autojump_clock: MockClock) -> None:
    async with open_pool(1, retry=RetryPolicy.fixed(5)) as pool:
        failure = await failure_of(await pool.submit(Failing(ValueError("no luck")), total_timeout=3))
    assert "ValueError: no luck" in str(failure)


async def test_a_timeout_in_the_queue_does_not_hide_the_last_error(autojump_clock: MockClock) -> None:
    async with open_pool(1, retry=RetryPolicy.fixed(1)) as pool:
        job = await pool.submit(Failing(ValueError("no luck")), total_timeout=3)
        await trio.sleep(0.5)
        await pool.submit(trio.sleep, 9)
        failure = await failure_of(job)
        assert trio.current_time() == 3
    assert "ValueError: no luck" in str(failure)


async def test_what_a_function_gave_up_with_is_not_said_twice() -> None:
    async with open_pool(1) as pool:
        failure = await failure_of(await pool.submit(Failing(GiveUp("no such page")), name="fetch"))
    assert str(failure) == "job 1 (fetch) is dead after 1 attempt: given up: no such page"


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("one\ntwo"), id="ordinary"),
        pytest.param(GiveUp("one\ntwo"), id="GiveUp"),
        pytest.param(ExceptionGroup("three", [ValueError("one\ntwo")]), id="group"),
    ],
)
async def test_a_failure_is_told_in_one_line(error: Exception) -> None:
    async with open_pool(1) as pool:
        failure = await failure_of(await pool.submit(Failing(error), name="of\nthree"))
    assert str(failure).splitlines() == [str(failure)]
    assert "one two" in str(failure)


async def test_a_cancelled_job_says_which_and_how() -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(trio.sleep, 9, name="fetch")
        job.cancel()
        with pytest.raises(JobCancelledError) as caught:
            await job.wait()
    assert str(caught.value).startswith("job 1 (fetch) was cancelled: ")
    assert caught.value.job is job


async def test_a_discarded_job_says_which_and_why() -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(Failing(Discard("nobody wants it")), name="fetch")
        with pytest.raises(JobCancelledError) as caught:
            await job.wait()
    assert str(caught.value) == "job 1 (fetch) was discarded: nobody wants it"


async def test_a_closed_pool_says_so() -> None:
    async with open_pool(1) as pool:
        pool.close()
        with pytest.raises(PoolClosedError, match="the pool is closed"):
            await pool.submit(trio.sleep, 0)


async def test_a_job_that_nobody_may_take_is_named() -> None:
    async with open_pool(1) as pool:
        with pytest.raises(NoEligibleWorkerError, match="no worker of the pool can ever run the job fetch"):
            await pool.submit(trio.sleep, 0, requires=["gpu"], name="fetch")
