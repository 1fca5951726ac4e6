"""When a failing worker is quarantined."""

from __future__ import annotations

import enum
import sys
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import attrs

from .._basics.text import shown
from . import validate
from .error_rule import applies

if TYPE_CHECKING:
    from collections.abc import Callable


def _check_longest(breaker: CircuitBreaker, _: attrs.Attribute[float | None], value: object) -> None:
    if value is None:
        return
    if validate.seconds("max_reset_after", value) < breaker.reset_after:
        raise ValueError(
            f"max_reset_after must be at least reset_after ({breaker.reset_after!r}), {validate.got(value)}"
        )


def _check_rate(name: str, value: object) -> None:
    if value is not None and not 0 < validate.real(name, value) <= 1:
        raise ValueError(f"{name} must be more than 0 and at most 1, {validate.got(value)}")


@attrs.frozen
class CircuitBreaker:
    """When a worker that fails jobs gets no more of them, and when the pool tries it again.

    After ``failures`` failures in a row the breaker opens and the worker is quarantined. With
    ``rate`` the failures need not be in a row: the breaker opens once at least ``failures``
    attempts of the last ``window`` seconds have failed, and they are at least that share of the
    attempts that ended in this time.

    After ``reset_after`` seconds the worker gets one job as a probe, one at a time however many
    places the worker has. If the probe succeeds, the breaker closes and starts counting from zero.
    If the probe fails, the breaker opens again, for twice as long as before, up to
    ``max_reset_after``. If the probe neither succeeds nor fails, the next job is the probe. An
    attempt that began before the breaker last opened, other than the probe, counts for nothing.
    `Worker.reset_breaker` closes the breaker at once.

    Failures are the errors that ``counts`` matches, attempt timeouts, and every `ResourceBroken`.
    An attempt that ends without a value in another way is neither a success nor a failure: for
    example by `RetryAfter`, `GiveUp`, `Discard`, a total timeout or a cancellation. Such an attempt
    doesn't change the number of failures in a row. It belongs to the attempts that ended, unless it
    was cancelled.

    The pattern is Michael T. Nygard's "Circuit Breaker" in "Release It!" (Pragmatic Bookshelf
    2007).

    An immutable value: instances compare and print by their fields. Each worker keeps its own
    count.

    Arguments:
      failures: how many failures in a row open the breaker, at least 1.
      reset_after: seconds from the opening of the breaker to the first probe, more than zero.
      max_reset_after: the longest time until a probe in seconds, at least ``reset_after``; ``inf``
          for no bound; ``None`` to always wait for ``reset_after``.
      counts: which errors are failures: an exception type, a tuple of types, or a function that
          takes the error and returns a bool. A type matches an exception group if it matches the
          group itself or every leaf of the group. If types are given, every attempt timeout is a
          failure; a function is called with the `AttemptTimeoutError` and decides.
      rate: the share of failures that opens the breaker, more than 0 and at most 1; ``None`` to
          count failures in a row.
      window: the seconds to which ``rate`` applies, more than zero; not used without ``rate``.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    failures: int = attrs.field(default=5, validator=validate.by(validate.count, least=1))
    reset_after: float = attrs.field(default=30.0, validator=validate.by(validate.positive, finite=True))
    max_reset_after: float | None = attrs.field(default=None, validator=_check_longest)
    counts: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool] = attrs.field(
        default=Exception, validator=validate.by(validate.error_rule), repr=shown
    )
    rate: float | None = attrs.field(default=None, validator=validate.by(_check_rate), kw_only=True)
    window: float = attrs.field(default=60.0, validator=validate.by(validate.positive, finite=True), kw_only=True)


class BreakerState(enum.Enum):
    """What a circuit breaker lets through."""

    CLOSED = "closed"
    """everything"""
    OPEN = "open"
    """nothing yet, or a single probe once its time has come"""
    PROBING = "probing"
    """nothing else until the probe has ended"""


class Trial(NamedTuple):
    """What a breaker needs to know about an attempt when the attempt ends."""

    # How many times the breaker had opened when the attempt began.
    openings: int
    is_probe: bool = False


class Breaker:
    """Decides whether an attempt may start under a `CircuitBreaker`.

    The caller stores the result of `start` and passes it on when the attempt ends. In any state
    there can be attempts that started before the breaker last opened: their ends are ignored.

    Attributes:
      policy: the policy that it applies.
      open_until: the time from which a probe is allowed, unchanged while a probe runs; ``None`` if
          closed.
    """

    __slots__ = ("_failures", "_longest", "_ordinary", "_probing", "_share", "_wait", "open_until", "policy")

    def __init__(self, policy: CircuitBreaker) -> None:
        self.policy = policy
        self.open_until: float | None = None
        # Used only while the breaker is open.
        self._probing = False
        # Failures in a row, valid only while the breaker is closed; and the attempts of the window.
        self._failures = 0
        self._share = None if policy.rate is None else _Share(policy.window)
        # Given to every attempt but the probes until the breaker opens again.
        self._ordinary = Trial(0)
        # Seconds from the next opening to its probe. The doubling needs a bound so that the delay
        # stays finite.
        longest = policy.reset_after if policy.max_reset_after is None else policy.max_reset_after
        self._longest = min(longest, sys.float_info.max)
        self._wait = policy.reset_after

    @property
    def state(self) -> BreakerState:
        """What the breaker lets through."""
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.PROBING if self._probing else BreakerState.OPEN

    def may_start(self, now: float) -> bool:
        """Whether an attempt may start: any attempt if the breaker is closed, otherwise only the probe."""
        return self.open_until is None or (now >= self.open_until and not self._probing)

    def start(self, now: float) -> Trial:
        """Record the start of an attempt. An attempt that starts although `may_start` is false is not the probe.

        Returns:
          Trial: to pass on when the attempt ends.
        """
        if self.open_until is None or not self.may_start(now):
            return self._ordinary
        self._probing = True
        return Trial(self._ordinary.openings, is_probe=True)

    def failed(self, now: float, trial: Trial) -> None:
        """Record a failure that counts."""
        if self._is_the_probe(trial):
            self._wait = min(self._wait * 2, self._longest)
            self._open(now)
        elif self._counts(trial):
            self._failures += 1
            if self._share is None:
                is_enough = self._failures >= self.policy.failures
            else:
                self._share.add(now, failed=1)
                is_enough = self._share.is_at_least(self.policy.failures, self.policy.rate or 0.0)
            if is_enough:
                self._open(now)

    def succeeded(self, now: float, trial: Trial) -> None:
        """Record a success."""
        if self._is_the_probe(trial):
            self.reset()
        elif self._counts(trial):
            self._failures = 0
            if self._share is not None:
                self._share.add(now)

    def ended_otherwise(self, now: float, trial: Trial) -> None:
        """Record an attempt that neither succeeded nor failed, but ended by itself or by a timeout."""
        if self._share is not None and self._counts(trial):
            self._share.add(now)
        self.cut_short(trial)

    def cut_short(self, trial: Trial) -> None:
        """Record an attempt without significance. If it was the probe, the next probe may start at once."""
        if self._is_the_probe(trial):
            self._probing = False

    def reset(self) -> None:
        """Close the breaker, which then counts from zero. A running probe goes on as an ordinary attempt."""
        self._probing = False
        self._wait = self.policy.reset_after
        self.open_until = None
        self._forget()

    def counts_error(self, error: Exception) -> bool:
        """Whether ``error`` is a failure.

        Raises:
          TypeError: if ``counts`` is a function and returns something other than a bool.
        """
        return applies("counts", self.policy.counts, error)

    def _is_the_probe(self, trial: Trial) -> bool:
        return trial.is_probe and self._probing and trial.openings == self._ordinary.openings

    def _counts(self, trial: Trial) -> bool:
        return self.open_until is None and trial.openings == self._ordinary.openings

    def _open(self, now: float) -> None:
        self._probing = False
        self.open_until = now + self._wait
        self._ordinary = Trial(self._ordinary.openings + 1)
        self._forget()

    def _forget(self) -> None:
        self._failures = 0
        if self._share is not None:
            self._share = _Share(self.policy.window)


# The maximum number of periods into which a window is divided.
_GRAINS = 1000


class _Share:
    """The attempts that have ended within a window, and those of them that failed.

    Like `BudgetMeter`, it keeps at most about a thousand entries at any rate, and an attempt may
    stop counting up to a thousandth of the window too soon.
    """

    __slots__ = ("_buckets", "_ended", "_failed", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        # For each period: when it began, and how many attempts ended and failed in it.
        self._buckets: deque[tuple[float, int, int]] = deque()
        self._ended = 0
        self._failed = 0

    def add(self, now: float, failed: int = 0) -> None:
        """Record an attempt that has ended."""
        while self._buckets and now - self._buckets[0][0] >= self._window:
            _, old_ended, old_failed = self._buckets.popleft()
            self._ended -= old_ended
            self._failed -= old_failed
        if self._buckets and now - self._buckets[-1][0] <= self._window / _GRAINS:
            first, others, failures = self._buckets.pop()
        else:
            first, others, failures = now, 0, 0
        self._buckets.append((first, others + 1, failures + failed))
        self._ended += 1
        self._failed += failed

    def is_at_least(self, failures: int, rate: float) -> bool:
        """Whether this many attempts and this share of them have failed; to be called right after `add`."""
        # A quotient and not a product: 0.29 * 100 is less than 29, but 29 / 100 equals 0.29.
        return self._failed >= failures and self._failed / self._ended >= rate
