"""A budget meter allows as many retries as its budget has for the attempts of its window."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_pool._policies.retry_budget import BudgetMeter, RetryBudget

if TYPE_CHECKING:
    from collections.abc import Iterable


class PlainBudget:
    """The same as lists of times, with the ratio as it was written."""

    def __init__(self, budget: RetryBudget) -> None:
        self.budget = budget
        self.attempts: list[float] = []
        self.retries: list[float] = []

    def recent(self, times: list[float], now: float) -> int:
        return sum(now - time < self.budget.window for time in times)

    def allows_retry(self, now: float) -> bool:
        share = Fraction(repr(self.budget.ratio)) * self.recent(self.attempts, now)
        return self.recent(self.retries, now) + 1 <= max(Fraction(self.budget.minimum), share)


def retry_all(meter: BudgetMeter, now: float) -> int:
    """Retry as often as may be at once; how often that was."""
    for number in range(10_000):
        if not meter.allows_retry(now):
            return number
        meter.retry(now)
    raise AssertionError("it has no end")


def metered(budget: RetryBudget, attempts: Iterable[float]) -> BudgetMeter:
    """A meter that has counted attempts at these times."""
    meter = BudgetMeter(budget)
    for time in attempts:
        meter.attempt(time)
    return meter


def test_the_minimum_is_free() -> None:
    assert retry_all(metered(RetryBudget(0.2, minimum=3), []), 0.0) == 3


def test_the_minimum_is_not_added_to_the_share() -> None:
    assert retry_all(metered(RetryBudget(0.2, minimum=3), [0.0] * 15), 0.0) == 3
    assert retry_all(metered(RetryBudget(0.2, minimum=3), [0.0] * 20), 0.0) == 4


def test_a_budget_of_nothing_allows_nothing() -> None:
    assert retry_all(metered(RetryBudget(0, minimum=0), [0.0] * 100), 0.0) == 0


def test_without_attempts_there_is_no_share_of_them() -> None:
    assert retry_all(metered(RetryBudget(1e308, minimum=0), []), 0.0) == 0


@given(st.integers(1, 100), st.integers(1, 1000))
@example(29, 100)
def test_the_ratio_is_meant_as_it_is_written(hundredths: int, attempts: int) -> None:
    meter = metered(RetryBudget(hundredths / 100, minimum=0), [0.0] * attempts)
    assert retry_all(meter, 0.0) == hundredths * attempts // 100


def test_a_retry_is_an_attempt_too_once_it_starts() -> None:
    meter = metered(RetryBudget(0.5, minimum=0), [0.0])
    assert retry_all(meter, 0.0) == 0
    meter.attempt(0.0)
    assert retry_all(meter, 0.0) == 1
    meter.attempt(0.0)
    meter.attempt(0.0)
    assert retry_all(meter, 0.0) == 1


def test_an_attempt_counts_until_the_window_is_over() -> None:
    budget = RetryBudget(1, minimum=0, window=60.0)
    assert retry_all(metered(budget, [5.0]), math.nextafter(65.0, 0.0)) == 1
    assert retry_all(metered(budget, [5.0]), 65.0) == 0


def test_a_retry_counts_until_the_window_is_over() -> None:
    meter = BudgetMeter(RetryBudget(0, minimum=1, window=60.0))
    meter.retry(5.0)
    assert not meter.allows_retry(math.nextafter(65.0, 0.0))
    assert meter.allows_retry(65.0)


@given(
    st.builds(RetryBudget, st.sampled_from([0.0, 0.1, 0.29, 0.5, 1, 2.5]), st.integers(0, 4), st.integers(1, 30)),
    st.lists(st.tuples(st.sampled_from(["attempt", "retry"]), st.integers(0, 10)), max_size=100),
)
def test_a_budget_is_kept_as_a_list_of_all_times_would_keep_it(
    budget: RetryBudget, steps: list[tuple[str, int]]
) -> None:
    # In whole seconds no two times are taken for one, as the window is below a thousand.
    meter, plain = BudgetMeter(budget), PlainBudget(budget)
    now = 0
    for what, wait in steps:
        now += wait
        if what == "attempt":
            meter.attempt(now)
            plain.attempts.append(now)
        elif plain.allows_retry(now):
            meter.retry(now)
            plain.retries.append(now)
        assert meter.allows_retry(now) is plain.allows_retry(now)


@given(st.lists(st.floats(0.0, 200.0), max_size=100).map(sorted), st.floats(200.0, 300.0))
def test_an_attempt_counts_for_a_window_less_a_thousandth_at_least(times: list[float], now: float) -> None:
    counted = retry_all(metered(RetryBudget(1, minimum=0, window=100.0), times), now)
    assert sum(now - time < 99.899 for time in times) <= counted <= sum(now - time < 100.0 for time in times)


def test_what_is_up_to_a_thousandth_of_the_window_apart_is_taken_for_one() -> None:
    budget = RetryBudget(1, minimum=0, window=100.0)
    assert retry_all(metered(budget, [0.0, 0.1]), 100.0) == 0
    assert retry_all(metered(budget, [0.0, 0.101]), 100.0) == 1


@pytest.mark.parametrize("window", [5e-324, 0.1, 60.0, 1e308])
def test_at_whatever_rate_it_keeps_about_a_thousand_entries_at_most(window: float) -> None:
    meter = BudgetMeter(RetryBudget(window=window))
    for number in range(20_000):
        meter.attempt(number * window / 7000)
        meter.retry(number * window / 7000)
    assert len(meter._buckets) <= 1001


def test_what_is_over_is_dropped_though_nothing_ever_fails() -> None:
    meter = metered(RetryBudget(window=10.0), [float(number) for number in range(5000)])
    assert len(meter._buckets) == 10
