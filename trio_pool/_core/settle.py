"""The follow-up after every event: all its consequences, in one fixed order, until there are none left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._basics.text import one_line
from .._model.group import GroupRecord
from .._model.key_record import KeyRecord
from .._model.states import JobState
from .._model.time_account import IDLE
from .deadlines import HOLDS, Due, is_over

if TYPE_CHECKING:
    from .._model.records import JobRecord, Run, WorkerRecord
    from .changes import Changes, Features
    from .state import PoolState


class Settling:
    """Handles the consequences that events have marked. Each event ends with a call of `settle` and does no more."""

    __slots__ = (
        "_accounts",
        "_autoscaler",
        "_changes",
        "_dispatcher",
        "_lending",
        "_lifecycle",
        "_metering",
        "_reservations",
        "_roster",
        "_search",
        "_state",
        "_touched",
        "_unservable",
        "_waiting_line",
    )

    def __init__(self, state: PoolState, features: Features, changes: Changes) -> None:
        self._state = state
        self._lifecycle = state.lifecycle
        self._waiting_line = state.waiting_line
        self._reservations = state.reservations
        self._metering = features.metering
        self._dispatcher = features.dispatcher
        self._lending = features.lending
        self._unservable = features.unservable
        self._search = features.search
        self._autoscaler = features.autoscaler
        self._changes = changes
        self._accounts = state.accounts
        self._touched = state.accounts.touched
        self._roster = state.roster

    def settle(self, now: float) -> None:
        """Handle all consequences of what has happened."""
        while self._follow(now):
            pass
        newcomers = self._lifecycle.newcomers
        while newcomers:
            self._search.note_member(newcomers.popleft())
        if self._state.may_be_stuck:
            self._state.may_be_stuck = False
            self._search.look_again()
        if self._state.limits.has_shares:
            self._metering.pass_on(now)
        if self._state.keys is not None:
            self._state.keys.clean(now)
        if self._touched or self._state.special or self._lifecycle.tallies or self._roster.reading.cause != IDLE:
            self._accounts.look(now)

    def settle_if_needed(self, now: float) -> None:
        """Call `settle`, if it is needed at all, after an event that every job has and that rarely affects others."""
        state = self._state
        if (
            state.may_start
            or state.may_be_stuck
            or state.draining
            or self._lifecycle.newcomers
            or self._waiting_line.line
            or self._autoscaler is not None
            or self._reservations.waiting
            or state.keys is not None
        ):
            self.settle(now)
        elif self._touched or state.special or self._lifecycle.tallies or self._roster.reading.cause != IDLE:
            self._accounts.look(now)

    def next_for(self, worker: WorkerRecord, now: float) -> Run | None:
        """Return the next run of a worker that has ended one, or None, and handle the other consequences."""
        following = self._dispatcher.next_straight(worker, now)
        return self.next_in_general(worker, now) if following is False else following

    def next_in_general(self, worker: WorkerRecord, now: float) -> Run | None:
        """Do what `next_for` does, whatever features are in use and whatever else has happened."""
        state = self._state
        if self._lifecycle.news:
            self.follow_up(now)
        if worker._claims and self._lending.give_back(worker, now):
            run = None
        else:
            if self._reservations.lacking:
                self._dispatcher.set_aside(worker)
            limits = worker._limits
            if limits is not None:
                limits.idle_since = now
            if self._autoscaler is not None and self._autoscaler.is_surplus(worker):
                self._changes.dismiss(worker, now)
            elif worker._limits is not None and not worker._runs:
                self._changes.wear_out(worker, now)
            run = self._dispatcher.next_for(worker, now, state.may_start)
        if not worker._available or not worker._is_exclusive or (worker._runs and worker._account.free):
            self._touched[worker] = None
        self.settle_if_needed(now)
        return run

    def _follow(self, now: float) -> bool:
        """Run each step once; return whether there may be more to do."""
        state, reservations = self._state, self._reservations
        if self._lifecycle.news:
            self.follow_up(now)
        if state.may_reserve:
            self._review()
        while self._autoscaler is not None and (worker := self._autoscaler.surplus()) is not None:
            self._changes.dismiss(worker, now)
        if self._lending.held_up:
            self._lending.give_back_released(now)
        if state.may_start or reservations.lacking:
            state.may_start = False
            self._dispatcher.match(now)
        if state.waiting_line.line:
            self._dispatcher.admit_waiting(now)
        if self._autoscaler is not None:
            self._autoscaler.hire(now)
            while (worker := self._autoscaler.not_needed()) is not None:
                self._changes.dismiss(worker, now)
        if self._lifecycle.news or state.may_reserve or state.may_start:
            return True
        if reservations.waiting or (state.draining and self._lifecycle.count[JobState.QUEUED]):
            return self._is_still() and self._set_going(now)
        return False

    def follow_up(self, now: float) -> None:
        """Handle the effects of ended jobs on other jobs, and reopen groups and keys that may start jobs again."""
        state, news = self._state, self._lifecycle.news
        while news:
            state.may_start = True
            item = news.popleft()
            if isinstance(item, KeyRecord):
                state.reopen_key(item)
                continue
            if isinstance(item, GroupRecord):
                state.queue.reopen(item)
                state.waiting_line.by_taker.reopen(item)
                continue
            group = item._options.group
            if group is not None and group.must_succeed and item._state is JobState.DEAD and not item._options.is_lease:
                self._changes.stop_group(group, now, f"{one_line(item.name)}, of the same group, is dead")
            for job in state.dependencies.settle(item):
                if item._state is not JobState.SUCCEEDED:
                    self._changes.discard(job, waited_in_vain(item), now)
                elif state.dependencies.meet(job, item):
                    self._unblock(job, now)

    def _unblock(self, job: JobRecord, now: float) -> None:
        """Unblock a job after all its dependencies have succeeded."""
        if job._state is None:
            self._state.waiting_line.by_taker.push(job, job._options.terms)
        else:
            self._changes.queue_again(job, now, front=False, at_once=False)

    def _review(self) -> None:
        """Review the reservations after the number of workers or of the groups that wait for them has changed."""
        state, reservations = self._state, self._reservations
        state.may_reserve = False
        if not reservations.waiting:
            return
        changed = reservations.review(state.most_places)
        if state.draining:
            changed |= reservations.turn_away_beyond()
        if changed:
            state.look_again()
            state.may_be_stuck = True  # a group that has released its workers may wait for jobs that run there

    def _is_still(self) -> bool:
        """Whether only jobs run that wait for others, and no deadline will change that."""
        count, autoscaler = self._lifecycle.count, self._autoscaler
        hedging, hold = self._state.hedging, self._state.limits.hold
        if hold.resting_until is not None or (hold.paused and not self._state.draining):
            return False
        if count[JobState.DELAYED] or hedging.due_later:
            return False
        if count[JobState.RUNNING] + hedging.further > self._state.waits.standing():
            return False
        if self._dispatcher.is_waiting_for_meter or self._metering.may_open:
            return False
        if autoscaler is not None:
            limits = self._state.limits
            is_limited = limits.limited_until is not None and limits.room > 0
            if autoscaler.is_hiring or autoscaler.is_patient or (is_limited and autoscaler.is_short):
                return False
            if autoscaler.is_letting_go and not count[JobState.RUNNING]:
                return False  # after the worker has left, another one can be opened for the waiting jobs
        return not self._state.roster.coming

    def _set_going(self, now: float) -> bool:
        """Resolve a standstill: jobs or groups wait, and nothing else will happen by itself.

        Returns:
          whether there may be more to do.
        """
        state, reservations, count = self._state, self._reservations, self._lifecycle.count
        if state.draining and (state.paused or state.limits.hold.paused):
            self._changes.resume_all(now)
            return True
        if state.draining and self._unservable.bury_lost(now):
            return True  # the jobs that depend on them go on, and so may groups, which then release workers
        running = count[JobState.RUNNING]
        if reservations.give_way():
            state.look_again()
            self._dispatcher.give_out(now)
            is_stuck = count[JobState.RUNNING] == running and not reservations.may_give_back
            is_served = is_stuck and reservations.serve_whole()
            self._dispatcher.set_aside_idle()
            state.may_start = False
            state.may_be_stuck = True  # a group may now wait for workers that waiting jobs hold
            if is_served:
                return False  # the group goes on
        if not state.draining or count[JobState.RUNNING] > running or reservations.may_give_back:
            return False
        if reservations.waiting:
            reservations.turn_away(next(iter(reservations.waiting)))
            state.look_again()
            return True
        if not running:
            self._unservable.bury_all(now)
            return True
        return False

    # Time passes.

    def advance(self, now: float) -> None:
        """Handle everything that has come due, before any other event of the same instant."""
        state = self._state
        if state.deadlines.soonest > now:
            return
        is_retiring = False
        for due, item in state.deadlines.pop_due(now):
            if due is Due.TOTAL_TIMEOUT:
                self._changes.time_out(item, now)
            elif due is Due.DELAY:
                self._changes.queue_again(item, now, front=item._setback.front, at_once=False)
            elif due is Due.RATE:
                item.no_longer_limited()
            elif due is Due.UNIT:
                self._metering.come_due(item, now)
            elif due is Due.WAKE:
                is_over(due, item)
                self._metering.woken(item, now)
            elif due is Due.KEY_REST:
                assert state.keys is not None
                state.keys.rested(item)
            elif due is Due.HEDGE:
                state.may_be_stuck |= state.hedging.come_due(item)
            else:
                is_over(due, item)
                if due is Due.POOL_REST:
                    state.limits.hold.ended_at = now
                    state.note_hold()
                elif due is Due.AGE:
                    self._grown_old(item, now)
                elif due is Due.LIMIT:
                    self._no_longer_limited(item, now)
                elif due is Due.RETIRE:
                    is_retiring = True
                elif due is Due.CHECK:
                    state.health.come_due(item)
                elif due in HOLDS:
                    self._dispatcher.note(item, now)
        state.may_start = True
        self.settle(now)
        if state.health.has_due:
            state.health.order(now, state.limits.hold)
        if is_retiring and self._autoscaler is not None:
            # Only after settling is it known which idle workers have nothing to do.
            while (worker := self._autoscaler.retire(now)) is not None:
                self._changes.dismiss(worker, now)
                self.settle(now)

    def _grown_old(self, worker: WorkerRecord, now: float) -> None:
        limits = worker._limits
        assert limits is not None
        limits.grow_old()
        self._changes.wear_out(worker, now)

    def _no_longer_limited(self, worker: WorkerRecord, now: float) -> None:
        self._state.roster.count_coming(worker)
        if worker._available and worker._has_room:
            self._dispatcher.rest_idle(worker, now)
        else:
            self._touched[worker] = None


def waited_in_vain(other: JobRecord) -> str:
    """The reason for discarding a job that waited for this one."""
    return f"it waited for {one_line(other.name)}, which is {other.state.name.lower()}"
