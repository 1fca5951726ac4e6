"""The limits of one worker, with their counters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .circuit_breaker import Breaker, BreakerState
from .rate_meters import RateMeters, latest

if TYPE_CHECKING:
    from random import Random

    from .circuit_breaker import CircuitBreaker, Trial
    from .health_check import HealthCheck
    from .rate_limit import Sharer
    from .rate_meters import RateLimits

# The largest share of max_age that is subtracted at random, so that workers opened together are not
# all reopened together.
_AGE_SPREAD = 0.1


class WorkerLimits:
    """A worker's rate limits, its breaker, and when its resource is reopened.

    A worker without any limit has no `WorkerLimits`.

    Arguments:
      rate_limits: how often attempts may start.
      breaker: when the worker is quarantined.
      max_jobs: the number of attempts after which the resource is reopened.
      max_age: seconds after which the resource is reopened.
      rng: the source of random numbers for the ages.
      sharer: the pool that draws from shared limits.
      reopens_on_cut: whether the resource is reopened after an attempt was cancelled.
      check: how the worker is checked while it is idle.

    Attributes:
      breaker: the state of the breaker, or None.
      meters: the meters of the rate limits.
      reopens_on_cut, check: as given.
      idle_since: since when the worker has been idle, while it is.
    """

    __slots__ = (
        "_is_old",
        "_jobs",
        "_rng",
        "breaker",
        "check",
        "idle_since",
        "max_age",
        "max_jobs",
        "meters",
        "reopens_on_cut",
    )

    def __init__(
        self,
        rate_limits: RateLimits,
        breaker: CircuitBreaker | None,
        max_jobs: float | None,
        max_age: float | None,
        rng: Random,
        sharer: Sharer,
        *,
        reopens_on_cut: bool = False,
        check: HealthCheck | None = None,
    ) -> None:
        self.reopens_on_cut = reopens_on_cut
        self.check = check
        self.idle_since = 0.0
        self.meters: RateMeters = RateMeters(rate_limits, sharer, keeps_apart=True)
        self.breaker = None if breaker is None else Breaker(breaker)
        self.max_jobs = math.inf if max_jobs is None else max_jobs
        self.max_age = math.inf if max_age is None else max_age
        self._rng = rng
        # Attempts since the resource was opened, and whether max_age has passed since.
        self._jobs = 0
        self._is_old = False

    def renew(self, now: float) -> float:
        """Record that the resource has been opened, and return when it will be too old, or ``inf``."""
        self._jobs = 0
        self._is_old = False
        if self.max_age == math.inf:
            return math.inf
        return now + self.max_age * self._rng.uniform(1 - _AGE_SPREAD, 1)

    def grow_old(self) -> None:
        """Record that the resource has become too old."""
        self._is_old = True

    def is_worn(self) -> bool:
        """Whether the resource must be reopened before another attempt."""
        return self._is_old or self._jobs >= self.max_jobs

    def allows_another(self, *, is_lent: bool) -> bool:
        """Whether one more attempt may run beside others: not beside a probe, and not if the resource is worn.

        A worn resource is still used while it is lent, since it can't be reopened then.
        """
        if self.is_worn() and not is_lent:
            return False
        return not self.is_probing

    @property
    def is_probing(self) -> bool:
        """Whether the breaker's probe runs."""
        return self.breaker is not None and self.breaker.state is BreakerState.PROBING

    def ready_at(self, now: float) -> float:
        """Return the earliest time from ``now`` on at which its own rate limits without a unit allow a start."""
        return self.meters.ready_at(now)

    def shared_ready_at(self, now: float) -> float:
        """Return when the shared rate limits without a unit allow a start; ``inf`` for not before the pool's turn."""
        return latest(self.meters.apart_by_unit.get(None, ()), now)

    def start(self, now: float) -> Trial | None:
        """Record the start of an attempt, except in the meter; return what the breaker needs at its end."""
        self._jobs += 1
        return None if self.breaker is None else self.breaker.start(now)

    def succeeded(self, now: float, trial: Trial | None) -> None:
        """Record that an attempt returned a value."""
        if self.breaker is not None and trial is not None:
            self.breaker.succeeded(now, trial)

    def failed(self, now: float, trial: Trial | None) -> float | None:
        """Record a failure that counts. If it opens the breaker, return until when."""
        if self.breaker is None or trial is None:
            return None
        before = self.breaker.open_until
        self.breaker.failed(now, trial)
        return self.breaker.open_until if self.breaker.open_until != before else None

    def ended_otherwise(self, now: float, trial: Trial | None) -> None:
        """Record an attempt that neither succeeded nor failed."""
        if self.breaker is not None and trial is not None:
            self.breaker.ended_otherwise(now, trial)

    def cut_short(self, trial: Trial | None) -> None:
        """Record an attempt that was cancelled, or whose end no longer says anything about the worker."""
        if self.breaker is not None and trial is not None:
            self.breaker.cut_short(trial)
