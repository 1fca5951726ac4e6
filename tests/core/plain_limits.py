"""Limits as plainly as can be: all that ever happened is kept, and gone through with each new question.

Times come out exactly where they and the limits are multiples of a power of two.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, TypeAlias

import attrs

from trio_pool import RateLimit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.core.plain_parts import PlainRun
    from trio_pool import CircuitBreaker, RetryBudget
    from trio_pool._policies.rate_meter import Amount
    from trio_pool._policies.rate_meters import RateLimits

# When, and the limit that held from then on, or what was drawn.
Event: TypeAlias = "tuple[float, RateLimit | Amount]"
# A run: its worker and its attempt, which has only one there.
Run: TypeAlias = "tuple[object, object]"


@attrs.define(eq=False)
class PlainRate:
    """A rate limit as a store of starts: a burst at first and at most, growing at the rate."""

    limit: RateLimit
    events: list[Event] = attrs.field(factory=list[Event])
    # What each run has drawn.
    drawn: dict[Run, Amount] = attrs.field(factory=dict["Run", "Amount"])
    # The last answers, and the moment and the number of events for which they hold: most questions come again.
    _asked: tuple[float, int] = (math.nan, 0)
    _store: Fraction = Fraction(0)
    _ready_at: float = 0.0

    def draw(self, now: float, run: Run, amount: Amount) -> None:
        """A run is to have drawn so much in all."""
        self.events.append((now, amount - self.drawn.get(run, 0)))
        self.drawn[run] = amount

    def change(self, limit: RateLimit, now: float) -> None:
        """Another limit holds from now on; what is in store stays, up to its burst."""
        self.events.append((now, limit))

    def ready_at(self, now: float) -> float:
        """The earliest time from now on at which an attempt may start."""
        self._go_through(now)
        return self._ready_at

    def startable(self, now: float) -> int:
        """How many attempts may start at once."""
        return max(0, math.floor(self.store(now)))

    def _limit_now(self) -> RateLimit:
        return next((event for _, event in reversed(self.events) if isinstance(event, RateLimit)), self.limit)

    def store(self, now: float) -> Fraction:
        """How many starts are in store, or owed."""
        self._go_through(now)
        return self._store

    def _go_through(self, now: float) -> None:
        if self._asked != (now, len(self.events)):
            self._asked = now, len(self.events)
            self._store = self._store_at(now)
            self._ready_at = float(now + max(Fraction(0), 1 - self._store) / _rate(self._limit_now()))

    def _store_at(self, now: float) -> Fraction:
        limit, store, at = self.limit, Fraction(self.limit.burst), Fraction(0)
        for when, other in self.events:
            store, at = _grown(limit, store, Fraction(when) - at), Fraction(when)
            if isinstance(other, RateLimit):
                limit, store = other, min(store, Fraction(other.burst))
            else:
                store = min(store - other, Fraction(limit.burst))
        return _grown(limit, store, Fraction(now) - at)


@attrs.define(eq=False)
class PlainRates:
    """The rate limits of a worker, or of the pool."""

    limits: RateLimits = None
    # All that there ever were, by their units and their places among those of that unit.
    kept: dict[tuple[str | None, int], PlainRate] = attrs.field(factory=dict[tuple[str | None, int], PlainRate])

    def __attrs_post_init__(self) -> None:
        self.change(self.limits, 0.0)

    def change(self, limits: RateLimits, now: float) -> None:
        """Others hold from now on."""
        self.limits = limits
        for key, limit in self._places():
            if key in self.kept:
                self.kept[key].change(limit, now)
            else:
                self.kept[key] = PlainRate(limit)

    def _places(self) -> list[tuple[tuple[str | None, int], RateLimit]]:
        given = self.limits if isinstance(self.limits, tuple) else () if self.limits is None else (self.limits,)
        limits = [limit for limit in given if isinstance(limit, RateLimit)]
        return [
            ((limit.unit, sum(other.unit == limit.unit for other in limits[:number])), limit)
            for number, limit in enumerate(limits)
        ]

    def _those(self, unit: str | None) -> list[PlainRate]:
        return [self.kept[key] for key, _ in self._places() if key[0] == unit]

    def start(self, now: float, run: Run, uses: Mapping[str, Amount]) -> None:
        """A run starts."""
        for rate in self._those(None):
            rate.draw(now, run, 1)
        self.use(now, run, uses)

    def use(self, now: float, run: Run, uses: Mapping[str, Amount]) -> None:
        """A run is to have used so much in all."""
        for unit, amount in uses.items():
            for rate in self._those(unit):
                rate.draw(now, run, amount)

    def ready_at(self, now: float, unit: str | None = None) -> float:
        """The earliest time from now on at which those with a unit, or without, let an attempt start."""
        return max([rate.ready_at(now) for rate in self._those(unit)], default=now)

    def levels(self, now: float, unit: str) -> list[Fraction]:
        """What is in store of a unit, by each of its limits."""
        return [rate.store(now) for rate in self._those(unit)]

    def closed(self, now: float) -> set[str]:
        """The units whose limits let nothing start now."""
        return {unit for unit, _ in self.kept if unit is not None and self.ready_at(now, unit) > now}

    def startable(self, now: float) -> float:
        """How many attempts may start at once, as far as those without a unit are concerned."""
        return min([rate.startable(now) for rate in self._those(None)], default=math.inf)


def _rate(limit: RateLimit) -> Fraction:
    return Fraction(limit.count) / Fraction(limit.per)


def _grown(limit: RateLimit, store: Fraction, seconds: Fraction) -> Fraction:
    return min(store + seconds * _rate(limit), Fraction(limit.burst))


@attrs.define(eq=False)
class PlainBreaker:
    """A circuit breaker as the list of what attempts came to since it was last opened or closed, and when.

    That is a value (True), a failure (False) or neither. An attempt that began before it last opened does not count.
    """

    policy: CircuitBreaker
    outcomes: list[tuple[float, bool | None]] = attrs.field(factory=list[tuple[float, "bool | None"]])
    # As long as it is open, and so while the probe is out too; and how many probes have failed since it was closed.
    open_until: float | None = None
    failed_probes: int = 0
    openings: int = 0

    def start(self, run: PlainRun) -> None:
        """An attempt starts: as the probe if it is open."""
        run.openings, run.is_probe = self.openings, self.open_until is not None

    def ended(self, run: PlainRun, outcome: bool | None, now: float) -> bool:
        """An attempt has ended other than by a cancellation; returns whether that opens it."""
        if run.openings != self.openings:
            return False
        if not run.is_probe:
            self.outcomes.append((now, outcome))
            if outcome is not False or not self._is_enough(now):
                return False
        elif outcome is False:
            self.failed_probes += 1
        else:
            if outcome:
                self.close()
            return False
        self._open(now)
        return True

    def _is_enough(self, now: float) -> bool:
        """Whether the failures open it."""
        policy = self.policy
        if policy.rate is None:
            told = [outcome for _, outcome in self.outcomes if outcome is not None]
            return len(told) >= policy.failures and not any(told[-policy.failures :])
        recent = [outcome for when, outcome in self.outcomes if now - when < policy.window]
        failed = recent.count(False)
        return failed >= policy.failures and Fraction(failed, len(recent)) >= Fraction(policy.rate)

    def _open(self, now: float) -> None:
        longest = self.policy.reset_after if self.policy.max_reset_after is None else self.policy.max_reset_after
        self.open_until = now + min(self.policy.reset_after * 2**self.failed_probes, longest)
        self.openings += 1
        self.outcomes = []

    def close(self) -> None:
        """It counts from zero."""
        self.open_until = None
        self.failed_probes = 0
        self.outcomes = []


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
