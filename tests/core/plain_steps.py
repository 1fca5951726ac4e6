"""What every event of the plain model is put together from; and time, which passes with each."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from tests.core.plain_parts import FINAL, PlainAttempt, PlainJob, PlainKey, PlainRun, PlainWorker, decides
from tests.core.plain_view import PlainView
from trio_pool import DeadReason, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_pool._policies.rate_meter import Amount

NOTHING: Mapping[str, Amount] = MappingProxyType({})


@attrs.define(eq=False)
class PlainSteps(PlainView):
    """The pool, with what may have to be done about it."""

    # What everything is made of.

    def _next_count(self) -> int:
        self._count += 1
        return self._count

    def _move(self, job: PlainJob, state: JobState) -> None:
        if job.state is None:
            self.jobs.append(job)
        if job.owner is not None:
            self._take_turns(job, job.owner, state)
        job.state = state
        job.states.append(state)
        if state in FINAL and not self.live():
            self.virtual_time = self.latest  # all have had their turns

    def _take_turns(self, job: PlainJob, key: PlainKey, state: JobState) -> None:
        """Start-time fair queueing: a start raises the turn of its key; one that comes back has saved nothing up."""
        if job.state is JobState.RUNNING:
            self._note_full(job)
        if state is JobState.QUEUED and not any(other.owner is key for other in self.those(JobState.QUEUED)):
            key.turn = max(key.turn, self.virtual_time)
        elif state is JobState.RUNNING:
            self.virtual_time = max(self.virtual_time, key.turn)
            key.turn += 1 / key.weight
            self.latest = max(self.latest, key.turn)

    def _note_full(self, job: PlainJob) -> None:
        """Attempts of a job are about to be fewer."""
        if job.owner is not None and self.key_room(job.owner) <= 0:
            self.reopening.append(job.owner)

    def _reopen_keys(self) -> None:
        """The jobs of keys that were at their bounds, or at their limits, may start again."""
        for key in self.owners():
            before, key.closed = key.closed, self.closed_of(key)
            if before - key.closed:
                self.reopening.append(key)
        for key in self.reopening:
            if self.key_room(key) > 0 and None not in key.closed:
                key.turn = max(key.turn, self.virtual_time)
        self.reopening.clear()

    def _die(self, job: PlainJob, reason: DeadReason) -> None:
        job.dead_reason = reason
        self._move(job, JobState.DEAD)

    def _time_out(self, job: PlainJob) -> None:
        """A job's time is up while it does not run."""
        if not job.is_lease:
            self._die(job, DeadReason.TIMED_OUT)
            return
        if job.state is None:
            self._move(job, JobState.QUEUED)
        self._move(job, JobState.CANCELLED)

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

    def _touch(self, worker: PlainWorker) -> None:
        """A run has started or ended on a worker: that is the last of its turns."""
        worker.idle_since = None
        self._update(worker)

    def _update(self, worker: PlainWorker) -> None:
        if not worker.available or not worker.may_start_more(self.now):
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

    def _dismiss(self, worker: PlainWorker) -> None:
        worker.departing = True
        self.recalled.append(worker)

    def _reopen(self, worker: PlainWorker, error: object) -> None:
        if self.is_cancelled and not worker.departing:
            self._dismiss(worker)
        worker.phase = "reopening"
        if not worker.departing:
            self.told.append(("worker_reopening", worker, error))
        self.recalled.append(worker)
        self._update(worker)

    def _occupy(self, worker: PlainWorker, job: PlainJob) -> None:
        # What is the point of it all.
        assert worker.available
        assert worker.may_start_more(self.now)
        assert worker not in job.attempt.workers
        assert worker.ready_at(self.now) <= self.now
        assert not worker.is_worn(self.now)
        assert self.may_start()
        worker.attempts += 1
        assert not self.closed_for(worker).intersection(job.uses)
        job.attempt.used[worker] = {**job.uses}
        self._use(worker, job.uses)
        for rates in (worker.rates, self.rates, *([job.owner.rates] if job.owner else ())):
            rates.start(self.now, (worker, job.attempt), job.uses)
        run = PlainRun(worker, job, self._next_count())
        if worker.breaker is not None:
            worker.breaker.start(run)
        worker.runs.append(run)
        job.attempt.workers.append(worker)
        job.attempt.runs.append(run)
        self._touch(worker)
        self.started.append((worker, job))

    def _use(self, worker: PlainWorker, uses: Mapping[str, Amount], instead_of: Mapping[str, Amount] = NOTHING) -> None:
        for used in (worker.used, self.used):
            for unit, amount in uses.items():
                used[unit] = used.get(unit, 0) + amount - instead_of.get(unit, 0)

    def _start(self, worker: PlainWorker, job: PlainJob) -> None:
        deadline = min(job.deadline, self.now + job.attempt_timeout)
        job.attempt = PlainAttempt(math.inf if job.is_lease else deadline)
        self._occupy(worker, job)
        if self.budget is not None:
            self.budget.attempts.append(self.now)
        self._move(job, JobState.RUNNING)
        job.ever_started = True
        if job.only_worker is None:
            self._hedge(job)

    def _start_further(self, worker: PlainWorker, job: PlainJob) -> None:
        self._occupy(worker, job)
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
        self._reopen_keys()
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
        if self.rests_until is not None or (self.is_paused and not self.draining):
            return False
        if not all(self.stands(job) for job in self.those(JobState.RUNNING)):
            return False
        if self.those(JobState.DELAYED) or self.waits_for_rate() or self.waits_for_units():
            return False
        return not any(self._may_become_available(worker) for worker in self.workers)

    def stands(self, job: PlainJob) -> bool:
        """Whether a running job waits for others."""
        del job
        return False

    def has_paused(self) -> bool:
        """Whether the pool is paused, or any worker that has not left."""
        return self.is_paused or any(worker.paused and worker.phase != "gone" for worker in self.workers)

    def _bury_all(self) -> None:
        for job in self.those(JobState.QUEUED):
            self._die(job, DeadReason.NO_WORKER)

    def _may_become_available(self, worker: PlainWorker) -> bool:
        if worker.departing or worker.phase == "gone":
            return False
        if worker.phase == "reopening" and worker.runs:
            return False
        held = (worker.rest_until, worker.quarantined_until, worker.limited_until)
        return worker.phase != "open" or any(until is not None for until in held)

    def _resume_all(self) -> None:
        self.is_paused = False
        paused = [worker for worker in self.workers if worker.paused and worker.phase != "gone"]
        for worker in paused:  # all of them before any is asked: who gets a job doesn't depend on their order
            worker.paused = False
            self._update(worker)
        self._settle()

    def _ask(self, worker: PlainWorker) -> None:
        self._update(worker)
        self._settle()

    def _cut(self, run: PlainRun) -> None:
        if self.now < run.job.attempt.deadline:
            run.cut = True
        self.interrupted.append((run.worker, run.job))

    def _cancel_running(self, job: PlainJob) -> None:
        job.cancelled = True
        job.attempt.start_on_no_more()
        if not decides(job.attempt.outcome):
            job.attempt.outcomes.clear()  # what it waited for is what it comes to
        for run in job.attempt.runs:
            self._cut(run)

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
            if job.attempt.waits_since is not None:
                due.append((job.attempt.deadline, 7, number, job))
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
                self._time_out(item)
            elif kind == 5:
                self._queue_again(item, front=item.front)
            elif kind == 6 and self.now < item.attempt.deadline:
                item.attempt.due = None
                item.attempt.waits_since = self._next_count()
            else:  # its time is up
                item.attempt.start_on_no_more()
        if self.rests_until is not None and self.rests_until <= self.now:
            self.rests_until = None
        for key in self.owners():
            if key.rests_until is not None and key.rests_until <= self.now:
                key.rests_until = None
        self._settle()
        self._retire()  # of those for whom there is nothing to do after that
        self._settle()

    def _retire(self) -> None:
        """Let workers go of which there have been too many, where the pool does so."""

    def _come_to(self, worker: PlainWorker, kind: int) -> None:
        if kind == 1:
            if worker.is_worn(self.now) and not (worker.runs or worker.departing):
                self._reopen(worker, None)
            else:
                self._update(worker)  # what it runs may end, but nothing more starts
            return
        if kind == 2:
            worker.rest_until = None
        elif kind == 3:
            worker.quarantined_until = None
        else:
            worker.limited_until = None
        self._update(worker)
