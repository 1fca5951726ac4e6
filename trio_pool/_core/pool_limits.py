"""The limits of the pool as a whole: concurrent attempts, the rate of starts, and retries."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model.states import JobState
from .._policies.rate_limit import RateMeter
from .._policies.retry_budget import BudgetMeter
from .deadlines import Due

if TYPE_CHECKING:
    from .._policies.rate_limit import RateLimit
    from .._policies.retry_budget import RetryBudget
    from .deadlines import Deadlines
    from .lifecycle import Lifecycle
    from .pool_hold import PoolHold

RUNNING = JobState.RUNNING  # read for every job, and slow to access through the enum


class PoolLimits:
    """The limits of a pool, and their counters.

    Attributes:
      max_running: how many attempts may run at once; changed by `set_max_running`.
      hold: the pause and the rest of the pool; after a change of it, call `note_limits`.
      is_shared: whether the workers share a limit, so that which job starts may depend on all of them.
      counts_starts: whether the start of each attempt counts against a rate limit or a budget of the pool.
      meter: the meter of the pool's rate limit, or None.
      budget: the meter of the pool's retry budget, or None.
      limited_until: until when the pool's rate limit delays a job that could start otherwise.
    """

    __slots__ = (
        "_deadlines",
        "_lifecycle",
        "_meter_before",
        "_ticket",
        "budget",
        "counts_starts",
        "hold",
        "is_shared",
        "limited_until",
        "max_running",
        "meter",
    )

    def __init__(
        self,
        lifecycle: Lifecycle,
        deadlines: Deadlines,
        hold: PoolHold,
        max_running: float,
        rate_limit: RateLimit | None,
        retry_budget: RetryBudget | None,
    ) -> None:
        self._lifecycle = lifecycle
        self._deadlines = deadlines
        self.hold: PoolHold = hold
        self.max_running: float = max_running
        self.meter: RateMeter | None = None if rate_limit is None else RateMeter(rate_limit)
        self.budget: BudgetMeter | None = None if retry_budget is None else BudgetMeter(retry_budget)
        # The last meter while there is no limit, which must not forget the recent starts.
        self._meter_before: RateMeter | None = None
        self.limited_until: float | None = None
        # Identifies the entry for ``limited_until`` in the heap of deadlines; 0 without an entry.
        self._ticket = 0
        self.is_shared: bool = False
        self.counts_starts: bool = False
        self.note_limits()

    def note_limits(self) -> None:
        """Update `is_shared` and `counts_starts`."""
        self.is_shared = self.max_running != math.inf or self.meter is not None or self.hold.is_on
        self.counts_starts = self.meter is not None or self.budget is not None

    def allows_start(self, now: float) -> bool:
        """Whether the limits of the pool allow one more attempt to start now."""
        return self.room > 0 and not self.is_rate_limited(now)

    @property
    def room(self) -> float:
        """How many more attempts may run."""
        if self.hold.is_on:
            return 0
        return self.max_running - self._lifecycle.count[RUNNING] - self._lifecycle.surplus

    def is_rate_limited(self, now: float) -> bool:
        """Whether the pool's rate limit allows no start now."""
        return self.meter is not None and self.meter.ready_at(now) > now

    def set_max_running(self, limit: float) -> None:
        """Change how many attempts may run at once."""
        self.max_running = limit
        self.note_limits()

    def set_rate_limit(self, limit: RateLimit | None, now: float) -> None:
        """Change how often attempts may start in the pool, without a fresh burst."""
        meter = self.meter or self._meter_before
        if limit is None:
            self._meter_before, self.meter = meter, None
        elif meter is None:
            self.meter = RateMeter(limit)
        else:
            meter.change(limit, now)
            self._meter_before, self.meter = None, meter
        self.note_limits()
        if self.meter is None:
            self.wait_for_meter(None)

    def no_longer_limited(self) -> None:
        """Record that the pool's rate limit allows a start now."""
        self.limited_until = None
        self._ticket = 0

    def wait_for_meter(self, ready: float | None) -> None:
        """Record until when the pool's rate limit delays a job or a new worker; None for no delay."""
        if self.limited_until == ready:
            return
        if self.limited_until is not None:
            self._ticket = 0
            self._deadlines.forget()
        self.limited_until = ready
        if ready is not None:
            self._deadlines.add_ticketed(Due.RATE, self, ready)
