"""What the scheduler knows of a worker: who it is, what it may do now, what it did."""

from __future__ import annotations

import enum
from collections import deque
from typing import TYPE_CHECKING, Any

from ._portable import Handle

if TYPE_CHECKING:
    from ._guard import Guard
    from ._job import Job
    from ._kinds import Kind
    from ._loans import Loan
    from ._meters import RateMeter
    from ._roster import Roster


class WorkerState(enum.Enum):
    """What a worker is doing."""

    STARTING = "starting"
    """its lifespan is being entered for the first time"""
    IDLE = "idle"
    """has nothing to do, or nothing but a rate limit holds it back"""
    BUSY = "busy"
    """an attempt is under way, whatever comes after it"""
    PAUSED = "paused"
    """takes no job until it is resumed"""
    QUARANTINED = "quarantined"
    """its breaker is open, and the time for a probe has not come"""
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
    LOST = enum.auto()  # another worker that runs the same attempt has settled it


_PHASE_STATES = {
    Phase.STARTING: WorkerState.STARTING,
    Phase.OPEN: WorkerState.IDLE,
    Phase.REOPENING: WorkerState.REOPENING,
    Phase.STOPPED: WorkerState.STOPPED,
}


class Seat(Handle):
    """The scheduler's record of a worker. The underscored fields are its own."""

    __slots__ = (
        "_alone",
        "_attempt_deadline",
        "_attempts",
        "_available",
        "_busy_seconds",
        "_claims",
        "_coming",
        "_current",
        "_cut",
        "_departing",
        "_draws",
        "_elastic",
        "_expires_at",
        "_guard",
        "_id",
        "_kind",
        "_last_error",
        "_limited_until",
        "_loans",
        "_name",
        "_paused",
        "_phase",
        "_quarantined_until",
        "_resting_until",
        "_roster",
        "_started_at",
        "_succeeded",
        "_tags",
        "_was_open",
    )

    def __init__(self, roster: Roster, number: int, name: str, tags: frozenset[str]) -> None:
        self._roster = roster
        self._id = number
        self._name = name
        self._tags = tags
        self._alone = frozenset((self,))
        # None for a worker without limits of its own.
        self._guard: Guard | None = None

        # Whether it is one of those that are opened and retired with the load.
        self._elastic = False

        self._phase = Phase.STARTING
        # Whether its resource has ever been open.
        self._was_open = False
        self._paused = False
        # Owned by the holds: until when each of them lasts.
        self._resting_until: float | None = None
        self._quarantined_until: float | None = None
        self._limited_until: float | None = None
        self._expires_at: float | None = None
        self._departing = False

        # The attempt under way. ``_cut`` is set only while there is one.
        self._current: Job[Any] | None = None
        self._started_at = 0.0
        self._attempt_deadline = 0.0
        self._cut: Cut | None = None
        # What has counted it as started, and is to know when it begins.
        self._draws: tuple[RateMeter, ...] = ()
        # Owned by the loans: the attempts of jobs that have lent it, and those that want it back.
        self._loans: dict[Job[Any], Loan] = {}
        self._claims: deque[Loan] = deque()

        self._attempts = 0
        self._succeeded = 0
        self._busy_seconds = 0.0
        self._last_error: Exception | None = None

        # Owned by the roster: whether it could run something now or after what it runs; and
        # whom it stands with, from its joining on.
        self._available = False
        # The last value of ``_may_become_available`` that was counted.
        self._coming = False
        self._kind: Kind

    @property
    def id(self) -> int:
        """A number of its own within the pool, counted from 1."""
        return self._id

    @property
    def name(self) -> str:
        """The name given by `Resource`, or one made from the number."""
        return self._name

    @property
    def tags(self) -> frozenset[str]:
        """What jobs may require."""
        return self._tags

    @property
    def _gone(self) -> bool:
        """Whether it has left the pool."""
        return self._phase is Phase.STOPPED

    def _cut_of(self, job: Job[Any]) -> Cut | None:
        """Why the attempt of a job that runs on it or has lent it has been cut short, timeouts aside."""
        return self._loans[job].cut if job in self._loans else self._cut

    @property
    def _may_become_available(self) -> bool:
        """Whether it can't start anything now, but may later without anybody's doing."""
        if self._departing or (self._phase is Phase.REOPENING and (self._loans or self._current is not None)):
            return False  # it takes those who have it, or have lent it, to be done
        held = self._resting_until is not None or self._quarantined_until is not None
        return self._phase is not Phase.OPEN or held or self._limited_until is not None

    @property
    def state(self) -> WorkerState:
        """What the worker is doing."""
        if self._phase is Phase.STARTING or self._phase is Phase.STOPPED:
            return _PHASE_STATES[self._phase]
        if self._current is not None:
            return WorkerState.BUSY
        if self._paused:
            return WorkerState.PAUSED
        if self._quarantined_until is not None:
            return WorkerState.QUARANTINED
        if self._resting_until is not None:
            return WorkerState.RESTING
        return _PHASE_STATES[self._phase]
