"""What the scheduler is to do, told as plainly as can be: lists, and looking at everything.

Nothing of the library's is used here but the names of states, reasons and doors. One rule
runs through it: what has come due is dealt with first, then the event itself, then jobs
and idle workers are brought together in the order of the queue, then slow attempts and the
workers that are left idle, then places are filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from tests.core.plain_limits import PlainRate
from tests.core.plain_parts import FINAL, Outcome, PlainAttempt, PlainJob, PlainVerdict, PlainWorker, decides
from trio_pool import DeadReason, JobState
from trio_pool._places import Admission, Door

if TYPE_CHECKING:
    from tests.core.plain_limits import PlainBudget
    from trio_pool import RateLimit


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
    interrupted: list[tuple[PlainWorker, PlainJob]] = attrs.field(factory=list[tuple[PlainWorker, PlainJob]])
    recalled: list[PlainWorker] = attrs.field(factory=list[PlainWorker])
    told: list[tuple[str, PlainWorker, object]] = attrs.field(factory=list[tuple[str, PlainWorker, object]])
    ended: list[tuple[PlainJob, list[PlainWorker]]] = attrs.field(factory=list[tuple[PlainJob, list[PlainWorker]]])
    _count: int = 0

    def forget_news(self) -> None:
        """Clear what has happened."""
        for news in (self.started, self.let_go, self.refused, self.interrupted, self.recalled, self.told, self.ended):
            news.clear()

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

    def submitters(self) -> list[PlainJob]:
        """Those who wait for a place, each by the job that stands for what it waits with."""
        return list(dict.fromkeys(job.key for job in self.line))

    def ready_line(self) -> list[PlainJob]:
        """The jobs that wait for a place, but could start without one, in their order."""
        return self.line

    def idle(self) -> list[PlainWorker]:
        """The idle workers, the longest idle first."""
        found = [(worker.idle_since, worker) for worker in self.workers if worker.idle_since is not None]
        return [worker for _, worker in sorted(found, key=lambda pair: pair[0])]

    def idle_for(self, job: PlainJob) -> list[PlainWorker]:
        """The idle workers in the order in which they come into question for a job."""
        del job
        return self.idle()

    def has_room(self) -> bool:
        """Whether one more attempt, or an attempt on one more worker, is within the bound."""
        return self.under_way(self.those(JobState.RUNNING)) < self.max_running

    def under_way(self, jobs: list[PlainJob]) -> int:
        """How many attempts of running jobs there are, those on further workers included."""
        # Until it is decided what becomes of a job whose attempt has ended, that counts too.
        return sum(max(1, len(job.attempt.runners)) for job in jobs)

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
        jobs = [*self.queue(), *self.ready_line()]
        return self.next_pair(jobs) is not None or self.next_further() is not None

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
        if job.only_worker is not None:
            return worker is job.only_worker
        return not self.avoids(worker, job)

    def avoids(self, worker: PlainWorker, job: PlainJob) -> bool:
        """Whether the job goes rather to one that it has not failed on, in a new round to any but the last."""
        if job.placement != "other" or not job.failed_on:
            return False
        counted = [other for other in self.workers if self.can_serve(other, job) and not other.lenders]
        if any(other not in job.failed_on for other in counted):
            return worker in job.failed_on
        return worker is job.last and any(other is not worker for other in counted)

    def next_pair(self, jobs: list[PlainJob]) -> tuple[PlainWorker, PlainJob] | None:
        """The first of the jobs that an idle worker may take, with the longest idle of these."""
        for job in jobs:
            for worker in self.idle_for(job):
                if self.may_take(worker, job):
                    return worker, job
        return None

    def waiting(self) -> list[PlainJob]:
        """The running jobs that wait for one more worker, in their order."""
        found = [(job.attempt.waits_since, job) for job in self.jobs if job.attempt.waits_since is not None]
        return [job for _, job in sorted(found, key=lambda pair: pair[0])]

    def next_further(self) -> tuple[PlainWorker, PlainJob] | None:
        """The first job that an idle worker may run too, with the longest idle of these."""
        for job in self.waiting():
            for worker in self.idle_for(job):
                is_new = worker not in job.attempt.workers
                if is_new and self.may_take(worker, job) and self.now < job.attempt.deadline:
                    return worker, job
        return None

    def has_hedges_due(self) -> bool:
        """Whether an attempt has run for long enough to be started on one more worker."""
        return any(due is not None and due <= self.now for due in self._hedges())

    def _hedges(self) -> list[float | None]:
        return [job.attempt.due for job in self.those(JobState.RUNNING)]

    def dues(self) -> list[float]:
        """The times at which something has to happen by itself."""
        waiting = [*self.line, *self.those(JobState.QUEUED), *self.those(JobState.DELAYED)]
        ends = [job.deadline for job in waiting]
        delays = [job.delayed_until for job in self.those(JobState.DELAYED)]
        found = [*ends, *delays, *(due for due in self._hedges() if due is not None)]
        for worker in self.workers:
            held = (worker.rest_until, worker.quarantined_until)
            found.extend(until for until in held if until is not None)
            if worker.available and worker.job is None and worker.ready_at(self.now) > self.now:
                found.append(worker.ready_at(self.now))
            if worker.phase == "open" and worker.job is None and not (worker.departing or worker.lenders):
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
        if job.key not in self.submitters():
            self.let_go.append(job.key)

    def _enter(self, job: PlainJob) -> None:
        """A job that has waited for a place is let in, with all of its graph."""
        for each in [other for other in self.line if other.key is job.key]:
            self._leave_line(each)
            self._queue_up(each)

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

    def _occupy(self, worker: PlainWorker, job: PlainJob) -> None:
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
        worker.job = job
        worker.idle_since = None
        self.started.append((worker, job))

    def _start(self, worker: PlainWorker, job: PlainJob) -> None:
        self._occupy(worker, job)
        if self.budget is not None:
            self.budget.attempts.append(self.now)
        self._move(job, JobState.RUNNING)
        job.ever_started = True
        job.attempt = PlainAttempt(min(job.deadline, self.now + job.attempt_timeout), [worker], [worker])
        if job.only_worker is None:
            self._hedge(job)

    def _start_further(self, worker: PlainWorker, job: PlainJob) -> None:
        self._occupy(worker, job)
        job.attempt.workers.append(worker)
        job.attempt.runners.append(worker)
        job.attempt.start_on_no_more()
        self._hedge(job)

    def _hedge(self, job: PlainJob) -> None:
        after, extra = job.hedge or (0.0, 0)
        if len(job.attempt.workers) <= extra and self.now + after < job.attempt.deadline:
            job.attempt.due = self.now + after
            job.attempt.due_number = self._next_count()

    def _match(self) -> None:
        while self.may_start():
            if (pair := self.next_pair(self.queue())) is not None:
                self._start(*pair)
            elif (pair := self.next_pair(self.ready_line())) is not None:
                self._enter(pair[1])
                self._start(*pair)
            elif (pair := self.next_further()) is not None:
                self._start_further(*pair)
            else:
                return

    def _bring_together(self) -> None:
        self._match()

    def _settle(self) -> None:
        """The end of every event."""
        self._bring_together()
        while self.line and self.unstarted() < self.max_queue:
            self._enter(self.line[0])
        self._see_to_staff()
        self._let_nothing_hang()

    def _see_to_staff(self) -> None:
        """Open workers, where the pool does so."""

    def _let_nothing_hang(self) -> None:
        if not self.draining or not self.those(JobState.QUEUED) or not self.is_still():
            return
        if self.has_paused():
            self._resume_all()
        else:
            self._bury_all()

    def is_still(self) -> bool:
        """Whether nothing will happen by itself any more."""
        if not all(self.stands(job) for job in self.those(JobState.RUNNING)):
            return False
        if self.those(JobState.DELAYED) or self.waits_for_rate():
            return False
        return not any(self._may_become_available(worker) for worker in self.workers)

    def stands(self, job: PlainJob) -> bool:
        """Whether a running job waits for others."""
        del job
        return False

    def has_paused(self) -> bool:
        """Whether any worker is paused that has not left."""
        return any(worker.paused and worker.phase != "gone" for worker in self.workers)

    def _bury_all(self) -> None:
        for job in self.those(JobState.QUEUED):
            self._die(job, DeadReason.NO_WORKER)

    def _may_become_available(self, worker: PlainWorker) -> bool:
        if worker.departing or worker.phase == "gone":
            return False
        if worker.phase == "reopening" and worker.job is not None:
            return False
        if worker.phase != "open" or worker.rest_until is not None or worker.quarantined_until is not None:
            return True
        return worker.ready_at(self.now) > self.now

    def _resume_all(self) -> None:
        for worker in [worker for worker in self.workers if worker.paused and worker.phase != "gone"]:
            worker.paused = False
            self._ask(worker)

    def _cut(self, worker: PlainWorker) -> None:
        assert worker.job is not None
        if self.now < worker.attempt_deadline:
            worker.cut = True
        self.interrupted.append((worker, worker.job))

    def _cancel_running(self, job: PlainJob) -> None:
        job.cancelled = True
        job.attempt.start_on_no_more()
        if not decides(job.attempt.outcome):
            job.attempt.outcomes.clear()  # what it waited for is what it comes to
        for worker in job.attempt.runners:
            self._cut(worker)

    # Time passes.

    def advance(self) -> None:
        """Deal with what has come due, all of it before anything is started on account of it."""
        due: list[tuple[float, int, int, PlainJob | PlainWorker]] = []
        for number, job in enumerate([*self.line, *self.live()]):
            if job.state is not JobState.RUNNING:
                due.append((job.deadline, 0, number, job))
            if job.state is JobState.DELAYED:
                due.append((job.delayed_until, 5, job.delay_number, job))
            if job.state is JobState.RUNNING and job.attempt.due is not None:
                due.append((job.attempt.due, 6, job.attempt.due_number, job))
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
            elif kind == 5:
                self._queue_again(item, front=item.front)
            else:
                item.attempt.due = None
                item.attempt.waits_since = self._next_count()
        self._bring_together()
        self._retire()
        self._settle()

    def _retire(self) -> None:
        """Let workers go of which there have been too many, where the pool does so."""

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
        return self._let_in(job, door)

    def _let_in(self, job: PlainJob, door: Door) -> Admission:
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
        self.line = [other for other in self.line if other.key is not job]

    def cancel(self, job: PlainJob) -> None:
        """A job is cancelled."""
        self.advance()
        if job.state in FINAL or job.cancelled:
            return
        if job.state is JobState.RUNNING:
            self._cancel_running(job)
        else:
            job.cancelled = True
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
                self._cancel_running(job)

    # Attempts end.

    def succeeded(self, worker: PlainWorker) -> None:
        """An attempt returns a value."""
        job = self._take_off(worker, "value")
        job.attempt.outcomes.append("value")
        worker.succeeded += 1
        if worker.breaker is not None:
            worker.breaker.succeeded()
        self._conclude(job)
        self._go_on(worker)

    def failed(self, worker: PlainWorker, verdict: PlainVerdict) -> None:
        """An attempt raises an error."""
        job = self._take_off(worker, verdict)
        if job.placement == "other" and worker in job.failed_on:
            job.failed_on = []  # a new round has begun
        job.failed_on.append(worker)
        job.last = worker
        if verdict.rest:
            was_available = worker.available
            self._rest(worker, self.now + verdict.rest)
            self._held_back(worker, was_available)
        if worker.breaker is not None and verdict.is_failure and worker.breaker.failed(self.now):
            was_available = worker.available
            worker.quarantined_until = worker.breaker.open_until
            worker.quarantine_number = self._next_count()
            self.told.append(("worker_quarantined", worker, worker.quarantined_until))
            self._held_back(worker, was_available)
        if verdict.broken and worker.phase == "open":
            self._reopen(worker, "an error")
            self._settle()
        job.attempt.outcomes.append(verdict)
        self._conclude(job)
        self._go_on(worker)

    def _held_back(self, worker: PlainWorker, was_available: bool) -> None:
        if worker.available is not was_available:
            self._settle()

    def timed_out(self, worker: PlainWorker) -> None:
        """An attempt is ended by the job's total timeout."""
        job = self._take_off(worker, "timeout")
        job.attempt.outcomes.append("timeout")
        self._conclude(job)
        self._go_on(worker)

    def cut_short(self, worker: PlainWorker) -> None:
        """An attempt is ended by a cancellation."""
        job = self._take_off(worker, None)
        self._conclude(job)
        self._go_on(worker)

    def _take_off(self, worker: PlainWorker, outcome: Outcome | None) -> PlainJob:
        job = worker.job
        assert job is not None
        if decides(outcome) or job.attempt.runners == [worker]:
            job.attempt.start_on_no_more()  # nor at the very time for it
        self.advance()
        worker.job = None
        worker.cut = False
        # What fails where the rest is known is no failure.
        is_late = isinstance(outcome, PlainVerdict) and decides(job.attempt.outcome)
        worker.ended += outcome is not None and not is_late
        job.attempt.runners.remove(worker)
        return job

    def _conclude(self, job: PlainJob) -> None:
        """What it means for an attempt that it has ended on a worker."""
        attempt = job.attempt
        if decides(attempt.outcome):
            attempt.start_on_no_more()
            # The time that is up ends it everywhere.
            losers = [] if attempt.outcome == "timeout" else [worker for worker in attempt.runners if not worker.cut]
            for worker in losers:
                worker.cut = True
                self.interrupted.append((worker, job))
        if attempt.runners:
            return
        outcome = attempt.outcome
        self.ended.append((job, attempt.workers))
        job.attempts += outcome is not None
        self.attempts += outcome is not None
        self.failures += outcome not in (None, "value")
        if outcome == "value":
            self._move(job, JobState.SUCCEEDED)
        elif outcome == "timeout":
            self._die(job, DeadReason.TIMED_OUT)
        elif outcome is not None:
            self._decide(job, outcome)
        elif job.cancelled:
            self._move(job, JobState.CANCELLED)
        elif job.deadline <= self.now:
            self._die(job, DeadReason.TIMED_OUT)
        else:
            self._queue_again(job, front=True)

    def _decide(self, job: PlainJob, verdict: PlainVerdict) -> None:
        if job.cancelled and not verdict.is_last_word:
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

    def _go_on(self, worker: PlainWorker) -> None:
        if worker.is_worn(self.now) and not worker.departing:
            self._reopen(worker, None)
        self._limit(worker)
        self._ask(worker)

    def _ask(self, worker: PlainWorker) -> None:
        self._update(worker)
        self._settle()

    # Workers come and go.

    def join(self, worker: PlainWorker, *, ordered: bool = False) -> None:
        """A worker is about to open its resource; perhaps as it was ordered."""
        del ordered
        self.workers.append(worker)

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
        worker.paused = False
        self._ask(worker)

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
        if cut:
            self._evict(worker)
        if not worker.departing:
            self._dismiss(worker)
            self._ask(worker)

    def _evict(self, worker: PlainWorker) -> None:
        if worker.job is not None:
            self._cut(worker)

    def _dismiss(self, worker: PlainWorker) -> None:
        worker.departing = True
        if worker.job is None:
            self.recalled.append(worker)

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
                if job in self.line and not self.is_eligible(job):
                    self._turn_away(job)
        self._settle()

    def _turn_away(self, job: PlainJob) -> None:
        if self.no_worker == "bury" or job is not job.key:
            self._leave_line(job)
            self._die(job, DeadReason.NO_WORKER)
        else:
            self.withdraw(job)
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
        self._resume_all()
        self._settle()
