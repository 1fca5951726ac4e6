"""Core: what holds a worker back for a time: rests, quarantines, its rate limit, its resource's age."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._deadlines import FIELDS, Due

if TYPE_CHECKING:
    from ._deadlines import Deadlines
    from ._ledger import Ledger
    from ._seat import Seat


class Holds:
    """Each of them has at most one entry in the heap of deadlines that is not stale."""

    __slots__ = ("_deadlines", "_ledger")

    def __init__(self, ledger: Ledger, deadlines: Deadlines) -> None:
        self._ledger = ledger
        self._deadlines = deadlines

    def rest(self, seat: Seat, until: float, now: float) -> bool:
        """Let a worker rest; of two rests the later end holds. Returns whether it is this one."""
        held = seat._resting_until
        if seat._gone or until <= now or (held is not None and held >= until):
            return False
        if held is not None:
            self._deadlines.forget()
        seat._resting_until = until
        self._deadlines.add(Due.REST, seat, until)
        self._ledger.tell("worker_resting", seat, until)
        return True

    def quarantine(self, seat: Seat, until: float) -> None:
        """A worker's breaker has opened."""
        if seat._quarantined_until is not None:
            self._deadlines.forget()
        seat._quarantined_until = until
        self._deadlines.add(Due.QUARANTINE, seat, until)
        self._ledger.tell("worker_quarantined", seat, until)

    def limit(self, seat: Seat, until: float) -> None:
        """A worker's rate limit lets nothing start until then."""
        if seat._limited_until == until:
            return
        if seat._limited_until is not None:
            self._deadlines.forget()
        seat._limited_until = until
        self._deadlines.add(Due.LIMIT, seat, until)

    def expire(self, seat: Seat, at: float) -> None:
        """A worker's resource will be too old then, if ever."""
        if at != math.inf:
            seat._expires_at = at
            self._deadlines.add(Due.AGE, seat, at)

    def drop(self, seat: Seat, *dues: Due) -> None:
        """These hold the worker no longer, or never will."""
        for due in dues:
            field = FIELDS[due]
            if getattr(seat, field) is not None:
                setattr(seat, field, None)
                self._deadlines.forget()
