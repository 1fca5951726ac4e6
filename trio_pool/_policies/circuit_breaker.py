"""When a worker gets no more jobs because it fails them."""

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
    """When a worker gets no more jobs because it fails them, and when it is tried again.

    After ``failures`` of them in a row the worker is quarantined: the breaker is open. After
    ``reset_after`` seconds it gets one job as a probe. If the probe succeeds, the breaker is
    closed and all is as at the start; if it fails, the breaker is open again, for twice as
    long as before if ``max_reset_after`` allows it. If it ends as neither, the next job is
    the probe.

    Failures are errors that the breaker ``counts``, attempt timeouts, and
    `ResourceBroken` in any case. Whatever else ends an attempt without a value, such as
    `RetryAfter`, `GiveUp`, `Discard`, a total timeout or a cancellation, is neither success
    nor failure, and leaves the row as it is.

    The pattern is Michael T. Nygard's "Circuit Breaker" in "Release It!" (Pragmatic
    Bookshelf 2007).

    A value: compare it, print it. Each worker that gets it counts for itself.

    Arguments:
      failures: how many in a row open it, at least 1.
      reset_after: seconds from its opening to the first probe, more than zero.
      max_reset_after: seconds that no time until a probe exceeds, at least ``reset_after``;
          ``inf`` for no bound, ``None`` if it is always to be ``reset_after``.
      counts: which errors are failures: an exception type, a tuple of them, or a function of
          the error that returns a bool. Types match an exception group if they match the
          group itself or every leaf of it. An attempt timeout is a failure whatever types are
          given; a function is asked about it, as an `AttemptTimeoutError`.

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
    """Whether an attempt may start under a `CircuitBreaker`.

    Whoever starts an attempt keeps what `start` says, and gives it back when the attempt has
    ended. For in any state there can be attempts that started while it was closed, as when a
    worker was lent: their ends count only if it is closed again, and never as the probe's.

    Attributes:
      policy: what it holds to.
      open_until: when there may be a probe; it stays while one is out. ``None`` if closed.
    """

    __slots__ = ("_failures", "_longest", "_probing", "_wait", "open_until", "policy")

    def __init__(self, policy: CircuitBreaker) -> None:
        self.policy = policy
        self.open_until: float | None = None
        # Only while it is open.
        self._probing = False
        # In a row; it says nothing unless it is closed.
        self._failures = 0
        # Seconds from the next opening to its probe. What is doubled has to stop somewhere.
        longest = policy.reset_after if policy.max_reset_after is None else policy.max_reset_after
        self._longest = min(longest, sys.float_info.max)
        self._wait = policy.reset_after

    @property
    def state(self) -> BreakerState:
        """What it lets through."""
        if self.open_until is None:
            return BreakerState.CLOSED
        return BreakerState.PROBING if self._probing else BreakerState.OPEN

    def may_start(self, now: float) -> bool:
        """Whether an attempt may start: any if it is closed, else the one that is the probe."""
        return self.open_until is None or (now >= self.open_until and not self._probing)

    def start(self, now: float) -> bool:
        """An attempt starts. One that starts although none may is no probe.

        Returns:
          bool: whether it is the probe, to be told when it ends.
        """
        if self.open_until is None or not self.may_start(now):
            return False
        self._probing = True
        return True

    def failed(self, now: float, is_probe: bool) -> None:
        """An attempt has ended in a failure that counts."""
        if is_probe:
            self._wait = min(self._wait * 2, self._longest)
            self._open(now)
        elif self.open_until is None:
            self._failures += 1
            if self._failures >= self.policy.failures:
                self._open(now)

    def succeeded(self, is_probe: bool) -> None:
        """An attempt has ended in success."""
        if is_probe:
            self._probing = False
            self._wait = self.policy.reset_after
            self.open_until = None
        if self.open_until is None:
            self._failures = 0

    def neither(self, is_probe: bool) -> None:
        """An attempt has ended as neither. After a probe, there may be another at once."""
        if is_probe:
            self._probing = False

    def counts_error(self, error: Exception) -> bool:
        """Whether an error of this kind is a failure.

        Raises:
          TypeError: if ``counts`` is a function and returns something else than a bool.
        """
        return applies("counts", self.policy.counts, error)

    def _open(self, now: float) -> None:
        self._probing = False
        self.open_until = now + self._wait
