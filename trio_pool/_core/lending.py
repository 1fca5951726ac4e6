"""Jobs that lend the places of their runs to others, and have them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .commands import REGAIN
from .race import Race
from .waits import Wait

if TYPE_CHECKING:
    from .._model.records import Run, WorkerRecord
    from .state import PoolState


class Lending:
    """Lets jobs go on without their workers for a while; each gets the same one back."""

    __slots__ = ("_lifecycle", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._lifecycle = state.lifecycle
        self._waits = state.waits

    def lend(self, run: Run, now: float) -> None:
        """A job lends the place of its run, which is free then; its attempt goes on."""
        job, worker = run.job, run.worker
        if not worker._lent:
            self._roster.count_as_available(worker, False)
            self._state.look_again()
        worker._lent[run] = None
        self._lifecycle.take_off(run, now)
        run.is_lent = True
        job._run = run  # it has it still, if for later
        self._lifecycle.add_surplus(job, -1)

    def claim(self, run: Run, task: object, now: float) -> Wait | None:
        """The job wants its place back: at once, or as soon as one is free.

        Returns:
          the wait for that, which has to begin.
        """
        worker = run.worker
        worker._claims.append(run)
        if worker._has_room:
            self.give_back(worker, now)
            return None
        wait = run.wait = Wait(run, task, run)
        return wait

    def give_back(self, worker: WorkerRecord, now: float) -> None:
        """A free place of a worker goes back to the first job that wants one back."""
        run = worker._claims.popleft()
        job = run.job
        if run.wait is not None:
            self._waits.end(run.wait)
            run.wait = None
        del worker._lent[run]
        self._roster.unpark(worker)
        if not worker._lent:
            self._roster.count_as_available(worker, True)
        run.is_lent = False
        run.since = now
        worker._runs[run] = None
        self._roster.count_coming(worker)
        self._lifecycle.add_surplus(job, 1)
        self._state.commands.append((REGAIN, run))
        self._state.may_start = True  # for others: it is not this worker that may take a job now
        if self._waits.is_waiting(run):
            self._state.may_be_stuck = True  # another task of the job may wait for what needs this worker

    def forfeit(self, run: Run) -> None:
        """A job that wants its place back, and could never have it, goes on without it.

        It stays with the worker in so far as a task of the worker's runs it, inside the lifespan.
        """
        assert run.wait is not None
        worker = run.worker
        worker._claims.remove(run)
        self._waits.end(run.wait)
        run.race = Race(run)  # like an attempt of several runs, it ends on its own account and not on the worker's
        if worker._limits is not None:
            worker._limits.ended_otherwise(run.is_probe)

    def close(self, run: Run) -> None:
        """The attempt of a job that has gone on without its worker is over."""
        worker, job = run.worker, run.job
        run.wait = None
        del worker._lent[run]
        self._roster.count_coming(worker)
        self._lifecycle.add_surplus(job, 1)
        if not worker._lent:
            self._roster.count_as_available(worker, True)
            self._state.note_relied_on()
            self._state.look_again()
