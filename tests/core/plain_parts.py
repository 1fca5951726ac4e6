"""What the plain model is made of: workers, jobs, attempts, and what these come to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from tests.core.plain_limits import PlainRates
from trio_pool import DeadReason, JobState, WorkerState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.core.plain_groups import PlainGroup
    from tests.core.plain_limits import PlainBreaker
    from trio_pool import CircuitBreaker
    from trio_pool._policies.rate_meter import Amount
    from trio_pool._policies.rate_meters import RateLimits

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

    rate_limit: RateLimits = None
    breaker: CircuitBreaker | None = None
    max_jobs: int | None = None
    max_age: float | None = None


@attrs.define(eq=False, repr=False)
class PlainWorker(Named):
    """A worker."""

    tags: frozenset[str]
    max_jobs: float = math.inf
    max_age: float = math.inf
    rates: PlainRates = attrs.field(factory=PlainRates)
    # What its runs have used, by units.
    used: dict[str, Amount] = attrs.field(factory=dict[str, "Amount"])
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
    # How many attempts may run on it at once, and those that do, in the order of their starts and returns.
    places: float = 1
    runs: list[PlainRun] = attrs.field(factory=list["PlainRun"])
    # How many attempts have ended on it by themselves, and how many of these with a value.
    ended: int = 0
    succeeded: int = 0
    # When it became free, or a run last started or ended on it, in a count of such events; None while it isn't free.
    idle_since: int | None = None
    # The groups that its places are kept for, a group once for each place.
    kept: list[PlainGroup] = attrs.field(factory=list["PlainGroup"])
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
        if self.runs:
            return WorkerState.BUSY
        if self.paused:
            return WorkerState.PAUSED
        if self.quarantined_until is not None:
            return WorkerState.QUARANTINED
        if self.rest_until is not None:
            return WorkerState.RESTING
        return PHASE_STATES[self.phase]

    @property
    def share(self) -> tuple[float, int]:
        """Which share of its places is taken; without a bound none is, but then it matters how many are."""
        return (0.0, len(self.runs)) if self.places == math.inf else (len(self.runs) / self.places, 0)

    @property
    def has_place(self) -> bool:
        """Whether a place is free."""
        return len(self.runs) < self.places

    def may_start_more(self, now: float) -> bool:
        """Whether one may be used, rate limits aside: not while it is being worn out, nor beside a probe."""
        is_probing = any(run.is_probe for run in self.runs)
        return self.has_place and not (self.runs and (self.is_worn(now) or is_probing))

    def free_places(self, group: PlainGroup | None = None) -> float:
        """How many places are free for a group's jobs, or for any: not those that are kept for other groups."""
        others = {each for each in self.kept if each is not group}
        return self.places - len(self.runs) - sum(self.unused(other) for other in others)

    def places_to_keep(self) -> float:
        """How many free places may be kept for a group: not those that are lent, since the lenders come back."""
        returning = len(self.lenders)
        for group in dict.fromkeys(self.kept):
            returning -= min(self.unused(group), len([job for job in self.lenders if job.group is group]))
        return self.free_places() - returning

    def unused(self, group: PlainGroup) -> int:
        """How many of the places that are kept for a group its jobs don't fill."""
        own = [run for run in self.runs if run.job.group is group]
        return max(0, self.kept.count(group) - len(own))

    def run_of(self, job: PlainJob) -> PlainRun:
        """What it runs of a job."""
        (run,) = [run for run in self.runs if run.job is job]
        return run

    def ready_at(self, now: float) -> float:
        """When its own rate limit lets it start."""
        return self.rates.ready_at(now)

    def is_worn(self, now: float) -> bool:
        """Whether its resource has served for long enough, and may be left."""
        is_old = self.attempts >= self.max_jobs or now >= self.expires_at
        return self.phase == "open" and is_old and not self.lenders


@attrs.define(eq=False, repr=False)
class PlainKey(Named):
    """A key, for whose jobs there are bounds; or what all jobs without one have in its place."""

    max_running: float = math.inf
    weight: float = 1.0
    rates: PlainRates = attrs.field(factory=PlainRates)
    # What of it lets nothing start: units, or None for limits without one.
    closed: set[str | None] = attrs.field(factory=set["str | None"])
    rests_until: float | None = None
    # What all jobs without a key have never rests.
    is_named: bool = True
    # The start tag of the next of its jobs, or the finish tag of the last.
    turn: float = 0.0


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
    uses: Mapping[str, Amount] = attrs.field(factory=dict[str, "Amount"])
    # Whether it is a block of its caller's that has a place: its deadline ends only the wait for that.
    is_lease: bool = False
    # On whose behalf it runs, if there are bounds for keys.
    owner: PlainKey | None = None
    group: PlainGroup | None = None
    # Its run that has lent its place.
    loan: PlainRun | None = None
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
        runs = self.attempt.runs if self.loan is None else [self.loan]
        return any(run.cut for run in runs) or self.cancelled

    @property
    def has_lent(self) -> PlainWorker | None:
        """The worker a place of which it has lent."""
        return None if self.loan is None else self.loan.worker

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
    key_rest: float = 0.0
    broken: bool = False
    is_failure: bool = False

    @property
    def is_last_word(self) -> bool:
        """Whether the function itself has said what is to become of its job."""
        return self.fate in (DeadReason.GAVE_UP, "drop")


# What an attempt comes to on a worker if it isn't cut short there.
Outcome: TypeAlias = PlainVerdict | Literal["value", "timeout"]


@attrs.define(eq=False, repr=False)
class PlainRun(Named):
    """An attempt on one worker."""

    worker: PlainWorker
    job: PlainJob
    # The number of its start.
    number: int
    cut: bool = False
    # Whether it is the probe of an open breaker, and how often that had opened by then.
    is_probe: bool = False
    openings: int = 0

    def __repr__(self) -> str:
        return f"<PlainRun of {self.job!r} on {self.worker!r}>"


@attrs.define(eq=False, repr=False)
class PlainAttempt:
    """One attempt of a job, on however many workers."""

    deadline: float = math.inf
    # All that it was started on, in that order, and the runs of it that have not ended.
    workers: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    runs: list[PlainRun] = attrs.field(factory=list[PlainRun])
    # When it may be started on one more, with the number of when that was found; and since when
    # it waits for that one, in a count of such events, until its time is up.
    due: float | None = None
    due_number: int = 0
    waits_since: int | None = None
    # The number of when its worker was removed, which is its job's place in front of the queue if it is cut short then.
    evicted: int = 0
    # What it came to on one worker after the other.
    outcomes: list[Outcome] = attrs.field(factory=list[Outcome])
    # What it has used on each of them.
    used: dict[PlainWorker, dict[str, Amount]] = attrs.field(factory=dict["PlainWorker", "dict[str, Amount]"])

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
