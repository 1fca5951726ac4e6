"""When a failing worker is quarantined."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING

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


@attrs.frozen
class CircuitBreaker:
    """When a worker that fails jobs gets no more of them, and when the pool tries it again.

    After ``failures`` failures in a row the breaker opens and the worker is quarantined. After
    ``reset_after`` seconds the worker gets one job as a probe. If the probe succeeds, the breaker
    closes and starts counting from zero. If the probe fails, the breaker opens again, for twice as
    long as before, up to ``max_reset_after``. If the probe neither succeeds nor fails, the next job
    is the probe.

    Failures are the errors that ``counts`` matches, attempt timeouts, and every `ResourceBroken`.
    An attempt that ends without a value in another way is neither a success nor a failure: for
    example by `RetryAfter`, `GiveUp`, `Discard`, a total timeout or a cancellation. Such an attempt
    doesn't change the number of failures in a row.

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

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    failures: int = attrs.field(default=5, validator=validate.by(validate.count, least=1))
    reset_after: float = attrs.field(default=30.0, validator=validate.by(validate.positive, finite=True))
    max_reset_after: float | None = attrs.field(default=None, validator=_check_longest)
    counts: type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool] = attrs.field(
        default=Exception, validator=validate.by(validate.error_rule), repr=shown
    )


class BreakerState(enum.Enum):
    """What a circuit breaker lets through."""

    CLOSED = "closed"
    """everything"""
    OPEN = "open"
    """nothing yet, or a single probe once its time has come"""
    PROBING = "probing"
    """nothing else until the probe has ended"""


class Breaker:
    """Decides whether an attempt may start under a `CircuitBreaker`.

    The caller stores the result of `start` and passes it on when the attempt ends. In any state
    there can be attempts that started while the breaker was closed, for example after a worker was
    lent. The end of such an attempt counts only if the breaker is closed again, and never as the
    end of the probe.

    Attributes:
      policy: the policy that it applies.
      open_until: the time from which a probe is allowed, unchanged while a probe runs; ``None`` if
          closed.
    """

    __slots__ = ("_failures", "_longest", "_probing", "_wait", "open_until", "policy")

    def __init__(self, policy: CircuitBreaker) -> None:
        self.policy = policy
        self.open_until: float | None = None
        # Only used while the breaker is open.
        self._probing = False
        # Failures in a row; only valid while the breaker is closed.
        self._failures = 0
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

    def start(self, now: float) -> bool:
        """Record the start of an attempt. An attempt that starts although `may_start` is false is not the probe.

        Returns:
          bool: whether the attempt is the probe; pass it on when the attempt ends.
        """
        if self.open_until is None or not self.may_start(now):
            return False
        self._probing = True
        return True

    def failed(self, now: float, is_probe: bool) -> None:
        """Record a failure that counts."""
        if is_probe:
            self._wait = min(self._wait * 2, self._longest)
            self._open(now)
        elif self.open_until is None:
            self._failures += 1
            if self._failures >= self.policy.failures:
                self._open(now)

    def succeeded(self, is_probe: bool) -> None:
        """Record a success."""
        if is_probe:
            self._probing = False
            self._wait = self.policy.reset_after
            self.open_until = None
        if self.open_until is None:
            self._failures = 0

    def neither(self, is_probe: bool) -> None:
        """Record an attempt that neither succeeded nor failed. After a probe, the next probe may start at once."""
        if is_probe:
            self._probing = False

    def counts_error(self, error: Exception) -> bool:
        """Whether ``error`` is a failure.

        Raises:
          TypeError: if ``counts`` is a function and returns something other than a bool.
        """
        return applies("counts", self.policy.counts, error)

    def _open(self, now: float) -> None:
        self._probing = False
        self.open_until = now + self._wait
