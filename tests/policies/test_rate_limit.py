"""A rate meter lets attempts start as often as its limit says: no more, and no less."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pool._policies.rate_limit import RateLimit
from trio_pool._policies.rate_meter import RateMeter

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOCK_STARTS = st.sampled_from([0.0, 12.7, 1e6 + 0.1])


class PlainBucket:
    """The same as a leaky bucket, in exact fractions: what may start at once, and how it grows."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.at_once = Fraction(limit.burst)
        self.at = Fraction(0)

    @property
    def rate(self) -> Fraction:
        return Fraction(self.limit.count) / Fraction(self.limit.per)

    def fill(self, now: float) -> None:
        regained = (Fraction(now) - self.at) * self.rate
        self.at_once = min(self.at_once + regained, Fraction(self.limit.burst))
        self.at = Fraction(now)

    def ready_at(self, now: float) -> float:
        self.fill(now)
        return float(now + max(Fraction(0), 1 - self.at_once) / self.rate)

    def start(self, now: float) -> None:
        self.fill(now)
        self.at_once -= 1

    def change(self, limit: RateLimit, now: float) -> None:
        self.fill(now)
        self.limit = limit
        self.at_once = min(self.at_once, Fraction(limit.burst))


RATE_LIMITS = st.builds(
    RateLimit,
    st.one_of(st.integers(1, 40), st.floats(0.5, 40.0)),
    st.one_of(st.integers(1, 5), st.floats(0.5, 5.0)),
    st.integers(1, 6),
)
# From one start to the next: as soon as may be, or later by so many times per / count.
WAITS = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 3.0), st.floats(0.0, 30.0)), max_size=60)


def started(meter: RateMeter, waits: Iterable[float], now: float) -> list[float]:
    """When each attempt started: as soon as it might, and so much later."""
    times: list[float] = []
    for wait in waits:
        now = meter.ready_at(now) + wait * meter.limit.per / meter.limit.count
        meter.start(now)
        times.append(now)
    return times


def start_all(meter: RateMeter, now: float) -> int:
    """Start as many as may start at once; how many these were."""
    for number in range(10_000):
        if meter.ready_at(now) > now:
            return number
        meter.start(now)
    raise AssertionError("it has no end")


def test_at_first_as_many_may_start_at_once_as_the_burst_says() -> None:
    assert start_all(RateMeter(RateLimit(10, burst=4)), 7.0) == 4


def test_the_next_ones_are_due_one_by_one() -> None:
    meter = RateMeter(RateLimit(10, burst=3))
    assert started(meter, [0.0] * 6, 0.0) == [0.0, 0.0, 0.0, 0.1, 0.2, 0.3]


def test_of_an_idle_time_no_more_than_a_burst_is_made_up_for() -> None:
    meter = RateMeter(RateLimit(10, burst=3))
    start_all(meter, 0.0)
    assert start_all(meter, 1e9) == 3
    assert meter.ready_at(1e9) == 1e9 + 0.1


def test_what_is_free_is_free_now() -> None:
    meter = RateMeter(RateLimit(10))
    assert meter.ready_at(-5.0) == -5.0
    meter.start(-5.0)
    assert meter.ready_at(3.0) == 3.0


@given(RATE_LIMITS, WAITS, CLOCK_STARTS, st.floats(0.0, 5.0))
def test_it_tells_how_many_may_start_now(limit: RateLimit, waits: list[float], now: float, later: float) -> None:
    meter = RateMeter(limit)
    now = max([now, *started(meter, waits, now)]) + later
    told = meter.startable(now)
    # A start that is due just now may be taken for one that is not yet.
    assert told <= start_all(meter, now) <= told + 1


def test_when_none_may_start_it_tells_so() -> None:
    meter = RateMeter(RateLimit(1, burst=2))
    assert meter.startable(5.0) == 2
    meter.start(5.0)
    assert meter.startable(5.0) == 1
    meter.start(5.0)
    assert meter.startable(5.5) == 0
    assert meter.startable(6.0) == 1


@given(RATE_LIMITS, WAITS, CLOCK_STARTS)
def test_a_meter_agrees_with_a_bucket(limit: RateLimit, waits: list[float], now: float) -> None:
    meter, bucket = RateMeter(limit), PlainBucket(limit)
    for wait in waits:
        assert meter.ready_at(now) == pytest.approx(bucket.ready_at(now), rel=0.0, abs=1e-7)
        now = meter.ready_at(now) + wait * limit.per / limit.count
        meter.start(now)
        bucket.start(now)


@given(RATE_LIMITS, WAITS, CLOCK_STARTS)
def test_no_window_holds_more_than_its_count_and_a_burst(limit: RateLimit, waits: list[float], now: float) -> None:
    times = started(RateMeter(limit), waits, now)
    # A little shorter, as the times are to the nearest float and so is what lies between them.
    length = limit.per - 8 * math.ulp(now + 1e5)
    for first in times:
        assert sum(first <= time < first + length for time in times) <= limit.count + limit.burst


@given(RATE_LIMITS, WAITS, CLOCK_STARTS)
def test_at_no_instant_more_than_a_burst_starts(limit: RateLimit, waits: list[float], now: float) -> None:
    meter = RateMeter(limit)
    times = started(meter, waits, now)
    last = times[-1] if times else now
    assert times.count(last) + start_all(meter, last) <= limit.burst
    assert all(times.count(time) <= limit.burst for time in times)


@given(
    st.builds(RateLimit, st.floats(1e-3, 1e6), st.floats(1e-3, 1e3), st.integers(1, 10**6)),
    WAITS,
    CLOCK_STARTS,
    st.floats(0.0, 1e6),
)
def test_who_waits_until_it_is_ready_may_start(limit: RateLimit, waits: list[float], now: float, late: float) -> None:
    meter = RateMeter(limit)
    now = started(meter, [0.0, *waits], now)[-1]
    ready = meter.ready_at(now)
    assert meter.ready_at(ready) == ready
    assert meter.ready_at(ready + late) == ready + late


@pytest.mark.parametrize(
    ("limit", "begin", "starts"),
    [
        pytest.param(RateLimit(10**6), 1e6 + 0.1, 10**6, id="a million a second"),
        pytest.param(RateLimit(10), 0.0, 10**5, id="tenths"),
        pytest.param(RateLimit(10**6, burst=1000), 1e6 + 0.1, 10**5, id="with a burst"),
        pytest.param(RateLimit(2.3, 0.7), 12345.678, 10**5, id="fractions"),
        pytest.param(RateLimit(1, 86400, 5), 1e6 + 0.1, 10**4, id="once a day"),
    ],
)
def test_the_rate_does_not_drift(limit: RateLimit, begin: float, starts: int) -> None:
    meter = RateMeter(limit)
    now = begin
    for _ in range(starts):
        now = meter.ready_at(now)
        meter.start(now)
    due = Fraction(now - begin) * Fraction(limit.count) / Fraction(limit.per)
    assert abs(starts - limit.burst - due) < 1


def test_at_extreme_rates_times_are_still_times() -> None:
    seldom = RateMeter(RateLimit(5e-324, 10**308, 10**300))
    seldom.start(0.0)
    assert seldom.ready_at(1.0) == 1.0
    seldom.change(RateLimit(5e-324, 10**308), 1.0)
    seldom.start(1.0)
    assert seldom.ready_at(2.0) == math.inf
    often = RateMeter(RateLimit(10**308, 5e-324))
    often.start(1.0)
    assert often.ready_at(2.0) == 2.0


# Changing a rate


def test_a_change_hands_out_no_fresh_burst() -> None:
    meter = RateMeter(RateLimit(10, burst=5))
    assert start_all(meter, 0.0) == 5
    for _ in range(100):
        meter.change(RateLimit(10, burst=5), 0.0)
        meter.change(RateLimit(1000, burst=50), 0.0)
        assert start_all(meter, 0.0) == 0


def test_after_a_change_it_grows_at_the_new_rate_up_to_the_new_burst() -> None:
    meter = RateMeter(RateLimit(1, burst=2))
    start_all(meter, 0.0)
    meter.change(RateLimit(10, burst=7), 0.0)
    assert meter.ready_at(0.0) == 0.1
    assert start_all(meter, 100.0) == 7


def test_what_was_not_used_is_kept_when_the_burst_grows() -> None:
    meter = RateMeter(RateLimit(1, burst=2))
    meter.change(RateLimit(1, burst=9), 50.0)
    assert start_all(meter, 50.0) == 2


def test_what_was_not_used_is_cut_when_the_burst_shrinks() -> None:
    meter = RateMeter(RateLimit(1, burst=9))
    meter.start(0.0)
    meter.change(RateLimit(1, burst=2), 0.0)
    assert start_all(meter, 0.0) == 2


def test_a_change_keeps_the_fraction_of_a_start_that_was_regained() -> None:
    meter = RateMeter(RateLimit(1))
    meter.start(8.0)
    meter.change(RateLimit(1, per=4.0), 8.25)
    assert meter.ready_at(8.25) == 8.25 + 0.75 * 4.0


def test_a_meter_says_what_it_holds_to() -> None:
    meter = RateMeter(RateLimit(1))
    meter.change(RateLimit(2), 0.0)
    assert meter.limit == RateLimit(2)


@given(RATE_LIMITS, st.lists(st.tuples(st.one_of(st.none(), RATE_LIMITS), st.floats(0.0, 5.0)), max_size=40))
def test_a_meter_that_is_changed_agrees_with_a_bucket(
    limit: RateLimit, steps: list[tuple[RateLimit | None, float]]
) -> None:
    meter, bucket = RateMeter(limit), PlainBucket(limit)
    now = 0.0
    for changed, wait in steps:
        if changed is None:
            now = meter.ready_at(now)
            meter.start(now)
            bucket.start(now)
        else:
            now += wait
            meter.change(changed, now)
            bucket.change(changed, now)
        assert meter.ready_at(now) == pytest.approx(bucket.ready_at(now), rel=0.0, abs=1e-7)


# A start counts when the function begins, not when the job was handed out


def test_one_that_begins_late_holds_the_next_back_from_then_on() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    meter.begun(4.0)
    assert meter.ready_at(4.0) == 14.0


def test_one_that_begins_when_it_was_handed_out_changes_nothing() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(1.0)
    before = meter.ready_at(1.0)
    meter.begun(1.0)
    assert meter.ready_at(1.0) == before == 11.0


def test_while_one_has_not_begun_no_other_may_start_however_late_it_is() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    assert [meter.ready_at(now) for now in (0.0, 9.0, 10.0, 15.0)] == [10.0, 10.0, 20.0, 25.0]
    assert meter.startable(15.0) == 0
    meter.begun(15.0)
    assert meter.ready_at(15.0) == 25.0


def test_of_a_burst_that_begins_late_nothing_is_regained_before_it_begins() -> None:
    meter = RateMeter(RateLimit(1, per=10.0, burst=3))
    for _ in range(3):
        meter.hand_out(0.0)
    for now in (8.0, 9.0, 9.5):
        meter.begun(now)
    assert meter.startable(17.9) == 0
    assert meter.ready_at(9.5) == 18.0  # a place is regained from the first on
    assert meter.startable(18.0) == 1
    assert meter.startable(38.0) == 3


def test_of_a_burst_only_so_many_may_start_as_have_not_been_handed_out() -> None:
    meter = RateMeter(RateLimit(1, per=1.0, burst=3))
    meter.hand_out(0.0)
    assert meter.startable(100.0) == 2
    meter.begun(100.0)
    assert meter.startable(100.0) == 2


def test_one_that_will_not_begin_is_given_back() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    meter.give_back()
    assert meter.ready_at(0.0) == 0.0
    meter.start(0.0)
    assert meter.ready_at(0.0) == 10.0


def test_giving_back_does_not_add_to_a_full_burst() -> None:
    meter = RateMeter(RateLimit(1, per=1.0, burst=2))
    meter.hand_out(0.0)
    meter.give_back()
    assert meter.startable(50.0) == 2
    meter.start(50.0)
    assert meter.startable(50.0) == 1


def test_a_limit_that_changes_meanwhile_knows_of_those_that_have_not_begun() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    meter.change(RateLimit(1, per=5.0), 1.0)
    meter.begun(3.0)
    assert meter.ready_at(3.0) == 8.0
