"""The states of jobs and of workers, the legal transitions between those of jobs, and what is kept of both."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from .._basics.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobState(enum.Enum):
    """Where a job stands. The last four are final."""

    BLOCKED = "blocked"
    """waits for other jobs"""
    QUEUED = "queued"
    """waits for a worker, or for a limit that lets it start"""
    RUNNING = "running"
    """an attempt is under way"""
    DELAYED = "delayed"
    """backing off until its next attempt"""
    SUCCEEDED = "succeeded"
    """has a result"""
    DEAD = "dead"
    """failed for good"""
    CANCELLED = "cancelled"
    """was cancelled before it had a result"""
    DISCARDED = "discarded"
    """ended without a result and without being dead"""

    is_final: bool
    """whether the job has ended"""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # Enum hashes the name, in Python code


FINAL = frozenset({JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED})
for _state in JobState:
    _state.is_final = _state in FINAL

# Rule 1: a job enters the pool blocked, queued, or, if its time was up before there was a
# place for it, dead. Rule 2: every state that isn't final can be left for every end but
# success. Rule 3: only a running job succeeds. Rule 4: what is final stays.
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
    """its policy doesn't retry such an error, the error came after a cancellation, or deciding about it failed"""
    GAVE_UP = "gave up"
    """its function raised `GiveUp`"""
    TIMED_OUT = "timed out"
    """its ``total_timeout`` passed, or would have before the next attempt"""
    NO_WORKER = "no worker"
    """no worker of the pool may take it"""
    BUDGET_EXHAUSTED = "budget exhausted"
    """its policy allows another attempt, but the pool's `RetryBudget` doesn't"""


@attrs.frozen
class Transition:
    """A change of a job's state.

    Attributes:
      state: the `JobState` entered.
      at: when, in seconds on Trio's clock.
    """

    state: JobState
    at: float


@attrs.frozen
class Attempt:
    """One execution of a job by a worker, or by several if it has a `Hedge`.

    Attributes:
      number: counted from 1.
      worker_id: the worker that ran it, of several the first.
      worker_name: that worker's name.
      started_at: in seconds on Trio's clock.
      ended_at: in seconds on Trio's clock.
      error: what it failed with, of several errors the one that counted, or None.
      hedges: the (id, name) of each further worker that took part.
    """

    number: int
    worker_id: int
    worker_name: str
    started_at: float
    ended_at: float
    # Its own ways to compare and to show itself may fail.
    error: Exception | None = attrs.field(eq=id, repr=shown)
    hedges: tuple[tuple[int, str], ...] = ()


ATTEMPT_FIELDS = 7
ERROR_FIELD = 5  # where among them the error stands

KEPT_FIRST_ATTEMPTS = 1
KEPT_LAST_ATTEMPTS = 31
KEPT_TRANSITIONS = 64  # of the first, and of the last


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


class Hold(enum.Enum):
    """What keeps a worker from jobs, in the order in which it says so. Available is one that nothing holds.

    A rate limit is the exception: a job that avoids other workers waits for one that is only limited.
    """

    STOPPED = enum.auto()
    STARTING = enum.auto()
    PAUSED = enum.auto()
    QUARANTINED = enum.auto()
    RESTING = enum.auto()
    LIMITED = enum.auto()
    REOPENING = enum.auto()
    LEAVING = enum.auto()

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # as that of job states


class Cut(enum.Enum):
    """Why an attempt was cut short, timeouts aside."""

    CANCELLED = enum.auto()
    EVICTED = enum.auto()
    LOST = enum.auto()  # another worker that runs the same attempt has settled it


# What a worker says that it is doing while it is held back. Others go before that: it is busy, or idle.
_HELD_STATES = {
    Hold.STOPPED: WorkerState.STOPPED,
    Hold.STARTING: WorkerState.STARTING,
    Hold.PAUSED: WorkerState.PAUSED,
    Hold.QUARANTINED: WorkerState.QUARANTINED,
    Hold.RESTING: WorkerState.RESTING,
    Hold.REOPENING: WorkerState.REOPENING,
}
