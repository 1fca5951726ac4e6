"""What holds a worker back for some time: rests, quarantines, its rate limit, its resource's age."""

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
    """Schedules the ends of holds. Each hold has at most one valid entry in the heap of deadlines."""

    __slots__ = ("_deadlines", "_lifecycle")

    def __init__(self, lifecycle: Lifecycle, deadlines: Deadlines) -> None:
        self._lifecycle = lifecycle
        self._deadlines = deadlines

    def rest(self, worker: WorkerRecord, until: float, now: float) -> bool:
        """Let a worker rest; if two rests overlap, the later end applies. Return whether the end has changed."""
        if worker._has_left or until <= max(now, worker._holds.get(Hold.RESTING, now)):
            return False
        self._hold(worker, Due.REST, until)
        self._lifecycle.tell("worker_resting", worker, until)
        return True

    def quarantine(self, worker: WorkerRecord, until: float) -> None:
        """Quarantine a worker whose circuit breaker has opened."""
        self._hold(worker, Due.QUARANTINE, until)
        self._lifecycle.tell("worker_quarantined", worker, until)

    def end_quarantine(self, worker: WorkerRecord) -> None:
        """End the quarantine, if any, of a worker whose circuit breaker has been closed."""
        self._end(worker, Due.QUARANTINE)

    def limit(self, worker: WorkerRecord, until: float) -> None:
        """Hold a worker back until its rate limit allows a start."""
        self._hold(worker, Due.LIMIT, until)

    def end_limit(self, worker: WorkerRecord) -> None:
        """End the hold of a worker by its rate limit."""
        self._end(worker, Due.LIMIT)

    def expire(self, worker: WorkerRecord, at: float) -> None:
        """Schedule the time when a worker's resource will be too old, or ``inf`` for never."""
        if at == math.inf:
            worker._expires_at = None
            self._deadlines.drop_of_worker(Due.AGE, worker)
        elif at != worker._expires_at:
            worker._expires_at = at
            self._deadlines.add_of_worker(Due.AGE, worker, at)

    def drop(self, worker: WorkerRecord) -> None:
        """Remove all holds of a worker that has left."""
        self.expire(worker, math.inf)
        for due in HOLDS:
            self._end(worker, due)

    def _end(self, worker: WorkerRecord, due: Due) -> None:
        """Remove a hold, if there is one."""
        worker._holds.pop(HOLDS[due], None)
        self._deadlines.drop_of_worker(due, worker)

    def _hold(self, worker: WorkerRecord, due: Due, until: float) -> None:
        """Set the end of a hold, in place of an earlier one."""
        if worker._holds.get(HOLDS[due]) != until:
            worker._holds[HOLDS[due]] = until
            self._deadlines.add_of_worker(due, worker, until)
