"""How often attempts may start."""

from __future__ import annotations

import math

import attrs

from . import validate


@attrs.frozen
class RateLimit:
    """How often attempts may start: ``burst`` at once, ``count`` each ``per`` seconds in the long run.

    The rule is the generic cell rate algorithm, as virtual scheduling (ITU-T I.371, and the
    ATM Forum's Traffic Management Specification 4.0): starts are due ``per / count`` seconds
    apart, and one may come before it is due by ``burst - 1`` times that. So no ``per``
    seconds hold more than ``count + burst`` starts, wherever they begin, and of the time in
    which nothing started, no more than a burst is made up for. With the default burst of 1, a
    start that comes late, as all do by a little, makes all later ones late: who wants the
    whole rate takes 2 or more. A start counts when the job's function begins.

    A value: compare it, print it. Each pool and each worker that gets it counts for itself.

    Arguments:
      count: how many attempts may start each ``per`` seconds, more than zero; a fraction
          is fine.
      per: seconds, more than zero.
      burst: how many may start at one and the same instant, at least 1.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    count: float = attrs.field(validator=validate.by(validate.positive, finite=True))
    per: float = attrs.field(default=1.0, validator=validate.by(validate.positive, finite=True))
    # The meter takes fractions of it, so it must be small enough for a float.
    burst: int = attrs.field(default=1, validator=[validate.by(validate.count, least=1), validate.by(validate.real)])


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
