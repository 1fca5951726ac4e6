"""Lending the places of runs to other jobs, and getting them back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.states import Hold
from .commands import REGAIN
from .kinds import has_place_for
from .race import Race
from .waits import Wait

if TYPE_CHECKING:
    from .._model.records import Run, WorkerRecord
    from .state import PoolState


class Lending:
    """Lets jobs lend their workers for some time; each job gets the same worker back.

    Attributes:
      held_up: the workers whose free places are all reserved, so that jobs that have lent places must wait for them.
    """

    __slots__ = ("_lifecycle", "_roster", "_state", "_waits", "held_up")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._lifecycle = state.lifecycle
        self._waits = state.waits
        self.held_up: dict[WorkerRecord, None] = {}

    def lend(self, run: Run, now: float) -> None:
        """Lend the place of a job's run, which becomes free; the attempt goes on."""
        job, worker = run.job, run.worker
        if not worker._lent:
            self._roster.count_as_available(worker, False)
            self._state.look_again()
        worker._lent[run] = None
        self._roster.touched[worker] = None
        self._lifecycle.take_off(run, now)
        run.is_lent = True
        job._run = run  # kept, since the run gets the place back later
        self._lifecycle.add_surplus(job, -1)

    def claim(self, run: Run, task: object, now: float) -> Wait | None:
        """Request the place of a run: it gets the place back at once, or as soon as one is free.

        Returns:
          the wait for the place, which the caller must begin, or None.
        """
        worker = run.worker
        worker._claims.append(run)
        if self.give_back(worker, now):
            return None
        wait = run.wait = Wait(run, task, run)
        return wait

    def give_back(self, worker: WorkerRecord, now: float) -> bool:
        """Give a free place of a worker back to the first run that waits for one; return whether this was possible."""
        if not worker._has_place:
            return False
        run = next((run for run in worker._claims if has_place_for(worker, run.job._options.group)), None)
        if run is None:
            if worker._claims:
                self.held_up[worker] = None
            return False
        worker._claims.remove(run)
        job = run.job
        if run.wait is not None:
            self._waits.end(run.wait)
            run.wait = None
        del worker._lent[run]
        self._roster.touched[worker] = None
        self._roster.unpark(worker)
        limits = worker._limits
        if not worker._lent:
            self._roster.count_as_available(worker, True)
            if limits is not None and limits.is_worn():
                self._state.may_be_stuck = True  # its free places can't be used until it has been reopened
        run.is_lent = False
        run.since = now
        worker._in_order = not worker._runs  # later runs may stand before this one
        worker._runs[run] = None
        self._roster.note_run(run, 1)
        is_limited = limits is not None and limits.ready_at(now) > now
        if worker._has_room and worker._available and not (is_limited or Hold.LIMITED in worker._holds):
            self._roster.park(worker, now)
        self._roster.count_coming(worker)
        self._lifecycle.add_surplus(job, 1)
        self._state.commands.append((REGAIN, run))
        self._state.may_start = True  # for other jobs: this worker may no longer be able to take one
        if self._waits.is_waiting(run):
            self._state.may_be_stuck = True  # another task of the job may wait for a job that needs this worker
        return True

    def give_back_released(self, now: float) -> None:
        """Give places back that may have been released by the groups for which they were reserved."""
        workers, self.held_up = self.held_up, {}
        for worker in workers:
            while self.give_back(worker, now):
                pass

    def forfeit(self, run: Run) -> None:
        """Let a job go on without its place, since it could never get it back.

        The run stays with the worker in only one respect: a task of the worker executes it, inside the
        lifespan.
        """
        assert run.wait is not None
        worker = run.worker
        worker._claims.remove(run)
        self._waits.end(run.wait)
        run.race = Race(run)  # like one of several runs of an attempt, it ends independently of the worker
        if worker._limits is not None:
            worker._limits.cut_short(run.trial)

    def close(self, run: Run) -> None:
        """End the attempt of a job that has gone on without its worker."""
        worker, job = run.worker, run.job
        run.wait = None
        del worker._lent[run]
        self._roster.count_coming(worker)
        self._lifecycle.add_surplus(job, 1)
        if not worker._lent:
            self._roster.count_as_available(worker, True)
            self._state.note_relied_on()
            self._state.look_again()
        self._roster.look_at(worker)  # a place of it may now be reserved
