"""Core: what happens to workers, what comes due, and what both mean for the jobs.

Whatever has come due is dealt with before anything else at the same instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._aftermath import Aftermath
from ._deadlines import FIELDS, Due
from ._effects import Admitted, Recall
from ._seat import Cut, Phase

if TYPE_CHECKING:
    from ._job import Job
    from ._lanes import Lane
    from ._seat import Seat
    from ._staffing import Staffing


class WorkerEvents(Aftermath):
    """What happens to workers, and what comes due."""

    __slots__ = ()

    # Workers come and go.

    def join(self, seat: Seat, *, ordered: bool = False) -> None:
        """A worker is about to open its resource for the first time; perhaps as it was ordered."""
        self._roster.join(seat)
        if self._staffing is not None and seat._elastic:
            self._staffing.joined(seat, ordered=ordered)
        if self._reservations.waiting and self._reservations.review(self.most_workers):
            self._dispatch.set_aside_idle()

    def begin(self, now: float) -> None:
        """The workers that the pool begins with are there; from here on their number is seen to."""
        if self._staffing is not None:
            self._staffing.begun = True
            self.advance(now)
            self._after(now)

    def not_hired(self) -> None:
        """A worker that was ordered won't be opened."""
        assert self._staffing is not None
        self._staffing.refused()

    def opened(self, seat: Seat, now: float) -> None:
        """A worker's resource is open."""
        self.advance(now)
        seat._phase = Phase.OPEN
        seat._was_open = True
        if self._staffing is not None:
            self._staffing.opened(seat)
        if seat._guard is not None:
            self._holds.expire(seat, seat._guard.renew(now))
        self._ledger.tell("worker_started", seat)
        self._dispatch.update(seat, now)
        if self._staffing is not None and not seat._available:
            self._staffing.unparked(seat)  # held back while its resource was opened anew
        self._after(now)
        self._look_for_bounced()

    def reopen(self, seat: Seat, error: Exception | None, now: float) -> None:
        """A worker's resource has to be opened anew, or that has failed once more.

        Arguments:
          error: what is wrong with it; None if it has only done its jobs or its time.
        """
        self._take_out_of_use(seat, error, now)  # before it is given what comes due now
        self.advance(now)
        self._dispatch.match(now)
        self._after(now)

    def pause(self, seat: Seat, now: float) -> None:
        """A worker is to take no more jobs until it is resumed."""
        self.advance(now)
        if not (seat._paused or seat._gone):
            seat._paused = True
            self._paused[seat] = None
            self._ledger.tell("worker_paused", seat)
            self._dispatch.update(seat, now)
            self._after(now)

    def resume(self, seat: Seat, now: float) -> None:
        """A paused worker may go on."""
        self.advance(now)
        self._resume(seat, now)
        self._look_for_bounced()

    def rest(self, seat: Seat, until: float, now: float) -> None:
        """A worker is to take no more jobs until then; of two rests the later end holds."""
        self.advance(now)
        self._rest(seat, until, now)

    def depart(self, seat: Seat, now: float, *, cut: bool = False) -> None:
        """A worker is to leave; with ``cut`` the attempt under way is given up."""
        self.advance(now)
        if cut:
            running = [seat._current] if seat._current is not None else []
            for job in (*running, *seat._loans):
                self._cut(seat, job, Cut.EVICTED, now)
        if not (seat._departing or seat._gone):
            is_spare = self.waits.can_spare(seat)
            self._dismiss(seat, now)
            self._after(now)
            if not is_spare:
                self.waits.look_again()

    def left(self, seat: Seat, now: float) -> None:
        """A worker has left, or its resource could not be opened at all."""
        self.advance(now)
        is_spare = self.waits.can_spare(seat)
        seat._phase = Phase.STOPPED
        self._paused.pop(seat, None)
        self._holds.drop(seat)
        self._reservations.lose(seat)
        is_last = self._roster.leave(seat)
        if self._staffing is not None:
            self._staffing.left(seat)
        lost: list[Lane] = []
        for queue in (self._queue, self._places.by_taker):
            queue.release(seat)
            queue.look_again()
            lost += queue.lanes_for(seat, tags=is_last)
        if seat._was_open:
            self._ledger.tell("worker_stopped", seat)
        self._orphans.bury_new(lost, now)
        self._review(now)
        self._settle(now)
        self._after(now)
        if not is_spare:
            self.waits.look_again()

    # Time passes.

    def advance(self, now: float) -> None:
        """Deal with what has come due."""
        if self.deadlines.soonest > now:
            return
        is_back = False
        retiring: Staffing | None = None
        for due, item in self.deadlines.pop_due(now):
            if due is Due.TOTAL_TIMEOUT:
                self._overdue(item, now)
            elif due is Due.DELAY:
                self._queue_again(item, now, front=item._setback.front, at_once=False)
            elif due is Due.RATE:
                item.no_longer_limited()
            else:
                setattr(item, FIELDS[due], None)
                if due is Due.AGE:
                    self._grown_old(item, now)
                elif due is Due.LIMIT:
                    self._no_longer_limited(item, now)
                elif due is Due.RETIRE:
                    retiring = item
                elif due is Due.HEDGE:
                    self._races.come_due(item)
                else:
                    is_back |= self._dispatch.note(item, now)
        self._settle(now)
        if retiring is not None:
            self._retire(retiring, now)  # only now are those idle for which there is nothing to do
        self._after(now)
        if is_back:
            self._look_for_bounced()

    # From here on nobody calls but who derives from it.

    def _look_for_bounced(self) -> None:
        """A worker is there that a job which bounces may have to try first, and that may be held by one that waits."""
        if self._dispatch.has_bounced:
            self.waits.look_again()

    def _overdue(self, job: Job[Any], now: float) -> None:
        let_go: Job[Any] | None = None
        if job._state is None:
            let_go = self._places.leave(job)
        else:
            self._take_back(job)
        self._ledger.time_out(job, now)
        if let_go is not None:
            self._effects.append(Admitted(let_go))

    def _rest(self, seat: Seat, until: float, now: float) -> None:
        if self._holds.rest(seat, until, now):
            self._dispatch.update(seat, now)
            self._after(now)

    def _reopen(self, seat: Seat, error: Exception | None, now: float) -> None:
        self._take_out_of_use(seat, error, now)
        self._dispatch.match(now)
        self._after(now)

    def _take_out_of_use(self, seat: Seat, error: Exception | None, now: float) -> None:
        """A worker's resource is to be opened anew; what that means for the jobs is left to others."""
        if self._staffing is not None:
            self._staffing.reopening(seat, again=seat._phase is not Phase.OPEN)
        seat._phase = Phase.REOPENING
        self._dispatch.note(seat, now)
        if error is not None:
            seat._last_error = error
        self._ledger.tell("worker_reopening", seat, error)

    def _grown_old(self, seat: Seat, now: float) -> None:
        guard = seat._guard
        assert guard is not None
        guard.grow_old()
        if seat._current is None and seat._phase is Phase.OPEN and not self._is_kept(seat):
            self._take_out_of_use(seat, None, now)
            self._effects.append(Recall(seat))

    def _retire(self, staffing: Staffing, now: float) -> None:
        while (seat := staffing.retire(now)) is not None:
            self._dismiss(seat, now)

    def _no_longer_limited(self, seat: Seat, now: float) -> None:
        self._roster.count_coming(seat)
        if seat._available and seat._current is None:
            self._dispatch.rest_idle(seat, now)
