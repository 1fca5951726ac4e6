"""The records of jobs and workers, which the rest of the library works with.

The classes are in one module because they refer to each other. The handles that users get are
derived from the records.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import attrs

from .._basics.pickling import Handle
from .._basics.text import call_name
from .._policies.draws import NO_USES
from .group import GroupRecord
from .job_extra import JobExtra
from .shortfall import Shortfall
from .states import _HELD_STATES, ATTEMPT_FIELDS, Attempt, Hold, JobState, WorkerState
from .time_account import WorkerAccount

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from contextvars import Context

    from .._basics.frozen_mapping import FrozenMapping
    from .._policies.circuit_breaker import Trial
    from .._policies.draws import Draws
    from .._policies.hedge import Hedge
    from .._policies.rate_meter import Amount
    from .._policies.retry import RetryPolicy
    from .._policies.worker_limits import WorkerLimits
    from .key_record import KeyRecord
    from .owners import Crew, Watcher
    from .setback import Setback
    from .states import Cut, History

NO_METADATA: Mapping[str, Any] = MappingProxyType({})

Group: TypeAlias = GroupRecord["JobRecord", "WorkerRecord"]


class Terms(NamedTuple):
    """Which workers may run a job. Jobs with equal terms are interchangeable, except for their order.

    Attributes:
      requires: tags that the worker must have.
      pinned: the only worker that may run the job, or None.
      failed: workers to avoid as long as another worker is available (the bounce).
      last: the worker among these to avoid even when a new round begins.
      gate: the job's group, if the group limits its jobs or reserves workers.
      units: the units that the job uses; limits with these units may delay it.
    """

    requires: frozenset[str] = frozenset()
    pinned: WorkerRecord | None = None
    failed: frozenset[WorkerRecord] = frozenset()
    last: WorkerRecord | None = None
    gate: Group | None = None
    units: frozenset[str] = frozenset()


ANYONE = Terms()


def _terms(options: JobSpec) -> Terms:
    gate = options.group if options.group is not None and options.group.is_gate else None
    if options.worker is None and not options.requires and gate is None and not options.uses:
        return ANYONE
    return Terms(options.requires, options.worker, gate=gate, units=frozenset(options.uses))


def _is_simple(options: JobSpec) -> bool:
    return options.terms is ANYONE and not options.after and options.group is None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class JobSpec:
    """The checked options of a job. All jobs without options of their own share one instance.

    ``retry`` is None if the pool's policy applies, which may change while the pool runs.
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
    key: Hashable = None
    uses: FrozenMapping[str, Amount] = NO_USES
    # Cleared when the job has entered the pool: otherwise it would keep the jobs that it has waited for alive.
    after: tuple[JobRecord, ...] = ()
    group: Group | None = None
    is_lease: bool = False  # the job's body is a block in its caller's code
    # Whether messages about the job show its arguments.
    show_arguments: bool = True
    terms: Terms = attrs.field(init=False, default=attrs.Factory(_terms, takes_self=True))
    # Whether such a job may start at once, on any worker, and affects no group.
    is_simple: bool = attrs.field(init=False, default=attrs.Factory(_is_simple, takes_self=True))


_numbers = count(1)


class Run:
    """One execution of a job on a worker. A run occupies a place of the worker unless the job has lent it.

    A running job has one run, or several with a hedge.

    Attributes:
      job: the job.
      worker: the worker.
      number: grows with each start.
      started_at: when the run began.
      since: when the run got its place: its start, or the time when the job got the place back.
      deadline: when a timeout ends the run.
      cut: why the run has been cut short, other than by a timeout.
      draws: what the run has drawn from limits and what it uses; None if there is nothing of either.
      trial: what the worker's breaker needs at the end of the run; None without a breaker.
      race: the outcome of the attempt, if this run alone does not decide it.
      is_lent: whether the job has lent the place to other jobs.
      wait: the job's wait to get the place back, if it has to wait; kept if the wait fails.
      loop: the runtime's loop that executes the run, once it has begun.
    """

    # fmt: off
    __slots__ = (
        "cut", "deadline", "draws", "is_lent", "job", "loop", "number", "race", "since", "started_at", "trial", "wait",
        "worker",
    )
    # fmt: on

    def __init__(self, job: JobRecord, worker: WorkerRecord, started_at: float, deadline: float) -> None:
        self.job: JobRecord = job
        self.worker: WorkerRecord = worker
        self.number: int = next(_numbers)
        self.started_at: float = started_at
        self.since: float = started_at
        self.deadline: float = deadline
        self.cut: Cut | None = None
        self.draws: Draws | None = None
        self.trial: Trial | None = None
        self.race: Any = None
        self.is_lent: bool = False
        self.wait: Any = None
        self.loop: Any = None

    @property
    def is_cut(self) -> bool:
        """Whether the run has been cancelled, alone or with the whole job."""
        return self.cut is not None or self.job._cancelled

    @property
    def is_forfeited(self) -> bool:
        """Whether the job goes on without the worker it has lent, since it could never get the worker back."""
        return self.is_lent and self.race is not None


_CLOSED = frozenset({Hold.STARTING, Hold.REOPENING, Hold.STOPPED})


class JobRecord(Handle):
    """The record of a job. Only the library uses the underscored fields."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_args", "_attempts", "_cancelled", "_context", "_deadline", "_extra", "_finished_at", "_fn",
        "_history", "_host", "_id", "_key", "_lane", "_options", "_run", "_setback", "_started", "_state",
        "_submitted_at", "_ticket", "_value", "_watchers", "_window",
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
        # The job's identity, which never changes.
        self._host = host
        self._id = number
        self._fn = fn
        self._args = args
        self._options = options
        self._submitted_at = submitted_at
        self._deadline = deadline
        # The submitter's context variables. Dropped at the end of the job: a context refers to the
        # job that submitted this one, whose context refers to its own submitter, and so on.
        self._context: Context | None = context

        # Owned by the core's `Lifecycle`.
        self._state: JobState | None = None
        # The fields of the transitions, one after another. The transitions, and the attempts, are
        # created when they are read.
        self._history: History | None = None
        self._finished_at: float | None = None

        # Owned by the core. The run of a running job, or the first of several that has not ended.
        self._run: Run | None = None
        self._attempts: tuple[Any, ...] = ()
        self._started = False
        self._cancelled = False
        self._value: Any = None  # the result, or a `Shortfall` if the job has ended without one
        # None until an attempt has failed, since most jobs never fail.
        self._setback: Setback[WorkerRecord] | None = None

        # Owned by the queue or heap in which the job waits. The ticket identifies the job's one valid
        # entry, so that stale ones can stay in the heap until they are reached; 0 without an entry.
        self._ticket = 0
        self._lane: object | None = None
        # Set by the core's `Keys`, if the pool has bounds for keys.
        self._key: KeyRecord | None = None
        self._extra: JobExtra | None = None

        # Owned by the stream of the job until the job has ended; None without a stream.
        self._window: Watcher | None = None

        # Owned by the runtime: called after the job's end and, if a task waits for it, also after the first start.
        self._watchers: dict[Callable[[JobRecord], object], None] | None = None

    @property
    def id(self) -> int:
        """The job's number within the pool, counted from 1."""
        return self._id

    @property
    def name(self) -> str:
        """The name given to ``submit``, or the function's name."""
        return self._options.name or call_name(self._fn)

    @property
    def state(self) -> JobState:
        """The job's state; ``QUEUED`` while its submission waits for a place in the queue."""
        return self._state or JobState.QUEUED

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts that have ended; if there are many, the first and the last 31."""
        fields = self._attempts
        return tuple(Attempt(*fields[at : at + ATTEMPT_FIELDS]) for at in range(0, len(fields), ATTEMPT_FIELDS))

    @property
    def attempt_count(self) -> int:
        """How many attempts have ended by themselves or by a timeout."""
        fields = self._attempts
        return fields[-ATTEMPT_FIELDS] if fields else 0  # the last attempt is always kept, with its number

    @property
    def reason(self) -> str:
        """Why the job ended without a result, in words; otherwise empty."""
        shortfall = self._shortfall
        return "" if shortfall is None else shortfall.text()

    @property
    def _shortfall(self) -> Shortfall | None:
        """Why the job has ended without a result; otherwise None."""
        value = self._value
        return value if type(value) is Shortfall else None

    @property
    def _dealt_with(self) -> bool:
        """Whether a caller has received the error of the dead job."""
        return self._shortfall is not None and self._shortfall.is_dealt_with

    @property
    def _extras(self) -> JobExtra:
        if self._extra is None:
            self._extra = JobExtra()
        return self._extra


class WorkerRecord(Handle):
    """The record of a worker. Only the library uses the underscored fields."""

    # fmt: off
    __slots__ = (
        "__weakref__", "_account", "_alone", "_available", "_busy_seconds", "_claims", "_closed", "_coming", "_crew",
        "_elastic", "_expires_at", "_failed", "_holds", "_id", "_in_order", "_is_exclusive", "_kept", "_kept_free",
        "_kept_places", "_kept_runs", "_kind", "_last_error", "_lent", "_limits", "_max_running", "_name", "_runs",
        "_succeeded", "_tags", "_task", "_tickets", "_under_way", "_used", "_was_open",
    )
    # fmt: on

    def __init__(self, crew: Crew, number: int, name: str, tags: frozenset[str]) -> None:
        self._crew = crew
        self._id = number
        self._name = name
        self._tags = tags
        self._alone = frozenset((self,))
        # The runtime's half of the worker, which uses Trio.
        self._task: Any = None
        # None for a worker without limits of its own.
        self._limits: WorkerLimits | None = None
        self._account = WorkerAccount()

        self._elastic = False  # whether the pool opens and retires it with the load
        # Each hold, with the time until which it lasts, or inf.
        self._holds: dict[Hold, float] = {Hold.STARTING: math.inf}
        self._tickets: dict[int, int] = {}  # the tickets of its deadlines, by their kinds
        self._was_open = False  # whether the resource has ever been open
        self._expires_at: float | None = None

        self._max_running: float = 1
        self._is_exclusive = True  # whether there has never been more than one place
        # The places reserved for groups, and these groups' runs; an exclusive worker is reserved by its kind.
        self._kept: dict[Group, int] = {}
        self._kept_runs: dict[Group, int] = {}
        self._kept_places = self._kept_free = 0  # reserved places: the total and the free ones
        self._runs: dict[Run, None] = {}
        self._in_order = True  # whether these are in the order of their starts: uncertain once a place was lent
        # The runs whose jobs have lent their places, and those among them that wait to get them back.
        self._lent: dict[Run, None] = {}
        self._claims: deque[Run] = deque()

        self._succeeded = 0
        self._failed = 0
        # The total time of ended runs; and, unless exclusive, the number of current runs with the sum of their starting
        # times: both in one object, since another thread may read it.
        self._busy_seconds = 0.0
        self._under_way: tuple[int, float] = (0, 0.0)
        # What the worker's runs have used in total; and, owned by the index, its closed units and shared limits.
        self._used: dict[str, Amount] = {}
        self._closed: frozenset[object] = frozenset()
        self._last_error: Exception | None = None

        # Owned by the worker index: whether the worker could run something now or after its current runs; the last
        # value of ``_may_become_available`` that was counted; and the worker's kind, set when it joins.
        self._available = False
        self._coming = False
        self._kind: Any

    @property
    def id(self) -> int:
        """The worker's number within the pool, counted from 1."""
        return self._id

    @property
    def name(self) -> str:
        """The name given by `Resource`, or one derived from the number."""
        return self._name

    @property
    def tags(self) -> frozenset[str]:
        """The tags that jobs can require."""
        return self._tags

    @property
    def _has_left(self) -> bool:
        """Whether the worker has left the pool."""
        return Hold.STOPPED in self._holds

    @property
    def _is_leaving(self) -> bool:
        """Whether the worker is leaving the pool or has left."""
        return Hold.LEAVING in self._holds

    @property
    def _is_open(self) -> bool:
        """Whether the resource is open and usable."""
        return self._holds.keys().isdisjoint(_CLOSED)

    @property
    def _has_place(self) -> bool:
        """Whether a place is free."""
        return len(self._runs) < self._max_running

    @property
    def _has_room(self) -> bool:
        """Whether a place is free and the worker's limits allow its use."""
        limits = self._limits
        return self._has_place and (limits is None or not self._runs or limits.allows_another(is_lent=bool(self._lent)))

    @property
    def _may_become_available(self) -> bool:
        """Whether the worker can't start anything now, but may do so later without any action of the program."""
        holds = self._holds
        if Hold.LEAVING in holds or (Hold.REOPENING in holds and (self._lent or self._runs)):
            return False  # this hold ends only after the jobs that use or have lent the worker have ended
        return any(hold is not Hold.PAUSED for hold in holds)

    @property
    def state(self) -> WorkerState:
        """What the worker is doing."""
        holds = tuple(self._holds)
        if self._runs and Hold.STOPPED not in holds:
            return WorkerState.BUSY
        return next((state for hold, state in _HELD_STATES.items() if hold in holds), WorkerState.IDLE)
