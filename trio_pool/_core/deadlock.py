"""Which running jobs wait for which jobs, and who of them is told that it would be for ever.

1. An ordinary wait that would be for ever is told so: at its beginning, or as soon as that is so.
2. A job that waits for the ends of jobs that have been cancelled can't be told: it must not go on before.
3. So one that has been cancelled is told instead while it waits to get the worker back that it has lent: it
   goes on without. If it has not come to that yet, it will: there is no circle that nobody is ever told of.

An event that may leave those in the lurch who wait already marks that in the state: when it is over, and with
it all that it leads to, they are looked at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.records import JobRecord, Terms, WorkerRecord
from .._model.states import JobState
from .commands import WAITS_IN_VAIN
from .wait_graph import WaitGraph
from .waits import Wait

if TYPE_CHECKING:
    from .state import PoolState
    from .wait_graph import Node


class DeadlockSearch:
    """Finds the waits that would be for ever."""

    __slots__ = ("_by_run", "_graph", "_reservations", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._reservations = state.reservations
        self._graph = WaitGraph(state)
        self._waits = state.waits
        self._by_run = state.waits.by_run

    def begin(self, wait: Wait) -> bool:
        """A running job begins to wait, unless that would be for ever; returns whether it does."""
        self._waits.begin(wait)
        unmet = self._graph.unmet([wait])
        if wait not in unmet:
            return True
        if wait.for_ends or wait.for_place:
            self._state.may_be_stuck = True  # somebody else may be told instead
            return True
        if not _waits_for_itself(wait, unmet):
            return True  # for what is for ever itself, and will be told when that is possible
        self._note_stuck(wait, unmet)
        self._waits.end(wait)
        return False

    def look_again(self) -> None:
        """See whether any of those who wait already would do so for ever.

        Of those that would on each other's account, the last to begin is told so; but first
        those to whose jobs that is of use, and last those that want back the workers that they have lent.
        If that would not help all the others, the next of these is told too, and so on.
        """
        while self._by_run:
            unmet = self._graph.unmet(wait for waits in self._by_run.values() for wait in waits)
            lost = [node for node in unmet if isinstance(node, Wait) and node.can_be_told]
            lost.sort(key=lambda wait: (not self._is_of_use(wait, unmet), wait.for_place, -wait.number))
            told = next((wait for wait in lost if _waits_for_itself(wait, unmet)), None)
            if told is None:
                return
            self._note_stuck(told, self._graph.unmet([told]))
            self._state.commands.append((WAITS_IN_VAIN, told))

    def can_spare(self, worker: WorkerRecord) -> bool:
        """Whether its leaving leaves nobody in the lurch, as far as a look at the counts tells."""
        state = self._state
        if not self._by_run:
            return True
        if worker._lent or worker._kind.group is not None or self._reservations.waiting or state.has_bounced:
            return False
        if state.hedging.under_way:
            return False  # who could take part in them yet is another matter
        if self._roster.has_substitute(worker):
            return True
        others = self._roster.count(Terms(worker._tags)) - self._roster.leaving - (not worker._is_leaving)
        return len(self._by_run) + self._reservations.kept < others

    def note_member(self, job: JobRecord) -> None:
        """A job has come into a group whose end is waited for."""
        if self.holds_up(job):
            self._state.may_be_stuck = True

    def holds_up(self, job: JobRecord) -> bool:
        """Whether a job that has come, or is to run again, has to wait for something that those hold who wait."""
        if not self._by_run or job._state not in (JobState.DELAYED, JobState.QUEUED, JobState.BLOCKED):
            return False
        graph = self._graph
        return any(sum(not graph.of(other) for other in others) < number for number, others in graph.of_waiting(job))

    def _note_stuck(self, wait: Wait, unmet: dict[Node, list[Node]]) -> None:
        """Note who will never get on with a wait, its own run first, and whether lending would help them."""
        stuck = list(dict.fromkeys(node.run for node in (wait, *unmet) if isinstance(node, Wait)))
        lenders = [run for run in stuck if run.job._options.hedge is None]  # others may not
        if wait.run in lenders:
            wait.lending_helps = wait not in self._graph.unmet([wait], as_if_lent=lenders)
        wait.stuck = stuck
        self._waits.look_at(wait)

    def _is_of_use(self, wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
        """Whether its run could go on if it, and others like it, were told that they wait for ever."""
        others = [other for other in self._by_run[wait.run] if other in unmet]
        return all(other.can_be_told and (wait.for_place or not other.for_place) for other in others)


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
