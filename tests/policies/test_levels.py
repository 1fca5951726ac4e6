"""The level of a meter is what an exact account of it says, whatever is drawn, corrected and given back."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pool import RateLimit
from trio_pool._policies.rate_meter import Amount, RateMeter, exact

if TYPE_CHECKING:
    from collections.abc import Sequence


class PlainLevel:
    """The same as an account in exact fractions, with what has been handed out beside it."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.level = Fraction(limit.burst)
        self.at = Fraction(0)
        self.handed_out: list[Fraction] = []

    def pass_to(self, now: float) -> None:
        rate = Fraction(self.limit.count) / Fraction(self.limit.per)
        self.level = min(self.level + (Fraction(now) - self.at) * rate, Fraction(self.limit.burst))
        self.at = Fraction(now)

    def left(self) -> Fraction:
        return self.level - sum(self.handed_out)

    def ready_at(self, now: float) -> float | None:
        """When the next attempt may start, or None if that is not known yet."""
        self.pass_to(now)
        if self.limit.burst - sum(self.handed_out) < 1:
            return None
        rate = Fraction(self.limit.count) / Fraction(self.limit.per)
        return float(Fraction(now) + max(Fraction(0), 1 - self.left()) / rate)


LIMITS = st.builds(
    RateLimit,
    st.one_of(st.integers(1, 40), st.floats(0.5, 40.0)),
    st.one_of(st.integers(1, 5), st.floats(0.5, 5.0)),
    st.integers(1, 60),
)
AMOUNTS: st.SearchStrategy[Amount] = st.one_of(
    st.integers(0, 100), st.floats(0.0, 100.0).map(exact), st.sampled_from([0, 1, 10**9])
)
Step: TypeAlias = "tuple[str, float, Amount, RateLimit]"
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["start", "hand out", "hand out", "begin", "begin", "give back", "correct", "change"]),
        st.one_of(st.just(0.0), st.floats(0.0, 20.0)),
        AMOUNTS,
        LIMITS,
    ),
    max_size=40,
)


def do(meter: RateMeter, plain: PlainLevel, step: Step, now: float) -> None:
    """Do to both what a step says; what can't be done now is left out."""
    what, _, amount, limit = step
    plain.pass_to(now)
    if what in ("start", "hand out"):
        if meter.ready_at(now) > now:
            return
        if what == "start":
            meter.start(now, amount)
            plain.level -= amount
        else:
            meter.hand_out(now, amount)
            plain.handed_out.append(Fraction(amount))
    elif what in ("begin", "give back"):
        if plain.handed_out:
            first = plain.handed_out.pop(0)
            if what == "begin":
                meter.begun(now, exact_again(first))
                plain.level -= first
            else:
                meter.give_back(exact_again(first))
    elif what == "correct":
        difference = amount if limit.burst % 2 else -amount
        meter.correct(now, difference)
        plain.level = min(plain.level - difference, Fraction(plain.limit.burst))
    else:
        meter.change(limit, now)
        plain.limit = limit
        plain.level = min(plain.level, Fraction(limit.burst))


def exact_again(amount: Fraction) -> Amount:
    return int(amount) if amount.denominator == 1 else amount


@given(LIMITS, STEPS)
def test_a_meter_agrees_with_an_exact_account(limit: RateLimit, steps: Sequence[Step]) -> None:
    meter, plain = RateMeter(limit), PlainLevel(limit)
    now = 0.0
    for step in steps:
        now += step[1]
        do(meter, plain, step, now)
        size = 1 + float(abs(plain.level))
        assert meter.level(now) == pytest.approx(float(plain.left()), rel=1e-9, abs=1e-7 * size)
        ready = plain.ready_at(now)
        if ready is None:
            assert meter.ready_at(now) > now
        else:
            assert meter.ready_at(now) == pytest.approx(ready, rel=1e-9, abs=1e-7 * size)


@given(LIMITS, st.lists(AMOUNTS, min_size=1, max_size=30))
def test_in_the_long_run_no_more_is_drawn_than_the_limit_says(limit: RateLimit, amounts: list[Amount]) -> None:
    meter = RateMeter(limit)
    now = 0.0
    drawn: Amount = 0
    for amount in amounts:
        now = meter.ready_at(now)
        meter.start(now, amount)
        # All that came before fits under the limit, but for the last one, which may go beyond.
        allowed = limit.burst + Fraction(now) * Fraction(limit.count) / Fraction(limit.per)
        assert drawn <= allowed * (1 + Fraction(1, 10**9))
        drawn += amount


def test_whatever_its_amount_one_may_start_at_a_level_of_one() -> None:
    meter = RateMeter(RateLimit(10, burst=100))
    meter.start(0.0, 99)
    assert meter.ready_at(0.0) == 0.0
    meter.start(0.0, 1000)
    assert meter.level(0.0) == -999
    assert meter.ready_at(0.0) == 100.0


def test_an_amount_of_nothing_waits_for_the_level_and_draws_nothing() -> None:
    meter = RateMeter(RateLimit(1))
    meter.start(0.0, 0)
    assert meter.level(0.0) == 1
    meter.start(0.0, 1)
    assert meter.ready_at(0.0) == 1.0


def test_what_is_given_back_fills_no_more_than_the_burst() -> None:
    meter = RateMeter(RateLimit(1, burst=10))
    meter.start(0.0, 10)
    meter.correct(8.0, -10)
    assert meter.level(8.0) == 10
    meter.start(8.0, 10)
    assert meter.ready_at(8.0) == 9.0


def test_fractions_of_amounts_add_up_exactly_however_many_there_are() -> None:
    meter = RateMeter(RateLimit(0.1, burst=1))
    now = 0.0
    for _ in range(10_000):
        now = meter.ready_at(now)
        meter.start(now, exact(0.1))
    assert now == pytest.approx(9_999, abs=1e-6)


def test_amounts_beyond_all_floats_leave_a_limit_that_is_never_ready() -> None:
    meter = RateMeter(RateLimit(1, burst=5))
    for _ in range(3):
        meter.correct(0.0, 10**308)
    assert meter.ready_at(0.0) == math.inf
    assert meter.level(0.0) == -math.inf
    meter.correct(0.0, -3 * 10**308)
    assert meter.ready_at(0.0) == 0.0
    meter.correct(0.0, 4 * 10**308)
    meter.change(RateLimit(2), 1.0)
    assert meter.level(1.0) < -1e308


@pytest.mark.parametrize(("number", "kept"), [(3, 3), (3.0, 3), (0.5, Fraction(1, 2)), (1e300, int(1e300))])
def test_numbers_are_kept_exactly(number: float, kept: Amount) -> None:
    assert exact(number) == kept
    assert type(exact(number)) is type(kept)


def test_it_is_told_when_there_is_more() -> None:
    meter = RateMeter(RateLimit(1, burst=10))
    told: list[str] = []
    meter.on_more = lambda: told.append("more")
    meter.hand_out(0.0, 5)
    meter.correct(0.0, 3)
    assert not told
    meter.correct(0.0, -1)
    meter.give_back(5)
    meter.change(RateLimit(2), 0.0)
    assert len(told) == 3
