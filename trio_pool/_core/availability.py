"""What holds a worker back for a time: rests, quarantines, its rate limit, its resource's age."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model.states import Hold
from .deadlines import HOLDS, Due

if TYPE_CHECKING:
    from .._model.records import WorkerRecord
    from .deadlines import Deadlines
    from .lifecycle import Lifecycle


class Availability:
    """Each of them has at most one entry in the heap of deadlines that is not stale."""

    __slots__ = ("_deadlines", "_lifecycle")

    def __init__(self, lifecycle: Lifecycle, deadlines: Deadlines) -> None:
        self._lifecycle = lifecycle
        self._deadlines = deadlines

    def rest(self, worker: WorkerRecord, until: float, now: float) -> bool:
        """Let a worker rest; of two rests the later end holds. Returns whether it is this one."""
        if worker._has_left or until <= max(now, worker._holds.get(Hold.RESTING, now)):
            return False
        self._hold(worker, Due.REST, until)
        self._lifecycle.tell("worker_resting", worker, until)
        return True

    def quarantine(self, worker: WorkerRecord, until: float) -> None:
        """A worker's breaker has opened."""
        self._hold(worker, Due.QUARANTINE, until)
        self._lifecycle.tell("worker_quarantined", worker, until)

    def limit(self, worker: WorkerRecord, until: float) -> None:
        """A worker's rate limit lets nothing start until then."""
        self._hold(worker, Due.LIMIT, until)

    def expire(self, worker: WorkerRecord, at: float) -> None:
        """A worker's resource will be too old then, if ever."""
        until = None if at == math.inf else at
        if until == worker._expires_at:
            return  # a second entry for the same time would be as current as the first
        if worker._expires_at is not None:
            self._deadlines.forget()
        worker._expires_at = until
        if until is not None:
            self._deadlines.add(Due.AGE, worker, until)

    def drop(self, worker: WorkerRecord) -> None:
        """The worker has left: nothing holds it any longer."""
        self.expire(worker, math.inf)
        for hold in HOLDS.values():
            if worker._holds.pop(hold, None) is not None:
                self._deadlines.forget()

    def _hold(self, worker: WorkerRecord, due: Due, until: float) -> None:
        """Put a time in place of what may be there."""
        held = worker._holds.get(HOLDS[due])
        if held == until:
            return  # as for the age
        if held is not None:
            self._deadlines.forget()
        worker._holds[HOLDS[due]] = until
        self._deadlines.add(due, worker, until)
