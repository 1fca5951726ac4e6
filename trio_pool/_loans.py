"""Core: workers that their jobs have lent to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._effects import Regain
from ._waits import Wait

if TYPE_CHECKING:
    from ._dispatch import Dispatch
    from ._effects import Effects
    from ._job import Job
    from ._ledger import Ledger
    from ._roster import Roster
    from ._seat import Cut, Seat
    from ._waits import Waits


class Loan:
    """The attempt of a job that lends its worker: what the worker's record had of it.

    Attributes:
      seat: the worker.
      job: the job.
      started_at: when the attempt began.
      deadline: when a timeout ends it.
      cut: why it has been cut short in the meantime, timeouts aside.
      is_probe: whether it is the probe of the worker's breaker.
      wait: while the job wants its worker back and has to wait for it, that wait; it stays if that is in vain.
      is_forfeited: whether the job goes on without the worker, as it could never have had it back.
    """

    __slots__ = ("cut", "deadline", "is_forfeited", "is_probe", "job", "seat", "started_at", "wait")

    def __init__(self, seat: Seat, job: Job[Any]) -> None:
        self.seat: Seat = seat
        self.job: Job[Any] = job
        self.started_at: float = seat._started_at
        self.deadline: float = seat._attempt_deadline
        self.cut: Cut | None = seat._cut
        self.is_probe: bool = seat._guard is not None and seat._guard.is_probe
        self.wait: Wait | None = None
        self.is_forfeited: bool = False


class Loans:
    """Lets jobs go on without their workers for a while; each gets the same one back."""

    __slots__ = ("_dispatch", "_effects", "_ledger", "_roster", "_waits")

    def __init__(self, roster: Roster, ledger: Ledger, dispatch: Dispatch, waits: Waits, effects: Effects) -> None:
        self._roster = roster
        self._ledger = ledger
        self._dispatch = dispatch
        self._waits = waits
        self._effects = effects

    def lend(self, seat: Seat, now: float) -> None:
        """Take the job off its worker, which is free then; its attempt goes on."""
        job = seat._current
        assert job is not None
        if not seat._loans:
            self._roster.count_as_available(seat, False)
            self._dispatch.look_again()
        seat._loans[job] = Loan(seat, job)
        self._ledger.take_off(seat, now)
        job._worker = seat  # it has it still, if for later
        self._ledger.add_surplus(job, -1)

    def claim(self, loan: Loan, task: object, now: float) -> None:
        """The job wants its worker back: at once, or as soon as the attempt on it has ended."""
        seat = loan.seat
        seat._claims.append(loan)
        if seat._current is None:
            self.give_back(seat, now)
        else:
            loan.wait = Wait(loan.job, tuple, loan=loan, task=task)
            self._waits.begin(loan.wait)

    def give_back(self, seat: Seat, now: float) -> Job[Any]:
        """A worker that runs nothing goes back to the first job that wants it back.

        Returns:
          the job; its waits have to be looked at when the event is over, as another task of it may wait for what
          needs this worker.
        """
        loan = seat._claims.popleft()
        job = loan.job
        if loan.wait is not None:
            self._waits.end(loan.wait)
            loan.wait = None
        del seat._loans[job]
        self._dispatch.occupy(seat)
        if not seat._loans:
            self._roster.count_as_available(seat, True)
        # Only the time that it has it counts, though the attempt is older.
        seat._busy_seconds -= now - loan.started_at
        seat._current = job
        self._roster.count_coming(seat)
        seat._started_at = loan.started_at
        seat._attempt_deadline = loan.deadline
        seat._cut = loan.cut
        if seat._guard is not None:
            seat._guard.is_probe = loan.is_probe
        self._ledger.add_surplus(job, 1)
        self._effects.append(Regain(seat, job))
        return job

    def forfeit(self, loan: Loan) -> None:
        """A job that wants its worker back, and could never have it, goes on without it.

        It stays with the worker in so far as a task of the worker's runs it, inside the lifespan.
        """
        assert loan.wait is not None
        seat = loan.seat
        seat._claims.remove(loan)
        self._waits.end(loan.wait)
        loan.is_forfeited = True
        if seat._guard is not None:
            seat._guard.let_go(loan.is_probe)

    def close(self, loan: Loan) -> None:
        """The attempt of a job that has gone on without its worker is over."""
        seat, job = loan.seat, loan.job
        loan.wait = None
        del seat._loans[job]
        self._roster.count_coming(seat)
        job._worker = None
        self._ledger.add_surplus(job, 1)
        if not seat._loans:
            self._roster.count_as_available(seat, True)
            self._dispatch.look_again()
