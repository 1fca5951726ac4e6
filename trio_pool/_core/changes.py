"""The changes of jobs and workers that several events share. `Settling` handles their consequences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .._model.records import ANYONE
from .._model.states import Cut, Hold, JobState
from .commands import ADMITTED, INTERRUPT, RECALL
from .terms import terms_of

if TYPE_CHECKING:
    from .._model.history import Why
    from .._model.records import Group, JobRecord, Run, WorkerRecord
    from .autoscaling import Autoscaler
    from .deadlock import DeadlockSearch
    from .dispatcher import Dispatcher
    from .lending import Lending
    from .metering import Metering
    from .no_worker import UnservableJobs
    from .state import PoolState


class Features(NamedTuple):
    """The features of the core, which make the decisions. They share the state, and don't call each other."""

    metering: Metering
    dispatcher: Dispatcher
    lending: Lending
    search: DeadlockSearch
    unservable: UnservableJobs
    autoscaler: Autoscaler | None


class Changes:
    """The changes that several events share."""

    __slots__ = ("_autoscaler", "_dispatcher", "_lifecycle", "_search", "_state", "_unservable")

    def __init__(self, state: PoolState, features: Features) -> None:
        self._state = state
        self._lifecycle = state.lifecycle
        self._dispatcher = features.dispatcher
        self._unservable = features.unservable
        self._search = features.search
        self._autoscaler = features.autoscaler

    # Jobs.

    def queue_again(
        self,
        job: JobRecord,
        now: float,
        *,
        front: bool,
        at_once: bool = True,
        ticket: int | None = None,
        why: Why = (),
    ) -> None:
        """Queue a job again, with an earlier ``ticket`` if given, or start it if no other job may have to go first."""
        state = self._state
        terms = terms_of(job)
        if (terms is not ANYONE or not state.roster.by_id) and self._unservable.is_one(terms):
            self._unservable.bury(job, now)
            return
        self._lifecycle.move(job, JobState.QUEUED, now, why=why)
        # If this is the only change, and no other job waits because of a shared limit, the job may
        # start at once. Otherwise it is matched with the workers when all changes are known. A worker
        # whose run has just ended may be preferred to workers with some places taken.
        alone = at_once and not (
            state.may_start
            or self._lifecycle.news
            or state.limits.is_shared
            or state.has_reserved
            or state.roster.kinds.have_places
        )
        worker = self._dispatcher.idle_worker_for(job, terms, now) if alone else None
        if worker is not None:
            self._dispatcher.hand_over(worker, job, now)
        else:
            self._dispatcher.let_wait(job, terms, front=front, ticket=ticket)
            state.may_start |= not alone

    def take_back(self, job: JobRecord) -> None:
        """Remove a job from the place where it waits."""
        if job._state is JobState.DELAYED:
            self._state.deadlines.drop(job)
        elif job._state is JobState.BLOCKED:
            self._state.dependencies.drop(job)
        else:
            self._state.queue.remove(job)

    def time_out(self, job: JobRecord, now: float) -> None:
        """End a job, which waits in the queue or for a place, after its total timeout."""
        let_go: JobRecord | None = None
        if job._state is None:
            let_go = self._state.waiting_line.leave(job)
        else:
            self.take_back(job)
        self._lifecycle.time_out(job, now)
        if let_go is not None:
            self._state.commands.append((ADMITTED, let_go))

    def cut(self, run: Run, cut: Cut, now: float) -> None:
        """Cut a run short, unless it has a timeout that has passed and ends it anyway."""
        if run.cut is None and now < run.deadline:
            run.cut = cut
        self._state.waits.cut(run)
        self._state.commands.append((INTERRUPT, run))

    def cancel(self, job: JobRecord, now: float, by: str) -> None:
        """Cancel a job that has not ended; ``by`` says who does so, at the end of a sentence."""
        if job._cancelled:
            return
        job._cancelled = True
        if job._state is JobState.RUNNING:
            job._extras.cancelled_by = by
            for run in self._state.hedging.cancel(job):
                self.cut(run, Cut.CANCELLED, now)
            return
        self.take_back(job)
        self._lifecycle.end(job, JobState.CANCELLED, now, "cancelled before it had ended")

    def stop_group(self, group: Group, now: float, discarded: str = "") -> None:
        """Cancel the jobs of a group; with ``discarded``, the reason, discard those that wait instead."""
        by = f"since {discarded}" if discarded else "with its group"
        for job in list(group.live):
            if not discarded or job._state is JobState.RUNNING:
                self.cancel(job, now, by)
            else:
                self.discard(job, discarded, now)
        if discarded:
            for job in self._state.waiting_line.all_of(group):
                self.discard(job, discarded, now)

    def discard(self, job: JobRecord, words: str, now: float) -> None:
        """Discard a job that waits in the queue or for a place."""
        let_go: JobRecord | None = None
        if job._state is None:
            why = self._state.dependencies.why_blocked(job)
            let_go = self._state.waiting_line.leave(job)
            self._lifecycle.move(job, JobState.BLOCKED if why else JobState.QUEUED, now, why=why)
        else:
            self.take_back(job)
        self._lifecycle.end(job, JobState.DISCARDED, now, words)
        if let_go is not None:
            self._state.commands.append((ADMITTED, let_go))

    # Workers.

    def rest(self, worker: WorkerRecord, until: float, now: float) -> None:
        """Let a worker rest; if two rests overlap, the later end applies."""
        if self._state.availability.rest(worker, until, now):
            self._dispatcher.note(worker, now)

    def resume(self, worker: WorkerRecord, now: float) -> None:
        """Resume a paused worker."""
        if Hold.PAUSED in worker._holds and not worker._has_left:
            del worker._holds[Hold.PAUSED]
            del self._state.paused[worker]
            self._lifecycle.tell("worker_resumed", worker)
            self._dispatcher.note(worker, now)

    def resume_pool(self, now: float) -> None:
        """Resume the pool, if it is paused."""
        if self._state.limits.hold.resume(now):
            self._state.note_hold()

    def resume_all(self, now: float) -> None:
        """Resume the pool and all paused workers."""
        self.resume_pool(now)
        for worker in sorted(self._state.paused, key=lambda worker: worker._id):
            self.resume(worker, now)

    def dismiss(self, worker: WorkerRecord, now: float) -> None:
        """Make a worker leave."""
        self._state.may_be_stuck |= not self._search.can_spare(worker)
        worker._holds[Hold.LEAVING] = math.inf
        self._state.roster.leaving += 1
        self._state.roster.places.add(worker, -1)
        self._state.queue.release(worker)  # frees jobs that are bound to the worker only by an earlier failure
        self._state.reservations.lose(worker)
        if self._autoscaler is not None:
            self._autoscaler.gone(worker)
        self._dispatcher.note(worker, now)  # first of all, or the worker would get a job
        self._state.may_reserve = self._state.may_start = True
        self._state.commands.append((RECALL, worker))

    def dismiss_reopening(self, now: float) -> None:
        """Make all workers leave that are reopening their resources or are about to."""
        for worker in list(self._state.roster.by_id.values()):
            if Hold.REOPENING in worker._holds and not worker._is_leaving:
                self.dismiss(worker, now)

    def wear_out(self, worker: WorkerRecord, now: float) -> None:
        """Reopen a worker's resource if it is worn: at once if nothing runs on it; until then nothing starts.

        Do nothing while the worker is about to leave, or while jobs have lent it.
        """
        limits = worker._limits
        if limits is None or not limits.is_worn() or not worker._is_open or worker._is_leaving or worker._lent:
            return
        if not worker._runs:
            self.take_out_of_use(worker, None, now)
        elif not worker._is_exclusive:
            self._dispatcher.note_places(worker, now)
            self._state.may_be_stuck = True

    def take_out_of_use(self, worker: WorkerRecord, error: Exception | None, now: float, *, tell: bool = True) -> None:
        """Reopen a worker's resource; without ``tell``, the reason is not known yet and is reported later.

        A worker that is leaving reopens nothing. Once everything has been cancelled, the worker leaves instead.
        """
        if self._state.cancelled and not worker._is_leaving:
            self.dismiss(worker, now)  # nothing will start any more
        if self._autoscaler is not None:
            self._autoscaler.reopening(worker, again=not worker._is_open)
        worker._holds.pop(Hold.STARTING, None)
        worker._holds[Hold.REOPENING] = math.inf
        self._dispatcher.note(worker, now)
        if worker._lent or worker._runs:
            self._state.may_be_stuck = True  # these jobs must end first, and may wait for others that need it
        if error is not None:
            worker._last_error = error
        if tell and not worker._is_leaving:
            self._lifecycle.tell("worker_reopening", worker, error)
        self._state.commands.append((RECALL, worker))
