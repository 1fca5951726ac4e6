"""Attempts that are started on further workers, since the first one is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .deadlines import Due
from .race import Race, race_of, runs_of
from .worker_index import terms_of

if TYPE_CHECKING:
    from .._model.records import JobRecord, Run, Terms, WorkerRecord
    from .deadlines import Deadlines
    from .worker_index import WorkerIndex


class Hedging:
    """The attempts under way that may be, or have been, started on further workers.

    Attributes:
      under_way: all of them.
      waiting: those whose time has come, and that wait for an idle worker; first come first served.
      further: how many runs are under way beside the first of each attempt that is.
      due_later: how many attempts are to be started on one more worker when the time for that comes.
    """

    __slots__ = ("_deadlines", "_roster", "due_later", "further", "under_way", "waiting")

    def __init__(self, roster: WorkerIndex, deadlines: Deadlines) -> None:
        self._roster = roster
        self._deadlines = deadlines
        self.under_way: dict[Race, None] = {}
        self.waiting: dict[Race, None] = {}
        self.further: int = 0
        self.due_later: int = 0

    def begin(self, run: Run, now: float) -> None:
        """An attempt of a job that has a hedge has started."""
        if terms_of(run.job).pinned is None:  # else there is nobody to start it on
            race = run.race = Race(run)
            self.under_way[race] = None
            self._wait(race, now)

    def come_due(self, race: Race) -> None:
        """An attempt has run for long enough to be started on one more worker."""
        self.due_later -= 1
        self.waiting[race] = None

    def first_match(self, now: float) -> tuple[Race, WorkerRecord] | None:
        """The first that waits for a worker which is idle, with that worker."""
        if self._roster.idle_count:
            for race in self.waiting:
                worker = self._roster.choose(self.terms_of(race), but=race.took_part)
                if worker is not None and now < race.deadline:
                    return race, worker
        return None

    def may_go_further(self, race: Race) -> bool:
        """Whether an attempt is to be started on one more worker, if there is one."""
        return race.next_at is not None or race in self.waiting

    def terms_of(self, race: Race) -> Terms:
        """Who may take one more run of an attempt."""
        terms = terms_of(race.job)
        return terms if terms.pinned is None else race.job._options.terms  # pinned by a failure of this very attempt

    def join(self, race: Race, run: Run, now: float) -> None:
        """An attempt has been started on one more worker."""
        run.race = race
        race.took_part[run.worker] = None
        race.runners[run] = None
        self.further += 1
        del self.waiting[race]
        self._wait(race, now)

    def cancel(self, job: JobRecord) -> list[Run]:
        """A running job was cancelled; returns its runs."""
        race = race_of(job)
        if race is not None:
            self.stop(race)
            race.cancelled()
        return runs_of(job)

    def ending(self, race: Race, *, decides: bool) -> None:
        """A run of an attempt is about to end, and perhaps all of it."""
        if decides or len(race.runners) == 1:
            self.stop(race)  # what ends at the very time for it isn't started once more

    def leave(self, race: Race, run: Run) -> None:
        """A run of an attempt has ended."""
        del race.runners[run]
        race.job._run = next(iter(race.runners), None)
        if race.runners:
            self.further -= 1
        else:
            self.under_way.pop(race, None)  # it is not there if its job goes on without a worker

    def stop(self, race: Race) -> None:
        """An attempt is not to be started on further workers."""
        self.waiting.pop(race, None)
        if race.next_at is not None:
            race.next_at = None
            self.due_later -= 1
            self._deadlines.forget()

    def _wait(self, race: Race, now: float) -> None:
        hedge = race.job._options.hedge
        assert hedge is not None
        if len(race.took_part) <= hedge.extra and now + hedge.after < race.deadline:
            race.next_at = now + hedge.after
            self.due_later += 1
            self._deadlines.add(Due.HEDGE, race, race.next_at)
