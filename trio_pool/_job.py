"""A job: its states and the legal transitions between them, its attempts, its handle."""

from __future__ import annotations

import enum
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

import attrs

from ._portable import Handle
from ._shown import call_name, one_line, shown
from ._words import counted, label, shortcomings, worded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from contextvars import Context

    from ._lanes import Lane
    from ._options import Options
    from ._seat import Seat
    from ._setback import Setback
    from ._window import Window
    from ._words import Words
    from ._worker import Worker

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


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


class JobHost(Protocol):
    """What a job's handle asks of the pool that the job is in."""

    def check_caller(self) -> None: ...
    def cancel_job(self, job: Job[Any]) -> None: ...
    def result_of(self, job: Job[V]) -> V: ...
    async def wait_job(self, job: Job[V]) -> V: ...
    async def wait_job_started(self, job: Job[Any]) -> None: ...
    def lend_worker(self, job: Job[Any]) -> AbstractAsyncContextManager[None]: ...


KEPT_FIRST_ATTEMPTS = 1
KEPT_LAST_ATTEMPTS = 31
KEPT_TRANSITIONS = 64  # of the first, and of the last


class Job(Handle, Generic[V_co]):
    """A submitted call: the handle that ``submit`` returns.

    Made by the pool only. Everything here may be read at any time, also after the pool's
    block has been left.
    """

    __slots__ = (
        "__weakref__",
        "_args",
        "_attempt_count",
        "_attempts",
        "_caller_deadline",
        "_cancelled",
        "_context",
        "_deadline",
        "_dealt_with",
        "_finished_at",
        "_fn",
        "_history",
        "_host",
        "_id",
        "_label",
        "_lane",
        "_options",
        "_reason",
        "_setback",
        "_started",
        "_state",
        "_submitted_at",
        "_ticket",
        "_value",
        "_watchers",
        "_window",
        "_worker",
    )

    def __init__(
        self,
        host: JobHost,
        number: int,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        options: Options,
        submitted_at: float,
        deadline: float,
        context: Context,
    ) -> None:
        # What it is, never changed.
        self._host = host
        self._id = number
        self._fn = fn
        self._args = args
        self._options = options
        self._submitted_at = submitted_at
        self._deadline = deadline
        # When whoever waits for it in run() stops waiting; all that this decides is whether to wait for a retry.
        self._caller_deadline = math.inf
        # The submitter's context variables; dropped at the end, since a context holds on to
        # the job that submitted this one, which held on to its own submitter, and so on.
        self._context: Context | None = context

        # Owned by the ledger.
        self._state: JobState | None = None
        # The fields of transitions, one after another: they are made when somebody looks;
        # attempts likewise.
        self._history: list[Any] | None = None
        self._finished_at: float | None = None

        # Owned by the scheduler.
        self._worker: Seat | None = None
        self._attempts: tuple[Any, ...] = ()
        self._attempt_count = 0
        self._started = False
        self._cancelled = False
        # The result; of a dead job, why it is dead and of what error, for which most jobs need no room.
        self._value: Any = None
        self._reason: Words = ""
        # None until an attempt has failed: most jobs never need it.
        self._setback: Setback | None = None

        # Owned by what it waits in. The ticket names the job's one valid entry in whatever heap
        # holds it, so that others can be left to be found stale; 0 while it is in none.
        self._ticket = 0
        self._lane: Lane | None = None

        # What it is called in messages, once somebody has read it.
        self._label: str | None = None

        # Owned by the stream that it is a job of, until it has ended; None for all others.
        self._window: Window[Any] | None = None

        # Owned by the dead letters.
        self._dealt_with = False

        # Owned by the shell: called after each change of state.
        self._watchers: dict[Callable[[Job[Any]], object], None] | None = None

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

    def lend(self) -> AbstractAsyncContextManager[None]:
        """Let other jobs have the worker while this one waits for something.

        For use inside the job's function: ``async with current_job().lend(): ...``. Until the
        block ends, the worker serves others, and the job counts in no ``max_running``. At the
        end of the block the job gets the same worker back, ahead of the queue, after at most
        the one attempt that is on it. Its timeouts go on running. The lifespan is not left meanwhile.

        To enter and to leave the block is a checkpoint. If the job is cancelled, leaving still
        waits, shielded, until it has the worker back; unless that could never be, since whoever is on the
        worker waits, shielded too, for this job's end. Then the job goes on without a worker, and
        must not use the resource any more: `worker` is None.

        Raises:
          RuntimeError: if called outside of the job's function, if the job has ended, lends
              already, goes on without its worker, or has a `Hedge`.
          JobDeadlockError: at the end of the block, if the job goes on without its worker, with an error of the
              block's own as the context; but a cancellation goes first.
          ResourceBroken: at the end of the block, if the resource has broken, or the worker has been
              removed, in the meantime.
        """
        return self._host.lend_worker(self)

    @property
    def id(self) -> int:
        """A number of its own within the pool, counted from 1."""
        return self._id

    @property
    def name(self) -> str:
        """The name given to ``submit``, or the function's."""
        return self._options.name or call_name(self._fn)

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
        """Until when there is time for another attempt, in seconds on Trio's clock, or ``inf``.

        The end of its ``total_timeout``, or the deadline that the caller of ``run`` had when it was called,
        whichever is sooner.
        """
        return min(self._deadline, self._caller_deadline)

    @property
    def state(self) -> JobState:
        """Where the job stands; ``QUEUED`` while it waits for a place in the queue."""
        return self._state or JobState.QUEUED

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that have ended, of many the first and the last 31."""
        fields = self._attempts
        return tuple(Attempt(*fields[at : at + ATTEMPT_FIELDS]) for at in range(0, len(fields), ATTEMPT_FIELDS))

    @property
    def attempt_count(self) -> int:
        """How many attempts have ended by themselves or by a timeout."""
        return self._attempt_count

    @property
    def worker(self) -> Worker | None:
        """The worker that runs it now, of several the first that still does, or None.

        While the job lends a worker, it is that one; None if the job goes on without it, see `lend`.
        """
        seat = self._worker
        if seat is not None and self in seat._loans and seat._loans[self].is_forfeited:
            return None
        return cast("Worker | None", seat)

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
        fields = self._history or []
        return tuple(map(Transition, fields[::2], fields[1::2]))

    @property
    def dead_reason(self) -> DeadReason | None:
        """Why it is dead, or None."""
        return cast("DeadReason", self._value[0]) if self._state is JobState.DEAD else None

    @property
    def _error(self) -> Exception | None:
        """What it is dead of, or None."""
        return cast("Exception | None", self._value[1]) if self._state is JobState.DEAD else None

    @property
    def reason(self) -> str:
        """Why it ended without a result, in words; empty if it didn't."""
        if not isinstance(self._reason, str):
            self._reason = worded(self._reason)
        return self._reason

    def __repr__(self) -> str:
        state = self.state.name.lower()
        if self._state is JobState.DELAYED and self._setback is not None:
            state = f"{state} until {self.attempts[-1].ended_at + self._setback.delay:.1f}"
        elif (worker := self.worker) is not None:
            state = f"{state} on {one_line(worker.name)}"
        attempts = counted(self._attempt_count, "attempt")
        why = one_line(shortcomings(self))
        return f"<trio_pool.Job {self._id} {label(self)}, {state}, {attempts}{f': {why}' if why else ''}>"


def has_ended(job: Job[Any]) -> bool:
    """Whether the job is in a final state."""
    return job.state.is_final


NO_METADATA: Mapping[str, Any] = MappingProxyType({})
