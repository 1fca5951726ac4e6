"""What the scheduler is to do, told as plainly as can be: lists, and looking at everything.

Nothing of the library's is used here but the names of states, reasons and doors. One rule
runs through it: what has come due is dealt with first, then the event itself, then jobs
and idle workers are brought together in the order of the queue, then places are filled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import attrs

from tests.core.plain_limits import PlainBreaker, PlainBudget, PlainRate
from trio_pool import CircuitBreaker, DeadReason, JobState, RateLimit, WorkerState
from trio_pool._places import Admission, Door

if TYPE_CHECKING:
    from tests.core.plain_groups import PlainGroup

Placement = Literal["any", "same", "other"]
FINAL = (JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED)
PHASE_STATES = {
    "starting": WorkerState.STARTING,
    "open": WorkerState.IDLE,
    "reopening": WorkerState.REOPENING,
    "gone": WorkerState.STOPPED,
}


@attrs.frozen
class PlainLimits:
    """The limits that a worker comes with."""

    rate_limit: RateLimit | None = None
    breaker: CircuitBreaker | None = None
    max_jobs: int | None = None
    max_age: float | None = None


@attrs.define(eq=False, repr=False)
class PlainWorker:
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
    attempt_deadline: float = math.inf
    cut: bool = False
    # When it became idle, in a count of such events; None while it isn't.
    idle_since: int | None = None
    kept_for: PlainGroup | None = None

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

    def ready_at(self, now: float) -> float:
        """When its own rate limit lets it start."""
        return now if self.rate is None else self.rate.ready_at(now)

    def is_worn(self, now: float) -> bool:
        """Whether its resource has served for long enough."""
        return self.phase == "open" and (self.attempts >= self.max_jobs or now >= self.expires_at)


@attrs.define(eq=False, repr=False)
class PlainJob:
    """A job."""

    priority: float
    requires: frozenset[str]
    pinned: PlainWorker | None
    deadline: float
    attempt_timeout: float
    # None before it has entered; then each state that it was in.
    state: JobState | None = None
    states: list[JobState] = attrs.field(factory=list[JobState])
    place_in_queue: int = 0
    ever_started: bool = False
    cancelled: bool = False
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
    after: list[PlainJob] = attrs.field(factory=list["PlainJob"])

    def __repr__(self) -> str:
        return f"<PlainJob, in turn {[state.name for state in self.states]}>"


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


@attrs.define(eq=False)
class PlainPool:
    """The pool."""

    max_queue: float
    max_running: float
    no_worker: Literal["reject", "wait", "bury"]
    lifo: bool
    # The limit counts for nothing while it is suspended, but isn't forgotten.
    rate: PlainRate | None = None
    suspended: bool = False
    budget: PlainBudget | None = None
    now: float = 0.0
    draining: bool = False
    workers: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    jobs: list[PlainJob] = attrs.field(factory=list[PlainJob])
    line: list[PlainJob] = attrs.field(factory=list[PlainJob])
    attempts: int = 0
    failures: int = 0
    retries: int = 0
    # What has happened since this was last cleared.
    started: list[tuple[PlainWorker, PlainJob]] = attrs.field(factory=list[tuple[PlainWorker, PlainJob]])
    let_go: list[PlainJob] = attrs.field(factory=list[PlainJob])
    refused: list[PlainJob] = attrs.field(factory=list[PlainJob])
    interrupted: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    recalled: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    told: list[tuple[str, PlainWorker, object]] = attrs.field(factory=list[tuple[str, PlainWorker, object]])
    _count: int = 0

    # Looking.

    def those(self, state: JobState) -> list[PlainJob]:
        """The jobs in a state."""
        return [job for job in self.jobs if job.state is state]

    def live(self) -> list[PlainJob]:
        """The jobs that have not ended."""
        return [job for job in self.jobs if job.state not in FINAL]

    def unstarted(self) -> int:
        """How many of them never started."""
        return sum(1 for job in self.live() if not job.ever_started)

    def queue(self) -> list[PlainJob]:
        """The jobs that wait for a worker, in their order."""
        return sorted(self.those(JobState.QUEUED), key=lambda job: (job.priority, job.place_in_queue))

    def ready_line(self) -> list[PlainJob]:
        """The jobs that wait for a place, but could start without one, in their order."""
        return self.line

    def idle(self) -> list[PlainWorker]:
        """The idle workers, the longest idle first."""
        found = [(worker.idle_since, worker) for worker in self.workers if worker.idle_since is not None]
        return [worker for _, worker in sorted(found, key=lambda pair: pair[0])]

    def has_room(self) -> bool:
        """Whether one more attempt is within the bound."""
        return len(self.those(JobState.RUNNING)) < self.max_running

    def ready_at(self) -> float:
        """When the pool's rate limit lets an attempt start."""
        return self.now if self.rate is None or self.suspended else self.rate.ready_at(self.now)

    def may_start(self) -> bool:
        """Whether one more attempt may start now, as far as the pool is concerned."""
        return self.has_room() and self.ready_at() <= self.now

    def waits_for_rate(self) -> bool:
        """Whether some job could start but for the pool's rate limit."""
        if not self.has_room() or self.ready_at() <= self.now:
            return False
        return self.next_pair(self.queue()) is not None or self.next_pair(self.ready_line()) is not None

    def is_eligible(self, job: PlainJob) -> bool:
        """Whether any worker that has not left may ever run the job."""
        return any(
            worker.phase != "gone" and job.requires <= worker.tags and job.pinned in (None, worker)
            for worker in self.workers
        )

    def can_serve(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the worker could take such jobs, if it were idle."""
        return worker.available and job.requires <= worker.tags

    def may_take(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the worker may take the job now."""
        if not self.can_serve(worker, job):
            return False
        if job.pinned is not None:
            return worker is job.pinned
        if job.placement == "same" and job.last is not None and job.last.phase != "gone":
            return worker is job.last
        if job.placement == "other" and job.failed_on:
            able = [other for other in self.workers if self.can_serve(other, job)]
            untried = [other for other in able if other not in job.failed_on]
            if untried:
                return worker in untried
            return worker is not job.last or able == [worker]
        return True

    def next_pair(self, jobs: list[PlainJob]) -> tuple[PlainWorker, PlainJob] | None:
        """The first of the jobs that an idle worker may take, with the longest idle of these."""
        for job in jobs:
            for worker in self.idle():
                if self.may_take(worker, job):
                    return worker, job
        return None

    def dues(self) -> list[float]:
        """The times at which something has to happen by itself."""
        waiting = [*self.line, *self.those(JobState.QUEUED), *self.those(JobState.DELAYED)]
        ends = [job.deadline for job in waiting]
        delays = [job.delayed_until for job in self.those(JobState.DELAYED)]
        found = [*ends, *delays]
        for worker in self.workers:
            held = (worker.rest_until, worker.quarantined_until)
            found.extend(until for until in held if until is not None)
            if worker.available and worker.job is None and worker.ready_at(self.now) > self.now:
                found.append(worker.ready_at(self.now))
            if worker.phase == "open" and worker.job is None and not worker.departing:
                found.append(worker.expires_at)
        if self.waits_for_rate():
            found.append(self.ready_at())
        return found

    # What everything is made of.

    def _next_count(self) -> int:
        self._count += 1
        return self._count

    def _move(self, job: PlainJob, state: JobState) -> None:
        if job.state is None:
            self.jobs.append(job)
        job.state = state
        job.states.append(state)

    def _die(self, job: PlainJob, reason: DeadReason) -> None:
        job.dead_reason = reason
        self._move(job, JobState.DEAD)

    def _queue_up(self, job: PlainJob, *, front: bool = False) -> None:
        self._move(job, JobState.QUEUED)
        number = self._next_count()
        job.place_in_queue = -number if front or self.lifo else number

    def _queue_again(self, job: PlainJob, *, front: bool) -> None:
        if self.no_worker != "wait" and not self.is_eligible(job):
            self._die(job, DeadReason.NO_WORKER)
        else:
            self._queue_up(job, front=front)

    def _leave_line(self, job: PlainJob) -> None:
        self.line.remove(job)
        self.let_go.append(job)

    def _update(self, worker: PlainWorker) -> None:
        if not worker.available or worker.job is not None:
            worker.idle_since = None
        elif worker.idle_since is None:
            self._limit(worker)
            if worker.limited_until is None:
                worker.idle_since = self._next_count()

    def _limit(self, worker: PlainWorker) -> None:
        ready = worker.ready_at(self.now)
        if ready > self.now and worker.limited_until != ready:
            worker.limited_until = ready
            worker.limit_number = self._next_count()

    def _reopen(self, worker: PlainWorker, error: object) -> None:
        worker.phase = "reopening"
        self.told.append(("worker_reopening", worker, error))
        self._update(worker)

    def _start(self, worker: PlainWorker, job: PlainJob) -> None:
        # What is the point of it all.
        assert worker.available
        assert worker.job is None
        assert worker.ready_at(self.now) <= self.now
        assert not worker.is_worn(self.now)
        assert self.may_start()
        worker.attempts += 1
        if worker.rate is not None:
            worker.rate.start(self.now)
        if self.rate is not None and not self.suspended:
            self.rate.start(self.now)
        if self.budget is not None:
            self.budget.attempts.append(self.now)
        self._move(job, JobState.RUNNING)
        job.ever_started = True
        worker.job = job
        worker.idle_since = None
        worker.attempt_deadline = min(job.deadline, self.now + job.attempt_timeout)
        self.started.append((worker, job))

    def _match(self) -> None:
        while self.may_start():
            pair = self.next_pair(self.queue())
            if pair is None:
                pair = self.next_pair(self.ready_line())
                if pair is None:
                    return
                self._leave_line(pair[1])
                self._queue_up(pair[1])
            self._start(*pair)

    def _settle(self) -> None:
        """The end of every event."""
        self._match()
        while self.line and self.unstarted() < self.max_queue:
            job = self.line[0]
            self._leave_line(job)
            self._queue_up(job)
        self._let_nothing_hang()

    def _let_nothing_hang(self) -> None:
        queued = self.those(JobState.QUEUED)
        if not self.draining or not queued or self.those(JobState.RUNNING) or self.those(JobState.DELAYED):
            return
        if self.waits_for_rate():
            return
        paused = [worker for worker in self.workers if worker.paused and worker.phase != "gone"]
        if paused:
            self._resume(paused)
        elif not any(self._may_become_available(worker) for worker in self.workers):
            for job in queued:
                self._die(job, DeadReason.NO_WORKER)

    def _may_become_available(self, worker: PlainWorker) -> bool:
        if worker.departing or worker.phase == "gone":
            return False
        if worker.phase != "open" or worker.rest_until is not None or worker.quarantined_until is not None:
            return True
        return worker.ready_at(self.now) > self.now

    def _resume(self, workers: list[PlainWorker]) -> None:
        for worker in workers:
            worker.paused = False
            self._update(worker)
            self._settle()

    def _cut(self, worker: PlainWorker) -> None:
        if self.now < worker.attempt_deadline:
            worker.cut = True
        self.interrupted.append(worker)

    # Time passes.

    def advance(self) -> None:
        """Deal with what has come due, all of it before anything is started on account of it."""
        due: list[tuple[float, int, int, PlainJob | PlainWorker]] = []
        for number, job in enumerate([*self.line, *self.live()]):
            if job.state is not JobState.RUNNING:
                due.append((job.deadline, 0, number, job))
            if job.state is JobState.DELAYED:
                due.append((job.delayed_until, 5, job.delay_number, job))
        for number, worker in enumerate(self.workers):
            due.append((worker.expires_at, 1, number, worker))
            if worker.rest_until is not None:
                due.append((worker.rest_until, 2, worker.rest_number, worker))
            if worker.quarantined_until is not None:
                due.append((worker.quarantined_until, 3, worker.quarantine_number, worker))
            if worker.limited_until is not None:
                due.append((worker.limited_until, 4, worker.limit_number, worker))
        due = sorted((item for item in due if item[0] <= self.now), key=lambda item: item[:3])
        for _, kind, _, item in due:
            if isinstance(item, PlainWorker):
                self._come_to(item, kind)
            elif item.state in FINAL:
                continue
            elif kind == 0:
                if item in self.line:
                    self._leave_line(item)
                self._die(item, DeadReason.TIMED_OUT)
            else:
                self._queue_again(item, front=item.front)
        self._settle()

    def _come_to(self, worker: PlainWorker, kind: int) -> None:
        if kind == 1:
            if worker.is_worn(self.now) and worker.job is None and not worker.departing:
                self._reopen(worker, None)
                self.recalled.append(worker)
            return
        if kind == 2:
            worker.rest_until = None
        elif kind == 3:
            worker.quarantined_until = None
        else:
            worker.limited_until = None
        self._update(worker)

    # Jobs come and go.

    def submit(self, job: PlainJob, door: Door) -> Admission:
        """A job wants to enter."""
        self.advance()
        if job.deadline <= self.now:
            self._die(job, DeadReason.TIMED_OUT)
            return Admission.ENTERED
        if self.no_worker != "wait" and not self.is_eligible(job):
            if self.no_worker == "reject":
                return Admission.NO_WORKER
            self._die(job, DeadReason.NO_WORKER)
            return Admission.ENTERED
        place = door is Door.ALWAYS or (door is not Door.IF_IDLE and self.unstarted() < self.max_queue)
        if place or (self.may_start() and self.next_pair([job]) is not None):
            self._queue_up(job)
            self._settle()
            return Admission.ENTERED
        if door is not Door.QUEUE_UP:
            return Admission.FULL
        self.line.append(job)
        return Admission.WAITING

    def withdraw(self, job: PlainJob) -> None:
        """A submitter no longer waits."""
        self.line.remove(job)

    def cancel(self, job: PlainJob) -> None:
        """A job is cancelled."""
        self.advance()
        if job.state in FINAL or job.cancelled:
            return
        job.cancelled = True
        if job.state is JobState.RUNNING:
            self._cut(self.worker_of(job))
        else:
            self._move(job, JobState.CANCELLED)
        self._settle()

    def cancel_all(self) -> None:
        """Every job is cancelled."""
        self.advance()
        for job in self.live():
            if job.state is not JobState.RUNNING:
                job.cancelled = True
                self._move(job, JobState.CANCELLED)
            elif not job.cancelled:
                job.cancelled = True
                self._cut(self.worker_of(job))

    def worker_of(self, job: PlainJob) -> PlainWorker:
        """The worker that runs the job."""
        (worker,) = [worker for worker in self.workers if worker.job is job]
        return worker

    # Attempts end.

    def succeeded(self, worker: PlainWorker) -> None:
        """An attempt returns a value."""
        self.advance()
        job = self._take_off(worker, counted=True)
        self._move(job, JobState.SUCCEEDED)
        if worker.breaker is not None:
            worker.breaker.succeeded()
        self._go_on(worker)

    def failed(self, worker: PlainWorker, verdict: PlainVerdict) -> None:
        """An attempt raises an error."""
        self.advance()
        job = self._take_off(worker, counted=True)
        self.failures += 1
        if job.placement == "other" and worker in job.failed_on:
            job.failed_on = []  # a new round has begun
        job.failed_on.append(worker)
        job.last = worker
        if verdict.rest:
            self._rest(worker, self.now + verdict.rest)
        if worker.breaker is not None and verdict.is_failure and worker.breaker.failed(self.now):
            worker.quarantined_until = worker.breaker.open_until
            worker.quarantine_number = self._next_count()
            self.told.append(("worker_quarantined", worker, worker.quarantined_until))
        if verdict.broken:
            self._reopen(worker, "an error")
        self._match()
        self._decide(job, verdict)
        self._go_on(worker)

    def _decide(self, job: PlainJob, verdict: PlainVerdict) -> None:
        if job.cancelled and verdict.fate not in (DeadReason.GAVE_UP, "drop"):
            self._die(job, DeadReason.NOT_RETRYABLE)
        elif isinstance(verdict.fate, DeadReason):
            self._die(job, verdict.fate)
        elif verdict.fate == "drop":
            self._move(job, JobState.DISCARDED)
        elif self.now + verdict.delay >= job.deadline:
            self._die(job, DeadReason.TIMED_OUT)
        elif self.budget is not None and not self.budget.allows_retry(self.now):
            self._die(job, DeadReason.BUDGET_EXHAUSTED)
        else:
            if self.budget is not None:
                self.budget.retries.append(self.now)
            self.retries += 1
            job.counted_failures += verdict.counts
            job.placement, job.front = verdict.placement, verdict.front
            if verdict.delay:
                job.delayed_until = self.now + verdict.delay
                job.delay_number = self._next_count()
                self._move(job, JobState.DELAYED)
            else:
                self._queue_again(job, front=verdict.front)

    def timed_out(self, worker: PlainWorker) -> None:
        """An attempt is ended by the job's total timeout."""
        self.advance()
        job = self._take_off(worker, counted=True)
        self.failures += 1
        self._die(job, DeadReason.TIMED_OUT)
        self._go_on(worker)

    def cut_short(self, worker: PlainWorker) -> None:
        """An attempt is ended by a cancellation."""
        self.advance()
        job = self._take_off(worker, counted=False)
        if job.cancelled:
            self._move(job, JobState.CANCELLED)
        elif job.deadline <= self.now:
            self._die(job, DeadReason.TIMED_OUT)
        else:
            self._queue_again(job, front=True)
        self._go_on(worker)

    def _take_off(self, worker: PlainWorker, *, counted: bool) -> PlainJob:
        job = worker.job
        assert job is not None
        worker.job = None
        worker.cut = False
        job.attempts += counted
        self.attempts += counted
        return job

    def _go_on(self, worker: PlainWorker) -> None:
        if worker.is_worn(self.now) and not worker.departing:
            self._reopen(worker, None)
        self._limit(worker)
        self._ask(worker)

    def _ask(self, worker: PlainWorker) -> None:
        self._update(worker)
        self._settle()

    # Workers come and go.

    def opened(self, worker: PlainWorker) -> None:
        """A worker's resource is open."""
        self.advance()
        worker.phase = "open"
        worker.attempts = 0
        worker.expires_at = self.now + worker.max_age
        self._ask(worker)

    def broken(self, worker: PlainWorker) -> None:
        """A worker's resource has to be opened anew."""
        self._reopen(worker, "an error")
        self.advance()
        self._ask(worker)

    def pause(self, worker: PlainWorker) -> None:
        """A worker is to take no more jobs."""
        self.advance()
        worker.paused = True
        self._ask(worker)

    def resume(self, worker: PlainWorker) -> None:
        """A worker may take jobs again."""
        self.advance()
        self._resume([worker])

    def rest(self, worker: PlainWorker, until: float) -> None:
        """A worker is to take no jobs for a while."""
        self.advance()
        self._rest(worker, until)
        self._ask(worker)

    def _rest(self, worker: PlainWorker, until: float) -> None:
        if until > self.now and worker.phase != "gone" and until > (worker.rest_until or 0.0):
            worker.rest_until = until
            worker.rest_number = self._next_count()
            self.told.append(("worker_resting", worker, until))

    def depart(self, worker: PlainWorker, *, cut: bool) -> None:
        """A worker is to leave."""
        self.advance()
        if cut and worker.job is not None:
            self._cut(worker)
        if not worker.departing:
            worker.departing = True
            if worker.job is None:
                self.recalled.append(worker)
            self._ask(worker)

    def left(self, worker: PlainWorker) -> None:
        """A worker has left."""
        self.advance()
        worker.phase = "gone"
        worker.rest_until = worker.quarantined_until = worker.limited_until = None
        self._update(worker)
        if self.no_worker != "wait":
            for job in self.queue():
                if not self.is_eligible(job):
                    self._die(job, DeadReason.NO_WORKER)
            for job in list(self.line):
                if not self.is_eligible(job):
                    self._turn_away(job)
        self._settle()

    def _turn_away(self, job: PlainJob) -> None:
        if self.no_worker == "bury":
            self._leave_line(job)
            self._die(job, DeadReason.NO_WORKER)
        else:
            self.line.remove(job)
            self.refused.append(job)

    # Limits change.

    def set_max_running(self, limit: float) -> None:
        """Another bound on the attempts under way."""
        self.advance()
        self.max_running = limit
        self._settle()

    def set_rate_limit(self, limit: RateLimit | None) -> None:
        """Another rate for the attempts of the whole pool, or none."""
        self.advance()
        self.suspended = limit is None
        if limit is not None and self.rate is None:
            self.rate = PlainRate(limit)
        elif limit is not None and self.rate is not None:
            self.rate.change(limit, self.now)
        self._settle()

    def drain(self) -> None:
        """Nothing comes from outside any more."""
        self.advance()
        self.draining = True
        self._resume([worker for worker in self.workers if worker.paused and worker.phase != "gone"])
        self._settle()
