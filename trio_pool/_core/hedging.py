"""Starting slow attempts on further workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .deadlines import Due
from .race import Race, race_of, runs_of
from .terms import terms_of

if TYPE_CHECKING:
    from .._model.records import JobRecord, Run, Terms, WorkerRecord
    from .deadlines import Deadlines
    from .worker_index import WorkerIndex


class Hedging:
    """The running attempts that may be started on further workers, or have been.

    Attributes:
      under_way: all these attempts.
      waiting: the attempts that are due and wait for an idle worker, in order; none after its timeout.
      further: how many runs there are in addition to the first run of each of these attempts.
      due_later: how many attempts are not due yet.
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
        """Add an attempt of a job with a hedge."""
        if terms_of(run.job).pinned is None:  # otherwise no other worker may run it
            race = run.race = Race(run)
            self.under_way[race] = None
            self._wait(race, now)

    def come_due(self, race: Race) -> bool:
        """Handle the alarm of an attempt that is due for one more worker, or that has waited for one until its timeout.

        Returns:
          whether the attempt can no longer be started on one more worker.
        """
        race.next_at = None
        if race in self.waiting:
            del self.waiting[race]
            return True
        self.due_later -= 1
        self.waiting[race] = None
        if race.deadline < math.inf:
            self._schedule(race, race.deadline)
        return False

    def first_match(self) -> tuple[Race, WorkerRecord] | None:
        """Return the first waiting attempt that an idle worker may join, with that worker."""
        if self._roster.idle_count:
            for race in self.waiting:
                terms, key = self.terms_of(race), race.job._key
                if key is not None and key.is_closed_to(terms.units):
                    continue
                worker = self._roster.choose(terms, but=race.took_part)
                if worker is not None:
                    return race, worker
        return None

    def may_go_further(self, race: Race) -> bool:
        """Whether an attempt will be started on one more worker, if there is one."""
        return race.next_at is not None or race in self.waiting

    def terms_of(self, race: Race) -> Terms:
        """Return the terms for one more run of an attempt."""
        terms = terms_of(race.job)
        return terms if terms.pinned is None else race.job._options.terms  # pinned by this attempt's failure

    def join(self, race: Race, run: Run, now: float) -> None:
        """Record that an attempt has been started on one more worker."""
        run.race = race
        race.took_part[run.worker] = None
        race.runners[run] = None
        self.further += 1
        self.stop(race)
        self._wait(race, now)

    def cancel(self, job: JobRecord) -> list[Run]:
        """Record that a running job was cancelled; return its runs."""
        race = race_of(job)
        if race is not None:
            self.stop(race)
            race.cancelled()
        return runs_of(job)

    def ending(self, race: Race, *, decides: bool) -> None:
        """Prepare the end of a run, which may end the attempt."""
        if decides or len(race.runners) == 1:
            self.stop(race)  # an attempt that ends exactly when it is due isn't started again

    def leave(self, race: Race, run: Run) -> None:
        """Remove a run that has ended."""
        del race.runners[run]
        race.job._run = next(iter(race.runners), None)
        if race.runners:
            self.further -= 1
        else:
            self.under_way.pop(race, None)  # missing if the job goes on without a worker

    def end(self, race: Race) -> None:
        """Remove an attempt whose only run ends with success."""
        self.stop(race)
        del self.under_way[race]

    def stop(self, race: Race) -> None:
        """Start an attempt on no more workers."""
        is_due = race in self.waiting
        if is_due:
            del self.waiting[race]
        if race.next_at is not None:
            race.next_at = None
            self.due_later -= not is_due
            self._deadlines.drop(race)

    def _wait(self, race: Race, now: float) -> None:
        hedge = race.job._options.hedge
        assert hedge is not None
        if len(race.took_part) <= hedge.extra and now + hedge.after < race.deadline:
            self.due_later += 1
            self._schedule(race, now + hedge.after)

    def _schedule(self, race: Race, when: float) -> None:
        race.next_at = when
        self._deadlines.add_ticketed(Due.HEDGE, race, when)
