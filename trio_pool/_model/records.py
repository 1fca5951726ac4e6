"""What is known of jobs and of workers: the records that the rest of the library goes by.

They name each other, so they stand together. What users hold are handles, which are records too.
"""

from __future__ import annotations

import math
from collections import deque
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import attrs

from .._basics.error_text import Words, worded
from .._basics.pickling import Handle
from .._basics.text import call_name
from .group import GroupRecord
from .states import _HELD_STATES, ATTEMPT_FIELDS, Attempt, Hold, JobState, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextvars import Context

    from .._policies.hedge import Hedge
    from .._policies.rate_limit import RateMeter
    from .._policies.retry import RetryPolicy
    from .._policies.worker_limits import WorkerLimits
    from .setback import Setback
    from .states import Cut

NO_METADATA: Mapping[str, Any] = MappingProxyType({})

Group: TypeAlias = GroupRecord["JobRecord", "WorkerRecord"]


class Terms(NamedTuple):
    """Who may take a job. Jobs of equal terms are interchangeable but for their order.

    Attributes:
      requires: tags that the worker must have.
      pinned: the only worker that may take it, or None.
      failed: workers to be avoided as long as another is available (the bounce).
      last: of those, the one to be avoided even when a new round begins.
      gate: the job's group, if that limits its jobs or has workers for itself.
    """

    requires: frozenset[str] = frozenset()
    pinned: WorkerRecord | None = None
    failed: frozenset[WorkerRecord] = frozenset()
    last: WorkerRecord | None = None
    gate: Group | None = None


ANYONE = Terms()


def _terms(options: JobSpec) -> Terms:
    gate = options.group if options.group is not None and options.group.is_gate else None
    if options.worker is None and not options.requires and gate is None:
        return ANYONE
    return Terms(options.requires, options.worker, gate=gate)


def _is_simple(options: JobSpec) -> bool:
    return options.terms is ANYONE and not options.after


@attrs.frozen(kw_only=True, eq=False, repr=False)
class JobSpec:
    """The options of a job, checked. Shared by all jobs that were given none.

    ``retry`` is None where the pool's policy holds, which may change while the pool runs.
    """

    retry: RetryPolicy | None = None
    attempt_timeout: float = math.inf
    total_timeout: float = math.inf
    priority: float = 0
    requires: frozenset[str] = frozenset()
    worker: WorkerRecord | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    hedge: Hedge | None = None
    # Until the job has entered: it isn't to hold on to what it has waited for.
    after: tuple[JobRecord, ...] = ()
    group: Group | None = None
    # Whether messages about the job show what its function is called with.
    show_arguments: bool = True
    # Who may take such a job, until it has failed.
    terms: Terms = attrs.field(init=False, default=attrs.Factory(_terms, takes_self=True))
    # Whether such a job may start at once, on whatever worker there is.
    is_simple: bool = attrs.field(init=False, default=attrs.Factory(_is_simple, takes_self=True))


class Run:
    """One execution of a job on a worker. It fills one of the worker's places while the job has not lent it.

    A job that runs has one of them, with a hedge perhaps several.

    Attributes:
      job: the job.
      worker: the worker.
      started_at: when it began.
      since: from when on it has filled its place: from the start, or since the job has it back.
      deadline: when a timeout ends it.
      cut: why it has been cut short, timeouts aside.
      draws: what has counted it as started, and is to know when its function begins.
      is_probe: whether it is the probe of the worker's breaker.
      race: what decides how the attempt ends, if this run alone does not.
      is_lent: whether the job has lent the place to others.
      wait: while the job wants the place back and has to wait for that, this wait; it stays if that is in vain.
      loop: the loop of the runtime that executes it, once it has begun to.
    """

    # fmt: off
    __slots__ = (
        "cut", "deadline", "draws", "is_lent", "is_probe", "job", "loop", "race", "since", "started_at", "wait",
        "worker",
    )
    # fmt: on

    def __init__(self, job: JobRecord, worker: WorkerRecord, started_at: float, deadline: float) -> None:
        self.job: JobRecord = job
        self.worker: WorkerRecord = worker
        self.started_at: float = started_at
        self.since: float = started_at
        self.deadline: float = deadline
        self.cut: Cut | None = None
        self.draws: tuple[RateMeter, ...] = ()
        self.is_probe: bool = False
        self.race: Any = None
        self.is_lent: bool = False
        self.wait: Any = None
        self.loop: Any = None

    @property
    def is_cut(self) -> bool:
        """Whether it has been cancelled, the whole job or only this run."""
        return self.cut is not None or self.job._cancelled

    @property
    def is_forfeited(self) -> bool:
        """Whether the job goes on without the worker that it has lent, as it could never have had it back."""
        return self.is_lent and self.race is not None


_CLOSED = frozenset({Hold.STARTING, Hold.REOPENING, Hold.STOPPED})


class Crew(Protocol):
    """The workers of a pool, by which it is known whose a worker is."""

    def count_coming(self, worker: WorkerRecord) -> None: ...


class Watcher(Protocol):
    """The stream that a job is one of."""

    unread: int

    def end(self, job: JobRecord, old: JobState | None) -> None: ...
    def move(self, old: JobState | None, state: JobState) -> None: ...


class JobRecord(Handle):
    """What is known of a job. The underscored fields are the library's own."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_args", "_attempt_count", "_attempts", "_caller_deadline", "_cancelled", "_context",
        "_deadline", "_dealt_with", "_finished_at", "_fn", "_history", "_host", "_id", "_label", "_lane", "_options",
        "_reason", "_run", "_setback", "_started", "_state", "_submitted_at", "_ticket", "_value", "_watchers",
        "_window",
    )
    # fmt: on

    def __init__(
        self,
        host: Any,
        number: int,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        options: JobSpec,
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

        # Owned by the core's `Lifecycle`.
        self._state: JobState | None = None
        # The fields of transitions, one after another: they are made when somebody looks;
        # attempts likewise.
        self._history: list[Any] | None = None
        self._finished_at: float | None = None

        # Owned by the core.
        # While it runs, what it does so by, of several runs the first that has not ended.
        self._run: Run | None = None
        self._attempts: tuple[Any, ...] = ()
        self._attempt_count = 0
        self._started = False
        self._cancelled = False
        # The result; of a dead job, why it is dead and of what error, for which most jobs need no room.
        self._value: Any = None
        self._reason: Words = ""
        # None until an attempt has failed: most jobs never need it.
        self._setback: Setback[WorkerRecord] | None = None

        # Owned by what it waits in. The ticket names the job's one valid entry in whatever heap
        # holds it, so that others can be left to be found stale; 0 while it is in none.
        self._ticket = 0
        self._lane: object | None = None

        # What it is called in messages, once somebody has read it.
        self._label: str | None = None

        # Owned by the stream that it is a job of, until it has ended; None for all others.
        self._window: Watcher | None = None

        # Owned by the dead letters.
        self._dealt_with = False

        # Owned by the runtime: called after its first start and its end.
        self._watchers: dict[Callable[[JobRecord], object], None] | None = None

    @property
    def id(self) -> int:
        """A number of its own within the pool, counted from 1."""
        return self._id

    @property
    def name(self) -> str:
        """The name given to ``submit``, or the function's."""
        return self._options.name or call_name(self._fn)

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
    def reason(self) -> str:
        """Why it ended without a result, in words; empty if it didn't."""
        if not isinstance(self._reason, str):
            self._reason = worded(self._reason)
        return self._reason


class WorkerRecord(Handle):
    """The record of a worker. The underscored fields are its own."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_alone", "_attempts", "_available", "_busy_seconds", "_claims", "_coming", "_crew", "_elastic",
        "_expires_at", "_holds", "_id", "_kind", "_last_error", "_lent", "_limits", "_max_running", "_name", "_runs",
        "_succeeded", "_tags", "_task", "_was_open",
    )
    # fmt: on

    def __init__(self, crew: Crew, number: int, name: str, tags: frozenset[str]) -> None:
        self._crew = crew
        self._id = number
        self._name = name
        self._tags = tags
        self._alone = frozenset((self,))
        # Its Trio half, which only the runtime knows.
        self._task: Any = None
        # None for a worker without limits of its own.
        self._limits: WorkerLimits | None = None

        # Whether it is one of those that are opened and retired with the load.
        self._elastic = False

        # What holds it back, each with the time until which it does, or inf.
        self._holds: dict[Hold, float] = {Hold.STARTING: math.inf}
        # Whether its resource has ever been open, and when it will be too old.
        self._was_open = False
        self._expires_at: float | None = None

        # How many places it has; and what fills them, in the order of their start.
        self._max_running = 1
        self._runs: dict[Run, None] = {}
        # The runs whose jobs have lent their places; and those of them that are to have them back.
        self._lent: dict[Run, None] = {}
        self._claims: deque[Run] = deque()

        self._attempts = 0
        self._succeeded = 0
        self._busy_seconds = 0.0
        self._last_error: Exception | None = None

        # Owned by the roster: whether it could run something now or after what it runs; and
        # whom it stands with, from its joining on.
        self._available = False
        # The last value of ``_may_become_available`` that was counted.
        self._coming = False
        self._kind: Any

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
    def _has_left(self) -> bool:
        """Whether it has left the pool."""
        return Hold.STOPPED in self._holds

    @property
    def _is_leaving(self) -> bool:
        """Whether it is to leave the pool, or has."""
        return Hold.LEAVING in self._holds

    @property
    def _is_open(self) -> bool:
        """Whether its resource is open, and fit for use."""
        return self._holds.keys().isdisjoint(_CLOSED)

    @property
    def _has_room(self) -> bool:
        """Whether one of its places is free."""
        return len(self._runs) < self._max_running

    @property
    def _may_become_available(self) -> bool:
        """Whether it can't start anything now, but may later without anybody's doing."""
        holds = self._holds
        if Hold.LEAVING in holds or (Hold.REOPENING in holds and (self._lent or self._runs)):
            return False  # it takes those who have it, or have lent it, to be done
        return any(hold is not Hold.PAUSED for hold in holds)

    @property
    def state(self) -> WorkerState:
        """What the worker is doing."""
        holds = tuple(self._holds)
        if self._runs and Hold.STOPPED not in holds:
            return WorkerState.BUSY
        return next((state for hold, state in _HELD_STATES.items() if hold in holds), WorkerState.IDLE)


def has_ended(job: JobRecord) -> bool:
    """Whether the job is in a final state."""
    return job._finished_at is not None
