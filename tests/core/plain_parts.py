"""What the plain model is made of: workers, jobs, attempts, and what these come to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from trio_pool import DeadReason, JobState, WorkerState

if TYPE_CHECKING:
    from tests.core.plain_groups import PlainGroup
    from tests.core.plain_limits import PlainBreaker, PlainRate
    from trio_pool import CircuitBreaker, RateLimit

Placement = Literal["any", "same", "other"]
FINAL = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED)
PHASE_STATES = {
    "starting": WorkerState.STARTING,
    "open": WorkerState.IDLE,
    "reopening": WorkerState.REOPENING,
    "gone": WorkerState.STOPPED,
}


class Named:
    """What hypothesis is to show by its repr, and not by all its attributes."""

    def _repr_pretty_(self, printer: Any, _: object) -> None:
        printer.text(repr(self))


@attrs.frozen
class PlainLimits:
    """The limits that a worker comes with."""

    rate_limit: RateLimit | None = None
    breaker: CircuitBreaker | None = None
    max_jobs: int | None = None
    max_age: float | None = None


@attrs.define(eq=False, repr=False)
class PlainWorker(Named):
    """A worker."""

    tags: frozenset[str]
    max_jobs: float = math.inf
    max_age: float = math.inf
    rate: PlainRate | None = None
    breaker: PlainBreaker | None = None
    phase: Literal["starting", "open", "reopening", "gone"] = "starting"
    paused: bool = False
    # Until when each of these holds it, with the number of when that was found.
    rest_until: float | None = None
    rest_number: int = 0
    quarantined_until: float | None = None
    quarantine_number: int = 0
    limited_until: float | None = None
    limit_number: int = 0
    # Attempts since its resource was opened, and when that will be too long ago.
    attempts: int = 0
    expires_at: float = math.inf
    departing: bool = False
    job: PlainJob | None = None
    cut: bool = False
    # How many attempts have ended on it by themselves, and how many of these with a value.
    ended: int = 0
    succeeded: int = 0
    # When it became idle, in a count of such events; None while it isn't.
    idle_since: int | None = None
    kept_for: PlainGroup | None = None
    # The jobs that have lent it, and those of them that want it back, the first to ask first.
    lenders: list[PlainJob] = attrs.field(factory=list["PlainJob"])
    claims: list[PlainJob] = attrs.field(factory=list["PlainJob"])
    # Whether an elastic pool opens and retires it; and since when its resource can't be opened, in a
    # count of such events, 0 if it can.
    elastic: bool = False
    failing: int = 0

    def __repr__(self) -> str:
        return f"<PlainWorker {sorted(self.tags)}, {self.phase}>"

    @property
    def available(self) -> bool:
        """Whether it could run something, now or after what it runs."""
        rests = self.rest_until is not None or self.quarantined_until is not None
        return self.phase == "open" and not self.paused and not self.departing and not rests

    @property
    def state(self) -> WorkerState:
        """What it shows."""
        if self.phase in ("starting", "gone"):
            return PHASE_STATES[self.phase]
        if self.job is not None:
            return WorkerState.BUSY
        if self.paused:
            return WorkerState.PAUSED
        if self.quarantined_until is not None:
            return WorkerState.QUARANTINED
        if self.rest_until is not None:
            return WorkerState.RESTING
        return PHASE_STATES[self.phase]

    @property
    def attempt_deadline(self) -> float:
        """When a timeout ends what it runs."""
        return math.inf if self.job is None else self.job.attempt.deadline

    def ready_at(self, now: float) -> float:
        """When its own rate limit lets it start."""
        return now if self.rate is None else self.rate.ready_at(now)

    def is_worn(self, now: float) -> bool:
        """Whether its resource has served for long enough, and may be left."""
        is_old = self.attempts >= self.max_jobs or now >= self.expires_at
        return self.phase == "open" and is_old and not self.lenders


@attrs.define(eq=False, repr=False)
class PlainJob(Named):
    """A job."""

    priority: float
    requires: frozenset[str]
    pinned: PlainWorker | None
    deadline: float
    attempt_timeout: float
    # After how long an attempt is started on another worker, and on how many of these at most.
    hedge: tuple[float, int] | None
    # None before it has entered; then each state that it was in.
    state: JobState | None = None
    states: list[JobState] = attrs.field(factory=list[JobState])
    place_in_queue: int = 0
    ever_started: bool = False
    cancelled: bool = False
    # The attempt under way, or the last one.
    attempt: PlainAttempt = attrs.field(factory=lambda: PlainAttempt())
    attempts: int = 0
    counted_failures: int = 0
    delayed_until: float = math.inf
    delay_number: int = 0
    placement: Placement = "any"
    front: bool = False
    failed_on: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    last: PlainWorker | None = None
    dead_reason: DeadReason | None = None
    group: PlainGroup | None = None
    # The worker that it has lent, and whether it has been cut short meanwhile.
    has_lent: PlainWorker | None = None
    lent_cut: bool = False
    # Whether it goes on without that worker, as it could never have had it back.
    forfeited: bool = False
    after: list[PlainJob] = attrs.field(factory=list["PlainJob"])
    # The one that stands for the graph with which it waits for a place, or itself.
    key: PlainJob = attrs.field(default=attrs.Factory(lambda self: self, takes_self=True))

    def __repr__(self) -> str:
        return f"<PlainJob, in turn {[state.name for state in self.states]}>"

    @property
    def is_cut(self) -> bool:
        """Whether its attempt is to end on the one worker that it has, or has lent, whatever becomes of the job."""
        cut = self.lent_cut if self.has_lent is not None else any(worker.cut for worker in self.attempt.runners)
        return cut or self.cancelled

    @property
    def only_worker(self) -> PlainWorker | None:
        """The one worker that may take it now, if it may not be any other."""
        last = self.last if self.pinned is None and self.placement == "same" else None
        if last is not None and last.phase != "gone" and not last.departing:
            return last
        return self.pinned


@attrs.frozen
class PlainVerdict:
    """What is to become of a job that has failed: to die, to be dropped, or to go on."""

    fate: DeadReason | Literal["drop", "retry"]
    delay: float = 0.0
    placement: Placement = "any"
    front: bool = False
    counts: bool = True
    rest: float = 0.0
    broken: bool = False
    is_failure: bool = False

    @property
    def is_last_word(self) -> bool:
        """Whether the function itself has said what is to become of its job."""
        return self.fate in (DeadReason.GAVE_UP, "drop")


# What an attempt comes to on a worker if it isn't cut short there.
Outcome: TypeAlias = PlainVerdict | Literal["value", "timeout"]


@attrs.define(eq=False, repr=False)
class PlainAttempt:
    """One attempt of a job, on however many workers."""

    deadline: float = math.inf
    # All that it was started on, in that order, and those of them where it has not ended.
    workers: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    runners: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    # When it may be started on one more, with the number of when that was found; and since when
    # it waits for that one, in a count of such events, until its time is up.
    due: float | None = None
    due_number: int = 0
    waits_since: int | None = None
    started_at: float = 0.0
    # The number of when its worker was removed, which is its job's place in front of the queue if it is cut short then.
    evicted: int = 0
    # What it came to on one worker after the other.
    outcomes: list[Outcome] = attrs.field(factory=list[Outcome])

    @property
    def outcome(self) -> Outcome | None:
        """What counts of all that: a value, else the first that decides, else the last failure."""
        if "value" in self.outcomes:
            return "value"
        for outcome in self.outcomes:
            if decides(outcome):
                return outcome
        return self.outcomes[-1] if self.outcomes else None

    def start_on_no_more(self) -> None:
        """It is not to be started on further workers."""
        self.due = self.waits_since = None


def decides(outcome: Outcome | None) -> bool:
    """Whether there is nothing to wait for after a runner has come to this."""
    return outcome.is_last_word if isinstance(outcome, PlainVerdict) else outcome is not None
