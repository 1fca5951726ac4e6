"""Core: workers that their jobs have lent to others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._effects import Regain, StepAside

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
      job: the job.
      started_at: when the attempt began.
      deadline: when a timeout ends it.
      cut: why it has been cut short in the meantime, timeouts aside.
    """

    __slots__ = ("cut", "deadline", "job", "started_at")

    def __init__(self, job: Job[Any], started_at: float, deadline: float, cut: Cut | None) -> None:
        self.job: Job[Any] = job
        self.started_at: float = started_at
        self.deadline: float = deadline
        self.cut: Cut | None = cut


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
        seat._loans[job] = Loan(job, seat._started_at, seat._attempt_deadline, seat._cut)
        self._ledger.take_off(seat, now)
        job._worker = seat  # it has it still, if for later
        self._ledger.add_surplus(job, -1)

    def claim(self, seat: Seat, job: Job[Any], now: float) -> None:
        """The job wants its worker back: at once, or as soon as the attempt on it has ended."""
        seat._claims.append(seat._loans[job])
        if seat._current is None:
            self.give_back(seat, now)
        elif self._waits.steps_aside(seat._current):
            self.step_aside(seat, now)

    def step_aside(self, seat: Seat, now: float) -> None:
        """The job on a worker only waits for others to end: those that want it back, and nobody else, go first."""
        job = seat._current
        assert job is not None
        self._effects.append(StepAside(seat, job))
        self.lend(seat, now)
        seat._claims.append(seat._loans[job])
        self.give_back(seat, now)

    def give_back(self, seat: Seat, now: float) -> None:
        """A worker that runs nothing goes back to the first job that wants it back and doesn't let others go first."""
        loan = next((each for each in seat._claims if not self._waits.steps_aside(each.job)), seat._claims[0])
        seat._claims.remove(loan)
        job = loan.job
        del seat._loans[job]
        self._dispatch.occupy(seat)
        if not seat._loans:
            self._roster.count_as_available(seat, True)
        # Only the time that it has it counts, though the attempt is older.
        seat._busy_seconds -= now - loan.started_at
        seat._current = job
        seat._started_at = loan.started_at
        seat._attempt_deadline = loan.deadline
        seat._cut = loan.cut
        self._ledger.add_surplus(job, 1)
        self._effects.append(Regain(seat, job))
        if self._waits.is_waiting(job):
            self._waits.look_again()  # another task of the job may wait for what needs this worker
