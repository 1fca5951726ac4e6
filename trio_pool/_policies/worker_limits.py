"""The limits of one worker together, and what is counted for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .circuit_breaker import Breaker
from .rate_limit import RateMeter

if TYPE_CHECKING:
    from random import Random

    from .circuit_breaker import CircuitBreaker
    from .rate_limit import RateLimit

# By this share a worker's age may fall short of max_age, so that workers which were opened
# together are not all opened anew together.
_AGE_SPREAD = 0.1


class WorkerLimits:
    """A worker's rate limit, its breaker, and how long its resource may stay open.

    Workers without any of these have none.

    Arguments:
      rate_limit: how often attempts may start.
      breaker: when it is kept from jobs because it fails them.
      max_jobs: attempts after which the resource is opened anew.
      max_age: seconds after which it is.
      rng: where the ages are drawn from.

    Attributes:
      breaker: what keeps the breaker's state, if it has one.
      meter: what keeps to the rate limit, if it has one.
    """

    __slots__ = ("_is_old", "_jobs", "_max_age", "_max_jobs", "_rng", "breaker", "meter")

    def __init__(
        self,
        rate_limit: RateLimit | None,
        breaker: CircuitBreaker | None,
        max_jobs: float | None,
        max_age: float | None,
        rng: Random,
    ) -> None:
        self.meter: RateMeter | None = None if rate_limit is None else RateMeter(rate_limit)
        self.breaker = None if breaker is None else Breaker(breaker)
        self._max_jobs = math.inf if max_jobs is None else max_jobs
        self._max_age = math.inf if max_age is None else max_age
        self._rng = rng
        # Attempts since the resource was opened, and whether that was too long ago.
        self._jobs = 0
        self._is_old = False

    def renew(self, now: float) -> float:
        """The resource has been opened; returns when it will be too old, or ``inf``."""
        self._jobs = 0
        self._is_old = False
        if self._max_age == math.inf:
            return math.inf
        return now + self._max_age * self._rng.uniform(1 - _AGE_SPREAD, 1)

    def grow_old(self) -> None:
        """That time has come."""
        self._is_old = True

    def is_worn(self) -> bool:
        """Whether the resource is to be opened anew before another attempt."""
        return self._is_old or self._jobs >= self._max_jobs

    def ready_at(self, now: float) -> float:
        """The earliest time at which the rate limit lets an attempt start, ``now`` if it does."""
        return now if self.meter is None else self.meter.ready_at(now)

    def start(self, now: float) -> bool:
        """An attempt starts, which the meter counts for itself; returns whether it is the breaker's probe."""
        self._jobs += 1
        return self.breaker is not None and self.breaker.start(now)

    def succeeded(self, is_probe: bool) -> None:
        """An attempt, perhaps the probe, has returned a value."""
        if self.breaker is not None:
            self.breaker.succeeded(is_probe)

    def failed(self, now: float, is_probe: bool) -> float | None:
        """An attempt has failed in a way that counts; returns until when that opens the breaker."""
        if self.breaker is None:
            return None
        before = self.breaker.open_until
        self.breaker.failed(now, is_probe)
        return self.breaker.open_until if self.breaker.open_until != before else None

    def ended_otherwise(self, is_probe: bool) -> None:
        """An attempt has ended as neither, or says nothing about the worker any more."""
        if self.breaker is not None:
            self.breaker.neither(is_probe)
