"""How often attempts may start."""

from __future__ import annotations

import math

import attrs

from . import validate


@attrs.frozen
class RateLimit:
    """How often attempts may start: ``burst`` at once, ``count`` per ``per`` seconds in the long run.

    The algorithm is the generic cell rate algorithm in its virtual scheduling form (ITU-T I.371,
    and the ATM Forum's Traffic Management Specification 4.0). Starts are due ``per / count``
    seconds apart, and an attempt may start up to ``burst - 1`` times that interval before it is
    due. So no period of ``per`` seconds contains more than ``count + burst`` starts. After an idle
    period, at most one burst is made up for.

    With the default burst of 1, a late start delays all later starts, and every start is a little
    late. Use a burst of 2 or more to reach the full rate. A start counts when the job's function
    begins.

    An immutable value: instances compare and print by their fields. Each pool and each worker with
    a rate limit keeps its own count.

    Arguments:
      count: how many attempts may start per ``per`` seconds, more than zero; may be a fraction.
      per: seconds, more than zero.
      burst: how many attempts may start at the same instant, at least 1.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    count: float = attrs.field(validator=validate.by(validate.positive, finite=True))
    per: float = attrs.field(default=1.0, validator=validate.by(validate.positive, finite=True))
    # The meter calculates with fractions of the burst, so the burst must fit a float.
    burst: int = attrs.field(default=1, validator=[validate.by(validate.count, least=1), validate.by(validate.real)])


class RateMeter:
    """Calculates when the next attempt may start under a `RateLimit`.

    Virtual scheduling stores the time at which the next start is due, and adds ``per / count`` to
    it at each start. The rounding errors of these sums would accumulate, mostly in one direction,
    so the rate would drift at a million starts per second. Therefore each start calculates that
    time from two values: the last moment at which a whole burst could start, and the number of
    starts since. The error is that of a single sum, however many starts there were.

    The clock must be able to represent an interval of ``per / count``. Otherwise more than a burst
    may start at what the clock shows as one instant.

    Attributes:
      limit: the current limit; call `change` to replace it.
    """

    __slots__ = ("_at_once", "_pending", "_ready", "_since", "_started", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self.limit: RateLimit = limit
        # How many attempts could start at the time ``_since``, and how many have started since.
        self._since = -math.inf
        self._at_once: float = limit.burst
        self._started = 0
        # When the next attempt may start. Derived from the fields above, but read more often.
        self._ready = -math.inf
        # How many of the started attempts have been handed out and have not begun.
        self._pending = 0

    def ready_at(self, now: float) -> float:
        """The earliest time from ``now`` on at which an attempt may start.

        The result is valid until an attempt starts or the limit changes. There is one exception:
        while a whole burst has been handed out and has not begun, the exact time is unknown. Then
        the result is when to call this again.
        """
        if self._ready <= now and self._pending and self._pending + 1 > self.limit.burst:
            return now + float(self.limit.per) / self.limit.count
        return max(now, self._ready)

    def startable(self, now: float) -> int:
        """How many attempts may start now, one right after the other."""
        if self.ready_at(now) > now:
            return 0
        at_once = min(self._level(now), self.limit.burst - self._pending)
        return max(1, math.floor(at_once))  # at least one, even if the sum is rounded down

    def start(self, now: float) -> None:
        """Record the start of an attempt. Call this only when `ready_at` allows a start."""
        full_at = self._time_of(self._started + self.limit.burst - self._at_once)
        # Not if both times are equal, as for each start if there is always work and the burst is 1.
        # ``full_at`` is rounded, and later times would inherit the error.
        if now > full_at:
            self._since = now
            self._at_once = self.limit.burst
            self._started = 0
        self._started += 1
        self._ready = self._time_of(self._started + 1 - self._at_once)

    def hand_out(self, now: float) -> None:
        """Record the start of an attempt that has not begun: call `begun` or `give_back` next."""
        self.start(now)
        self._pending += 1

    def begun(self, now: float, handed_out_at: float) -> None:
        """Record that an attempt handed out at that time begins now: it counts from now on."""
        if now > handed_out_at:
            # A whole burst could start now, minus the attempts that have not begun.
            most = self.limit.burst - self._pending
            if self._level(now) > most:
                self._set(most, now)
        self._pending -= 1

    def give_back(self) -> None:
        """Undo `hand_out` for an attempt that will not begin."""
        self._pending -= 1
        self._started -= 1
        self._ready = self._time_of(self._started + 1 - self._at_once)

    def change(self, limit: RateLimit, now: float) -> None:
        """Apply another limit from now on, without a fresh burst.

        The number of attempts that may start at once stays the same, fractions included, but is at
        most the new burst. From there it grows at the new rate.
        """
        level = min(self._level(now), limit.burst)
        self.limit = limit
        self._set(level, now)

    def _level(self, now: float) -> float:
        """How many attempts may start now, fractions included; less than 1 if none may."""
        regained = (now - self._since) * self.limit.count / self.limit.per
        return min(self._at_once + regained - self._started, self.limit.burst)

    def _set(self, level: float, now: float) -> None:
        """Set how many attempts may start now."""
        self._since = now
        self._at_once = level
        self._started = 0
        self._ready = self._time_of(1 - level)

    def _time_of(self, starts: float) -> float:
        """When this number of starts will have been regained."""
        # A float overflows to inf here, while two ints would raise an error.
        return self._since + starts * float(self.limit.per) / self.limit.count
