"""A breaker opens after failures in a row, and lets one probe through at a time."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_pool._policies.circuit_breaker import Breaker, BreakerState, CircuitBreaker, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

ERROR = ValueError("no")
FIRST = Trial(0)  # an attempt that began before the breaker had ever opened


def opened(policy: CircuitBreaker, now: float) -> Breaker:
    """A breaker that has just been opened."""
    breaker = Breaker(policy)
    for _ in range(policy.failures):
        breaker.failed(now, breaker.start(now))
    return breaker


def fail_probes(breaker: Breaker, number: int) -> list[float]:
    """Let so many probes fail at once, each as soon as it may start: how long each then left it open."""
    waits: list[float] = []
    for _ in range(number):
        assert breaker.open_until is not None
        now = breaker.open_until
        probe = breaker.start(now)
        assert probe.is_probe
        breaker.failed(now, probe)
        waits.append(breaker.open_until - now)
    return waits


def test_a_new_breaker_is_closed() -> None:
    breaker = Breaker(CircuitBreaker())
    assert (breaker.state, breaker.open_until) == (BreakerState.CLOSED, None)
    assert breaker.may_start(0.0)
    assert not breaker.start(0.0).is_probe


def test_so_many_failures_in_a_row_open_it() -> None:
    breaker = Breaker(CircuitBreaker(failures=3, reset_after=30.0))
    for now in (1.0, 2.0):
        breaker.failed(now, FIRST)
        assert breaker.state is BreakerState.CLOSED
    breaker.failed(3.0, FIRST)
    assert (breaker.state, breaker.open_until) == (BreakerState.OPEN, 33.0)


def test_a_success_in_between_ends_the_row() -> None:
    breaker = Breaker(CircuitBreaker(failures=2))
    for _ in range(10):
        breaker.failed(0.0, FIRST)
        breaker.succeeded(0.0, FIRST)
    assert breaker.state is BreakerState.CLOSED


def test_an_end_as_neither_does_not_end_the_row() -> None:
    breaker = Breaker(CircuitBreaker(failures=2))
    breaker.failed(0.0, FIRST)
    breaker.ended_otherwise(0.0, FIRST)
    breaker.failed(0.0, FIRST)
    assert breaker.state is BreakerState.OPEN


def test_an_end_as_neither_is_no_failure() -> None:
    breaker = Breaker(CircuitBreaker(failures=2))
    for _ in range(10):
        breaker.ended_otherwise(0.0, FIRST)
    breaker.failed(0.0, FIRST)
    assert breaker.state is BreakerState.CLOSED


def test_nothing_may_start_before_its_time_has_come() -> None:
    breaker = opened(CircuitBreaker(reset_after=30.0), 5.0)
    assert not breaker.may_start(math.nextafter(35.0, 0.0))
    assert breaker.may_start(35.0)


def test_then_a_single_probe_may_start() -> None:
    breaker = opened(CircuitBreaker(reset_after=30.0), 5.0)
    assert breaker.start(35.0).is_probe
    assert breaker.state is BreakerState.PROBING
    assert not breaker.may_start(1e9)


@pytest.mark.parametrize("now", [10.0, 100.0])
def test_one_that_starts_although_none_may_is_no_probe(now: float) -> None:
    breaker = opened(CircuitBreaker(reset_after=30.0), 0.0)
    if now > 30.0:
        assert breaker.start(now).is_probe
    before = breaker.state
    assert not breaker.start(now).is_probe
    assert breaker.state is before


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened(CircuitBreaker(failures=2, reset_after=30.0), 0.0)
    breaker.succeeded(30.0, breaker.start(30.0))
    assert (breaker.state, breaker.open_until) == (BreakerState.CLOSED, None)


def test_once_closed_it_counts_failures_from_the_start() -> None:
    breaker = opened(CircuitBreaker(failures=2, reset_after=30.0), 0.0)
    breaker.succeeded(30.0, breaker.start(30.0))
    states: list[BreakerState] = []
    for _ in range(2):
        breaker.failed(40.0, breaker.start(40.0))
        states.append(breaker.state)
    assert states == [BreakerState.CLOSED, BreakerState.OPEN]


def test_once_closed_it_opens_for_as_long_as_at_the_start() -> None:
    breaker = opened(CircuitBreaker(failures=1, reset_after=30.0, max_reset_after=math.inf), 0.0)
    fail_probes(breaker, 3)
    breaker.succeeded(1000.0, breaker.start(1000.0))
    breaker.failed(2000.0, breaker.start(2000.0))
    assert breaker.open_until == 2030.0


def test_each_probe_that_fails_doubles_the_time_up_to_the_longest() -> None:
    breaker = opened(CircuitBreaker(reset_after=1, max_reset_after=10), 0.0)
    assert fail_probes(breaker, 6) == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


def test_without_a_longest_time_it_stays_the_same() -> None:
    breaker = opened(CircuitBreaker(reset_after=1.5), 0.0)
    assert fail_probes(breaker, 4) == [1.5] * 4


@pytest.mark.parametrize(
    ("longest", "time"), [(math.inf, sys.float_info.max), (1e308, 1e308), pytest.param(10**308, 1e308, id="an int")]
)
def test_after_thousands_of_openings_its_time_is_still_a_time(longest: float, time: float) -> None:
    breaker = opened(CircuitBreaker(reset_after=3, max_reset_after=longest), 0.0)
    for _ in range(5000):
        breaker.open_until = 1.0
        probe = breaker.start(1.0)
        assert probe.is_probe
        breaker.failed(1.0, probe)
    assert breaker.open_until == time


def test_a_probe_that_ends_as_neither_gives_its_place_to_another_at_once() -> None:
    breaker = opened(CircuitBreaker(reset_after=30.0), 0.0)
    breaker.ended_otherwise(30.0, breaker.start(30.0))
    assert (breaker.state, breaker.open_until) == (BreakerState.OPEN, 30.0)
    assert breaker.start(30.0).is_probe


ENDS: list[Callable[[Breaker], None]] = [
    lambda breaker: breaker.failed(31.0, FIRST),
    lambda breaker: breaker.succeeded(0.0, FIRST),
    lambda breaker: breaker.ended_otherwise(0.0, FIRST),
]


@pytest.mark.parametrize("end", ENDS, ids=["failed", "succeeded", "otherwise"])
@pytest.mark.parametrize("probing", [False, True])
def test_the_end_of_an_attempt_from_before_it_opened_is_not_taken_for_the_probes(
    probing: bool, end: Callable[[Breaker], None]
) -> None:
    breaker = opened(CircuitBreaker(reset_after=30.0, max_reset_after=math.inf), 0.0)
    if probing:
        assert breaker.start(30.0).is_probe
    before = (breaker.state, breaker.open_until)
    end(breaker)
    assert (breaker.state, breaker.open_until) == before


def test_once_it_has_closed_again_the_end_of_an_attempt_from_before_counts_for_nothing() -> None:
    breaker = Breaker(CircuitBreaker(failures=2, reset_after=30.0))
    old = [breaker.start(0.0) for _ in range(9)]
    for trial in old[:2]:
        breaker.failed(1.0, trial)
    breaker.succeeded(31.0, breaker.start(31.0))
    for trial in old[2:]:
        breaker.failed(32.0, trial)
    assert breaker.state is BreakerState.CLOSED


def test_the_success_of_an_attempt_from_before_it_opened_does_not_end_a_row() -> None:
    breaker = Breaker(CircuitBreaker(failures=2, reset_after=30.0))
    old = breaker.start(0.0)
    for _ in range(2):
        breaker.failed(1.0, FIRST)
    breaker.succeeded(31.0, breaker.start(31.0))
    breaker.failed(32.0, breaker.start(32.0))
    breaker.succeeded(33.0, old)
    breaker.failed(34.0, breaker.start(34.0))
    assert breaker.state is BreakerState.OPEN


def test_resetting_closes_it_and_it_counts_from_zero() -> None:
    breaker = opened(CircuitBreaker(failures=2, reset_after=30.0, max_reset_after=99.0), 0.0)
    fail_probes(breaker, 1)
    breaker.reset()
    assert (breaker.state, breaker.open_until) == (BreakerState.CLOSED, None)
    breaker.failed(200.0, breaker.start(200.0))
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(200.0, breaker.start(200.0))
    assert breaker.open_until == 230.0


def test_resetting_a_closed_one_forgets_its_failures() -> None:
    breaker = Breaker(CircuitBreaker(failures=2))
    breaker.failed(0.0, FIRST)
    breaker.reset()
    breaker.failed(0.0, FIRST)
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_is_under_way_when_it_is_reset_is_an_attempt_as_any() -> None:
    breaker = opened(CircuitBreaker(failures=2, reset_after=30.0), 0.0)
    probe = breaker.start(30.0)
    breaker.reset()
    breaker.failed(31.0, probe)
    assert breaker.state is BreakerState.CLOSED
    breaker.failed(31.0, breaker.start(31.0))
    assert breaker.open_until == 61.0


# With a rate

HALF = CircuitBreaker(failures=3, reset_after=30.0, rate=0.5, window=60.0)


def end(breaker: Breaker, now: float, how: str) -> None:
    """Let an attempt start and end."""
    trial = breaker.start(now)
    if how == "failed":
        breaker.failed(now, trial)
    elif how == "succeeded":
        breaker.succeeded(now, trial)
    elif how == "otherwise":
        breaker.ended_otherwise(now, trial)
    else:
        breaker.cut_short(trial)


@pytest.mark.parametrize(
    ("ends", "opens"),
    [
        ("ff", False),
        ("fff", True),
        ("sfsfsf", True),
        ("ssssfff", False),
        ("ssssffff", True),
        ("oooofff", False),
        ("ccccfff", True),
    ],
)
def test_with_a_rate_enough_failures_and_a_large_enough_share_open_it(ends: str, opens: bool) -> None:
    breaker = Breaker(HALF)
    ways = {"f": "failed", "s": "succeeded", "o": "otherwise", "c": "cut"}
    for now, how in enumerate(ends):
        assert breaker.state is BreakerState.CLOSED
        end(breaker, now, ways[how])
    assert (breaker.state is BreakerState.OPEN) is opens


def test_attempts_that_ended_before_the_window_do_not_count() -> None:
    breaker = Breaker(HALF)
    for now in (0.0, 1.0, 61.0, 61.5, 62.0):
        end(breaker, now, "failed")
        assert (breaker.state is BreakerState.OPEN) is (now == 62.0)


def test_old_successes_do_not_hide_failures() -> None:
    breaker = Breaker(HALF)
    for _ in range(1000):
        end(breaker, 0.0, "succeeded")
    for now in (60.0, 61.0, 62.0):
        end(breaker, now, "failed")
    assert breaker.state is BreakerState.OPEN


def test_once_closed_it_forgets_what_was_before() -> None:
    breaker = Breaker(HALF)
    for _ in range(3):
        end(breaker, 0.0, "failed")
    end(breaker, 30.0, "succeeded")
    for _ in range(2):
        end(breaker, 31.0, "failed")
        assert breaker.state is BreakerState.CLOSED
    end(breaker, 31.0, "failed")
    assert breaker.state is BreakerState.OPEN


def test_a_share_that_no_float_can_hold_is_still_reached() -> None:
    breaker = Breaker(CircuitBreaker(failures=1, rate=0.29))
    for _ in range(71):
        end(breaker, 0.0, "succeeded")
    for number in range(1, 30):
        assert breaker.state is BreakerState.CLOSED, number
        end(breaker, 0.0, "failed")
    assert breaker.state is BreakerState.OPEN


def test_many_ends_take_little_memory() -> None:
    breaker = Breaker(CircuitBreaker(failures=10**9, rate=1.0, window=10.0))
    for number in range(20_000):
        end(breaker, number / 100, "failed")
    assert breaker._share is not None
    assert len(breaker._share._buckets) <= 1001


@pytest.mark.parametrize("rate", [0, -0.1, 1.1, math.inf, math.nan])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match=r"^rate must"):
        CircuitBreaker(rate=rate)


@pytest.mark.parametrize("window", [0, -1.0, math.inf])
def test_a_window_is_a_time(window: float) -> None:
    with pytest.raises(ValueError, match=r"^window must"):
        CircuitBreaker(window=window)


@attrs.define
class PlainBreaker:
    """The same, told from all that has happened since it was last closed by a probe or by hand."""

    policy: CircuitBreaker
    # How attempts that count ended, and when.
    ends: list[tuple[str, int]] = attrs.field(factory=list[tuple[str, int]])
    openings: list[int] = attrs.field(factory=list[int])
    # Attempts that have begun since it last opened.
    young: set[int] = attrs.field(factory=set[int])
    probe: int | None = None

    @property
    def open_until(self) -> float | None:
        if not self.openings:
            return None
        doubled: float = self.policy.reset_after * 2 ** (len(self.openings) - 1)
        return self.openings[-1] + min(doubled, self.policy.max_reset_after or self.policy.reset_after)

    @property
    def state(self) -> BreakerState:
        if not self.openings:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.probe is None else BreakerState.PROBING

    def may_start(self, now: int) -> bool:
        return self.open_until is None or (self.probe is None and now >= self.open_until)

    def start(self, attempt: int) -> None:
        self.young.add(attempt)
        if self.openings:
            self.probe = attempt

    def end(self, attempt: int, how: str, now: int) -> None:
        if attempt == self.probe:
            self.probe = None
            if how == "succeeded":
                self.reset()
            elif how == "failed":
                self.open(now)
        elif not self.openings and attempt in self.young and how != "cut":
            self.ends.append((how, now))
            if how == "failed" and self.is_enough(now):
                self.open(now)

    def is_enough(self, now: int) -> bool:
        if self.policy.rate is None:
            told = [how for how, _ in self.ends if how != "otherwise"]
            return told[-self.policy.failures :] == ["failed"] * self.policy.failures
        lately = [how for how, when in self.ends if now - when < self.policy.window]
        failed = lately.count("failed")
        return failed >= self.policy.failures and failed / len(lately) >= self.policy.rate

    def open(self, now: int) -> None:
        self.openings.append(now)
        self.young.clear()

    def reset(self) -> None:
        self.openings, self.ends, self.probe = [], [], None


BREAKERS = st.integers(1, 8).flatmap(
    lambda reset: st.builds(
        CircuitBreaker,
        st.integers(1, 4),
        st.just(reset),
        st.one_of(st.none(), st.just(math.inf), st.integers(reset, 100)),
        rate=st.sampled_from([None, None, 0.3, 0.5, 1.0]),
        window=st.sampled_from([5.0, 30.0]),
    )
)
ENDS_MOSTLY_FAILURES = st.sampled_from(["failed", "failed", "failed", "succeeded", "otherwise", "cut"])
# Seconds that pass, and then what is done, to which of the attempts that are out.
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 5, 20]),
        st.sampled_from(["start", "start", "end", "end", "end", "end", "end", "reset"]),
        ENDS_MOSTLY_FAILURES,
        st.integers(0, 3),
    ),
    max_size=150,
)


@given(BREAKERS, STEPS)
def test_whatever_comes_a_breaker_agrees_with_a_plain_one(
    policy: CircuitBreaker, steps: list[tuple[int, str, str, int]]
) -> None:
    breaker, plain = Breaker(policy), PlainBreaker(policy)
    out: dict[int, Trial] = {}
    now = 0
    for number, (wait, what, how, which) in enumerate(steps):
        now += wait
        assert breaker.may_start(now) is plain.may_start(now)
        if what == "reset":
            breaker.reset()
            plain.reset()
        elif what == "start":
            if breaker.may_start(now):
                out[number] = breaker.start(now)
                plain.start(number)
        elif out:
            attempt = list(out)[which % len(out)]
            trial = out.pop(attempt)
            plain.end(attempt, how, now)
            if how == "failed":
                breaker.failed(now, trial)
            elif how == "succeeded":
                breaker.succeeded(now, trial)
            elif how == "otherwise":
                breaker.ended_otherwise(now, trial)
            else:
                breaker.cut_short(trial)
        assert (breaker.state, breaker.open_until) == (plain.state, plain.open_until)


# What counts as a failure


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (OSError(), True),
        (ConnectionError(), True),
        (ValueError(), True),
        (KeyError(), False),
        (ExceptionGroup("", [OSError(), ValueError()]), True),
        (ExceptionGroup("", [OSError(), KeyError()]), False),
        (ExceptionGroup("", [OSError(), ExceptionGroup("", [KeyError()])]), False),
    ],
)
def test_types_match_an_error_or_every_leaf_of_a_group(error: Exception, counted: bool) -> None:
    assert Breaker(CircuitBreaker(counts=(OSError, ValueError))).counts_error(error) is counted


def test_by_default_any_error_counts() -> None:
    assert Breaker(CircuitBreaker()).counts_error(KeyError())


def test_a_function_decides_about_a_group_as_a_whole() -> None:
    asked: list[Exception] = []
    group = ExceptionGroup("", [OSError()])

    def refuse(error: Exception) -> bool:
        asked.append(error)
        return False

    assert not Breaker(CircuitBreaker(counts=refuse)).counts_error(group)
    assert asked == [group]


def test_a_function_that_answers_no_bool_is_told_so() -> None:
    def answer(_: Exception) -> Any:
        return 1

    with pytest.raises(TypeError, match=r"^the result of counts must be a bool, got 1$"):
        Breaker(CircuitBreaker(counts=answer)).counts_error(ERROR)


def test_what_a_function_raises_comes_out() -> None:
    raised = LookupError("which one?")

    def fail(_: Exception) -> bool:
        raise raised

    with pytest.raises(LookupError) as caught:
        Breaker(CircuitBreaker(counts=fail)).counts_error(ERROR)
    assert caught.value is raised
