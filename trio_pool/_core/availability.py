"""What holds a worker back for a time: rests, quarantines, its rate limit, its resource's age."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .deadlines import FIELDS, Due

if TYPE_CHECKING:
    from .._model.records import WorkerRecord
    from .deadlines import Deadlines
    from .lifecycle import Lifecycle

SEAT_DUES = (Due.AGE, Due.REST, Due.QUARANTINE, Due.LIMIT)


class Availability:
    """Each of them has at most one entry in the heap of deadlines that is not stale."""

    __slots__ = ("_deadlines", "_lifecycle")

    def __init__(self, lifecycle: Lifecycle, deadlines: Deadlines) -> None:
        self._lifecycle = lifecycle
        self._deadlines = deadlines

    def rest(self, seat: WorkerRecord, until: float, now: float) -> bool:
        """Let a worker rest; of two rests the later end holds. Returns whether it is this one."""
        held = seat._resting_until
        if seat._gone or until <= now or (held is not None and held >= until):
            return False
        self._hold(seat, Due.REST, until)
        self._lifecycle.tell("worker_resting", seat, until)
        return True

    def quarantine(self, seat: WorkerRecord, until: float) -> None:
        """A worker's breaker has opened."""
        self._hold(seat, Due.QUARANTINE, until)
        self._lifecycle.tell("worker_quarantined", seat, until)

    def limit(self, seat: WorkerRecord, until: float) -> None:
        """A worker's rate limit lets nothing start until then."""
        self._hold(seat, Due.LIMIT, until)

    def expire(self, seat: WorkerRecord, at: float) -> None:
        """A worker's resource will be too old then, if ever."""
        if at != math.inf:
            self._hold(seat, Due.AGE, at)

    def drop(self, seat: WorkerRecord) -> None:
        """The worker has left: nothing holds it any longer."""
        for due in SEAT_DUES:
            field = FIELDS[due]
            if getattr(seat, field) is not None:
                setattr(seat, field, None)
                self._deadlines.forget()

    def _hold(self, seat: WorkerRecord, due: Due, until: float) -> None:
        """Put a time in place of what may be there."""
        field = FIELDS[due]
        held = getattr(seat, field)
        if held == until:
            return  # a second entry for the same time would be as current as the first
        if held is not None:
            self._deadlines.forget()
        setattr(seat, field, until)
        self._deadlines.add(due, seat, until)
