"""Core: what every event can lead to: what waits for the ends of jobs, for places, for workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._effects import Admitted, Interrupt, Recall
from ._group import Group
from ._job import JobState
from ._roster import ANYONE, terms_of
from ._seat import Cut
from ._shown import one_line

if TYPE_CHECKING:
    from ._deadlines import Deadlines
    from ._dependencies import Dependencies
    from ._dispatch import Dispatch
    from ._effects import Effects
    from ._holds import Holds
    from ._job import Job
    from ._ledger import Ledger
    from ._loans import Loans
    from ._orphans import Orphans
    from ._places import Places
    from ._queue import ReadyQueue
    from ._reservations import Reservations
    from ._roster import Roster
    from ._seat import Seat
    from ._waits import Waits


class Aftermath:
    """What events have in common. Nobody calls these methods but who derives from it.

    Attributes:
      deadlines: what comes due; its ``soonest`` tells when to call `advance` next.
      draining: no more jobs will come but from jobs, and nobody resumes a worker.
      waits: who of the running jobs waits for which jobs.
    """

    __slots__ = (
        "_dependencies",
        "_dispatch",
        "_effects",
        "_holds",
        "_ledger",
        "_loans",
        "_orphans",
        "_paused",
        "_places",
        "_queue",
        "_races",
        "_reservations",
        "_roster",
        "_staffing",
        "deadlines",
        "draining",
        "waits",
    )

    def __init__(
        self,
        roster: Roster,
        ledger: Ledger,
        deadlines: Deadlines,
        queue: ReadyQueue,
        places: Places,
        dispatch: Dispatch,
        holds: Holds,
        dependencies: Dependencies,
        reservations: Reservations,
        loans: Loans,
        waits: Waits,
        effects: Effects,
        orphans: Orphans,
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self.deadlines: Deadlines = deadlines
        self._queue = queue
        self._places = places
        self._dispatch = dispatch
        self._staffing = dispatch.staffing
        self._races = dispatch.races
        self._holds = holds
        self._dependencies = dependencies
        self._reservations = reservations
        self._loans = loans
        self.waits: Waits = waits
        self._effects = effects
        self._orphans = orphans
        self.draining: bool = False
        self._paused: dict[Seat, None] = {}

    # How jobs go on, or don't.

    def _queue_again(self, job: Job[Any], now: float, *, front: bool, at_once: bool = True) -> None:
        terms = terms_of(job)
        if (terms is not ANYONE or not self._roster.seats) and self._orphans.is_one(terms):
            self._ledger.bury(job, now)
            return
        self._ledger.move(job, JobState.QUEUED, now)
        # Unless it is the only news, and it can't have been for want of room that others
        # wait, it is brought together with the workers when all is known.
        dispatch = self._dispatch
        alone = at_once and not (dispatch.is_shared or dispatch.has_reserved or self._ledger.news)
        seat = self._dispatch.idle_worker_for(terms, now) if alone else None
        if seat is not None:
            self._dispatch.hand_over(seat, job, now)
        else:
            self._dispatch.let_wait(job, terms, front=front)

    def _take_back(self, job: Job[Any]) -> None:
        """Take a job out of where it waits."""
        if job._state is JobState.DELAYED:
            job._ticket = 0
            self.deadlines.forget()
        elif job._state is JobState.BLOCKED:
            self._dependencies.drop(job)
        else:
            self._queue.remove(job)

    def _cut(self, seat: Seat, job: Job[Any], cut: Cut, now: float) -> None:
        """Cut an attempt short, unless a timeout has passed that ends it."""
        loan = seat._loans.get(job)
        if loan is not None:
            if loan.cut is None and now < loan.deadline:
                loan.cut = cut
        elif seat._cut is None and now < seat._attempt_deadline:
            seat._cut = cut
        self._effects.append(Interrupt(seat, job))

    def _cancel(self, job: Job[Any], now: float) -> None:
        """Nobody wants a job any longer that has not ended."""
        if job._cancelled:
            return
        job._cancelled = True
        if job._state is JobState.RUNNING:
            self.waits.cancelled(job)
            for seat in self._races.cancel(job):
                self._cut(seat, job, Cut.CANCELLED, now)
            return
        self._take_back(job)
        self._ledger.end(job, JobState.CANCELLED, now, "cancelled before it had ended")

    def _stop_group(self, group: Group, now: float, discarded: str = "") -> None:
        """Nobody wants the jobs of a group any longer; with ``discarded`` those that wait are that, and why."""
        for job in list(group.live):
            if not discarded or job._state is JobState.RUNNING:
                self._cancel(job, now)
            else:
                self._discard(job, discarded, now)
        if discarded:
            for job in self._places.all_of(group):
                self._discard(job, discarded, now)

    def _discard(self, job: Job[Any], words: str, now: float) -> None:
        """A job that waits, perhaps for a place, is not to start any more."""
        let_go: Job[Any] | None = None
        if job._state is None:
            state = JobState.BLOCKED if job in self._dependencies.missing else JobState.QUEUED
            let_go = self._places.leave(job)
            self._ledger.move(job, state, now)
        else:
            self._take_back(job)
        self._ledger.end(job, JobState.DISCARDED, now, words)
        if let_go is not None:
            self._effects.append(Admitted(let_go))

    # How workers go on, or don't.

    def _resume(self, seat: Seat, now: float) -> None:
        if seat._paused and not seat._gone:
            seat._paused = False
            del self._paused[seat]
            self._ledger.tell("worker_resumed", seat)
            self._dispatch.update(seat, now)
            self._after(now)

    def _resume_all(self, now: float) -> None:
        for seat in sorted(self._paused, key=lambda seat: seat._id):
            self._resume(seat, now)

    def _is_kept(self, seat: Seat) -> bool:
        """Whether a worker's resource is not to be opened anew: it is to leave, or jobs have lent it."""
        return seat._departing or bool(seat._loans)

    def _dismiss(self, seat: Seat, now: float) -> None:
        seat._departing = True
        self._roster.leaving += 1
        self._queue.release(seat)  # what waits for it only because it has failed there need not any more
        self._reservations.lose(seat)
        if self._staffing is not None:
            self._staffing.gone(seat)
        self._dispatch.note(seat, now)  # or it would be given something
        self._review(now)
        self._dispatch.match(now)
        if seat._current is None:
            self._effects.append(Recall(seat))

    @property
    def most_workers(self) -> float:
        """How many workers the pool can have, as far as it sees to that itself."""
        own = self._roster.staying
        return own if self._staffing is None else self._staffing.most + own - self._staffing.own

    def _review(self, now: float) -> None:
        """There are more workers or fewer, or more who want some: see who can have them."""
        reservations = self._reservations
        if not reservations.waiting:
            return
        changed = reservations.review(self.most_workers)
        if self.draining:
            changed |= reservations.turn_away_beyond()
        if changed:
            self._dispatch.look_again()
            self._dispatch.match(now)

    # What waits for the ends of jobs.

    def _follow_up(self, now: float) -> None:
        """See to what the ends of jobs mean for others, and to groups that may start something again.

        What may start on account of that is brought together with the workers afterwards.
        """
        news = self._ledger.news
        while news:
            item = news.popleft()
            if isinstance(item, Group):
                self._queue.reopen(item)
                self._places.by_taker.reopen(item)
                continue
            group = item._options.group
            if group is not None and group.must_succeed and item._state is JobState.DEAD:
                self._stop_group(group, now, f"{one_line(item.name)}, of the same group, is dead")
            for job in self._dependencies.settle(item):
                if item._state is not JobState.SUCCEEDED:
                    self._discard(job, waited_in_vain(item), now)
                elif self._dependencies.meet(job, item):
                    self._unblock(job, now)

    def _unblock(self, job: Job[Any], now: float) -> None:
        """All that a job has waited for has succeeded."""
        if job._state is None:
            self._places.by_taker.push(job, job._options.terms)
        else:
            self._queue_again(job, now, front=False, at_once=False)

    def _settle(self, now: float) -> None:
        """Follow up what has happened; then bring jobs and workers together."""
        if self._ledger.news:
            self._follow_up(now)
        self._dispatch.match(now)

    def _after(self, now: float) -> None:
        """At the end of every event: follow it up; fill free places; see to the workers; let nothing hang."""
        if self._ledger.news or self._reservations.lacking:
            self._settle(now)
        if self._places.line:
            self._dispatch.fill_places(now)
        staffing = self._staffing
        if staffing is not None:
            staffing.hire(now)
            while (seat := staffing.not_needed()) is not None:
                self._dismiss(seat, now)
        while self._reservations.waiting or (self.draining and self._ledger.count[JobState.QUEUED]):
            if not (self._is_still() and self._set_going(now)):
                return

    def _set_going(self, now: float) -> bool:
        """Jobs or groups wait, and nothing happens by itself any more: do what there is to be done about that.

        Returns:
          whether there may be more to be done.
        """
        reservations, count = self._reservations, self._ledger.count
        if self.draining and self._paused:
            self._resume_all(now)
            return False
        if self.draining and self._orphans.bury_lost(now):
            self._follow_up(now)  # those who wait for them go on, and so may groups, which give back workers then
            return True
        running = count[JobState.RUNNING]
        if reservations.give_way():
            self._dispatch.look_again()
            self._dispatch.give_out(now)
            self._dispatch.set_aside_idle()
        if not self.draining or count[JobState.RUNNING] > running or reservations.may_give_back:
            return False
        if reservations.waiting:
            reservations.turn_away(next(iter(reservations.waiting)))
            self._dispatch.look_again()
            self._settle(now)
            return True
        if not running:
            self._orphans.bury_all(now)
            self._follow_up(now)
        return False

    def _is_still(self) -> bool:
        """Whether all that goes on is jobs that wait for others, and nothing will come due."""
        count, staffing = self._ledger.count, self._staffing
        if count[JobState.DELAYED] or count[JobState.RUNNING] > self.waits.standing():
            return False
        if self._dispatch.is_waiting_for_meter or (staffing is not None and staffing.is_hiring):
            return False
        if staffing is not None and staffing.is_letting_go and not count[JobState.RUNNING]:
            return False  # once the worker has left, another one may be opened for those that wait
        return not self._roster.coming


def waited_in_vain(other: Job[Any]) -> str:
    """Why a job is discarded that waited for this one."""
    return f"it waited for {one_line(other.name)}, which is {other.state.name.lower()}"
