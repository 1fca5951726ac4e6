"""How many retries are allowed in relation to attempts."""

from __future__ import annotations

from collections import deque

import attrs

from . import validate


@attrs.frozen
class RetryBudget:
    """How many retries are allowed in relation to attempts, so that retries don't make an outage worse.

    Within ``window`` seconds the pool makes at most ``ratio`` times as many retries as attempts, or
    ``minimum`` retries if that is more. Retries count as attempts too. A failed job that the budget
    allows no retry is dead (`DeadReason.BUDGET_EXHAUSTED`). After Finagle's ``RetryBudget``, and
    the retry budgets in Google's "Site Reliability Engineering" (O'Reilly 2016), chapter 21.

    An immutable value: instances compare and print by their fields. Each pool keeps its own count.

    Arguments:
      ratio: retries per attempt, zero or more.
      minimum: the number of retries that are always allowed, zero or more.
      window: seconds after which attempts and retries no longer count, more than zero; exact to a
          thousandth of it.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    ratio: float = attrs.field(default=0.2, validator=validate.by(validate.seconds, finite=True))
    minimum: int = attrs.field(default=3, validator=validate.by(validate.count, least=0))
    window: float = attrs.field(default=60.0, validator=validate.by(validate.positive, finite=True))


class _Bucket:
    """The attempts and retries of one short period, counted together."""

    __slots__ = ("attempts", "first", "retries")

    def __init__(self, first: float) -> None:
        self.first = first
        self.attempts = 0
        self.retries = 0


# The maximum number of periods into which a window is divided.
_GRAINS = 1000


class BudgetMeter:
    """Decides whether a `RetryBudget` allows another retry.

    Events within a thousandth of the window share one entry with the time of the first event. So
    the meter keeps at most about a thousand entries at any rate. The price: an event may stop
    counting up to a thousandth too soon, after 0.999 of the window. No event counts for longer than
    the window.

    Attributes:
      budget: the policy that it applies.
    """

    __slots__ = ("_attempts", "_buckets", "_retries", "budget")

    def __init__(self, budget: RetryBudget) -> None:
        self.budget: RetryBudget = budget
        self._buckets: deque[_Bucket] = deque()
        # The sums over the buckets.
        self._attempts = 0
        self._retries = 0

    def attempt(self, now: float) -> None:
        """Record the start of an attempt, the first of its job or a retry."""
        self._bucket(now).attempts += 1
        self._attempts += 1

    def allows_retry(self, now: float) -> bool:
        """Whether one more retry is allowed."""
        self._forget(now)
        retries = self._retries + 1
        if retries <= self.budget.minimum:
            return True
        # A quotient and not a product: 0.29 * 100 is less than 29, but 29 / 100 equals 0.29.
        return self._attempts > 0 and retries / self._attempts <= self.budget.ratio

    def retry(self, now: float) -> None:
        """Record a granted retry. The start of the retry also counts as an attempt."""
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
