"""Workers that their jobs have lent to others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.records import Loan, Run
from .commands import Regain
from .waits import Wait

if TYPE_CHECKING:
    from .._model.records import WorkerRecord
    from .state import PoolState


class Lending:
    """Lets jobs go on without their workers for a while; each gets the same one back."""

    __slots__ = ("_lifecycle", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._lifecycle = state.lifecycle
        self._waits = state.waits

    def lend(self, worker: WorkerRecord, now: float) -> None:
        """Take the job off its worker, which is free then; its attempt goes on."""
        job = worker._current
        assert job is not None
        if not worker._loans:
            self._roster.count_as_available(worker, False)
            self._state.look_again()
        worker._loans[job] = Loan(worker, job)
        self._lifecycle.take_off(worker, now)
        job._worker = worker  # it has it still, if for later
        self._lifecycle.add_surplus(job, -1)

    def claim(self, loan: Loan, task: object, now: float) -> Wait | None:
        """The job wants its worker back: at once, or as soon as the attempt on it has ended.

        Returns:
          the wait for that, which has to begin.
        """
        worker = loan.worker
        worker._claims.append(loan)
        if worker._current is None:
            self.give_back(worker, now)
            return None
        wait = loan.wait = Wait(Run(loan.job, worker), tuple, loan=loan, task=task)
        return wait

    def give_back(self, worker: WorkerRecord, now: float) -> None:
        """A worker that runs nothing goes back to the first job that wants it back."""
        loan = worker._claims.popleft()
        job = loan.job
        if loan.wait is not None:
            self._waits.end(loan.wait)
            loan.wait = None
        del worker._loans[job]
        self._roster.unpark(worker)
        if not worker._loans:
            self._roster.count_as_available(worker, True)
        # Only the time that it has it counts, though the attempt is older.
        worker._busy_seconds -= now - loan.started_at
        worker._current = job
        self._roster.count_coming(worker)
        worker._started_at = loan.started_at
        worker._attempt_deadline = loan.deadline
        worker._cut = loan.cut
        if worker._limits is not None:
            worker._limits.is_probe = loan.is_probe
        self._lifecycle.add_surplus(job, 1)
        self._state.commands.append(Regain(worker, job))
        self._state.may_start = True  # for others: it is not this worker that may take a job now
        if self._waits.is_waiting(Run(job, worker)):
            self._state.may_be_stuck = True  # another task of the job may wait for what needs this worker

    def forfeit(self, loan: Loan) -> None:
        """A job that wants its worker back, and could never have it, goes on without it.

        It stays with the worker in so far as a task of the worker's runs it, inside the lifespan.
        """
        assert loan.wait is not None
        worker = loan.worker
        worker._claims.remove(loan)
        self._waits.end(loan.wait)
        loan.is_forfeited = True
        if worker._limits is not None:
            worker._limits.let_go(loan.is_probe)

    def close(self, loan: Loan) -> None:
        """The attempt of a job that has gone on without its worker is over."""
        worker, job = loan.worker, loan.job
        loan.wait = None
        del worker._loans[job]
        self._roster.count_coming(worker)
        job._worker = None
        self._lifecycle.add_surplus(job, 1)
        if not worker._loans:
            self._roster.count_as_available(worker, True)
            self._state.note_relied_on()
            self._state.look_again()
