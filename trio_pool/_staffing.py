"""Core: when an elastic pool opens another worker, and when it retires one."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from ._deadlines import Due
from ._effects import Hire
from ._job import JobState
from ._seat import Phase

if TYPE_CHECKING:
    from ._deadlines import Deadlines
    from ._dispatch import Dispatch
    from ._effects import Effects
    from ._elastic import Elastic
    from ._ledger import Ledger
    from ._places import Places
    from ._queue import ReadyQueue
    from ._roster import Roster, Terms
    from ._seat import Seat


class Staffing:
    """Holds the number of elastic workers between ``min`` and ``max``.

    Workers that the program has added itself are none of its business.

    How long a worker has been idle says little: where the longest idle one gets the next job,
    none is idle for long, however many there are. What counts is since when there has been one idle
    worker, two idle workers, and so on without a break.
    """

    __slots__ = (
        "_crew",
        "_deadlines",
        "_dispatch",
        "_effects",
        "_elastic",
        "_idle_since",
        "_ledger",
        "_ordered",
        "_places",
        "_queue",
        "_retire_at",
        "_roster",
    )

    def __init__(
        self,
        elastic: Elastic[Any],
        roster: Roster,
        ledger: Ledger,
        deadlines: Deadlines,
        queue: ReadyQueue,
        places: Places,
        dispatch: Dispatch,
        effects: Effects,
    ) -> None:
        self._elastic = elastic
        self._roster = roster
        self._ledger = ledger
        self._deadlines = deadlines
        self._queue = queue
        self._places = places
        self._dispatch = dispatch
        self._effects = effects
        self._crew: dict[Seat, None] = {}
        # Since when there have been so many idle workers: the first for one, the second for two ...
        self._idle_since: deque[float] = deque()
        # When it is to be looked for some to retire.
        self._retire_at: float | None = None
        # Workers that the shell has been told to open, but that have not joined yet.
        self._ordered = 0

    @property
    def is_hiring(self) -> bool:
        """Whether a worker is about to join."""
        return self._ordered > 0

    def could_take(self, terms: Terms) -> bool:
        """Whether a worker that could be opened may take such a job."""
        return terms.pinned is None and terms.requires <= self._elastic.tags

    def joined(self, seat: Seat, *, ordered: bool) -> None:
        """One of these workers has joined."""
        self._crew[seat] = None
        self._ordered -= ordered

    def refused(self) -> None:
        """A worker that was ordered will not join: the pool is ending."""
        self._ordered -= 1

    def gone(self, seat: Seat) -> None:
        """A worker is to leave, or has left."""
        self._crew.pop(seat, None)

    def hire(self, now: float) -> None:
        """Order what is missing: for jobs that wait, and to keep the least number of workers."""
        there = len(self._crew) + self._ordered
        if there >= self._elastic.max:
            return
        missing = self._elastic.min - there
        if waiting := self._waiting():
            opening = self._ordered + sum(seat._phase is not Phase.OPEN for seat in self._crew)
            missing = max(missing, min(waiting, self._startable(now)) - opening)
        if missing <= 0 or any(seat._failing for seat in self._crew):
            return  # where the resource can't be opened, one worker that tries is enough
        for _ in range(int(min(missing, self._elastic.max - there))):
            self._ordered += 1
            self._effects.append(Hire())

    def not_needed(self) -> Seat | None:
        """A worker whose resource can't be opened, and for which no job waits any more, or None."""
        if len(self._crew) <= self._elastic.min or self._waiting():
            return None
        return next((seat for seat in self._crew if seat._failing), None)

    def parked(self, seat: Seat, now: float) -> None:
        """A worker has become idle."""
        if not seat._elastic:
            return
        self._idle_since.append(now)
        if self._retire_at is None and len(self._crew) > self._elastic.min:
            self._look_again(now)

    def unparked(self, seat: Seat, *, retired: bool = False) -> None:
        """A worker is idle no longer."""
        if not seat._elastic:
            return
        if retired:
            self._idle_since.popleft()  # it is its time that is up, not that of the others
        else:
            self._idle_since.pop()

    def retire(self, now: float) -> Seat | None:
        """The next worker to be retired now, or None. It has to depart before this is asked again."""
        if not self._idle_since or len(self._crew) <= self._elastic.min:
            return None
        if self._idle_since[0] + self._elastic.idle_timeout > now:
            self._look_again(now)
            return None
        return next(seat for seat in self._roster.idle() if seat._elastic)

    def _look_again(self, now: float) -> None:
        when = max(now, self._idle_since[0] + self._elastic.idle_timeout)
        if when < math.inf:
            self._retire_at = when
            self._deadlines.add(Due.RETIRE, self, when)

    def _waiting(self) -> int:
        """How many jobs wait that one of these workers may take, in the queue or for a place in it."""
        lanes = (*self._queue.lanes(), *self._places.by_taker.lanes())
        return sum(lane.size for lane in lanes if self.could_take(lane.terms))

    def _startable(self, now: float) -> float:
        """How many more attempts the limits of the pool would let start now."""
        meter = self._dispatch.meter
        if meter is not None and meter.ready_at(now) > now:
            return 0
        return self._dispatch.max_running - self._ledger.count[JobState.RUNNING]
