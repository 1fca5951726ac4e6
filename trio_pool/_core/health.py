"""When idle workers are checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model.states import Hold
from .commands import CHECK, UNCHECK
from .deadlines import Alarm, Due

if TYPE_CHECKING:
    from .._model.records import WorkerRecord
    from .commands import Commands
    from .deadlines import Deadlines
    from .pool_hold import PoolHold


class Health:
    """Decides when the health checks of the workers start.

    A worker has one alarm, which is not moved whenever the worker becomes idle. When the alarm goes off,
    the worker may have been idle for a shorter time.

    Attributes:
      has_due: whether an alarm has gone off since checks were last ordered.
    """

    __slots__ = ("_alarms", "_checked", "_commands", "_deadlines", "_due", "_is_over", "_workers", "has_due")

    def __init__(self, deadlines: Deadlines, commands: Commands) -> None:
        self._deadlines = deadlines
        self._commands = commands
        self._alarms: dict[WorkerRecord, Alarm] = {}
        self._workers: dict[Alarm, WorkerRecord] = {}
        # The workers that are being checked.
        self._checked: dict[WorkerRecord, None] = {}
        # The workers whose alarms have gone off at this instant.
        self._due: list[WorkerRecord] = []
        self.has_due: bool = False
        # Whether the pool has been closed.
        self._is_over = False

    def opened(self, worker: WorkerRecord, now: float) -> None:
        """Record that the resource of a worker is open."""
        if worker._limits is not None and worker._limits.check is not None:
            if worker not in self._alarms:
                self._alarms[worker] = alarm = Alarm()
                self._workers[alarm] = worker
            self.look_later(worker, now)

    def left(self, worker: WorkerRecord) -> None:
        """Record that a worker has left."""
        alarm = self._alarms.pop(worker, None)
        if alarm is not None:
            del self._workers[alarm]
            self._deadlines.set(Due.CHECK, alarm, math.inf)

    def look_later(self, worker: WorkerRecord, now: float) -> None:
        """Record that a worker is idle from now on at the earliest."""
        limits = worker._limits
        assert limits is not None
        limits.idle_since = now
        self._look_at(worker, now + self._every(worker))

    def come_due(self, alarm: Alarm) -> None:
        """Record that the alarm of a worker has gone off."""
        self._due.append(self._workers[alarm])
        self.has_due = True

    def order(self, now: float, hold: PoolHold) -> None:
        """Order the checks that are due, after all jobs that can start have started."""
        due, self._due, self.has_due = self._due, [], False
        for worker in due:
            if self.is_due(worker, now, hold):
                self._commands.append((CHECK, worker))

    def is_due(self, worker: WorkerRecord, now: float, hold: PoolHold) -> bool:
        """Whether a worker is to be checked now; if not, set its alarm for when it may be.

        Arguments:
          hold: the pause and the rest of the pool, in which no worker is idle.
        """
        if self._is_over or worker not in self._alarms:
            return False
        limits = worker._limits
        assert limits is not None
        if hold.is_on_at(now) or worker._runs or worker._lent or not worker._available:
            self.look_later(worker, now)
            return False
        at = max(limits.idle_since, hold.ended_at) + self._every(worker)
        if at > now:
            self._look_at(worker, at)
        return at <= now

    def begin(self, worker: WorkerRecord) -> None:
        """Begin the check of a worker."""
        worker._holds[Hold.CHECKING] = math.inf
        self._checked[worker] = None

    def end(self, worker: WorkerRecord, now: float) -> None:
        """End the check of a worker."""
        del worker._holds[Hold.CHECKING]
        del self._checked[worker]
        self.look_later(worker, now)

    def close(self) -> None:
        """Cancel all checks, and begin no more."""
        self._is_over = True
        self._commands.extend((UNCHECK, worker) for worker in self._checked)

    def _every(self, worker: WorkerRecord) -> float:
        limits = worker._limits
        assert limits is not None
        assert limits.check is not None
        return limits.check.every

    def _look_at(self, worker: WorkerRecord, when: float) -> None:
        self._deadlines.set(Due.CHECK, self._alarms[worker], math.inf if self._is_over else when)
