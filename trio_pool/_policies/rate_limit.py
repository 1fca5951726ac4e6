"""How often attempts may start: the limits, as values and as shared objects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import attrs

from .._basics.attributes import FixedAttributes
from .._basics.pickling import Handle
from .._basics.text import one_line
from . import validate
from .rate_meter import RateMeter

if TYPE_CHECKING:
    from .rate_meter import Amount


def _as_unit(value: str | None) -> str | None:
    return validate.word("unit", value)


@attrs.frozen
class RateLimit:
    """How often attempts may start: ``burst`` at once, ``count`` per ``per`` seconds in the long run.

    Without a ``unit``, each start counts as 1. With a unit, a start counts as what its job's option
    ``uses`` says for that unit, and the limit applies only to jobs whose ``uses`` names the unit.
    The *level* of a limit is ``burst`` at first and at most, and grows by ``count`` per ``per``
    seconds. An attempt may start if the level is at least 1, whatever its own amount. Then the
    amount is subtracted from the level, which may become negative.

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
      count: how many attempts may start per ``per`` seconds, more than zero; can be a fraction.
      per: seconds, more than zero.
      burst: how many attempts may start at the same instant, at least 1. With a unit, the amount
          that may be used before the first wait.
      unit: what is counted, such as ``"tokens"``, not empty; starts by default.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    count: float = attrs.field(validator=validate.by(validate.positive, finite=True))
    per: float = attrs.field(default=1.0, validator=validate.by(validate.positive, finite=True))
    # The meter calculates with fractions of the burst, so the burst must fit a float.
    burst: int = attrs.field(default=1, validator=[validate.by(validate.count, least=1), validate.by(validate.real)])
    unit: str | None = attrs.field(default=None, kw_only=True, converter=_as_unit)

    def shared(self, *, name: str | None = None) -> SharedRateLimit:
        """Make a limit from which several workers and pools draw together.

        Arguments:
          name: the name of the shared limit, by which others can recognize it; not empty.

        Returns:
          SharedRateLimit: a new one each time, with a level of its own.

        Raises:
          ValueError, TypeError: if the name is empty or not a str.
        """
        return SharedRateLimit(self, validate.word("name", name))


class Place(Protocol):
    """The Trio run to which a shared limit belongs from its first use on."""

    def current_time(self) -> float: ...
    def is_own_run(self) -> bool: ...
    def is_same_run(self, other: Place) -> bool: ...


class Sharer(Protocol):
    """A pool that draws from a shared limit, itself or through its workers or keys."""

    def share_of(self, shared: SharedRateLimit) -> Share:
        """The pool's part in a shared limit."""
        ...

    def wake(self, share: Share, at: float = -math.inf) -> None:
        """Look again at the jobs that wait for the limit, at this time or as soon as possible."""
        ...


class SharedRateLimit(Handle, FixedAttributes):
    """A rate limit from which several workers and pools of one Trio run draw together.

    Made by `RateLimit.shared`. Use it wherever a `RateLimit` can be used. A run draws once,
    however many of its holders have the limit: its worker, its pool. Pools that wait for it take
    turns.

    Unlike a `RateLimit`, this is not a value: it keeps its own level. It belongs to the Trio run
    in which a pool first uses it.
    """

    __slots__ = ("_limit", "_line", "_meter", "_name", "_place", "_rests_until")

    def __init__(self, limit: RateLimit, name: str | None) -> None:
        self._name = name
        self._limit = limit
        self._meter = RateMeter(limit, limit.unit)
        self._meter.on_more = self._wake_first
        self._place: Place | None = None
        self._rests_until = -math.inf
        # The shares of the pools that wait, in the order of their turns.
        self._line: dict[Share, None] = {}

    @property
    def name(self) -> str | None:
        """The name given to `RateLimit.shared`, or None."""
        return self._name

    @property
    def unit(self) -> str | None:
        """What is counted, or None for starts."""
        return self._limit.unit

    @property
    def limit(self) -> RateLimit:
        """The limit. Assign to change it; the level stays the same, but is at most the new burst.

        Raises:
          ValueError: if the new limit has another unit.
          RuntimeError: if assigned in another Trio run or thread.
        """
        return self._limit

    @limit.setter
    def limit(self, limit: RateLimit) -> None:
        self._check_place()
        validate.instance("limit", limit, RateLimit)
        if limit.unit != self.unit:
            raise ValueError(f"limit must have the unit {self.unit!r}, as before, {validate.got(limit)}")
        now = 0.0 if self._place is None else self._place.current_time()
        self._limit = limit
        self._meter.change(limit, now)

    def rest(self, seconds: float) -> None:
        """Let nothing start under the limit for some time; if two rests overlap, the later end applies.

        Arguments:
          seconds: the duration from now on; finite, zero or more.

        Raises:
          RuntimeError: if called before any pool has used the limit, or in another Trio run or thread.
        """
        self._check_place()
        duration = validate.seconds("seconds", seconds, finite=True)
        if self._place is None:
            raise RuntimeError("rest() must be called when a pool uses the limit: no pool has done so yet")
        self._rests_until = max(self._rests_until, self._place.current_time() + duration)

    def __repr__(self) -> str:
        name = "" if self._name is None else f" {one_line(self._name)!r}"
        return f"<trio_pool.SharedRateLimit{name}: {self.limit!r}>"

    # What pools use.

    def _settle_in(self, place: Place) -> None:
        """Assign the limit to a Trio run; raise RuntimeError if it belongs to another one."""
        if self._place is None:
            self._place = place
        elif not self._place.is_same_run(place):
            raise RuntimeError(f"{self!r} belongs to another Trio run; create one for each run")

    def _check_place(self) -> None:
        if self._place is not None and not self._place.is_own_run():
            raise RuntimeError(f"{self!r} belongs to another Trio run or thread")

    def _ready_at(self, now: float) -> float:
        return max(self._meter.ready_at(now), self._rests_until)

    def _wake_first(self, at: float = -math.inf) -> None:
        first = next(iter(self._line), None)
        if first is not None:
            first.sharer.wake(first, at)


class Share:
    """The part that one pool has in a shared limit: a meter like `RateMeter` that waits for the pool's turn.

    The first pool in line is woken as soon as the limit allows a start, whatever else holds the pool
    back. If it then starts nothing, it passes its turn on.

    Attributes:
      shared: the limit.
      sharer: the pool.
      at: when the pool looks at the limit again, or None; owned by the pool's heap of deadlines.
    """

    __slots__ = ("_ticket", "at", "shared", "sharer")

    def __init__(self, shared: SharedRateLimit, sharer: Sharer) -> None:
        self.shared: SharedRateLimit = shared
        self.sharer: Sharer = sharer
        self.at: float | None = None
        self._ticket = 0

    @property
    def unit(self) -> str | None:
        """What is counted, or None for starts."""
        return self.shared.unit

    def ready_at(self, now: float) -> float:
        """The earliest time from ``now`` on at which an attempt may start, or ``inf`` for not before a wake-up."""
        ready = self.shared._ready_at(now)
        if ready <= now and next(iter(self.shared._line), self) is not self:
            return math.inf  # it is another pool's turn
        return ready

    def startable(self, now: float) -> int:
        """How many attempts that count as 1 may start now, one right after the other."""
        return 0 if self.ready_at(now) > now else self.shared._meter.startable(now)

    def level(self, now: float) -> float:
        """How much may be drawn now."""
        return self.shared._meter.level(now)

    def lower(self, level: float, now: float) -> bool:
        """See `RateMeter.lower`."""
        return self.shared._meter.lower(level, now)

    def wait(self, now: float) -> None:
        """Wait for the pool's turn, behind the pools that already wait."""
        self.shared._line.setdefault(self, None)
        self.await_turn(now)

    def await_turn(self, now: float) -> None:
        """If the pool is the first in line, have it woken when the limit allows a start."""
        if next(iter(self.shared._line), None) is self and (ready := self.shared._ready_at(now)) > now:
            self.sharer.wake(self, ready)

    def pass_on(self, now: float) -> None:
        """Give the turn to the next pool if this one has not used it."""
        line = self.shared._line
        if self.at is not None and self.at <= now:
            return  # the pool has not yet checked what it may start
        if next(iter(line), None) is self and self.shared._ready_at(now) <= now:
            del line[self]
            self.shared._wake_first()

    def leave(self) -> None:
        """Stop waiting, since the pool has ended."""
        if self in self.shared._line:
            del self.shared._line[self]
            self.shared._wake_first()

    def hand_out(self, now: float, amount: Amount = 1) -> None:
        """See `RateMeter.hand_out`."""
        self.shared._line.pop(self, None)
        self.shared._meter.hand_out(now, amount)
        self.shared._wake_first(self.shared._ready_at(now))

    def begun(self, now: float, amount: Amount = 1) -> None:
        """See `RateMeter.begun`."""
        self.shared._meter.begun(now, amount)

    def give_back(self, amount: Amount = 1) -> None:
        """See `RateMeter.give_back`."""
        self.shared._meter.give_back(amount)

    def correct(self, now: float, difference: Amount) -> None:
        """See `RateMeter.correct`."""
        self.shared._meter.correct(now, difference)
