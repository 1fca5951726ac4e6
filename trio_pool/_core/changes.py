"""What more than one event does to a job or to a worker. What follows on that is left to `Settling`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .._model.records import ANYONE
from .._model.states import Cut, Hold, JobState
from .commands import Admitted, Interrupt, Recall
from .worker_index import terms_of

if TYPE_CHECKING:
    from .._model.records import Group, JobRecord, Run, WorkerRecord
    from .autoscaling import Autoscaler
    from .deadlock import DeadlockSearch
    from .dispatcher import Dispatcher
    from .lending import Lending
    from .no_worker import UnservableJobs
    from .state import PoolState


class Features(NamedTuple):
    """The parts of the core that decide. They know the state, and nothing of each other."""

    dispatcher: Dispatcher
    lending: Lending
    search: DeadlockSearch
    unservable: UnservableJobs
    autoscaler: Autoscaler | None


class Changes:
    """The changes that events have in common."""

    __slots__ = ("_autoscaler", "_dispatcher", "_lifecycle", "_search", "_state", "_unservable")

    def __init__(self, state: PoolState, features: Features) -> None:
        self._state = state
        self._lifecycle = state.lifecycle
        self._dispatcher = features.dispatcher
        self._unservable = features.unservable
        self._search = features.search
        self._autoscaler = features.autoscaler

    # Jobs.

    def queue_again(self, job: JobRecord, now: float, *, front: bool, at_once: bool = True) -> None:
        """A job waits for a worker again, or gets one if nothing else has happened that others may start on."""
        state = self._state
        terms = terms_of(job)
        if (terms is not ANYONE or not state.roster.by_id) and self._unservable.is_one(terms):
            self._lifecycle.bury(job, now)
            return
        self._lifecycle.move(job, JobState.QUEUED, now)
        # Unless it is the only news, and it can't have been for want of room that others
        # wait, it is brought together with the workers when all is known.
        shared = state.limits.is_shared or state.has_reserved or state.may_start
        alone = at_once and not (shared or self._lifecycle.news)
        worker = self._dispatcher.idle_worker_for(terms, now) if alone else None
        if worker is not None:
            self._dispatcher.hand_over(worker, job, now)
        else:
            self._dispatcher.let_wait(job, terms, front=front)
            state.may_start |= not alone

    def take_back(self, job: JobRecord) -> None:
        """Take a job out of where it waits."""
        if job._state is JobState.DELAYED:
            job._ticket = 0
            self._state.deadlines.forget()
        elif job._state is JobState.BLOCKED:
            self._state.dependencies.drop(job)
        else:
            self._state.queue.remove(job)

    def time_out(self, job: JobRecord, now: float) -> None:
        """The total timeout of a job that waits, perhaps for a place, has passed."""
        let_go: JobRecord | None = None
        if job._state is None:
            let_go = self._state.waiting_line.leave(job)
        else:
            self.take_back(job)
        self._lifecycle.time_out(job, now)
        if let_go is not None:
            self._state.commands.append(Admitted(let_go))

    def cut(self, run: Run, cut: Cut, now: float) -> None:
        """Cut a run short, unless a timeout has passed that ends it."""
        if run.cut is None and now < run.deadline:
            run.cut = cut
        self._state.waits.cut(run)
        self._state.commands.append(Interrupt(run))

    def cancel(self, job: JobRecord, now: float) -> None:
        """Nobody wants a job any longer that has not ended."""
        if job._cancelled:
            return
        job._cancelled = True
        if job._state is JobState.RUNNING:
            for run in self._state.hedging.cancel(job):
                self.cut(run, Cut.CANCELLED, now)
            return
        self.take_back(job)
        self._lifecycle.end(job, JobState.CANCELLED, now, "cancelled before it had ended")

    def stop_group(self, group: Group, now: float, discarded: str = "") -> None:
        """Nobody wants the jobs of a group any longer; with ``discarded`` those that wait are that, and why."""
        for job in list(group.live):
            if not discarded or job._state is JobState.RUNNING:
                self.cancel(job, now)
            else:
                self.discard(job, discarded, now)
        if discarded:
            for job in self._state.waiting_line.all_of(group):
                self.discard(job, discarded, now)

    def discard(self, job: JobRecord, words: str, now: float) -> None:
        """A job that waits, perhaps for a place, is not to start any more."""
        let_go: JobRecord | None = None
        if job._state is None:
            state = JobState.BLOCKED if job in self._state.dependencies.missing else JobState.QUEUED
            let_go = self._state.waiting_line.leave(job)
            self._lifecycle.move(job, state, now)
        else:
            self.take_back(job)
        self._lifecycle.end(job, JobState.DISCARDED, now, words)
        if let_go is not None:
            self._state.commands.append(Admitted(let_go))

    # Workers.

    def rest(self, worker: WorkerRecord, until: float, now: float) -> None:
        """A worker takes no more jobs until then; of two rests the later end holds."""
        if self._state.availability.rest(worker, until, now):
            self._dispatcher.note(worker, now)

    def resume(self, worker: WorkerRecord, now: float) -> None:
        """A paused worker goes on."""
        if Hold.PAUSED in worker._holds and not worker._has_left:
            del worker._holds[Hold.PAUSED]
            del self._state.paused[worker]
            self._lifecycle.tell("worker_resumed", worker)
            self._dispatcher.note(worker, now)

    def resume_all(self, now: float) -> None:
        """All paused workers go on."""
        for worker in sorted(self._state.paused, key=lambda worker: worker._id):
            self.resume(worker, now)

    def dismiss(self, worker: WorkerRecord, now: float) -> None:
        """A worker is to leave."""
        self._state.may_be_stuck |= not self._search.can_spare(worker)
        worker._holds[Hold.LEAVING] = math.inf
        self._state.roster.leaving += 1
        self._state.queue.release(worker)  # what waits for it only because it has failed there need not any more
        self._state.reservations.lose(worker)
        if self._autoscaler is not None:
            self._autoscaler.gone(worker)
        self._dispatcher.note(worker, now)  # or it would be given something
        self._state.may_reserve = self._state.may_start = True
        self._state.commands.append(Recall(worker))

    def take_out_of_use(self, worker: WorkerRecord, error: Exception | None, now: float, *, tell: bool = True) -> None:
        """A worker's resource is to be opened anew; without ``tell`` it is not known yet why."""
        if self._autoscaler is not None:
            self._autoscaler.reopening(worker, again=not worker._is_open)
        worker._holds.pop(Hold.STARTING, None)
        worker._holds[Hold.REOPENING] = math.inf
        self._dispatcher.note(worker, now)
        if worker._lent:
            self._state.may_be_stuck = True  # those have to be done who have lent it, and may wait for what needs it
        if error is not None:
            worker._last_error = error
        if tell:
            self._lifecycle.tell("worker_reopening", worker, error)
        self._state.commands.append(Recall(worker))


def is_kept(worker: WorkerRecord) -> bool:
    """Whether a worker's resource is not to be opened anew: it is to leave, or jobs have lent it."""
    return worker._is_leaving or bool(worker._lent)
