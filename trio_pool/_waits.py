"""Core: which running jobs wait for which jobs, and who of them is told that it would be for ever.

1. An ordinary wait that would be for ever is told so: at its beginning, or as soon as that is so.
2. A job that waits for the ends of jobs that have been cancelled can't be told: it must not go on before.
3. So one that has been cancelled is told instead while it waits to get the worker back that it has lent: it
   goes on without. If it has not come to that yet, it will: there is no circle that nobody is ever told of.

Whoever changes what may leave those in the lurch who wait already calls `Waits.doubt`: when the event is over,
and with it all that it leads to, it is looked for them once.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ._effects import LookForDeadlocks, WaitsInVain
from ._job import JobState
from ._needs import Needs
from ._roster import Terms
from ._wait import Wait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._dependencies import Dependencies
    from ._dispatch import Dispatch
    from ._effects import Effects
    from ._job import Job
    from ._needs import Node
    from ._reservations import Reservations
    from ._roster import Roster
    from ._seat import Seat
    from ._standing import Cause, Standing
    from ._wait import Run


class Waits:
    """The waits of running jobs for other jobs of the pool."""

    __slots__ = (
        "_by_run",
        "_dispatch",
        "_effects",
        "_is_in_doubt",
        "_needs",
        "_number",
        "_reservations",
        "_roster",
        "_standing",
    )

    def __init__(
        self,
        roster: Roster,
        dependencies: Dependencies,
        reservations: Reservations,
        dispatch: Dispatch,
        effects: Effects,
        standing: Standing,
    ) -> None:
        self._roster = roster
        self._reservations = reservations
        self._dispatch = dispatch
        self._effects = effects
        self._standing = standing
        standing.causes_of = self._causes_of
        self._needs = Needs(roster, dependencies, reservations, dispatch)
        self._by_run = self._needs.waits
        self._number = 0
        self._is_in_doubt = False

    def begin(self, wait: Wait) -> bool:
        """A running job begins to wait, unless that would be for ever; returns whether it does."""
        self._number += 1
        wait.number = self._number
        self._by_run.setdefault(wait.run, {})[wait] = None
        self._standing.look_at(wait)
        unmet = self._needs.unmet([wait])
        if wait not in unmet:
            return True
        if wait.for_ends or wait.loan is not None:
            self.doubt()  # somebody else may be told instead
            return True
        if not _waits_for_itself(wait, unmet):
            return True  # for what is for ever itself, and will be told when that is possible
        self._note_stuck(wait, unmet)
        self.end(wait)
        return False

    def doubt(self) -> None:
        """Something has happened that may leave those in the lurch who wait already."""
        if self._by_run and not self._is_in_doubt:
            self._is_in_doubt = True
            self._effects.append(LookForDeadlocks())

    def look_again(self) -> None:
        """See whether any of those who wait already would do so for ever.

        Of those that would on each other's account, the last to begin is told so; but first
        those to whose jobs that is of use, and last those that want back the workers that they have lent.
        If that would not help all the others, the next of these is told too, and so on.
        """
        self._is_in_doubt = False
        while self._by_run:
            unmet = self._needs.unmet(wait for waits in self._by_run.values() for wait in waits)
            lost = [node for node in unmet if isinstance(node, Wait) and node.can_be_told]
            lost.sort(key=lambda wait: (not self._is_of_use(wait, unmet), wait.loan is not None, -wait.number))
            told = next((wait for wait in lost if _waits_for_itself(wait, unmet)), None)
            if told is None:
                return
            self._note_stuck(told, self._needs.unmet([told]))
            self._effects.append(WaitsInVain(told))

    def note_leaving(self, seat: Seat) -> None:
        """A worker is about to be told to leave, or to have left."""
        if self._by_run and not self._can_spare(seat):
            self.doubt()

    def _can_spare(self, seat: Seat) -> bool:
        """Whether its leaving leaves nobody in the lurch, as far as a look at the counts tells."""
        dispatch = self._dispatch
        if seat._loans or seat._kind.group is not None or self._reservations.waiting or dispatch.has_bounced:
            return False
        if dispatch.races.under_way:
            return False  # who could take part in them yet is another matter
        if self._roster.has_substitute(seat):
            return True
        others = self._roster.count(Terms(seat._tags)) - self._roster.leaving - (not seat._departing)
        return len(self._by_run) + self._reservations.kept < others

    def note_member(self, job: Job[Any]) -> None:
        """A job has come into a group whose end is waited for."""
        if job._state is JobState.BLOCKED or self.holds_up(job):
            self.doubt()

    def outlasted(self, run: Run) -> None:
        """What a run that has been cancelled waits for still, it goes on waiting for."""
        for wait in self._by_run.get(run, ()):
            wait.outlasts = True
            self._standing.look_at(wait)

    def cut(self, run: Run) -> None:
        """A run has been cancelled: that ends those of its waits that are not shielded."""
        for wait in self._by_run.get(run, ()):
            self._standing.look_at(wait)

    def holds_up(self, job: Job[Any]) -> bool:
        """Whether a job that is to run again has to wait for something that those hold who wait."""
        if not self._by_run or job._state not in (JobState.DELAYED, JobState.QUEUED):
            return False
        needs = self._needs
        return any(sum(not needs.of(other) for other in others) < number for number, others in needs.of_waiting(job))

    def is_waiting(self, run: Run) -> bool:
        """Whether any part of a running job waits, in this run."""
        return run in self._by_run

    def standing(self) -> int:
        """How many runs wait for what has not come."""
        return self._standing.count()

    def end(self, wait: Wait) -> None:
        """It waits no longer."""
        self._standing.drop(wait)
        waits = self._by_run[wait.run]
        del waits[wait]
        if not waits:
            del self._by_run[wait.run]

    def _note_stuck(self, wait: Wait, unmet: dict[Node, list[Node]]) -> None:
        """Note who will never get on with a wait, its own run first, and whether lending would help them."""
        stuck = list(dict.fromkeys(node.run for node in (wait, *unmet) if isinstance(node, Wait)))
        lenders = [run for run in stuck if run.job._options.hedge is None]  # others may not
        if wait.run in lenders:
            wait.lending_helps = wait not in self._needs.unmet([wait], as_if_lent=lenders)
        wait.stuck = stuck
        self._standing.look_at(wait)

    def _causes_of(self, wait: Wait) -> Iterable[Cause]:
        """One of those that a wait is for and that have not come, or the window of those; none if it will end."""
        if wait.is_ending:
            return ()
        if wait.loan is not None:
            return (wait.loan,)
        if wait.group is not None:
            return (wait.group,) if wait.group in self._reservations.waiting else ()
        if wait.window is not None:
            return (wait.window,) if wait.jobs() and not wait.window.ready else ()
        return islice((other for other in wait.jobs() if not other.state.is_final), 1)

    def _is_of_use(self, wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
        """Whether its run could go on if it, and others like it, were told that they wait for ever."""
        others = [other for other in self._by_run[wait.run] if other in unmet]
        return all(other.can_be_told and (other.loan is None or wait.loan is not None) for other in others)


def _waits_for_itself(wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
    """Whether what a wait needs needs that wait in turn, so that it helps to give it up."""
    seen: set[Node] = set()
    found = unmet[wait].copy()
    while found:
        node = found.pop()
        if node is wait:
            return True
        if node not in seen:
            seen.add(node)
            found += unmet[node]
    return False
