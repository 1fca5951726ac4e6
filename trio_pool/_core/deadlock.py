"""The detection of deadlocks, and the choice of the waits that are notified.

1. An ordinary wait that would never end is notified, at its beginning or as soon as that becomes
   true.
2. A wait for the ends of cancelled jobs can't be notified: the waiting task must not go on earlier.
3. Therefore a cancelled job is notified while it waits to get back the worker that it has lent, and
   goes on without the worker. If the job has not reached that wait yet, it will. So every cycle
   has a wait that is eventually notified.

An event that may affect existing waits marks this in the state. When the event and all its
consequences have been handled, the waits are checked once.
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
    from .wait_nodes import Node


class DeadlockSearch:
    """Finds the waits that would never end."""

    __slots__ = ("_by_run", "_graph", "_reservations", "_roster", "_state", "_waits")

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._roster = state.roster
        self._reservations = state.reservations
        self._graph = WaitGraph(state)
        self._waits = state.waits
        self._by_run = state.waits.by_run

    def begin(self, wait: Wait) -> bool:
        """Begin a wait, unless it would never end; return whether it has begun."""
        self._waits.begin(wait)
        unmet = self._graph.unmet([wait])
        if wait not in unmet:
            return True
        if wait.for_ends or wait.for_place:
            self._state.may_be_stuck = True  # another wait may be notified instead
            return True
        if not _waits_for_itself(wait, unmet):
            return True  # depends on another stuck wait, which is notified when that is possible
        self._note_stuck(wait, unmet)
        self._waits.end(wait)
        return False

    def look_again(self) -> None:
        """Notify existing waits that would never end.

        If waits depend on each other, the last one to begin is notified. Waits whose notification
        lets their job go on are preferred; waits for lent workers come last. If that doesn't free
        all other waits, the next one is notified too, and so on.
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
        """Whether a worker can leave without affecting any wait, as far as the counts tell."""
        state = self._state
        if not self._by_run:
            return True
        if (
            worker._lent
            or worker._kind.group is not None
            or worker._kept
            or self._reservations.waiting
            or state.has_bounced
        ):
            return False
        if state.hedging.under_way:
            return False  # whether other workers could take part in them is not checked here
        if self._roster.has_substitute(worker):
            return True
        others = self._roster.count(Terms(worker._tags)) - self._roster.leaving - (not worker._is_leaving)
        return len(self._by_run) + self._reservations.kept < others

    def note_member(self, job: JobRecord) -> None:
        """Check the waits for the end of a group that a job has entered."""
        if self.holds_up(job):
            self._state.may_be_stuck = True

    def holds_up(self, job: JobRecord) -> bool:
        """Whether a job that has entered or runs again needs something that waiting jobs hold."""
        if not self._by_run or job._state not in (JobState.DELAYED, JobState.QUEUED, JobState.BLOCKED):
            return False
        graph = self._graph
        return any(sum(not graph.of(other) for other in others) < number for number, others in graph.of_waiting(job))

    def _note_stuck(self, wait: Wait, unmet: dict[Node, list[Node]]) -> None:
        """Record the runs that are stuck with a wait, its own run first, and whether lending would help."""
        stuck = list(dict.fromkeys(node.run for node in (wait, *unmet) if isinstance(node, Wait)))
        lenders = [run for run in stuck if run.job._options.hedge is None]  # a job with a hedge can't lend
        if wait.run in lenders:
            wait.lending_helps = wait not in self._graph.unmet([wait], as_if_lent=lenders)
        wait.stuck = stuck
        wait.full_keys = self._graph.full_keys(unmet)
        self._waits.look_at(wait)

    def _is_of_use(self, wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
        """Whether the wait's run could go on if it, and similar waits of the run, were notified."""
        others = [other for other in self._by_run[wait.run] if other in unmet]
        return all(other.can_be_told and (wait.for_place or not other.for_place) for other in others)


def _waits_for_itself(wait: Wait, unmet: dict[Node, list[Node]]) -> bool:
    """Whether a wait depends on itself, so that ending it resolves the cycle."""
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
