"""The events of jobs and groups, and of the pool's limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

from .._model.states import JobState
from .admission import Admission, Door
from .settle import Settling, waited_in_vain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.records import Group, JobRecord, Run, WorkerRecord
    from .._policies.rate_meters import RateLimits
    from .changes import Changes, Features
    from .state import PoolState
    from .waits import StreamJobs, Wait

# Read for every job, and slow to access through the enum.
BLOCKED = JobState.BLOCKED
QUEUED = JobState.QUEUED
SUCCEEDED = JobState.SUCCEEDED


class JobEvents:
    """Each of these calls is an event of jobs or groups."""

    __slots__ = (
        "_autoscaler",
        "_changes",
        "_deadlines",
        "_dependencies",
        "_dispatcher",
        "_lending",
        "_lifecycle",
        "_metering",
        "_roster",
        "_search",
        "_settling",
        "_state",
        "_unservable",
        "_waiting_line",
    )

    def __init__(self, state: PoolState, features: Features, changes: Changes, settling: Settling) -> None:
        self._state = state
        self._deadlines = state.deadlines
        self._dependencies = state.dependencies
        self._lifecycle = state.lifecycle
        self._waiting_line = state.waiting_line
        self._roster = state.roster
        self._metering = features.metering
        self._dispatcher = features.dispatcher
        self._lending = features.lending
        self._unservable = features.unservable
        self._search = features.search
        self._autoscaler = features.autoscaler
        self._changes = changes
        self._settling = settling

    # Jobs enter.

    def submit(self, job: JobRecord, door: Door, now: float) -> Admission:
        """Submit a job."""
        if self._state.keys is not None:
            self._state.keys.find(job)  # first of all, since the program's functions may raise
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        if job._deadline <= now and not self._needs_no_wait(job, now):
            self._lifecycle.time_out(job, now)
            self._settling.settle(now)
            return Admission.ENTERED
        if not (job._options.is_simple and self._roster.by_id):
            _note_gate(job)
            admission = self._submit_special(job, door, now)
            if admission is not None:
                return admission
        terms = job._options.terms
        if self._roster.idle_count and (worker := self._dispatcher.idle_worker_for(job, terms, now)) is not None:
            self._lifecycle.enter(job, now)
            self._dispatcher.hand_over(worker, job, now)
            if self._lifecycle.count[JobState.QUEUED] or self._waiting_line.line:
                self._state.accounts.look(now)  # this may now be what keeps the others from starting
            return Admission.ENTERED
        if door is Door.ALWAYS or (door is not Door.IF_IDLE and self._waiting_line.is_free()):
            self._lifecycle.enter(job, now)
            self._dispatcher.let_wait(job, terms)
            self._settle_waiting(now)
            return Admission.ENTERED
        if door is not Door.QUEUE_UP:
            return Admission.FULL
        self._waiting_line.line_up(job, terms)
        self._settle_waiting(now)
        return Admission.WAITING

    def _needs_no_wait(self, job: JobRecord, now: float) -> bool:
        """Whether a job is a lease that can have a place at once, so that even a timeout of 0 doesn't end it."""
        options = job._options
        return options.is_lease and self._dispatcher.idle_worker_for(job, options.terms, now) is not None

    def _submit_special(self, job: JobRecord, door: Door, now: float) -> Admission | None:
        """Submit a job that no worker may run, or that depends on others; return None if neither applies."""
        if self._unservable.is_one(job._options.terms):
            if self._unservable.policy == "reject":
                return Admission.NO_WORKER
            self._unservable.bury(job, now)
            self._settling.settle(now)
            return Admission.ENTERED
        return self._submit_blocked(job, door, now) if job._options.after else None

    def _submit_blocked(self, job: JobRecord, door: Door, now: float) -> Admission:
        """Submit a job that starts after others."""
        after = job._options.after
        job._options = attrs.evolve(job._options, after=())  # the job may live much longer than the data of those jobs
        failed = next((other for other in after if other.state.is_final and other._state is not SUCCEEDED), None)
        if failed is not None:
            self._lifecycle.move(job, BLOCKED, now)
            self._lifecycle.end(job, JobState.DISCARDED, now, waited_in_vain(failed))
            return Admission.ENTERED
        after = tuple(other for other in after if other._state is not SUCCEEDED)
        if not after:
            return self.submit(job, door, now)
        enters = door is Door.ALWAYS or (door is not Door.IF_IDLE and self._waiting_line.is_free())
        if not enters and door is not Door.QUEUE_UP:
            return Admission.FULL
        self._dependencies.block(job, after)
        if enters:
            self._lifecycle.move(job, BLOCKED, now, why=self._dependencies.why_blocked(job))
            if self._lifecycle.newcomers:
                self._settling.settle(now)
            return Admission.ENTERED
        self._waiting_line.line_up(job, None)
        self._state.accounts.look(now)
        return Admission.WAITING

    def submit_graph(self, key: JobRecord, jobs: Sequence[JobRecord], door: Door, now: float) -> Admission:
        """Submit a graph, under the key that `key_of` has returned."""
        if self._state.keys is not None:
            for job in jobs:
                self._state.keys.find(job)  # first of all, since the program's functions may raise
        self._settling.advance(now)
        if self._unservable.policy == "reject" and self._unservable.is_one(key._options.terms):
            return Admission.NO_WORKER
        if door is Door.ALWAYS or self._waiting_line.is_free() or any(self._may_start(job, now) for job in jobs):
            for job in jobs:
                self.submit(job, Door.ALWAYS, now)
            return Admission.ENTERED
        for job in jobs:
            _note_gate(job)
            if job._options.after:
                self._dependencies.block(job, job._options.after)
                job._options = attrs.evolve(job._options, after=())
        self._waiting_line.line_up_graph(key, jobs)
        # Jobs that can't run at all need not wait for a place.
        for job in jobs:
            if job._deadline <= now:
                self._changes.time_out(job, now)
            elif self._unservable.is_one(job._options.terms):
                self._unservable.turn_away(job, now)
        self._state.may_start = True
        self._settling.settle(now)
        return Admission.WAITING

    def _may_start(self, job: JobRecord, now: float) -> bool:
        """Whether an idle worker may run a job of a graph that has not been submitted."""
        is_ready = not job._options.after and now < job._deadline
        return is_ready and self._dispatcher.idle_worker_for(job, job._options.terms, now) is not None

    def withdraw(self, job: JobRecord, now: float) -> None:
        """Withdraw a submitter that waits for a place."""
        self._waiting_line.withdraw(job)
        self._state.accounts.look(now)

    def waits_for_place(self, job: JobRecord) -> bool:
        """Whether the submitter of a job, or of the graph with this key, still waits."""
        return job in self._waiting_line.line

    def close(self, now: float) -> list[JobRecord]:
        """Accept no more jobs from outside; return the jobs whose submitters are turned away."""
        self._state.health.close()
        turned_away = list(self._waiting_line.line)
        for job in turned_away:
            self.withdraw(job, now)
        return turned_away

    def key_of(self, jobs: Sequence[JobRecord]) -> JobRecord:
        """Return the job that represents a graph: the first one that would be rejected, otherwise the first one."""
        if self._unservable.policy == "reject":
            for job in jobs:
                if self._unservable.is_one(job._options.terms):
                    return job
        return jobs[0]

    # Jobs end.

    def cancel(self, job: JobRecord, now: float, by: str = "by job.cancel()") -> None:
        """Cancel a job; ``by`` says who does so, at the end of a sentence."""
        self._settling.advance(now)
        if not job.state.is_final:
            self._changes.cancel(job, now, by)
            self._settling.settle(now)

    def cancel_all(self, now: float) -> None:
        """Cancel all jobs; from now on nothing starts, and no resource is reopened."""
        self._settling.advance(now)
        self._state.cancelled = True
        self._state.queue.clear()
        self._dependencies.clear()
        for job in list(self._lifecycle.live.values()):
            if job._state is JobState.RUNNING:
                self._changes.cancel(job, now, "with the pool")  # whatever may have come due since: nothing starts now
            else:
                job._ticket = 0
                if job._state is JobState.DELAYED or job._deadline != math.inf:
                    self._deadlines.forget()
                job._lane = None
                job._cancelled = True
                self._lifecycle.end(job, JobState.CANCELLED, now, "the pool was cancelled")
        self._changes.dismiss_reopening(now)
        self._state.accounts.look(now)

    # Jobs wait for jobs.

    def lend(self, run: Run, now: float) -> Run | None:
        """Lend the place of a job's run; return the worker's next run."""
        self._settling.advance(now)
        self._lending.lend(run, now)
        self._state.may_start = True
        return self._settling.next_for(run.worker, now)

    def claim(self, run: Run, now: float, task: object = None) -> None:
        """Request the place that a job has lent; ``task`` is the task of the job that waits for it."""
        self._settling.advance(now)
        wait = self._lending.claim(run, task, now)
        if wait is not None:
            self._search.begin(wait)
        self._settling.settle(now)  # this job may have been the last one that did something

    def forfeit(self, run: Run) -> None:
        """Let a job go on without the place that it has lent."""
        self._lending.forfeit(run)

    def begin_wait(self, wait: Wait, now: float) -> bool:
        """Begin a job's wait, unless it would never end; return whether it has begun."""
        self._settling.advance(now)
        begins = self._search.begin(wait)
        self._settling.settle(now)  # this job may have been the last one that did something
        return begins

    def may_read(self, window: StreamJobs, now: float) -> None:
        """Check the readers of a stream again, since the jobs that they wait for have changed."""
        self._settling.advance(now)
        self._state.waits.look_at_readers(window)
        self._state.may_be_stuck = True
        self._settling.settle(now)

    def outlasted(self, run: Run, now: float) -> None:
        """Record that some waits of a cancelled run go on."""
        self._settling.advance(now)
        self._state.waits.outlasted(run)
        self._state.may_be_stuck = True
        self._settling.settle(now)

    # Groups begin and end.

    def open_group(self, group: Group, now: float) -> None:
        """Open a group."""
        self._settling.advance(now)
        self._lifecycle.tallies += 1
        if group.reserve:
            self._state.reservations.open(group)
            self._state.note_special()
            self._state.may_reserve = True
            self._settling.settle(now)

    def close_group(self, group: Group, now: float) -> None:
        """Close a group whose jobs have all ended."""
        self._settling.advance(now)
        self._lifecycle.tallies -= 1
        if group.reserve:
            self._state.reservations.close(group)
            self._state.note_special()
            for queue in (self._state.queue, self._waiting_line.by_taker):
                queue.forget_kinds(group)
            self._state.look_again()
            self._state.may_be_stuck = True  # its workers may now be reserved for another group
            if self._autoscaler is not None:
                self._autoscaler.given_back()
            self._settling.settle(now)

    def shut_group(self, group: Group, now: float) -> list[JobRecord]:
        """Accept no more jobs into a group from outside; return the jobs whose submitters are turned away."""
        turned_away = list(group.line)
        for job in turned_away:
            self.withdraw(job, now)
        return turned_away

    def cancel_group(self, group: Group, now: float) -> None:
        """Cancel all jobs of a group."""
        self._settling.advance(now)
        self._settling.follow_up(now)  # one of its jobs may be dead: then that is why the others end
        self._changes.stop_group(group, now)
        self._settling.settle(now)

    # The limits change.

    def free(self, now: float) -> list[WorkerRecord]:
        """The workers that could start a job now, beginning with the one whose last start or end is longest ago."""
        return self._dispatcher.free(now)

    def set_max_running(self, limit: float, now: float) -> None:
        """Change how many attempts may run at once."""
        self._settling.advance(now)
        self._state.limits.set_max_running(limit)
        self._state.note_special()
        self._state.may_start = self._state.may_be_stuck = True
        self._settling.settle(now)

    def set_rate_limit(self, limits: RateLimits, now: float, worker: WorkerRecord | None = None) -> None:
        """Change how often attempts may start, in the whole pool or on one worker."""
        self._settling.advance(now)
        self._metering.change(worker, limits, now)
        if worker is not None:
            self._dispatcher.relax(worker, now)
        else:
            if not self._state.limits.meters.starts:
                self._state.limits.wait_for_meter(None)
            self._state.limits.note_limits()
            self._state.note_special()
        self._state.may_start = True
        self._settling.settle(now)

    def drain(self, now: float) -> None:
        """Record that no more jobs or calls of resume() will come from outside."""
        self._settling.advance(now)
        state = self._state
        state.draining = state.may_reserve = True
        state.note_special()
        state.may_be_stuck |= bool(state.paused or state.reservations.waiting)
        self._changes.resume_all(now)
        self._settling.settle(now)

    def _settle_waiting(self, now: float) -> None:
        """Settle after a job has begun to wait that no idle worker may run."""
        self._state.may_start |= bool(self._state.limits.meters)  # schedules a check at the next start
        self._settling.settle_if_needed(now)


def _note_gate(job: JobRecord) -> None:
    """Update the options of a new job if its group has got a bound after they were made."""
    options = job._options
    if options.group is not None and options.group.is_gate and options.terms.gate is None:
        job._options = attrs.evolve(options)
