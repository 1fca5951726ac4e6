"""Core: what a pool or a worker keeps for each of its limits, and what it may do by them."""

from __future__ import annotations

import enum
import math
import sys
from collections import deque
from typing import TYPE_CHECKING

from ._error_rule import applies
from ._retry import NOT_OF_THE_FUNCTION

if TYPE_CHECKING:
    from ._limits import CircuitBreaker, RateLimit, RetryBudget


class RateMeter:
    """When the next attempt may start under a `RateLimit`.

    Virtual scheduling keeps the time at which the next start is due, and adds ``per / count``
    to it with each. The rounding of these sums would add up, mostly in one direction, and at
    a million starts a second the rate would drift. So that time is worked out anew with each
    start, from the last moment at which a whole burst could start and from how many have
    started since. Its error is that of one sum, however many there were.

    The clock has to tell times ``per / count`` apart, or more than a burst may start at what
    it takes for one instant.

    Attributes:
      limit: what it holds to; `change` it.
    """

    __slots__ = ("_at_once", "_pending", "_ready", "_since", "_started", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self.limit: RateLimit = limit
        # How many could start at the time ``_since``, and how many have started from then on.
        self._since = -math.inf
        self._at_once: float = limit.burst
        self._started = 0
        # When the next may start: follows from the above, but is asked for more often.
        self._ready = -math.inf
        # How many of these have been handed out and have not begun.
        self._pending = 0

    def ready_at(self, now: float) -> float:
        """The earliest time from ``now`` on at which an attempt may start.

        Until something starts or the limit changes, the answer is the same: who sleeps until
        then may start. But while as many have been handed out and not begun as may start at once, it
        is not known when the next may, and it is worth asking again then.
        """
        if self._ready <= now and self._pending and self._pending + 1 > self.limit.burst:
            return now + float(self.limit.per) / self.limit.count
        return max(now, self._ready)

    def startable(self, now: float) -> int:
        """How many attempts may start now, one right after the other."""
        if self.ready_at(now) > now:
            return 0
        at_once = min(self._level(now), self.limit.burst - self._pending)
        return max(1, math.floor(at_once))  # at least the one, however the sum is rounded

    def start(self, now: float) -> None:
        """An attempt starts. Call it only when one may."""
        full_at = self._time_of(self._started + self.limit.burst - self._at_once)
        # Not at ``full_at`` itself, which is when each start comes if there is always work
        # and the burst is 1: ``full_at`` is rounded, and all that comes after would be too.
        if now > full_at:
            self._since = now
            self._at_once = self.limit.burst
            self._started = 0
        self._started += 1
        self._ready = self._time_of(self._started + 1 - self._at_once)

    def hand_out(self, now: float) -> None:
        """The same for an attempt that has not begun: `begun` or `give_back` has to follow."""
        self.start(now)
        self._pending += 1

    def begun(self, now: float, handed_out_at: float) -> None:
        """One that was handed out then begins now: it counts from here on."""
        if now > handed_out_at:
            # All could have been there now, but for those that have not begun.
            most = self.limit.burst - self._pending
            if self._level(now) > most:
                self._set(most, now)
        self._pending -= 1

    def give_back(self) -> None:
        """One that was handed out will not begin."""
        self._pending -= 1
        self._started -= 1
        self._ready = self._time_of(self._started + 1 - self._at_once)

    def change(self, limit: RateLimit, now: float) -> None:
        """Hold to another limit from now on, but hand out no fresh burst for it.

        As many may start at once as before, fractions of a start included, or as many as the
        new burst allows. From there on it grows at the new rate.
        """
        level = min(self._level(now), limit.burst)
        self.limit = limit
        self._set(level, now)

    def _level(self, now: float) -> float:
        """How many may start now, fractions included; less than 1 if none may."""
        regained = (now - self._since) * self.limit.count / self.limit.per
        return min(self._at_once + regained - self._started, self.limit.burst)

    def _set(self, level: float, now: float) -> None:
        """So many may start now."""
        self._since = now
        self._at_once = level
        self._started = 0
        self._ready = self._time_of(1 - level)

    def _time_of(self, starts: float) -> float:
        """When so many starts will have been regained."""
        # With a float, as what gets too large then is inf. Two ints would raise an error.
        return self._since + starts * float(self.limit.per) / self.limit.count


class _Bucket:
    """What is counted together, because it happened at about the same time."""

    __slots__ = ("attempts", "first", "retries")

    def __init__(self, first: float) -> None:
        self.first = first
        self.attempts = 0
        self.retries = 0


# Into so many parts of about equal length a window is divided at most.
_GRAINS = 1000


class BudgetMeter:
    """Whether a `RetryBudget` allows another retry.

    What happens within a thousandth of the window is kept as one, with the time of the first,
    so that at whatever rate it never keeps more than about a thousand entries. The price: an
    attempt or retry may stop counting that much too soon, after 0.999 of the window. It never
    counts for longer than the window.

    Attributes:
      budget: what it holds to.
    """

    __slots__ = ("_attempts", "_buckets", "_retries", "budget")

    def __init__(self, budget: RetryBudget) -> None:
        self.budget: RetryBudget = budget
        self._buckets: deque[_Bucket] = deque()
        # The sums over the buckets.
        self._attempts = 0
        self._retries = 0

    def attempt(self, now: float) -> None:
        """An attempt has started, the first of its job or another."""
        self._bucket(now).attempts += 1
        self._attempts += 1

    def allows_retry(self, now: float) -> bool:
        """Whether there may be one more retry."""
        self._forget(now)
        retries = self._retries + 1
        if retries <= self.budget.minimum:
            return True
        # Divided and not multiplied: 0.29 * 100 is less than 29, but 29 / 100 is what 0.29 is.
        return self._attempts > 0 and retries / self._attempts <= self.budget.ratio

    def retry(self, now: float) -> None:
        """A retry has been granted. When it starts, it is an attempt besides."""
        self._bucket(now).retries += 1
        self._retries += 1

    def _bucket(self, now: float) -> _Bucket:
        self._forget(now)
        if not self._buckets or now - self._buckets[-1].first > self.budget.window / _GRAINS:
            self._buckets.append(_Bucket(now))
        return self._buckets[-1]

    def _forget(self, now: float) -> None:
        while self._buckets and now - self._buckets[0].first >= self.budget.window:
            bucket = self._buckets.popleft()
            self._attempts -= bucket.attempts
            self._retries -= bucket.retries


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
        return applies("counts", self.policy.counts, error, NOT_OF_THE_FUNCTION)

    def _open(self, now: float) -> None:
        self._probing = False
        self.open_until = now + self._wait
