"""3.4: types speak about errors of the function; what is said of an attempt or of a resource is tried again."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import sleeps_forever
from trio_pool import (
    AttemptTimeoutError,
    CircuitBreaker,
    DeadReason,
    Hedge,
    Job,
    JobState,
    ResourceBroken,
    RetryBudget,
    RetryPolicy,
    WorkerState,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

each_types = pytest.mark.parametrize("retry_on", [ConnectionError, (ConnectionError, KeyError), ()])


def thrice(retry_on: Any) -> RetryPolicy:
    return RetryPolicy.immediate(max_attempts=3, retry_on=retry_on)


async def end_of(error: Exception, retry: RetryPolicy, *, times: int = 100, **options: Any) -> Job[Any]:
    """The job of a function that raises an error so many times, ended."""
    async with open_pool(["a", "b"], on_dead="keep", **options) as pool:
        job: Job[Any] = await pool.submit(Flaky(times, error=error), retry=retry)
    return job


def refuses(error: Exception) -> bool:
    return not isinstance(error, ResourceBroken)


# Attempt timeouts


@each_types
async def test_an_attempt_timeout_is_tried_again(retry_on: Any, autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=thrice(retry_on), attempt_timeout=1, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever)
    assert (job.attempt_count, job.dead_reason) == (3, DeadReason.ATTEMPTS_EXHAUSTED)
    assert {type(attempt.error) for attempt in job.attempts} == {AttemptTimeoutError}


@each_types
async def test_so_is_one_of_a_hedged_attempt(retry_on: Any, autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=thrice(retry_on), attempt_timeout=2, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever, hedge=Hedge(1))
    assert (job.attempt_count, job.dead_reason) == (3, DeadReason.ATTEMPTS_EXHAUSTED)


async def test_a_timeout_of_the_function_s_own_is_not(autojump_clock: MockClock) -> None:
    async def times_out(_: object) -> None:
        with trio.fail_after(1):
            await trio.sleep_forever()

    async with open_pool(["a"], retry=thrice(ConnectionError), on_dead="keep") as pool:
        job = await pool.submit(times_out)
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.NOT_RETRYABLE)


async def test_a_function_is_asked_about_attempt_timeouts(autojump_clock: MockClock) -> None:
    asked: list[Exception] = []

    def refuse(error: Exception) -> bool:
        asked.append(error)
        return False

    async with open_pool(["a"], retry=thrice(refuse), attempt_timeout=1, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever)
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.NOT_RETRYABLE)
    assert [type(error) for error in asked] == [AttemptTimeoutError]


async def test_a_policy_of_one_attempt_ends_with_the_timeout(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], attempt_timeout=1, on_dead="keep") as pool:
        job = await pool.submit(sleeps_forever)
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.ATTEMPTS_EXHAUSTED)


# Broken resources

BROKEN = [
    pytest.param(ResourceBroken("lost"), id="alone"),
    pytest.param(ExceptionGroup("two", [ResourceBroken(), ResourceBroken()]), id="in a group"),
    pytest.param(ExceptionGroup("deep", [ExceptionGroup("two", [ResourceBroken()])]), id="deep in a group"),
    pytest.param(ExceptionGroup("two", [ConnectionError(), ResourceBroken()]), id="beside an error that matches"),
]


@pytest.mark.parametrize("error", BROKEN)
async def test_a_broken_resource_is_tried_again(error: Exception) -> None:
    job = await end_of(error, thrice(ConnectionError))
    assert (job.attempt_count, job.dead_reason) == (3, DeadReason.ATTEMPTS_EXHAUSTED)


@each_types
async def test_a_broken_resource_is_tried_again_whatever_types_are_given(retry_on: Any) -> None:
    job = await end_of(ResourceBroken("lost"), thrice(retry_on), times=2)
    assert (job.attempt_count, job.state) == (3, JobState.SUCCEEDED)


async def test_beside_an_error_that_does_not_match_it_is_not_tried_again() -> None:
    job = await end_of(ExceptionGroup("two", [KeyError(), ResourceBroken()]), thrice(ConnectionError))
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.NOT_RETRYABLE)


async def test_a_function_is_asked_about_broken_resources() -> None:
    job = await end_of(ResourceBroken("lost"), thrice(refuses))
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.NOT_RETRYABLE)


class Line:
    """A lifespan that ends by itself when it is cut."""

    def __init__(self) -> None:
        self.scopes: list[trio.CancelScope] = []

    @asynccontextmanager
    async def connect(self, resource: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as scope:
            self.scopes.append(scope)
            yield resource

    async def is_cut(self, _: object) -> str:
        if current_job().attempt_count < 2:
            self.scopes[-1].cancel()
            await trio.sleep_forever()
        return "done"


@each_types
async def test_a_lifespan_that_ends_by_itself_has_the_job_tried_again(retry_on: Any, autojump_clock: MockClock) -> None:
    line = Line()
    async with open_pool(["a"], lifespan=line.connect, retry=thrice(retry_on)) as pool:
        job = await pool.submit(line.is_cut)
    assert (job.result(), job.attempt_count, len(line.scopes)) == ("done", 3, 3)


async def test_a_function_is_asked_about_a_lifespan_that_ends_by_itself(autojump_clock: MockClock) -> None:
    line, policy = Line(), thrice(refuses)
    async with open_pool(["a"], lifespan=line.connect, retry=policy, on_dead="keep") as pool:
        job = await pool.submit(line.is_cut)
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.NOT_RETRYABLE)


# What on_failure says of the resource


def breaks(job: Job[Any], error: Exception) -> ResourceBroken:
    return ResourceBroken("so it seems")


async def test_what_on_failure_takes_for_a_broken_resource_is_tried_again_whatever_error_it_was() -> None:
    job = await end_of(ValueError(), thrice(ConnectionError), on_failure=breaks)
    assert (job.attempt_count, job.dead_reason) == (3, DeadReason.ATTEMPTS_EXHAUSTED)


async def test_a_function_is_asked_about_the_error_itself_then() -> None:
    asked: list[Exception] = []

    def agree(error: Exception) -> bool:
        asked.append(error)
        return True

    error = ValueError()
    job = await end_of(error, thrice(agree), on_failure=breaks)
    assert (job.attempt_count, asked) == (3, [error, error, error])


def exempts(job: Job[Any], error: Exception) -> ResourceBroken:
    return ResourceBroken("so it seems", counts=False)


async def test_on_failure_may_say_that_the_attempt_does_not_count() -> None:
    job = await end_of(ValueError(), RetryPolicy.never(), times=5, on_failure=exempts)
    assert (job.attempt_count, job.state) == (6, JobState.SUCCEEDED)


# ResourceBroken(counts=False)

EXEMPT = ResourceBroken("stale", counts=False)


@pytest.mark.parametrize("retry", [thrice(Exception), thrice(ConnectionError), RetryPolicy.never()])
async def test_one_that_does_not_count_uses_no_attempt_up(retry: RetryPolicy, autojump_clock: MockClock) -> None:
    job = await end_of(EXEMPT, retry, times=10)
    assert job.state is JobState.SUCCEEDED
    assert job.attempt_count == len(job.attempts) == 11  # though it is counted


async def test_one_that_counts_uses_attempts_up_among_those_that_do_not() -> None:
    errors: list[Exception] = [EXEMPT, ResourceBroken(), EXEMPT, ValueError(), EXEMPT, ValueError()]

    async def fails_variously(_: object) -> None:
        raise errors.pop(0)

    async with open_pool(["a"], retry=thrice(Exception), on_dead="keep") as pool:
        job = await pool.submit(fails_variously)
    assert (job.attempt_count, job.dead_reason, errors) == (6, DeadReason.ATTEMPTS_EXHAUSTED, [])


async def test_one_that_does_not_count_still_waits_as_the_policy_says(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.run(Flaky(3, error=EXEMPT), retry=RetryPolicy.fixed(2.0, max_attempts=1))
    assert trio.current_time() == 6.0


async def test_one_that_does_not_count_is_no_retry_that_a_function_refuses() -> None:
    job = await end_of(EXEMPT, thrice(refuses))
    assert (job.attempt_count, job.dead_reason) == (1, DeadReason.NOT_RETRYABLE)


async def test_one_that_does_not_count_has_the_resource_reopened() -> None:
    line = Line()
    async with open_pool(["a"], lifespan=line.connect) as pool:
        await pool.run(Flaky(2, error=EXEMPT))
        assert len(line.scopes) == 3


async def test_one_that_does_not_count_is_a_retry_for_the_budget() -> None:
    job = await end_of(EXEMPT, thrice(Exception), retry_budget=RetryBudget(ratio=0, minimum=2))
    assert (job.attempt_count, job.dead_reason) == (3, DeadReason.BUDGET_EXHAUSTED)


async def test_one_that_does_not_count_is_a_failure_for_the_breaker(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=2, reset_after=10.0, counts=KeyError)
    async with open_pool(["a"], breaker=breaker) as pool:
        job = await pool.submit(Flaky(2, error=EXEMPT), retry=RetryPolicy.fixed(1))
        await trio.sleep(5)
        assert pool.workers[0].state is WorkerState.QUARANTINED
        await job.wait()


@pytest.mark.parametrize(
    ("error", "succeeds"),
    [
        (ExceptionGroup("", [EXEMPT, EXEMPT]), True),
        (ExceptionGroup("", [EXEMPT, ExceptionGroup("", [ResourceBroken()])]), False),
        (ExceptionGroup("", [ResourceBroken(), EXEMPT]), False),
        (ExceptionGroup("", [EXEMPT, ConnectionError()]), False),
    ],
)
async def test_in_a_group_the_attempt_counts_unless_all_say_that_it_does_not(error: Exception, succeeds: bool) -> None:
    job = await end_of(error, thrice(ConnectionError), times=4)
    assert (job.state is JobState.SUCCEEDED) is succeeds


@pytest.mark.parametrize("counts", [None, 0, "no"])
def test_whether_it_counts_is_a_bool(counts: Any) -> None:
    make: Callable[..., ResourceBroken] = ResourceBroken
    with pytest.raises(TypeError, match=rf"^counts must be a bool, got {counts!r}$"):
        make("stale", counts=counts)
