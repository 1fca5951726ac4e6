"""A job: its states and the legal transitions between them, its attempts, its handle."""

from __future__ import annotations

import enum
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeGuard, TypeVar, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Context

    from ._options import Options
    from ._queue import Lane
    from ._retry import Placement
    from ._seat import Seat
    from ._worker import Worker

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class JobState(enum.Enum):
    """Where a job stands. The last four are final."""

    BLOCKED = "blocked"
    """waits for other jobs"""
    QUEUED = "queued"
    """waits for a worker"""
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


_FINAL = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED)
for _state in JobState:
    _state.is_final = _state in _FINAL

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
    **dict.fromkeys(_FINAL, frozenset[JobState]()),
}


class DeadReason(enum.Enum):
    """Why a job is dead."""

    ATTEMPTS_EXHAUSTED = "attempts exhausted"
    """its policy allows no further attempt"""
    NOT_RETRYABLE = "not retryable"
    """its policy doesn't retry such an error, or the error came after a cancellation"""
    GAVE_UP = "gave up"
    """its function raised `GiveUp`"""
    TIMED_OUT = "timed out"
    """its ``total_timeout`` passed, or would have before the next attempt"""
    NO_WORKER = "no worker"
    """no worker of the pool may take it"""
    BUDGET_EXHAUSTED = "budget exhausted"
    """the pool had retried too much lately"""


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
    """One execution of a job by a worker.

    Attributes:
      number: counted from 1.
      worker_id: the worker that ran it.
      worker_name: that worker's name.
      started_at: in seconds on Trio's clock.
      ended_at: in seconds on Trio's clock.
      error: what it failed with, or None.
      hedges: the (id, name) of each further worker that took part.
    """

    number: int
    worker_id: int
    worker_name: str
    started_at: float
    ended_at: float
    error: Exception | None
    hedges: tuple[tuple[int, str], ...] = ()


AttemptFields: TypeAlias = "tuple[int, int, str, float, float, Exception | None]"


class JobHost(Protocol):
    """What a job's handle asks of the pool that the job is in."""

    def cancel_job(self, job: Job[Any]) -> None: ...
    def result_of(self, job: Job[V]) -> V: ...
    async def wait_job(self, job: Job[V]) -> V: ...
    async def wait_job_started(self, job: Job[Any]) -> None: ...


@attrs.define(eq=False)
class Setback:
    """What a job that has failed remembers for its further attempts.

    Attributes:
      counted: failures that count against ``max_attempts``.
      delay: the seconds before the attempt that comes next, or was last.
      placement: where that is to be.
      front: whether it goes before the jobs that wait.
      failed_on: the workers that it has failed on in this round of the bounce.
      last: the worker that it failed on last.
    """

    counted: int = 0
    delay: float = 0.0
    placement: Placement = "any"
    front: bool = False
    failed_on: frozenset[Seat] = frozenset()
    last: Seat | None = None

    def note(self, seat: Seat) -> None:
        """It has failed on this worker."""
        if self.placement == "other" and seat in self.failed_on:
            self.failed_on = frozenset()  # a new round has begun
        self.failed_on |= {seat}
        self.last = seat


KEPT_FIRST_ATTEMPTS = 1
KEPT_LAST_ATTEMPTS = 31
KEPT_TRANSITIONS = 64  # of the first, and of the last


@attrs.define(eq=False, repr=False)
class Job(Generic[V_co]):
    """A submitted call: the handle that ``submit`` returns.

    Made by the pool only. Everything here may be read at any time, also after the pool's
    block has been left.
    """

    # What it is, never changed.
    _host: JobHost
    _id: int
    _fn: Callable[..., Any]
    _args: tuple[Any, ...]
    _options: Options
    _submitted_at: float
    _deadline: float
    # The submitter's context variables; dropped at the end, since a context holds on to
    # the job that submitted this one, which held on to its own submitter, and so on.
    _context: Context | None

    # Owned by the ledger.
    _state: JobState | None = attrs.field(default=None, init=False)
    # What transitions are made of, made when somebody looks; attempts likewise.
    _history: list[tuple[JobState, float]] | None = attrs.field(default=None, init=False)
    _finished_at: float | None = attrs.field(default=None, init=False)

    # Owned by the scheduler.
    _worker: Seat | None = attrs.field(default=None, init=False)
    _attempts: list[AttemptFields] | None = attrs.field(default=None, init=False)
    _attempt_count: int = attrs.field(default=0, init=False)
    _started: bool = attrs.field(default=False, init=False)
    _cancelled: bool = attrs.field(default=False, init=False)
    _value: Any = attrs.field(default=None, init=False)
    _error: Exception | None = attrs.field(default=None, init=False)
    _dead_reason: DeadReason | None = attrs.field(default=None, init=False)
    _reason: str = attrs.field(default="", init=False)
    # None until an attempt has failed: most jobs never need it.
    _setback: Setback | None = attrs.field(default=None, init=False)

    # Owned by what it waits in. The ticket names the job's one valid entry in whatever heap holds
    # it, so that others can be left to be found stale; 0 while it is in none.
    _ticket: int = attrs.field(default=0, init=False)
    _lane: Lane | None = attrs.field(default=None, init=False)

    # Owned by the dead letters.
    _dealt_with: bool = attrs.field(default=False, init=False)

    # Owned by the shell: called after each change of state.
    _watchers: list[Callable[[Job[Any]], object]] | None = attrs.field(default=None, init=False)

    async def wait(self) -> V_co:
        """Wait for the job's end and return its result.

        A checkpoint. If it is cancelled, the job goes on.

        Returns:
          what the job's function returned.

        Raises:
          JobFailedError: if the job is dead; it then counts as dealt with.
          JobCancelledError: if the job was cancelled or discarded.
        """
        return await self._host.wait_job(self)

    async def wait_started(self) -> None:
        """Wait until an attempt has started, or the job has ended before any did.

        A checkpoint. If it is cancelled, the job goes on.
        """
        await self._host.wait_job_started(self)

    def result(self) -> V_co:
        """The result, at once.

        Raises:
          JobFailedError: if the job is dead; it then counts as dealt with.
          JobCancelledError: if the job was cancelled or discarded.
          JobNotFinishedError: if the job has not ended yet.
        """
        return self._host.result_of(self)

    def cancel(self) -> None:
        """Cancel the job; without effect on one that has ended.

        A job that waits ends at once. A running one is cancelled at its next checkpoint;
        if it returns a value anyway it has succeeded, and if it raises an error of its own
        it is dead. No further attempt starts.
        """
        self._host.cancel_job(self)

    @property
    def id(self) -> int:
        """A number of its own within the pool, counted from 1."""
        return self._id

    @property
    def name(self) -> str:
        """The name given to ``submit``, or the function's."""
        return self._options.name or describe(self._fn)

    @property
    def fn(self) -> Callable[..., Any]:
        """The function."""
        return self._fn

    @property
    def args(self) -> tuple[Any, ...]:
        """The function's arguments, the resource aside."""
        return self._args

    @property
    def submitted_at(self) -> float:
        """When ``submit`` was called, in seconds on Trio's clock."""
        return self._submitted_at

    @property
    def deadline(self) -> float:
        """When its ``total_timeout`` ends, in seconds on Trio's clock, or ``inf``."""
        return self._deadline

    @property
    def state(self) -> JobState:
        """Where the job stands; ``QUEUED`` while it waits for a place in the queue."""
        return self._state or JobState.QUEUED

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that have ended, of many the first and the last 31."""
        return tuple(Attempt(*fields) for fields in self._attempts or ())

    @property
    def attempt_count(self) -> int:
        """How many attempts have ended by themselves or by a timeout."""
        return self._attempt_count

    @property
    def worker(self) -> Worker | None:
        """The worker that runs it now, or None."""
        return cast("Worker | None", self._worker)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The mapping given to ``submit``, copied; read-only."""
        return self._options.metadata

    @property
    def priority(self) -> float:
        """Its priority; lower ones start first."""
        return self._options.priority

    @property
    def finished_at(self) -> float | None:
        """When it ended, in seconds on Trio's clock, or None."""
        return self._finished_at

    @property
    def history(self) -> tuple[Transition, ...]:
        """Its changes of state, the first 64 and the last 64; empty if none are kept."""
        return tuple(Transition(*fields) for fields in self._history or ())

    @property
    def dead_reason(self) -> DeadReason | None:
        """Why it is dead, or None."""
        return self._dead_reason

    @property
    def reason(self) -> str:
        """Why it ended without a result, in words; empty if it didn't."""
        return self._reason

    def __repr__(self) -> str:
        count = self._attempt_count
        attempts = f"{count} attempt" if count == 1 else f"{count} attempts"
        where = f" on {self._worker.name}" if self._worker is not None else ""
        why = f": {self._reason}" if self._reason else ""
        state = self.state.name.lower()
        return f"<trio_pool.Job {self.id} {self.name}, {state}{where}, {attempts}{why}>"


def has_ended(job: Job[Any]) -> bool:
    """Whether the job is in a final state."""
    return job.state.is_final


def _is_partial(fn: object) -> TypeGuard[partial[Any]]:
    return isinstance(fn, partial)


def describe(fn: object) -> str:
    """A function's name as a reader would look for it."""
    while _is_partial(fn):
        fn = fn.func
    name: object = getattr(fn, "__qualname__", type(fn).__qualname__)
    return str(name)


NO_METADATA: Mapping[str, Any] = MappingProxyType({})
