"""The events of workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model.states import Cut, Hold

if TYPE_CHECKING:
    from .._model.records import WorkerRecord
    from .changes import Changes, Features
    from .lanes import Lane
    from .settle import Settling
    from .state import PoolState


class WorkerEvents:
    """Each of these calls is an event of a worker."""

    __slots__ = (
        "_autoscaler",
        "_changes",
        "_dispatcher",
        "_lending",
        "_lifecycle",
        "_metering",
        "_search",
        "_settling",
        "_state",
        "_unservable",
    )

    def __init__(self, state: PoolState, features: Features, changes: Changes, settling: Settling) -> None:
        self._state = state
        self._lifecycle = state.lifecycle
        self._metering = features.metering
        self._dispatcher = features.dispatcher
        self._lending = features.lending
        self._unservable = features.unservable
        self._search = features.search
        self._autoscaler = features.autoscaler
        self._changes = changes
        self._settling = settling

    def join(self, worker: WorkerRecord, now: float, *, ordered: bool = False) -> None:
        """Add a worker that is about to open its resource for the first time, perhaps ``ordered`` by the autoscaler."""
        state = self._state
        if worker._limits is not None:
            self._metering.note_limits(worker)
        state.roster.join(worker)
        state.accounts.joined(worker, now)
        state.given_up.joined(worker)
        if self._autoscaler is not None and worker._elastic:
            self._autoscaler.joined(worker, ordered=ordered)
        if state.reservations.waiting:
            if state.reservations.review(state.most_places):
                self._dispatcher.set_aside_idle()
            self._search.look_again()  # a group may now wait for workers that waiting jobs hold

    def begin(self, now: float) -> None:
        """Begin after the first workers have been opened, in whatever order."""
        self._state.roster.sort_idle(now)
        if self._autoscaler is not None:
            self._autoscaler.begun = True
            self._settling.advance(now)
            self._settling.settle(now)

    def not_hired(self) -> None:
        """Record that an ordered worker won't be opened."""
        assert self._autoscaler is not None
        self._autoscaler.refused()

    def opened(self, worker: WorkerRecord, now: float) -> None:
        """Record that a worker's resource is open."""
        self._settling.advance(now)
        for hold in (Hold.STARTING, Hold.REOPENING):
            worker._holds.pop(hold, None)
        worker._was_open = True
        if self._autoscaler is not None:
            self._autoscaler.opened(worker)
        if worker._limits is not None:
            self._state.availability.expire(worker, worker._limits.renew(now))
            self._state.health.opened(worker, now)
        self._lifecycle.tell("worker_started", worker)
        self._dispatcher.note(worker, now)
        if self._autoscaler is not None and not worker._available:
            self._autoscaler.unparked(worker)  # the worker was held back while its resource was being reopened
        self._settling.settle(now)

    def reopen(self, worker: WorkerRecord, error: Exception | None, now: float, *, tell: bool = True) -> None:
        """Reopen a worker's resource, or record that the last attempt to reopen it failed.

        Arguments:
          error: the resource's error; None if the reason is ``max_jobs`` or ``max_age``.
          tell: whether to notify the instruments now; otherwise `tell_reopening` does, once the
              reason is known.
        """
        self._changes.take_out_of_use(worker, error, now, tell=tell)  # before jobs that come due now
        self._settling.advance(now)
        self._settling.settle(now)

    def tell_reopening(self, worker: WorkerRecord, error: Exception) -> None:
        """Notify the instruments of the reason for reopening a resource, unless the worker leaves instead."""
        if not worker._is_leaving:
            self._lifecycle.tell("worker_reopening", worker, error)

    def pause(self, worker: WorkerRecord, now: float) -> None:
        """Pause a worker."""
        self._settling.advance(now)
        if not (Hold.PAUSED in worker._holds or worker._has_left):
            worker._holds[Hold.PAUSED] = math.inf
            self._state.paused[worker] = None
            self._lifecycle.tell("worker_paused", worker)
            self._dispatcher.note(worker, now)
            self._settling.settle(now)

    def resume(self, worker: WorkerRecord, now: float) -> None:
        """Resume a paused worker."""
        self._settling.advance(now)
        self._changes.resume(worker, now)
        self._settling.settle(now)

    def rest(self, worker: WorkerRecord, until: float, now: float) -> None:
        """Let a worker rest; if two rests overlap, the later end applies."""
        self._settling.advance(now)
        self._changes.rest(worker, until, now)
        self._settling.settle(now)

    def reset_breaker(self, worker: WorkerRecord, now: float) -> None:
        """Close a worker's breaker and end its quarantine."""
        self._settling.advance(now)
        if worker._limits is not None and worker._limits.breaker is not None:
            worker._limits.breaker.reset()
            self._state.availability.end_quarantine(worker)
            self._dispatcher.note(worker, now)
            if worker._available and worker._has_room and not self._state.roster.is_idle(worker):
                self._dispatcher.rest_idle(worker, now)  # while a probe ran, nothing else could start on the worker
                self._state.look_again()
            self._settling.settle(now)

    def set_places(self, worker: WorkerRecord, limit: float, now: float) -> None:
        """Change how many attempts may run on a worker at once."""
        self._settling.advance(now)
        state = self._state
        state.roster.set_places(worker, limit)
        state.reservations.lose(worker, most=limit)
        state.may_reserve = True
        while self._lending.give_back(worker, now):
            pass
        if worker._available and worker._has_room and not state.roster.is_idle(worker):
            self._dispatcher.rest_idle(worker, now)
        state.look_again()
        state.may_be_stuck = True
        self._settling.settle(now)

    def begin_check(self, worker: WorkerRecord, now: float) -> bool:
        """Begin the check of a worker if it is still idle; return whether the check begins."""
        self._settling.advance(now)
        state = self._state
        if not state.health.is_due(worker, now, state.limits.hold):
            return False
        state.roster.keep_number(worker)
        state.health.begin(worker)
        self._dispatcher.note(worker, now)
        self._settling.settle(now)
        return True

    def checked(self, worker: WorkerRecord, error: Exception | None, now: float, *, is_cut: bool = False) -> None:
        """End the check of a worker.

        Arguments:
          error: what is wrong with its resource, if anything.
          is_cut: whether the check was cancelled.
        """
        self._settling.advance(now)
        self._state.health.end(worker, now)
        limits = worker._limits
        assert limits is not None
        is_broken = error is not None or (is_cut and limits.reopens_on_cut)
        if is_broken and worker._is_open and not worker._is_leaving:
            self._changes.take_out_of_use(worker, error, now)
        self._dispatcher.note(worker, now)
        self._settling.settle(now)

    def depart(self, worker: WorkerRecord, now: float, *, cut: bool = False) -> None:
        """Make a worker leave; with ``cut``, cut its attempts short."""
        self._settling.advance(now)
        if cut:
            runs = sorted((*worker._runs, *worker._lent), key=lambda run: run.number)
            # Their jobs go to the front of the queue in the order of their starts, whichever ends first.
            for run in reversed(runs):
                self._state.evicted[run] = -next(self._state.tickets)
            for run in runs:
                self._changes.cut(run, Cut.EVICTED, now)
        if not (worker._is_leaving or worker._has_left):
            self._changes.dismiss(worker, now)
            self._settling.settle(now)

    def left(self, worker: WorkerRecord, now: float, error: Exception | None = None) -> None:
        """Remove a worker that has left, or whose resource could not be opened at all.

        Arguments:
          error: why the resource could not be opened again, if the worker leaves for that reason.
        """
        self._settling.advance(now)
        state = self._state
        if error is not None:
            state.given_up.note(worker, error)
        state.may_be_stuck |= not self._search.can_spare(worker)
        worker._holds[Hold.STOPPED] = math.inf
        state.paused.pop(worker, None)
        state.availability.drop(worker)
        self._metering.drop(worker)
        state.health.left(worker)
        state.reservations.lose(worker)
        for run in [run for run in state.evicted if run.worker is worker]:
            del state.evicted[run]  # the run has not been cut short after all
        state.accounts.left(worker, now)
        is_last = state.roster.leave(worker)
        if self._autoscaler is not None:
            self._autoscaler.left(worker)
        lost: list[Lane] = []
        for queue in (state.queue, state.waiting_line.by_taker):
            queue.release(worker)
            lost += queue.lanes_for(worker, tags=is_last)
        state.look_again()
        if worker._was_open:
            self._lifecycle.tell("worker_stopped", worker)
        self._unservable.bury_new(lost, now)
        state.may_reserve = True
        self._settling.settle(now)
