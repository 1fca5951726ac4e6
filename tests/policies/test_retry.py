"""A retry policy says how long to wait and which errors to try again."""

from __future__ import annotations

import math
import sys
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_pool import AttemptTimeoutError, ResourceBroken, RetryAfter, RetryPolicy

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

ERROR = ValueError("no")
FAILED = st.integers(1, 10**9)
SECONDS = st.floats(0.0, 1e9)
BASES = st.fixed_dictionaries(
    {"base_delay": SECONDS, "multiplier": st.floats(1.0, 1e6), "max_delay": st.floats(0.0, math.inf)}
)


def before_jitter(fields: dict[str, Any], failed: int) -> float:
    return RetryPolicy(jitter="none", **fields).delay(failed, ERROR, 0.0, Random(0))


@given(BASES, FAILED)
def test_no_delay_overflows_or_exceeds_the_highest(fields: dict[str, Any], failed: int) -> None:
    delay = before_jitter(fields, failed)
    assert 0.0 <= delay <= fields["max_delay"]
    assert math.isfinite(delay)


@given(BASES, FAILED, FAILED)
def test_before_jitter_no_delay_is_shorter_than_an_earlier_one(fields: dict[str, Any], one: int, two: int) -> None:
    earlier, later = sorted((one, two))
    assert before_jitter(fields, earlier) <= before_jitter(fields, later)


@given(st.floats(0.0, 1e6))
def test_the_first_delay_is_the_base_delay(base: float) -> None:
    assert RetryPolicy(base_delay=base, max_delay=math.inf, jitter="none").delay(1, ERROR, 0.0, Random(0)) == base


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", "none", 1.0])
@given(BASES, FAILED, SECONDS, st.integers())
def test_whatever_the_jitter_a_delay_is_finite_and_not_negative(
    jitter: Any, fields: dict[str, Any], failed: int, previous: float, seed: int
) -> None:
    delay = RetryPolicy(jitter=jitter, **fields).delay(failed, ERROR, previous, Random(seed))
    assert 0.0 <= delay < math.inf


@given(BASES, FAILED, st.integers())
def test_full_jitter_draws_from_zero_to_the_delay(fields: dict[str, Any], failed: int, seed: int) -> None:
    delay = RetryPolicy(jitter="full", **fields).delay(failed, ERROR, 0.0, Random(seed))
    assert 0.0 <= delay <= before_jitter(fields, failed)


@given(BASES, FAILED, st.integers())
def test_equal_jitter_draws_from_half_the_delay_to_the_whole(fields: dict[str, Any], failed: int, seed: int) -> None:
    delay = RetryPolicy(jitter="equal", **fields).delay(failed, ERROR, 0.0, Random(seed))
    whole = before_jitter(fields, failed)
    assert whole / 2 <= delay <= whole


@given(BASES, FAILED, st.integers(), st.floats(0.0, 1e6))
def test_a_number_as_jitter_adds_up_to_that_much(fields: dict[str, Any], failed: int, seed: int, jitter: float) -> None:
    delay = RetryPolicy(jitter=jitter, **fields).delay(failed, ERROR, 0.0, Random(seed))
    whole = before_jitter(fields, failed)
    assert whole <= delay <= whole + jitter


@given(BASES, FAILED, SECONDS, st.integers())
def test_decorrelated_jitter_never_exceeds_the_highest_delay(
    fields: dict[str, Any], failed: int, previous: float, seed: int
) -> None:
    delay = RetryPolicy(jitter="decorrelated", **fields).delay(failed, ERROR, previous, Random(seed))
    assert delay <= fields["max_delay"]


@given(BASES, FAILED, SECONDS, st.integers())
def test_decorrelated_jitter_draws_from_the_base_to_three_times_the_delay_before(
    fields: dict[str, Any], failed: int, previous: float, seed: int
) -> None:
    base, highest = fields["base_delay"], fields["max_delay"]
    delay = RetryPolicy(jitter="decorrelated", **fields).delay(failed, ERROR, previous, Random(seed))
    assert min(base, highest) <= delay <= 3 * max(previous, base) * (1 + 1e-12)


@pytest.mark.parametrize("jitter", ["full", "equal", "decorrelated", "none", 0.0, 1.0])
def test_the_same_random_numbers_give_the_same_delays(jitter: Any) -> None:
    policy = RetryPolicy(jitter=jitter)
    one, two = Random(7), Random(7)
    assert [policy.delay(n, ERROR, 0.1, one) for n in range(1, 9)] == [
        policy.delay(n, ERROR, 0.1, two) for n in range(1, 9)
    ]


@given(FAILED, st.floats(0.0, 1e6))
def test_a_fixed_policy_always_waits_the_same_time(failed: int, delay: float) -> None:
    assert RetryPolicy.fixed(delay).delay(failed, ERROR, 0.0, Random(0)) == delay


def test_a_fixed_policy_takes_the_other_fields_as_they_are_given() -> None:
    policy = RetryPolicy.fixed(2, max_attempts=7, placement="other", jitter=1.0)
    assert (policy.max_attempts, policy.placement, policy.jitter) == (7, "other", 1.0)


def test_an_immediate_policy_waits_not_at_all_and_goes_first_on_the_same_worker() -> None:
    policy = RetryPolicy.immediate(max_attempts=9)
    assert policy.delay(8, ERROR, 0.0, Random(0)) == 0.0
    assert (policy.front, policy.placement, policy.max_attempts) == (True, "same", 9)


def test_an_endless_policy_has_no_bound_and_pauses_of_up_to_half_a_minute() -> None:
    expected = RetryPolicy(max_attempts=None, base_delay=0.1, max_delay=30, jitter="equal")
    assert RetryPolicy.endless() == expected
    assert 15 <= RetryPolicy.endless().delay(10**6, ERROR, 0.0, Random(0)) <= 30


def test_an_endless_policy_takes_the_other_fields_as_they_are_given() -> None:
    policy = RetryPolicy.endless(max_delay=5, retry_on=OSError, placement="other", max_attempts=9)
    assert (policy.max_delay, policy.retry_on, policy.placement, policy.max_attempts) == (5, OSError, "other", 9)


def test_shorthands_of_a_derived_class_give_that_class() -> None:
    class Mine(RetryPolicy):
        """A policy of the program's own."""

    assert [type(policy) for policy in (Mine.endless(), Mine.fixed(1), Mine.immediate(), Mine.never())] == [Mine] * 4


def test_by_default_any_exception_is_tried_again() -> None:
    assert RetryPolicy().covers(KeyError())


@pytest.mark.parametrize(
    ("error", "covered"),
    [
        (OSError(), True),
        (ConnectionError(), True),
        (ValueError(), True),
        (KeyError(), False),
        (ExceptionGroup("", [OSError(), ValueError()]), True),
        (ExceptionGroup("", [OSError(), KeyError()]), False),
        (ExceptionGroup("", [OSError(), ExceptionGroup("", [ValueError()])]), True),
        (ExceptionGroup("", [OSError(), ExceptionGroup("", [KeyError()])]), False),
    ],
)
def test_types_match_an_error_or_every_leaf_of_a_group(error: Exception, covered: bool) -> None:
    assert RetryPolicy(retry_on=(OSError, ValueError)).covers(error) is covered


@pytest.mark.parametrize("retry_on", [OSError, (OSError, ValueError), ()])
@pytest.mark.parametrize(
    "error",
    [
        AttemptTimeoutError(),
        ResourceBroken(),
        ExceptionGroup("", [ResourceBroken(), AttemptTimeoutError()]),
        ExceptionGroup("", [ResourceBroken(), ExceptionGroup("", [ResourceBroken()])]),
    ],
)
def test_types_cover_in_any_case_what_is_no_error_of_the_function(retry_on: Any, error: Exception) -> None:
    assert RetryPolicy(retry_on=retry_on).covers(error)


@pytest.mark.parametrize(
    ("others", "covered"), [([OSError()], True), ([OSError(), KeyError()], False), ([KeyError()], False)]
)
def test_in_a_group_with_it_the_others_must_match(others: list[Exception], covered: bool) -> None:
    group = ExceptionGroup("", [ResourceBroken(), ExceptionGroup("", others)])
    assert RetryPolicy(retry_on=OSError).covers(group) is covered


def test_a_timeout_of_the_function_s_own_is_an_error_of_the_function() -> None:
    assert not RetryPolicy(retry_on=OSError).covers(trio.TooSlowError())


@pytest.mark.parametrize("error", [AttemptTimeoutError(), ResourceBroken()])
def test_a_function_is_asked_about_what_is_no_error_of_the_function_too(error: Exception) -> None:
    assert not RetryPolicy(retry_on=lambda found: found is not error).covers(error)


def test_types_match_a_group_itself() -> None:
    assert RetryPolicy(retry_on=ExceptionGroup).covers(ExceptionGroup("", [KeyError()]))


def test_a_function_decides_about_a_group_as_a_whole() -> None:
    asked: list[Exception] = []
    group = ExceptionGroup("", [OSError()])

    def refuse(error: Exception) -> bool:
        asked.append(error)
        return False

    assert not RetryPolicy(retry_on=refuse).covers(group)
    assert asked == [group]


def test_a_function_that_answers_no_bool_is_told_so() -> None:
    def answer(_: Exception) -> Any:
        return 1

    with pytest.raises(TypeError, match=r"retry_on must be a bool, got 1"):
        RetryPolicy(retry_on=answer).covers(ERROR)


def test_retry_after_says_what_is_to_happen() -> None:
    assert str(RetryAfter(1.5)) == "try again in 1.5 s"
    assert str(RetryAfter(2, rest=True)) == "the worker rests 2 s"
