"""A limits knows when its worker may start, when its breaker opens, and when its resource has served long enough."""

from __future__ import annotations

import math
from random import Random

from tests.core.makers import make_limits
from trio_pool import CircuitBreaker, RateLimit


def test_without_limits_nothing_holds_the_worker_back() -> None:
    limits = make_limits()
    assert limits.renew(1.0) == math.inf
    for _ in range(100):
        limits.start(1.0)
    assert limits.ready_at(1.0) == 1.0
    assert not limits.is_worn()
    assert limits.failed(1.0, None) is None


def test_a_resource_is_worn_once_as_many_attempts_have_started_as_it_may_do() -> None:
    limits = make_limits(max_jobs=2)
    limits.renew(0.0)
    limits.start(0.0)
    assert not limits.is_worn()
    limits.start(0.0)
    assert limits.is_worn()


def test_attempts_are_counted_anew_for_a_resource_that_is_opened_anew() -> None:
    limits = make_limits(max_jobs=2)
    limits.renew(0.0)
    limits.start(0.0)
    limits.renew(1.0)
    limits.start(1.0)
    assert not limits.is_worn()


def test_a_resource_that_has_grown_old_is_worn_until_it_is_opened_anew() -> None:
    limits = make_limits(max_age=10.0)
    limits.renew(0.0)
    limits.grow_old()
    assert limits.is_worn()
    limits.renew(10.0)
    assert not limits.is_worn()


def test_the_age_counts_from_each_opening() -> None:
    limits = make_limits(max_age=10.0)
    assert limits.renew(3.0) == 13.0
    assert limits.renew(7.0) == 17.0


def test_ages_are_spread_over_the_last_tenth_before_the_most_allowed() -> None:
    limits = make_limits(max_age=100.0, rng=Random(0))
    ages = [limits.renew(50.0) - 50.0 for _ in range(1000)]
    assert 90.0 <= min(ages) < 91.0
    assert 99.0 < max(ages) <= 100.0


def test_the_same_rng_gives_the_same_ages() -> None:
    first, second = (make_limits(max_age=100.0, rng=Random(7)) for _ in range(2))
    assert [first.renew(0.0) for _ in range(5)] == [second.renew(0.0) for _ in range(5)]


def test_no_age_draws_nothing_from_the_rng() -> None:
    rng = Random(0)
    before = rng.getstate()
    make_limits(max_jobs=1, rng=rng).renew(0.0)
    assert rng.getstate() == before


def test_the_rate_limit_tells_when_the_next_attempt_may_start() -> None:
    limits = make_limits(rate_limit=RateLimit(1, per=4.0))
    assert limits.meter is not None
    limits.meter.start(1.0)
    assert limits.ready_at(2.0) == 5.0
    assert limits.ready_at(6.0) == 6.0


def test_opening_the_resource_anew_hands_out_no_fresh_burst() -> None:
    limits = make_limits(rate_limit=RateLimit(1, per=4.0))
    assert limits.meter is not None
    limits.meter.start(1.0)
    limits.renew(2.0)
    assert limits.ready_at(2.0) == 5.0


def test_the_failure_that_opens_the_breaker_tells_until_when() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=2, reset_after=5.0))
    trial = limits.start(0.0)
    assert limits.failed(1.0, trial) is None
    trial = limits.start(2.0)
    assert limits.failed(3.0, trial) == 8.0


def test_a_success_breaks_a_row_of_failures() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=2, reset_after=5.0))
    trial = limits.start(0.0)
    limits.failed(0.0, trial)
    trial = limits.start(0.0)
    limits.succeeded(6.0, trial)
    trial = limits.start(0.0)
    assert limits.failed(0.0, trial) is None


def test_what_is_neither_failure_nor_success_does_not_break_a_row() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=2, reset_after=5.0))
    trial = limits.start(0.0)
    limits.failed(0.0, trial)
    trial = limits.start(0.0)
    limits.cut_short(trial)
    trial = limits.start(0.0)
    assert limits.failed(0.0, trial) == 5.0


def test_a_probe_that_fails_opens_the_breaker_for_longer() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=1, reset_after=5.0, max_reset_after=60.0))
    trial = limits.start(0.0)
    limits.failed(0.0, trial)
    trial = limits.start(5.0)
    assert limits.failed(6.0, trial) == 16.0


def test_a_probe_that_succeeds_closes_the_breaker() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=2, reset_after=5.0))
    for _ in range(2):
        trial = limits.start(0.0)
        limits.failed(0.0, trial)
    trial = limits.start(5.0)
    limits.succeeded(6.0, trial)
    trial = limits.start(6.0)
    assert limits.failed(6.0, trial) is None


def test_after_a_probe_that_ended_as_neither_the_next_attempt_is_the_probe() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=2, reset_after=5.0))
    for _ in range(2):
        trial = limits.start(0.0)
        limits.failed(0.0, trial)
    trial = limits.start(5.0)
    limits.cut_short(trial)
    trial = limits.start(6.0)
    assert limits.failed(6.0, trial) == 11.0  # one failure is enough, and it was the first that a probe had


def test_opening_the_resource_anew_does_not_close_the_breaker() -> None:
    limits = make_limits(breaker=CircuitBreaker(failures=2, reset_after=5.0))
    for _ in range(2):
        trial = limits.start(0.0)
        limits.failed(0.0, trial)
    limits.renew(1.0)
    trial = limits.start(5.0)
    assert limits.failed(5.0, trial) == 10.0
