"""How many retries there may be for the attempts there are."""

from __future__ import annotations

from collections import deque

import attrs

from . import validate


@attrs.frozen
class RetryBudget:
    """How many retries there may be for the attempts there are: retries must not feed an outage.

    Within ``window`` seconds there may be ``ratio`` times as many retries as attempts, those
    that are retries included, or ``minimum`` if that is more. Where that allows no further
    one, a failed job is dead (`DeadReason.BUDGET_EXHAUSTED`). After Finagle's
    ``RetryBudget``, and the retry budgets in Google's "Site Reliability Engineering"
    (O'Reilly 2016), chapter 21.

    A value: compare it, print it. Each pool that gets it counts for itself.

    Arguments:
      ratio: retries for each attempt, zero or more.
      minimum: how many retries are always allowed, zero or more.
      window: seconds after which attempts and retries no longer count, more than zero; exact
          to a thousandth of it.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    ratio: float = attrs.field(default=0.2, validator=validate.by(validate.seconds, finite=True))
    minimum: int = attrs.field(default=3, validator=validate.by(validate.count, least=0))
    window: float = attrs.field(default=60.0, validator=validate.by(validate.positive, finite=True))


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
