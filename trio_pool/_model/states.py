"""The states of jobs and workers, the legal transitions of a job, and the records of transitions and attempts."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._basics.frozen_mapping import FrozenMapping
from .._basics.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobState(enum.Enum):
    """The state of a job. The last four states are final."""

    BLOCKED = "blocked"
    """the job waits for other jobs"""
    QUEUED = "queued"
    """the job waits for a worker, or for a limit that allows its start"""
    RUNNING = "running"
    """an attempt runs"""
    DELAYED = "delayed"
    """the job backs off until its next attempt"""
    SUCCEEDED = "succeeded"
    """the job has a result"""
    DEAD = "dead"
    """the job failed for good"""
    CANCELLED = "cancelled"
    """the job was cancelled before it had a result"""
    DISCARDED = "discarded"
    """the job ended without a result, but is not dead"""

    is_final: bool
    """whether the job has ended"""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # Enum hashes the name, in Python code


FINAL = frozenset({JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED})
for _state in JobState:
    _state.is_final = _state in FINAL

# Rule 1: a job enters the pool as blocked or queued, or as dead if its time was up before it got a
# place in the queue.
# Rule 2: a job can go from every state that isn't final to every final state except success.
# Rule 3: only a running job can succeed.
# Rule 4: a final state never changes.
_ENDS = frozenset({JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED})
TRANSITIONS: Mapping[JobState | None, frozenset[JobState]] = {
    None: frozenset({JobState.BLOCKED, JobState.QUEUED, JobState.DEAD}),
    JobState.BLOCKED: _ENDS | {JobState.QUEUED},
    JobState.QUEUED: _ENDS | {JobState.RUNNING},
    JobState.RUNNING: _ENDS | {JobState.SUCCEEDED, JobState.DELAYED, JobState.QUEUED},
    JobState.DELAYED: _ENDS | {JobState.QUEUED},
    **dict.fromkeys(FINAL, frozenset[JobState]()),
}


class DeadReason(enum.Enum):
    """Why a job is dead."""

    ATTEMPTS_EXHAUSTED = "attempts exhausted"
    """its policy allows no further attempt"""
    NOT_RETRYABLE = "not retryable"
    """its policy doesn't retry this error, the error followed a cancellation, or the decision itself failed"""
    GAVE_UP = "gave up"
    """its function raised `GiveUp`"""
    TIMED_OUT = "timed out"
    """its ``total_timeout`` passed, or would pass before the next attempt"""
    NO_WORKER = "no worker"
    """no worker of the pool can run it"""
    BUDGET_EXHAUSTED = "budget exhausted"
    """its policy allows another attempt, but the pool's `RetryBudget` doesn't"""


@attrs.frozen
class Transition:
    """A change of a job's state.

    Attributes:
      state: the new `JobState`.
      at: the time of the change, in seconds on Trio's clock.
      reason: why the state has changed, in words: which error, limit, worker or job. Empty if the states say it. Not
          compared.
    """

    state: JobState
    at: float
    reason: str = attrs.field(default="", eq=False)


History: TypeAlias = "tuple[str | float | tuple[object, ...], ...]"
"""A job's transitions, flat to save memory: the state's value and the time of each.

If the states don't say why, a tuple replaces the value: the value, and the reason as `error_text.Words` in one.
"""

TRANSITION_FIELDS = 2
KEPT_TRANSITIONS = 64  # how many of the first transitions are kept, and how many of the last


_NOTHING: FrozenMapping[str, float] = FrozenMapping()


def _as_used(value: Mapping[str, float] | None) -> FrozenMapping[str, float]:
    if value is None:
        return _NOTHING
    return value if isinstance(value, FrozenMapping) else FrozenMapping(value)


@attrs.frozen
class Attempt:
    """One execution of a job by a worker, or by several if it has a `Hedge`.

    Attributes:
      number: the number of the attempt, counted from 1.
      worker_id: the id of the worker that ran the attempt, or of the first of several.
      worker_name: that worker's name.
      started_at: in seconds on Trio's clock.
      ended_at: in seconds on Trio's clock.
      error: the error of the attempt, or the one of several errors that counted, or None.
      hedges: the (id, name) of each further worker that took part.
      used: the amounts that the attempt used, by their units; see the option ``uses``.
    """

    number: int
    worker_id: int
    worker_name: str
    started_at: float
    ended_at: float
    # The error's own comparison and repr may fail.
    error: Exception | None = attrs.field(eq=id, repr=shown)
    hedges: tuple[tuple[int, str], ...] = ()
    used: Mapping[str, float] = attrs.field(default=None, converter=_as_used)


ATTEMPT_FIELDS = 8
ERROR_FIELD = 5  # the position of the error among the fields

KEPT_FIRST_ATTEMPTS = 1
KEPT_LAST_ATTEMPTS = 31


class WorkerState(enum.Enum):
    """What a worker is doing."""

    STARTING = "starting"
    """its lifespan is being entered for the first time"""
    IDLE = "idle"
    """it has nothing to do, or only a rate limit or a health check (``checking`` in its ``repr``) holds it back"""
    BUSY = "busy"
    """it runs an attempt, whatever follows"""
    PAUSED = "paused"
    """it takes no job until it is resumed"""
    QUARANTINED = "quarantined"
    """its breaker is open, and the time for a probe has not come"""
    RESTING = "resting"
    """it takes no job until its rest is over"""
    REOPENING = "reopening"
    """its lifespan is being left and reentered"""
    STOPPED = "stopped"
    """it has left the pool"""


class Hold(enum.Enum):
    """What keeps a worker from taking jobs, in the order in which messages list it. Without a hold it is available.

    A rate limit is an exception: a job that avoids other workers waits for one that is only
    limited.
    """

    STOPPED = enum.auto()
    STARTING = enum.auto()
    PAUSED = enum.auto()
    QUARANTINED = enum.auto()
    RESTING = enum.auto()
    LIMITED = enum.auto()
    REOPENING = enum.auto()
    CHECKING = enum.auto()
    LEAVING = enum.auto()

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # Enum hashes the name, in Python code


class Cut(enum.Enum):
    """Why an attempt was cut short, other than by a timeout."""

    CANCELLED = enum.auto()
    EVICTED = enum.auto()
    LOST = enum.auto()  # another worker that runs the same attempt has settled it


# The state of a worker that is held back. Of several states, STOPPED takes precedence, then BUSY, then these,
# then IDLE.
_HELD_STATES = {
    Hold.STOPPED: WorkerState.STOPPED,
    Hold.STARTING: WorkerState.STARTING,
    Hold.PAUSED: WorkerState.PAUSED,
    Hold.QUARANTINED: WorkerState.QUARANTINED,
    Hold.RESTING: WorkerState.RESTING,
    Hold.REOPENING: WorkerState.REOPENING,
}
