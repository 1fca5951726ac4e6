"""What becomes of a job after a failed attempt."""

from __future__ import annotations

import sys
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import make_job
from trio_pool import DeadReason, Discard, GiveUp, HandBack, ResourceBroken, RetryAfter, RetryPolicy
from trio_pool._basics.error_text import Words, worded
from trio_pool._core.retry_decision import Die, Drop, Retry, Verdict, control_of, judge
from trio_pool._model.setback import Setback

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool._model.handles import Job
    from trio_pool._model.pool_config import OnFailure

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

ERROR = ValueError("no")
THRICE = RetryPolicy.fixed(2.0, max_attempts=3)


def in_full(words: Words) -> str:
    """What is said of a fate."""
    assert isinstance(words, tuple)
    return worded(words)


def verdict_on(
    error: Exception,
    *,
    failed: int = 0,
    policy: RetryPolicy = THRICE,
    on_failure: OnFailure | None = None,
) -> Verdict:
    """The verdict on a job that had failed ``failed`` times before."""
    job = make_job()
    job._setback = Setback(counted=failed)
    return judge(job, error, policy=policy, on_failure=on_failure, rng=Random(0))


def reason_of(verdict: Verdict) -> DeadReason:
    assert isinstance(verdict.fate, Die)
    return verdict.fate.reason


def retry_of(verdict: Verdict) -> Retry:
    assert isinstance(verdict.fate, Retry)
    return verdict.fate


def returning(answer: Any) -> Callable[..., Any]:
    """A function that always returns that."""

    def hook(*_: object) -> Any:
        return answer

    return hook


def test_an_ordinary_failure_is_tried_again_as_the_policy_says() -> None:
    policy = RetryPolicy.fixed(2.0, placement="other", front=True)
    assert verdict_on(ERROR, policy=policy) == Verdict(Retry(2.0, "other", True, True))


def test_the_policy_is_told_how_often_the_job_failed_with_what_and_after_which_delay() -> None:
    told: list[tuple[int, Exception, float]] = []

    class Telling(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            told.append((failed, error, previous))
            return 1.0

    job = make_job()
    job._setback = Setback(counted=3, delay=0.5)
    judge(job, ERROR, policy=Telling(max_attempts=None), on_failure=None, rng=Random(0))
    assert told == [(4, ERROR, 0.5)]


@pytest.mark.parametrize(("failed", "dies"), [(0, False), (1, False), (2, True), (3, True)])
def test_after_as_many_attempts_as_the_policy_allows_it_is_dead(failed: int, dies: bool) -> None:
    verdict = verdict_on(ERROR, failed=failed)
    assert (verdict.fate == Die(DeadReason.ATTEMPTS_EXHAUSTED, "no attempts left", ERROR)) is dies


def test_without_a_bound_it_is_tried_again_for_ever() -> None:
    policy = RetryPolicy.fixed(2.0, max_attempts=None)
    assert retry_of(verdict_on(ERROR, failed=10**9, policy=policy)).delay == 2.0


def test_an_error_that_the_policy_does_not_cover_is_not_tried_again() -> None:
    verdict = verdict_on(ERROR, policy=RetryPolicy(retry_on=OSError))
    assert isinstance(verdict.fate, Die)
    assert (verdict.fate.reason, verdict.fate.error) == (DeadReason.NOT_RETRYABLE, ERROR)
    assert in_full(verdict.fate.words) == "not retryable: ValueError: no"


def test_that_it_is_not_retryable_is_said_also_of_the_last_attempt() -> None:
    verdict = verdict_on(ERROR, failed=2, policy=RetryPolicy(retry_on=OSError))
    assert reason_of(verdict) is DeadReason.NOT_RETRYABLE


def test_retry_after_is_tried_again_whatever_the_policy_covers() -> None:
    verdict = verdict_on(RetryAfter(7), policy=RetryPolicy(retry_on=OSError, placement="same"))
    assert verdict == Verdict(Retry(7.0, "same", False, True))


def test_retry_after_may_say_where_to() -> None:
    assert retry_of(verdict_on(RetryAfter(7, placement="other"))).placement == "other"


@pytest.mark.parametrize(("attempts", "words"), [(2, "no attempts left"), (4, "no attempts left: 3 of 5 count")])
def test_it_says_how_many_attempts_count_where_not_all_do(attempts: int, words: str) -> None:
    job = make_job()
    job._setback = Setback(counted=2)
    job._attempts = (attempts, 1, "a worker", 0.0, 0.0, ERROR, (), None)
    verdict = judge(job, ERROR, policy=RetryPolicy(max_attempts=3), on_failure=None, rng=Random(0))
    assert verdict.fate == Die(DeadReason.ATTEMPTS_EXHAUSTED, words, ERROR)


def test_retry_after_with_rest_lets_the_worker_wait_and_not_the_job() -> None:
    verdict = verdict_on(RetryAfter(7, rest=True))
    assert (retry_of(verdict).delay, verdict.rest) == (0.0, 7.0)


def test_retry_after_counts_against_the_attempts() -> None:
    assert reason_of(verdict_on(RetryAfter(7), failed=2)) is DeadReason.ATTEMPTS_EXHAUSTED


def test_the_worker_rests_also_if_the_job_has_no_attempts_left() -> None:
    assert verdict_on(RetryAfter(7, rest=True), failed=2).rest == 7.0


def test_retry_after_that_does_not_count_goes_on_without_end() -> None:
    assert not retry_of(verdict_on(RetryAfter(7, counts=False), failed=2)).counts


def test_the_policy_never_ends_even_a_retry_after_that_counts() -> None:
    assert reason_of(verdict_on(RetryAfter(7), policy=RetryPolicy.never())) is DeadReason.ATTEMPTS_EXHAUSTED


def test_the_policy_never_lets_a_retry_after_that_does_not_count_go_on() -> None:
    assert retry_of(verdict_on(RetryAfter(7, counts=False), policy=RetryPolicy.never())).delay == 7.0


@pytest.mark.parametrize(("reason", "words"), [("", "given up"), ("gone", "given up: gone")])
def test_give_up_makes_the_job_dead_at_once(reason: str, words: str) -> None:
    error = GiveUp(reason)
    assert verdict_on(error).fate == Die(DeadReason.GAVE_UP, words, error)


@pytest.mark.parametrize(("reason", "words"), [("", "discarded by its function"), ("gone", "gone")])
def test_discard_drops_the_job(reason: str, words: str) -> None:
    assert verdict_on(Discard(reason)) == Verdict(Drop(words))


@pytest.mark.parametrize(("reason", "words"), [("", "handed back for 9 s"), ("gone", "gone")])
def test_hand_back_drops_the_job_and_says_for_how_long(reason: str, words: str) -> None:
    assert verdict_on(HandBack(9, reason)) == Verdict(Drop(words, 9.0))


def test_a_broken_resource_is_a_failure_like_any_other_and_opened_anew() -> None:
    assert verdict_on(ResourceBroken("gone")) == Verdict(Retry(2.0, "any", False, True), broken=True, is_failure=True)


def test_the_resource_is_opened_anew_also_if_the_job_has_no_attempts_left() -> None:
    verdict = verdict_on(ResourceBroken("gone"), failed=2)
    assert (reason_of(verdict), verdict.broken) == (DeadReason.ATTEMPTS_EXHAUSTED, True)


def test_a_broken_resource_need_not_count_against_the_attempts() -> None:
    verdict = verdict_on(ResourceBroken("gone", counts=False), failed=2)
    assert verdict == Verdict(Retry(2.0, "any", False, False), broken=True, is_failure=True)


@pytest.mark.parametrize("kind", [RetryAfter, GiveUp, Discard, ResourceBroken])
def test_what_a_derived_class_does_not_say_is_as_usual(kind: type[Exception]) -> None:
    class Mute(kind):  # type: ignore[valid-type,misc]
        def __init__(self) -> None:
            """Calls nothing."""

    plain = RetryAfter(0) if kind is RetryAfter else kind()
    got, usual = verdict_on(Mute()), verdict_on(plain)
    assert (type(got.fate), got.rest, got.broken) == (type(usual.fate), usual.rest, usual.broken)


# The user's hook.


def test_the_hook_is_told_the_job_and_the_error() -> None:
    told: list[tuple[Job[Any], Exception]] = []

    def hook(job: Job[Any], error: Exception) -> None:
        told.append((job, error))

    job = make_job()
    judge(job, ERROR, policy=THRICE, on_failure=hook, rng=Random(0))
    assert told == [(job, ERROR)]


def test_what_the_hook_returns_decides() -> None:
    assert reason_of(verdict_on(ERROR, on_failure=returning(GiveUp()))) is DeadReason.GAVE_UP


def test_a_hook_that_returns_none_leaves_it_to_the_policy() -> None:
    assert retry_of(verdict_on(ERROR, on_failure=returning(None))).delay == 2.0


@pytest.mark.parametrize("error", [RetryAfter(1), GiveUp(), Discard(), ResourceBroken()])
def test_the_hook_is_not_asked_about_what_the_function_says_itself(error: Exception) -> None:
    def hook(job: Job[Any], error: Exception) -> None:
        raise AssertionError(error)

    assert verdict_on(error, on_failure=hook) == verdict_on(error)


def test_the_hook_may_say_that_the_resource_is_broken() -> None:
    verdict = verdict_on(ERROR, on_failure=returning(ResourceBroken()))
    assert (retry_of(verdict).delay, verdict.broken) == (2.0, True)


# The user's code at fault.


def raising(*_: object) -> Any:
    raise KeyError("oops")


def test_a_hook_that_raises_makes_the_job_dead_of_its_error() -> None:
    verdict = verdict_on(ERROR, on_failure=raising)
    assert isinstance(verdict.fate, Die)
    assert verdict.fate.reason is DeadReason.NOT_RETRYABLE
    assert in_full(verdict.fate.words) == "the decision about its failure failed: KeyError: 'oops'"
    assert verdict.fate.error.__context__ is ERROR


@pytest.mark.parametrize("answer", [3, "again", ValueError(), GiveUp, True])
def test_a_hook_that_returns_nonsense_makes_the_job_dead_of_a_type_error(answer: Any) -> None:
    verdict = verdict_on(ERROR, on_failure=returning(answer))
    assert isinstance(verdict.fate, Die)
    assert verdict.fate.reason is DeadReason.NOT_RETRYABLE
    assert isinstance(verdict.fate.error, TypeError)
    assert f"got {answer!r}" in str(verdict.fate.error)


@pytest.mark.parametrize("rule", [raising, returning(3)])
def test_a_rule_that_raises_or_answers_nonsense_makes_the_job_dead(rule: Any) -> None:
    assert reason_of(verdict_on(ERROR, policy=RetryPolicy(retry_on=rule))) is DeadReason.NOT_RETRYABLE


@pytest.mark.parametrize("answer", [-1.0, float("nan"), float("inf"), "soon", None])
def test_a_delay_that_is_no_time_makes_the_job_dead(answer: Any) -> None:
    class Odd(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            return answer  # type: ignore[no-any-return]

    verdict = verdict_on(ERROR, policy=Odd())
    assert isinstance(verdict.fate, Die)
    assert verdict.fate.reason is DeadReason.NOT_RETRYABLE
    assert "the delay of a RetryPolicy" in in_full(verdict.fate.words)


def test_a_delay_that_raises_makes_the_job_dead() -> None:
    class Odd(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            raise KeyError("oops")

    assert reason_of(verdict_on(ERROR, policy=Odd())) is DeadReason.NOT_RETRYABLE


# Groups.

CONTROLS = st.sampled_from(
    [GiveUp("1"), Discard("2"), HandBack(6), ResourceBroken("3"), ResourceBroken("3", counts=False), RetryAfter(4)]
)
STRENGTH = ("GiveUp", "Discard", "HandBack", "ResourceBroken", "RetryAfter")


@given(st.lists(CONTROLS, min_size=1, max_size=6))
def test_in_a_group_the_strongest_counts(controls: list[Exception]) -> None:
    found = control_of(ExceptionGroup("", [controls[0], ExceptionGroup("", controls)]))
    strongest = min(controls, key=lambda error: STRENGTH.index(type(error).__name__))
    assert type(found) is type(strongest)


def test_of_several_pauses_the_longest_counts() -> None:
    longest = RetryAfter(9)
    assert control_of(ExceptionGroup("", [RetryAfter(3), longest, RetryAfter(5)])) is longest


@pytest.mark.parametrize("kind", [ResourceBroken, lambda *, counts=True: RetryAfter(3, counts=counts)])
def test_of_several_that_say_the_same_one_that_counts_goes_before_others(kind: Any) -> None:
    exempt, counting = kind(counts=False), kind()
    assert control_of(ExceptionGroup("", [exempt, counting])) is counting
    assert control_of(ExceptionGroup("", [counting, exempt])) is counting
    assert control_of(ExceptionGroup("", [exempt])) is exempt


def test_of_several_pauses_the_longest_counts_whether_it_counts_or_not() -> None:
    longest = RetryAfter(9, counts=False)
    assert control_of(ExceptionGroup("", [RetryAfter(3), longest])) is longest


@given(st.lists(CONTROLS, min_size=1, max_size=4))
def test_a_group_in_which_something_else_failed_too_is_an_ordinary_failure(controls: list[Exception]) -> None:
    assert control_of(ExceptionGroup("", [*controls, ERROR])) is None


def test_an_ordinary_error_says_nothing() -> None:
    assert control_of(ERROR) is None


def test_a_hook_that_raises_the_failure_itself_makes_the_job_dead_of_it() -> None:
    failure = ValueError("the one")

    def raise_it(job: object, error: Exception) -> None:
        raise error

    verdict = verdict_on(failure, on_failure=raise_it)
    assert isinstance(verdict.fate, Die)
    assert verdict.fate.error is failure
    assert failure.__context__ is None
