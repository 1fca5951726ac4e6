"""Counting starts under a rate limit."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

Amount: TypeAlias = "int | Fraction"
"""What a start draws. Sums of ints and fractions are exact, in whatever order they are added up."""


class Rate(Protocol):
    """The fields of a `RateLimit`."""

    @property
    def count(self) -> float: ...
    @property
    def per(self) -> float: ...
    @property
    def burst(self) -> int: ...


class RateMeter:
    """Calculates when the next attempt may start under a `RateLimit`.

    Virtual scheduling stores the time at which the next start is due, and adds ``per / count`` to
    it at each start. The rounding errors of these sums would accumulate, mostly in one direction,
    so the rate would drift at a million starts per second. Therefore each start calculates that
    time from two values: the last moment at which the level was a whole burst, and the exact amount
    drawn since then. The error is that of a single sum, however many starts there were.

    The clock must be able to represent an interval of ``per / count``. Otherwise more than a burst
    may start at what the clock shows as one instant.

    An amount that has been handed out counts as drawn, but the level grows as if it weren't: a start
    counts from the moment when its function begins.

    Attributes:
      limit: the current limit; call `change` to replace it.
      unit: what is counted, or None for starts.
      on_more: called when the level has risen other than by the passing of time, so that a start may be due earlier.
    """

    __slots__ = ("_at_once", "_drawn", "_pending", "_ready", "_since", "limit", "on_more", "unit")

    def __init__(self, limit: Rate, unit: str | None = None) -> None:
        self.unit: str | None = unit
        self.limit: Rate = limit
        self.on_more: Callable[[], object] | None = None
        # The level at the time ``_since``, and how much attempts that have begun have drawn since then.
        self._since = -math.inf
        self._at_once: Amount = limit.burst
        self._drawn: Amount = 0
        # How much has been handed out for attempts that have not begun.
        self._pending: Amount = 0
        # When the next attempt may start. Derived from the fields above, but read more often.
        self._ready = -math.inf

    def ready_at(self, now: float) -> float:
        """The earliest time from ``now`` on at which an attempt may start.

        The result is valid until something is drawn or the limit changes. There is one exception:
        while a whole burst has been handed out and has not begun, the exact time is unknown. Then
        the result is when to call this again.
        """
        if self._ready > now:
            return self._ready
        if self._pending and self._pending + 1 > self.limit.burst:
            return now + float(self.limit.per) / self.limit.count
        return now

    def startable(self, now: float) -> int:
        """How many attempts that count as 1 may start now, one right after the other."""
        if self.ready_at(now) > now:
            return 0
        return max(1, math.floor(self.level(now)))  # at least one, even if the sum is rounded down

    def level(self, now: float) -> float:
        """How much may be drawn now, fractions included; less than 1 if nothing may start."""
        return self._full_level(now) - as_float(self._pending)

    @property
    def full_at(self) -> float:
        """When the level will be a whole burst if nothing more is drawn; ``inf`` while an attempt has yet to begin."""
        return math.inf if self._pending else self._time_of(self._drawn + self.limit.burst - self._at_once)

    def start(self, now: float, amount: Amount = 1) -> None:
        """Record the start of an attempt that begins at once. Call this only when `ready_at` allows a start."""
        self._fill(now)
        self._drawn += amount
        self._note_ready()

    def hand_out(self, now: float, amount: Amount = 1) -> None:
        """Record the start of an attempt that has not begun: call `begun` or `give_back` next."""
        self._fill(now)
        self._pending += amount
        self._note_ready()

    def begun(self, now: float, amount: Amount = 1) -> None:
        """Record that an attempt that was handed out begins now: it counts from now on."""
        since = self._since
        self._fill(now)
        self._pending -= amount
        self._drawn += amount
        if self._since != since:  # otherwise the sum of both is what it was
            self._note_ready()

    def give_back(self, amount: Amount = 1) -> None:
        """Undo `hand_out` for an attempt that will not begin."""
        self._pending -= amount
        self._note_ready()
        self._note_more()

    def correct(self, now: float, difference: Amount) -> None:
        """Draw this much more for an attempt that has begun, or give it back if the difference is negative."""
        self._fill(now)
        self._drawn += difference
        self._fill(now)  # no more than a burst can be given back
        self._note_ready()
        if difference < 0:
            self._note_more()

    def change(self, limit: Rate, now: float) -> None:
        """Apply another limit from now on, without a fresh burst.

        The level stays the same, fractions included, but is at most the new burst. From there it
        grows at the new rate.
        """
        self.set_level(limit, self._full_level(now), now)

    def lower(self, level: float, now: float) -> bool:
        """Lower the level to this one if it is higher; return whether it was."""
        is_higher = self.level(now) > level
        if is_higher:
            self.set_level(self.limit, level + as_float(self._pending), now)
        return is_higher

    def set_level(self, limit: Rate, level: float, now: float) -> None:
        """Apply a limit from now on, with this level but at most its burst."""
        self.limit = limit
        self._since = now
        self._at_once = exact(max(min(level, limit.burst), -sys.float_info.max))
        self._drawn = 0
        self._note_ready()
        self._note_more()

    def _full_level(self, now: float) -> float:
        """The level as if nothing was handed out."""
        regained = (now - self._since) * self.limit.count / self.limit.per
        return min(as_float(self._at_once - self._drawn) + regained, self.limit.burst)

    def _fill(self, now: float) -> None:
        # Not if both times are equal, as at each start if there is always work and the burst is 1:
        # the time is rounded, and later times would inherit the error.
        if now > self._time_of(self._drawn + self.limit.burst - self._at_once):
            self._since = now
            self._at_once = self.limit.burst
            self._drawn = 0

    def _note_ready(self) -> None:
        self._ready = self._time_of(self._drawn + self._pending + 1 - self._at_once)

    def _note_more(self) -> None:
        if self.on_more is not None:
            self.on_more()

    def _time_of(self, amount: Amount) -> float:
        """When this amount will have been regained."""
        # A float overflows to inf here, while two ints would raise an error.
        try:
            return self._since + amount * float(self.limit.per) / self.limit.count
        except OverflowError:  # an int that is too large for a float
            return self._since + as_float(amount) * float(self.limit.per) / self.limit.count


def exact(number: float) -> Amount:
    """Return a finite number as an int or a fraction, which are exact in sums."""
    if isinstance(number, int):
        return number
    if number.is_integer():
        return int(number)
    from fractions import Fraction  # importing it takes a tenth of the time of importing the whole package

    return Fraction(number)


def as_float(number: Amount) -> float:
    """Return a number as a float, which may be infinite."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
