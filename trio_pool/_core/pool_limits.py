"""The limits of the pool as a whole: concurrent attempts, the rate of starts, and retries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model.states import JobState
from .._policies.retry_budget import BudgetMeter
from .deadlines import Due

if TYPE_CHECKING:
    from .._policies.rate_meters import RateMeters
    from .._policies.retry_budget import RetryBudget
    from .deadlines import Deadlines
    from .lifecycle import Lifecycle
    from .pool_hold import PoolHold

RUNNING = JobState.RUNNING  # read for every job, and slow to access through the enum


class PoolLimits:
    """The limits of a pool, and their counters.

    Attributes:
      max_running: how many attempts may run at once; changed by `set_max_running`.
      has_meters: whether the pool has rate limits.
      has_shares: whether the pool or a worker shares a limit with other pools.
      hold: the pause and the rest of the pool; after a change of it, call `note_limits`.
      is_shared: whether the workers share a limit or the keys have bounds: then the choice of the job that starts may
          depend on all workers.
      counts_starts: whether the start of each attempt may count against a rate limit or a budget of the pool, or a
          rate limit of a key.
      meters: the meters of the pool's rate limits; set by `Metering`.
      budget: the meter of the pool's retry budget, or None.
      limited_until: until when the pool's rate limit delays a job that could otherwise start.
    """

    __slots__ = (
        "_deadlines",
        "_lifecycle",
        "_ticket",
        "budget",
        "counts_starts",
        "has_meters",
        "has_shares",
        "hold",
        "is_shared",
        "limited_until",
        "max_running",
        "meters",
    )

    def __init__(
        self,
        lifecycle: Lifecycle,
        deadlines: Deadlines,
        hold: PoolHold,
        max_running: float,
        retry_budget: RetryBudget | None,
    ) -> None:
        self._lifecycle = lifecycle
        self._deadlines = deadlines
        self.hold: PoolHold = hold
        self.max_running: float = max_running
        self.meters: RateMeters
        self.budget: BudgetMeter | None = None if retry_budget is None else BudgetMeter(retry_budget)
        self.limited_until: float | None = None
        # Identifies the entry for ``limited_until`` in the heap of deadlines; 0 without an entry.
        self._ticket = 0
        self.is_shared: bool = False
        self.counts_starts: bool = False
        self.has_shares: bool = False
        self.has_meters: bool = False

    def note_limits(self) -> None:
        """Update `is_shared`, `has_meters` and `counts_starts`."""
        has_keys = self._lifecycle.keys is not None
        self.has_meters = bool(self.meters)
        self.is_shared = (
            self.max_running != math.inf or self.has_meters or self.has_shares or self.hold.is_on or has_keys
        )
        self.counts_starts = self.has_meters or self.budget is not None or has_keys

    def allows_start(self, now: float) -> bool:
        """Whether the limits of the pool allow one more attempt to start now."""
        for meter in self.meters.starts:
            if meter.ready_at(now) > now:
                return False
        # As `room`, which would be one more call for each job.
        hold, lifecycle = self.hold, self._lifecycle
        if hold.paused or hold.rest_end.at is not None:
            return False
        return self.max_running > lifecycle.count[RUNNING] + lifecycle.surplus

    @property
    def room(self) -> float:
        """How many more attempts may run."""
        if self.hold.paused or self.hold.rest_end.at is not None:
            return 0
        return self.max_running - self._lifecycle.count[RUNNING] - self._lifecycle.surplus

    def is_rate_limited(self, now: float) -> bool:
        """Whether the pool's rate limits without a unit allow no start now."""
        return bool(self.meters.starts) and self.meters.ready_at(now) > now

    def set_max_running(self, limit: float) -> None:
        """Change how many attempts may run at once."""
        self.max_running = limit
        self.note_limits()

    def no_longer_limited(self) -> None:
        """Record that the pool's rate limit allows a start now."""
        self.limited_until = None
        self._ticket = 0

    def wait_for_meter(self, ready: float | None) -> None:
        """Record until when the pool's rate limit delays a job or a new worker; None for no delay."""
        if self.limited_until == ready:
            return
        if self.limited_until is not None:
            self._deadlines.drop(self)
        self.limited_until = ready
        if ready is not None:
            self._deadlines.add_ticketed(Due.RATE, self, ready)
