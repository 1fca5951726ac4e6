"""How often, when and in which order failed jobs are tried again, as their RetryPolicy says."""

from __future__ import annotations

import sys
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool import DeadReason, Job, JobState, RetryPolicy, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

ERROR = ValueError("no luck")


class Starts:
    """A function that always fails, and when its calls were."""

    def __init__(self, error: Exception = ERROR) -> None:
        self.error = error
        self.at: list[float] = []

    async def __call__(self, *args: Any) -> None:
        self.at.append(trio.current_time())
        raise self.error.with_traceback(None)


async def deaths_of(error: Exception, policy: RetryPolicy) -> Job[None]:
    """A job whose attempts all fail with this error."""
    async with open_pool(1, retry=policy, on_dead="keep") as pool:
        return await pool.submit(Starts(error))


# How often


@pytest.mark.parametrize("most", [1, 2, 7])
async def test_max_attempts_bounds_the_attempts_the_first_included(most: int) -> None:
    job = await deaths_of(ERROR, RetryPolicy.immediate(max_attempts=most))
    assert job.attempt_count == most
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


@pytest.mark.parametrize("unbounded", [None, float("inf")])
async def test_without_max_attempts_there_is_no_bound(unbounded: Any) -> None:
    calls = 0

    async def work() -> int:
        nonlocal calls
        calls += 1
        if calls <= 2000:
            raise ValueError("no luck")
        return calls

    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=unbounded)) as pool:
        assert await pool.run(work) == 2001


async def test_a_job_that_succeeds_in_the_end_has_succeeded() -> None:
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ValueError("no luck")
        return "done"

    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=3)) as pool:
        assert await pool.run(work) == "done"


# When


async def test_attempts_start_when_their_delay_is_over(autojump_clock: MockClock) -> None:
    starts = Starts()
    retry = RetryPolicy(max_attempts=4, base_delay=1, jitter="none")
    async with open_pool(1, retry=retry, on_dead="keep") as pool:
        await pool.submit(starts)
    assert starts.at == [0, 1, 3, 7]


async def test_delay_can_be_overridden_for_another_curve(autojump_clock: MockClock) -> None:
    class Fibonacci(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            return {1: 1, 2: 1, 3: 2, 4: 3, 5: 5}[failed]

    starts = Starts()
    async with open_pool(1, retry=Fibonacci(max_attempts=6), on_dead="keep") as pool:
        await pool.submit(starts)
    assert starts.at == [0, 1, 2, 4, 7, 12]


async def test_delay_is_told_the_failures_from_1_the_error_the_delay_before_and_the_rng(
    autojump_clock: MockClock,
) -> None:
    told: list[tuple[int, Exception, float, Random]] = []

    class Curve(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            told.append((failed, error, previous, rng))
            return failed * 10.0

    rng = Random(0)
    async with open_pool(1, retry=Curve(max_attempts=4), rng=rng, on_dead="keep") as pool:
        await pool.submit(Starts())
    assert told == [(1, ERROR, 0.0, rng), (2, ERROR, 10.0, rng), (3, ERROR, 20.0, rng)]


async def test_delay_is_not_asked_when_there_is_no_further_attempt() -> None:
    class Curve(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            raise AssertionError("there is nothing to wait for")

    async with open_pool(1, retry=Curve(max_attempts=1), on_dead="keep") as pool:
        job = await pool.submit(Starts())
    assert job.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED


@pytest.mark.parametrize("nonsense", [-1.0, float("nan"), float("inf"), "soon", None, True])
async def test_a_delay_that_is_nonsense_makes_the_job_dead_with_an_error_that_says_so(nonsense: Any) -> None:
    class Curve(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            answer: float = nonsense
            return answer

    async with open_pool(1, retry=Curve(), on_dead="keep") as pool:
        job = await pool.submit(Starts())
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    assert job.attempt_count == 1
    assert "delay" in job.reason


async def test_a_delay_that_raises_makes_the_job_dead_with_that_error() -> None:
    class Curve(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            raise ZeroDivisionError("in the curve")

    async with open_pool(1, retry=Curve(), on_dead="keep") as pool:
        job = await pool.submit(Starts())
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    with pytest.raises(Exception, match="in the curve") as caught:
        job.result()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


# What is retried


@pytest.mark.parametrize("retry_on", [OSError, (KeyError, OSError), Exception])
async def test_errors_of_a_type_in_retry_on_are_retried(retry_on: Any) -> None:
    job = await deaths_of(ConnectionError(), RetryPolicy.immediate(retry_on=retry_on))
    assert job.attempt_count == 3


@pytest.mark.parametrize("retry_on", [OSError, (KeyError, OSError), ()])
async def test_errors_of_no_type_in_retry_on_make_the_job_dead(retry_on: Any) -> None:
    job = await deaths_of(ERROR, RetryPolicy.immediate(retry_on=retry_on))
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.NOT_RETRYABLE


async def test_retry_on_may_be_a_function_of_the_error() -> None:
    def judge(error: Exception) -> bool:
        return "luck" in str(error)

    policy = RetryPolicy.immediate(retry_on=judge)
    assert (await deaths_of(ValueError("no luck"), policy)).attempt_count == 3
    assert (await deaths_of(ValueError("no way"), policy)).attempt_count == 1


async def test_a_retry_on_that_raises_makes_the_job_dead_with_that_error() -> None:
    def judge(error: Exception) -> bool:
        raise ZeroDivisionError("in the judge")

    job = await deaths_of(ERROR, RetryPolicy.immediate(retry_on=judge))
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    with pytest.raises(Exception, match="in the judge") as caught:
        job.result()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_a_retry_on_that_returns_nonsense_makes_the_job_dead_with_an_error_that_says_so() -> None:
    def judge(error: Exception) -> Any:
        return "perhaps"

    job = await deaths_of(ERROR, RetryPolicy.immediate(retry_on=judge))
    assert job.dead_reason is DeadReason.NOT_RETRYABLE
    with pytest.raises(Exception, match=r"retry_on .*bool.* 'perhaps'") as caught:
        job.result()
    assert isinstance(caught.value.__cause__, TypeError)


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("error", "retry_on"),
    [
        pytest.param(group(OSError()), ExceptionGroup, id="the group itself"),
        pytest.param(group(OSError(), ConnectionError()), OSError, id="every leaf"),
        pytest.param(group(OSError(), group(ConnectionError())), OSError, id="every leaf at any depth"),
        pytest.param(group(OSError(), KeyError()), (OSError, KeyError), id="each leaf one of them"),
    ],
)
async def test_types_match_a_group_itself_or_all_its_leaves(error: Exception, retry_on: Any) -> None:
    job = await deaths_of(error, RetryPolicy.immediate(retry_on=retry_on))
    assert job.attempt_count == 3


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(group(OSError(), KeyError()), id="one of two"),
        pytest.param(group(OSError(), group(ConnectionError(), KeyError())), id="one of three, deeper"),
        pytest.param(group(KeyError()), id="none"),
    ],
)
async def test_types_do_not_match_a_group_with_a_leaf_that_they_do_not_match(error: Exception) -> None:
    job = await deaths_of(error, RetryPolicy.immediate(retry_on=OSError))
    assert job.attempt_count == 1
    assert job.dead_reason is DeadReason.NOT_RETRYABLE


async def test_a_function_is_asked_about_the_group_itself() -> None:
    asked: list[Exception] = []

    def judge(error: Exception) -> bool:
        asked.append(error)
        return False

    error = group(OSError())
    await deaths_of(error, RetryPolicy.immediate(retry_on=judge))
    assert asked == [error]


# In which order


async def order_of_starts(retry: RetryPolicy) -> list[str]:
    """One worker; ``first`` fails once while ``second`` and ``third`` wait."""
    order: list[str] = []

    async def work(name: str) -> None:
        order.append(name)
        if order == ["first"]:
            raise ValueError("no luck")

    async with open_pool(1, retry=retry) as pool:
        for name in ("first", "second", "third"):
            pool.submit_nowait(work, name)
    return order


async def test_in_front_a_retried_job_goes_before_those_that_wait() -> None:
    assert await order_of_starts(RetryPolicy.immediate(front=True)) == ["first", "first", "second", "third"]


async def test_in_front_holds_after_a_delay_too(autojump_clock: MockClock) -> None:
    order: list[str] = []

    async def work(name: str) -> None:
        order.append(name)
        if order == ["first"]:
            raise ValueError("no luck")
        await trio.sleep(2)

    async with open_pool(1, retry=RetryPolicy.fixed(1, front=True)) as pool:
        for name in ("first", "second", "third", "fourth"):
            await pool.submit(work, name)
    assert order == ["first", "second", "first", "third", "fourth"]


# A job of its own


async def test_a_job_may_bring_a_policy_of_its_own() -> None:
    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=9), on_dead="keep") as pool:
        job = await pool.submit(Starts(), retry=RetryPolicy.immediate(max_attempts=2))
    assert job.attempt_count == 2
    assert job.state is JobState.DEAD
