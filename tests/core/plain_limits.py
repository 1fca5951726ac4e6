"""Limits as plainly as can be: all that ever happened is kept, and gone through with each question.

Times come out exactly where they and the limits are multiples of a power of two.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from trio_pool import CircuitBreaker, RateLimit, RetryBudget

# When, and the limit that held from then on, or None: an attempt started.
Event: TypeAlias = "tuple[float, RateLimit | None]"


@attrs.define(eq=False)
class PlainRate:
    """A rate limit as a store of starts: a burst at first and at most, growing at the rate."""

    limit: RateLimit
    events: list[Event] = attrs.field(factory=list[Event])

    def start(self, now: float) -> None:
        """An attempt starts."""
        self.events.append((now, None))

    def change(self, limit: RateLimit, now: float) -> None:
        """Another limit holds from now on; what is in store stays, up to its burst."""
        self.events.append((now, limit))

    def ready_at(self, now: float) -> float:
        """The earliest time from now on at which an attempt may start."""
        return float(now + max(Fraction(0), 1 - self.store(now)) / _rate(self._limit_now()))

    def startable(self, now: float) -> int:
        """How many attempts may start at once."""
        return max(0, math.floor(self.store(now)))

    def _limit_now(self) -> RateLimit:
        return next((limit for _, limit in reversed(self.events) if limit is not None), self.limit)

    def store(self, now: float) -> Fraction:
        """How many starts are in store, or owed."""
        limit, store, at = self.limit, Fraction(self.limit.burst), Fraction(0)
        for when, other in self.events:
            store, at = _grown(limit, store, Fraction(when) - at), Fraction(when)
            if other is None:
                store -= 1
            else:
                limit, store = other, min(store, Fraction(other.burst))
        return _grown(limit, store, Fraction(now) - at)


def _rate(limit: RateLimit) -> Fraction:
    return Fraction(limit.count) / Fraction(limit.per)


def _grown(limit: RateLimit, store: Fraction, seconds: Fraction) -> Fraction:
    return min(store + seconds * _rate(limit), Fraction(limit.burst))


@attrs.define(eq=False)
class PlainBreaker:
    """A circuit breaker as the list of what attempts came to; those that came to neither aren't in it."""

    policy: CircuitBreaker
    outcomes: list[bool] = attrs.field(factory=list[bool])
    # As long as it is open, and so while the probe is out too.
    open_until: float | None = None

    def succeeded(self) -> None:
        """An attempt has succeeded: if it was the probe, that closes it."""
        self.outcomes.append(True)
        self.open_until = None

    def failed(self, now: float) -> bool:
        """An attempt has failed; returns whether that opens it, once more if it was the probe."""
        self.outcomes.append(False)
        in_a_row = len(self.outcomes)
        if True in self.outcomes:
            in_a_row = self.outcomes[::-1].index(True)
        if in_a_row < self.policy.failures:
            return False
        longest = self.policy.reset_after if self.policy.max_reset_after is None else self.policy.max_reset_after
        doublings = in_a_row - self.policy.failures
        self.open_until = now + min(self.policy.reset_after * 2**doublings, longest)
        return True


@attrs.define(eq=False)
class PlainBudget:
    """A budget of retries as the times at which attempts started, and at which retries were granted."""

    budget: RetryBudget
    attempts: list[float] = attrs.field(factory=list[float])
    retries: list[float] = attrs.field(factory=list[float])

    def allows_retry(self, now: float) -> bool:
        """Whether there may be one more."""
        attempts = sum(1 for when in self.attempts if now - when < self.budget.window)
        retries = sum(1 for when in self.retries if now - when < self.budget.window) + 1
        if retries <= self.budget.minimum:
            return True
        return attempts > 0 and Fraction(retries, attempts) <= Fraction(self.budget.ratio)
