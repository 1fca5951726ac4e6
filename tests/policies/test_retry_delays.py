"""RetryPolicy: a value that says how long to wait; its defaults, its shorthands and its curves."""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import attrs
import pytest

from trio_pool import RetryPolicy

ERROR = ValueError("no luck")


def delays(policy: RetryPolicy, number: int, seed: int = 0) -> list[float]:
    """The first so many delays of a job with this policy."""
    rng = Random(seed)
    found: list[float] = []
    for failed in range(1, number + 1):
        found.append(policy.delay(failed, ERROR, found[-1] if found else 0.0, rng))
    return found


# The value


def test_the_defaults() -> None:
    policy = RetryPolicy()
    assert policy.max_attempts == 3
    assert policy.base_delay == 0.1
    assert policy.multiplier == 2.0
    assert policy.max_delay == 20.0
    assert policy.jitter == "full"
    assert policy.retry_on is Exception
    assert policy.placement == "any"
    assert policy.front is False


def test_policies_with_equal_fields_are_equal() -> None:
    assert RetryPolicy(max_attempts=5) == RetryPolicy(max_attempts=5)
    assert RetryPolicy(max_attempts=5) != RetryPolicy(max_attempts=6)
    assert hash(RetryPolicy(max_attempts=5)) == hash(RetryPolicy(max_attempts=5))


def test_a_policy_prints_its_fields() -> None:
    printed = repr(RetryPolicy(max_attempts=5, placement="other"))
    assert printed.startswith("RetryPolicy(max_attempts=5, ")
    assert "placement='other'" in printed


def test_a_policy_cannot_be_changed() -> None:
    policy = RetryPolicy()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        policy.max_attempts = 4  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_policy_can_be_made_from_another() -> None:
    assert attrs.evolve(RetryPolicy(), max_attempts=9) == RetryPolicy(max_attempts=9)


def test_the_fields_are_keywords_only() -> None:
    make: Any = RetryPolicy
    with pytest.raises(TypeError):
        make(3)


# Ready-made ones


def test_never_has_one_attempt() -> None:
    assert RetryPolicy.never().max_attempts == 1


def test_fixed_always_waits_the_same() -> None:
    assert delays(RetryPolicy.fixed(7.5), 5) == [7.5] * 5


def test_fixed_takes_the_other_fields() -> None:
    policy = RetryPolicy.fixed(1, max_attempts=9, placement="other", front=True, retry_on=OSError)
    assert (policy.max_attempts, policy.placement, policy.front, policy.retry_on) == (9, "other", True, OSError)
    assert delays(policy, 2) == [1, 1]


def test_fixed_may_wait_longer_than_the_usual_bound() -> None:
    assert delays(RetryPolicy.fixed(3600), 2) == [3600, 3600]


def test_immediate_has_no_delay_goes_to_the_front_and_stays_on_its_worker() -> None:
    policy = RetryPolicy.immediate()
    assert delays(policy, 4) == [0] * 4
    assert policy.front is True
    assert policy.placement == "same"


def test_immediate_takes_the_other_fields() -> None:
    policy = RetryPolicy.immediate(max_attempts=None, placement="other", front=False)
    assert (policy.max_attempts, policy.placement, policy.front) == (None, "other", False)


# When


def test_the_delay_grows_by_the_multiplier_from_the_base() -> None:
    policy = RetryPolicy(base_delay=0.5, multiplier=3, max_delay=1000, jitter="none")
    assert delays(policy, 5) == [0.5, 1.5, 4.5, 13.5, 40.5]


def test_the_delay_does_not_grow_beyond_the_maximum() -> None:
    policy = RetryPolicy(base_delay=1, multiplier=2, max_delay=5, jitter="none")
    assert delays(policy, 6) == [1, 2, 4, 5, 5, 5]


def test_a_base_above_the_maximum_is_cut_too() -> None:
    assert delays(RetryPolicy(base_delay=10, max_delay=5, jitter="none"), 2) == [5, 5]


def test_a_multiplier_of_1_keeps_the_delay() -> None:
    assert delays(RetryPolicy(base_delay=2, multiplier=1, jitter="none"), 4) == [2] * 4


@pytest.mark.parametrize("failed", [1023, 1024, 1025, 10**6, 10**400])
@pytest.mark.parametrize("jitter", ["none", "full", "equal", "decorrelated", 1.0])
def test_no_number_of_failures_makes_the_delay_overflow(failed: int, jitter: Any) -> None:
    policy = RetryPolicy(jitter=jitter)
    assert 0 <= policy.delay(failed, ERROR, 20.0, Random(0)) <= 21


def test_an_infinite_maximum_still_gives_a_finite_delay() -> None:
    policy = RetryPolicy(max_delay=float("inf"), jitter="none")
    assert policy.delay(10**6, ERROR, 0.0, Random(0)) < float("inf")


def test_a_base_delay_of_zero_stays_zero() -> None:
    assert RetryPolicy(base_delay=0, jitter="full").delay(10**6, ERROR, 0.0, Random(0)) == 0


def test_full_jitter_draws_from_zero_to_the_delay() -> None:
    policy = RetryPolicy(base_delay=8, multiplier=1, jitter="full")
    drawn = delays(policy, 500)
    assert 0 <= min(drawn) < 0.5
    assert 7.5 < max(drawn) <= 8


def test_equal_jitter_draws_from_half_the_delay_to_the_whole() -> None:
    policy = RetryPolicy(base_delay=8, multiplier=1, jitter="equal")
    drawn = delays(policy, 500)
    assert 4 <= min(drawn) < 4.5
    assert 7.5 < max(drawn) <= 8


def test_decorrelated_jitter_draws_from_the_base_to_three_times_the_delay_before() -> None:
    policy = RetryPolicy(base_delay=1, max_delay=100, jitter="decorrelated")
    rng = Random(0)
    drawn = [policy.delay(3, ERROR, 8.0, rng) for _ in range(500)]
    assert 1 <= min(drawn) < 2
    assert 23 < max(drawn) <= 24


def test_decorrelated_jitter_begins_at_the_base() -> None:
    policy = RetryPolicy(base_delay=1, max_delay=100, jitter="decorrelated")
    rng = Random(0)
    drawn = [policy.delay(1, ERROR, 0.0, rng) for _ in range(500)]
    assert 1 <= min(drawn) < 1.1
    assert 2.9 < max(drawn) <= 3


def test_decorrelated_jitter_stays_below_the_maximum() -> None:
    policy = RetryPolicy(base_delay=1, max_delay=5, jitter="decorrelated")
    assert max(delays(policy, 200)) == 5


def test_a_number_as_jitter_adds_up_to_that_much() -> None:
    policy = RetryPolicy(base_delay=8, multiplier=1, jitter=2.0)
    drawn = delays(policy, 500)
    assert 8 <= min(drawn) < 8.2
    assert 9.8 < max(drawn) <= 10


@pytest.mark.parametrize("jitter", ["none", 0.0])
def test_no_jitter_is_no_jitter(jitter: Literal["none"] | float) -> None:
    assert delays(RetryPolicy(base_delay=1, jitter=jitter), 3) == [1, 2, 4]
