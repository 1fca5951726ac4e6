"""What the scheduler is to do, told as plainly as can be: lists, and looking at everything.

One rule runs through it: what has come due is dealt with first, then the event itself, then jobs
and idle workers are brought together in the order of the queue, then slow attempts and the
workers that are left idle, then places are filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from tests.core.plain_parts import FINAL, Outcome, PlainJob, PlainRun, PlainVerdict, PlainWorker, decides
from tests.core.plain_steps import PlainSteps
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_pool._policies.rate_meter import Amount
    from trio_pool._policies.rate_meters import RateLimits


@attrs.define(eq=False)
class PlainPool(PlainSteps):
    """The pool, with all that may happen to it."""

    # Jobs come and go.

    def submit(self, job: PlainJob, door: Door) -> Admission:
        """A job wants to enter."""
        self.advance()
        return self._let_in(job, door)

    def _let_in(self, job: PlainJob, door: Door) -> Admission:
        has_place = job.is_lease and self.may_start() and self.next_pair([job]) is not None
        if job.deadline <= self.now and not has_place:
            self._time_out(job)
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
        self.is_cancelled = True
        for job in self.live():
            if job.state is not JobState.RUNNING:
                job.cancelled = True
                self._move(job, JobState.CANCELLED)
            elif not job.cancelled:
                self._cancel_running(job)
        for worker in self.workers:
            if worker.phase == "reopening" and not worker.departing:
                self._dismiss(worker)
                self._update(worker)

    # Attempts end.

    def succeeded(self, run: PlainRun) -> None:
        """An attempt returns a value."""
        job, worker = run.job, run.worker
        self._take_off(run, "value")
        job.attempt.outcomes.append("value")
        worker.succeeded += 1
        if worker.breaker is not None:
            worker.breaker.ended(run, True, self.now)
        self._conclude(job)
        self._go_on(worker)

    def failed(self, run: PlainRun, verdict: PlainVerdict) -> None:
        """An attempt raises an error."""
        job, worker = run.job, run.worker
        self._take_off(run, verdict)
        if job.placement == "other" and worker in job.failed_on:
            job.failed_on = []  # a new round has begun
        job.failed_on.append(worker)
        job.last = worker
        if verdict.rest:
            self._rest(worker, self.now + verdict.rest)
        outcome = False if verdict.is_failure else None
        if worker.breaker is not None and worker.breaker.ended(run, outcome, self.now):
            worker.quarantined_until = worker.breaker.open_until
            worker.quarantine_number = self._next_count()
            self.told.append(("worker_quarantined", worker, worker.quarantined_until))
        if verdict.broken and worker.phase == "open":
            self._reopen(worker, "an error")
        if verdict.key_rest and job.owner is not None and job.owner.is_named:
            job.owner.rests_until = max(job.owner.rests_until or 0.0, self.now + verdict.key_rest)
        job.attempt.outcomes.append(verdict)
        self._conclude(job)
        self._go_on(worker)

    def timed_out(self, run: PlainRun) -> None:
        """An attempt is ended by the job's total timeout."""
        self._take_off(run, "timeout")
        if run.worker.breaker is not None:
            run.worker.breaker.ended(run, None, self.now)
        run.job.attempt.outcomes.append("timeout")
        self._conclude(run.job)
        self._go_on(run.worker)

    def cut_short(self, run: PlainRun) -> None:
        """An attempt is ended by a cancellation."""
        self._take_off(run, None)
        self._conclude(run.job)
        self._go_on(run.worker)

    def _take_off(self, run: PlainRun, outcome: Outcome | None) -> None:
        attempt = run.job.attempt
        if decides(outcome) or attempt.runs == [run]:
            attempt.start_on_no_more()  # nor at the very time for it
        self.advance()
        if len(attempt.runs) > 1:
            self._note_full(run.job)
        run.worker.runs.remove(run)
        # What fails where the rest is known is no failure.
        is_late = isinstance(outcome, PlainVerdict) and decides(attempt.outcome)
        run.worker.ended += outcome is not None and not is_late
        attempt.runs.remove(run)

    def _conclude(self, job: PlainJob) -> None:
        """What it means for an attempt that it has ended on a worker."""
        attempt = job.attempt
        if decides(attempt.outcome):
            attempt.start_on_no_more()
            # The time that is up ends it everywhere.
            losers = [] if attempt.outcome == "timeout" else [run for run in attempt.runs if not run.cut]
            for run in losers:
                run.cut = True
                self.interrupted.append((run.worker, job))
        if attempt.runs:
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
        elif job.cancelled or job.is_lease:  # a block can't be run again
            self._move(job, JobState.CANCELLED)
        elif job.deadline <= self.now:
            self._die(job, DeadReason.TIMED_OUT)
        else:
            self._queue_again(job, front=True)
            if attempt.evicted:
                job.place_in_queue = -attempt.evicted

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
        self._wear(worker)
        self._limit(worker)
        self._touch(worker)
        self._settle()

    def _wear(self, worker: PlainWorker) -> None:
        if worker.is_worn(self.now) and not (worker.runs or worker.departing):
            self._reopen(worker, None)

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
        """A worker's resource has to be reopened."""
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

    def reset_breaker(self, worker: PlainWorker) -> None:
        """A worker's breaker is closed by hand; a probe goes on as any other attempt."""
        self.advance()
        if worker.breaker is not None:
            worker.breaker.close()
        for run in worker.runs:
            run.is_probe = False
        worker.quarantined_until = None
        self._ask(worker)

    def depart(self, worker: PlainWorker, *, cut: bool) -> None:
        """A worker is to leave."""
        self.advance()
        if cut:
            self._evict(worker)
        if not worker.departing:
            self._dismiss(worker)
            self._ask(worker)

    def _evict(self, worker: PlainWorker) -> None:
        """Cut what runs short; jobs keep the order of their starts, but hedged ones, whichever of them."""
        runs = sorted(self._evictable(worker), key=lambda run: run.number)
        for run in reversed(runs):
            number = self._next_count()
            if run.job.hedge is None or run.job.only_worker is not None:
                run.job.attempt.evicted = number
        for run in runs:
            self._cut(run)

    def _evictable(self, worker: PlainWorker) -> list[PlainRun]:
        return worker.runs

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

    # The pool as a whole.

    def pause_pool(self) -> None:
        """Nothing is to start."""
        self.advance()
        self.is_paused = True
        self._settle()

    def resume_pool(self) -> None:
        """Whatever may start, may start again."""
        self.advance()
        self.is_paused = False
        self._settle()

    def rest_pool(self, until: float) -> None:
        """Nothing is to start for a while."""
        self.advance()
        if until > self.now:
            self.rests_until = max(until, self.rests_until or 0.0)
        self._settle()

    def set_places(self, worker: PlainWorker, places: float) -> None:
        """Another number of attempts may run on a worker at once."""
        self.advance()
        worker.places = places
        self._ask(worker)

    def set_max_running(self, limit: float) -> None:
        """Another bound on the attempts under way."""
        self.advance()
        self.max_running = limit
        self._settle()

    def set_rate_limit(self, limits: RateLimits, worker: PlainWorker | None = None) -> None:
        """Other rates for the attempts of the whole pool, or of one worker."""
        self.advance()
        if worker is None:
            self.rates.change(limits, self.now)
        else:
            worker.rates.change(limits, self.now)
            if worker.ready_at(self.now) > self.now:
                if worker.idle_since is not None or worker.limited_until is not None:
                    worker.idle_since = None
                    self._limit(worker)
            elif worker.limited_until is not None:
                worker.limited_until = None
                self._update(worker)
        self._settle()

    def set_used(self, run: PlainRun, uses: Mapping[str, Amount]) -> None:
        """A run says what it has used."""
        self.advance()
        worker, attempt = run.worker, run.job.attempt
        used = attempt.used[worker]
        for rates in (worker.rates, self.rates, *([run.job.owner.rates] if run.job.owner else ())):
            rates.use(self.now, (worker, attempt), uses)
        self._use(worker, uses, used)
        used.update(uses)
        self._settle()

    def drain(self) -> None:
        """Nothing comes from outside any more."""
        self.advance()
        self.draining = True
        self._resume_all()
        self._settle()
