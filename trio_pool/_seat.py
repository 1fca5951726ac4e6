"""What the scheduler knows of a worker: who it is, what it may do now, what it did."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from ._job import Job


class WorkerState(enum.Enum):
    """What a worker is doing."""

    STARTING = "starting"
    """its lifespan is being entered for the first time"""
    IDLE = "idle"
    """has nothing to do"""
    BUSY = "busy"
    """an attempt is under way, whatever comes after it"""
    PAUSED = "paused"
    """takes no job until it is resumed"""
    QUARANTINED = "quarantined"
    """its breaker is open"""
    RESTING = "resting"
    """takes no job until its rest is over"""
    REOPENING = "reopening"
    """its lifespan is left and entered again"""
    STOPPED = "stopped"
    """has left the pool"""


class Phase(enum.Enum):
    """Whether a worker's resource is open."""

    STARTING = enum.auto()
    OPEN = enum.auto()
    REOPENING = enum.auto()
    STOPPED = enum.auto()


class Cut(enum.Enum):
    """Why an attempt was cut short, timeouts aside."""

    CANCELLED = enum.auto()
    EVICTED = enum.auto()


_PHASE_STATES = {
    Phase.STARTING: WorkerState.STARTING,
    Phase.OPEN: WorkerState.IDLE,
    Phase.REOPENING: WorkerState.REOPENING,
    Phase.STOPPED: WorkerState.STOPPED,
}


@attrs.define(eq=False)
class Seat:
    """The scheduler's record of a worker. The underscored fields are its own."""

    _roster: object
    id: int
    name: str
    tags: frozenset[str]

    _phase: Phase = attrs.field(default=Phase.STARTING, init=False)
    _paused: bool = attrs.field(default=False, init=False)
    _resting_until: float | None = attrs.field(default=None, init=False)
    _departing: bool = attrs.field(default=False, init=False)

    # The attempt under way. ``_cut`` is set only while there is one.
    _current: Job[Any] | None = attrs.field(default=None, init=False)
    _started_at: float = attrs.field(default=0.0, init=False)
    _attempt_deadline: float = attrs.field(default=0.0, init=False)
    _cut: Cut | None = attrs.field(default=None, init=False)

    _attempts: int = attrs.field(default=0, init=False)
    _succeeded: int = attrs.field(default=0, init=False)
    _busy_seconds: float = attrs.field(default=0.0, init=False)
    _last_error: Exception | None = attrs.field(default=None, init=False)

    # Owned by the roster: whether it could run something now or after what it runs.
    _available: bool = attrs.field(default=False, init=False)

    @property
    def _gone(self) -> bool:
        """Whether it has left the pool."""
        return self._phase is Phase.STOPPED

    @property
    def _may_become_available(self) -> bool:
        """Whether it can't be counted on now, but may be later without anybody's doing."""
        return not self._departing and (self._phase is not Phase.OPEN or self._resting_until is not None)

    @property
    def state(self) -> WorkerState:
        """What the worker is doing."""
        if self._phase is Phase.STARTING or self._phase is Phase.STOPPED:
            return _PHASE_STATES[self._phase]
        if self._current is not None:
            return WorkerState.BUSY
        if self._paused:
            return WorkerState.PAUSED
        if self._resting_until is not None:
            return WorkerState.RESTING
        return _PHASE_STATES[self._phase]
