"""Finding waiting jobs that idle workers may run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

from .lanes import LAST, Lane, rank_of

if TYPE_CHECKING:
    from .._model.records import Group, WorkerRecord
    from .._policies.rate_limit import Share
    from .lane_index import Index
    from .lanes import Rank
    from .tag_index import Units
    from .worker_index import WorkerIndex

    # A place to look for jobs that can start.
    Source: TypeAlias = Lane | Index
    Entry: TypeAlias = tuple[Rank, int, Source]
    Shares: TypeAlias = frozenset[Share]

NOT_ASIDE: Shares = frozenset()
NO_GATES: tuple[Units, Shares] = frozenset(), NOT_ASIDE

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64


class Startable:
    """The places to look for jobs that idle workers may run, the one with the next job to start first.

    A lane, or an index of lanes, is noted when it gets a job or a worker that may have been
    missing. The lane or index is forgotten when the search finds nothing there. So the search skips
    everything that has not changed. Entries of units whose limits allow no start stay untouched
    until they do. A lane or index where the search finds nothing while limits that workers share
    are closed is set aside until one of these is open.
    """

    __slots__ = ("_aside", "_by_gates", "_entries", "_roster")

    def __init__(self, roster: WorkerIndex) -> None:
        self._roster = roster
        # For each source, its one valid entry; its rank may be too early, but never too late.
        self._entries: dict[Source, Entry] = {}
        # The sources that have been set aside.
        self._aside: dict[Source, None] = {}
        # The entries by the units that their jobs use, and by the shared limits until which they have
        # been set aside. There are few of these, so they are compared one by one.
        self._by_gates: dict[tuple[Units, Shares], Shelves] = {}

    def note(self, source: Source, rank: Rank) -> None:
        """Record that there may be a job, but none before this rank."""
        known = self._entries.get(source)
        if known is None or known[0] > rank or source in self._aside:
            self._aside.pop(source, None)
            self._add(source, rank, NOT_ASIDE)

    def _set_aside(self, source: Source, rank: Rank) -> None:
        """Keep a source until one of the shared limits is open that are closed now."""
        self._aside[source] = None
        self._add(source, rank, frozenset(self._roster.closed_shares))

    def _add(self, source: Source, rank: Rank, shares: Shares) -> None:
        gate, units = (source.terms.gate, source.terms.units) if isinstance(source, Lane) else (None, source.units)
        shelves = self._by_gates.get((units, shares))
        if shelves is None:
            shelves = self._by_gates[units, shares] = Shelves(self._entries)
        shelves.add(source, gate, rank)

    def reopen(self, group: Group) -> None:
        """Reopen a group that may start jobs again."""
        for shelves in self._by_gates.values():
            shelves.reopen(group)

    def forget(self, source: Source) -> None:
        """Remove a source without startable jobs."""
        self._entries.pop(source, None)
        self._aside.pop(source, None)

    def forget_group(self, group: Group) -> None:
        """Remove a group without waiting jobs."""
        for shelves in self._by_gates.values():
            shelves.forget_group(group)

    def clear(self) -> None:
        """Remove everything."""
        self._entries.clear()
        self._aside.clear()
        self._by_gates.clear()

    def first(self) -> tuple[Lane, WorkerRecord] | None:
        """Return the lane with the next startable job, and an idle worker that may run the job."""
        roster = self._roster
        while True:
            best, rank = None, LAST
            for gates, shelves in tuple(self._by_gates.items()):
                units, shares = gates
                if units and not roster.closed_units.isdisjoint(units):
                    continue
                if shares and roster.closed_shares.keys() >= shares:
                    continue
                top = shelves.first_rank()
                if top is None:
                    if gates != NO_GATES and shelves.is_empty():
                        del self._by_gates[gates]
                elif best is None or top < rank:
                    best, rank = shelves, top
            if best is None:
                return None
            source = best.first()
            found = self._look(source)
            head = None if found is None else found[0].head()
            if head is not None and rank_of(head) == rank:
                return found
            best.pop()
            self.forget(source)
            if head is not None:
                self.note(source, head[:3])
            elif roster.closed_shares and _is_in_use(source):
                self._set_aside(source, rank)

    def _look(self, source: Source) -> tuple[Lane, WorkerRecord] | None:
        if isinstance(source, Lane):
            worker = self._roster.choose(source.terms) if source.size else None
            return None if worker is None else (source, worker)
        if source.family is not None and not source.family.has_idle(self._roster.closed_to(source.units)):
            return None
        return source.first_startable(self._roster)


class Shelves:
    """The entries of sources whose jobs use the same units, one shelf for each group.

    Entries of a group that may start no more jobs stay untouched until it may.

    Arguments:
      entries: for each source, its one valid entry.
    """

    __slots__ = ("_entries", "_order", "_placed", "_sequence", "_shelves")

    def __init__(self, entries: dict[Source, Entry]) -> None:
        self._entries = entries
        # The entries by group, and the groups by their first entries.
        self._shelves: dict[Group | None, list[Entry]] = {}
        self._order: list[tuple[Rank, int, Group | None]] = []
        # For each group, the rank of its one valid entry in that order.
        self._placed: dict[Group | None, Rank] = {}
        self._sequence = 0

    def add(self, source: Source, gate: Group | None, rank: Rank) -> None:
        """Add the entry of a source."""
        shelf = self._shelves.setdefault(gate, [])
        self._sequence += 1
        entry = self._entries[source] = (rank, self._sequence, source)
        heapq.heappush(shelf, entry)
        if shelf[0] is entry:
            self._place(gate, rank)
        if len(shelf) > 2 * len(self._entries) + _LEAST_TO_COMPACT:
            shelf[:] = [each for each in shelf if self._entries.get(each[2]) is each]
            heapq.heapify(shelf)

    def reopen(self, group: Group) -> None:
        """Reopen a group that may start jobs again."""
        shelf = self._shelves.get(group)
        if shelf and group not in self._placed:
            self._place(group, shelf[0][0])

    def forget_group(self, group: Group) -> None:
        """Remove a group without waiting jobs."""
        self._shelves.pop(group, None)
        self._placed.pop(group, None)

    def first_rank(self) -> Rank | None:
        """The rank of the first entry of all groups that may start jobs, or None."""
        order = self._order
        while order:
            rank, _, gate = order[0]
            if self._placed.get(gate) != rank:
                heapq.heappop(order)
                continue
            shelf = self._shelves[gate]
            if not shelf or shelf[0][0] != rank or (gate is not None and gate.is_full):
                heapq.heappop(order)
                del self._placed[gate]
                if shelf and shelf[0][0] != rank:
                    self._place(gate, shelf[0][0])
                continue
            if self._entries.get(shelf[0][2]) is shelf[0]:
                return rank
            heapq.heappop(shelf)
        return None

    def first(self) -> Source:
        """The source of the first entry, which `first_rank` must have found."""
        return self._shelves[self._order[0][2]][0][2]

    def pop(self) -> None:
        """Remove the first entry, which `first_rank` must have found."""
        heapq.heappop(self._shelves[self._order[0][2]])

    def is_empty(self) -> bool:
        """Whether there are no entries."""
        return not any(self._shelves.values())

    def _place(self, gate: Group | None, rank: Rank) -> None:
        """Add a group to the order by its first entry."""
        self._placed[gate] = rank
        self._sequence += 1
        heapq.heappush(self._order, (rank, self._sequence, gate))
        if len(self._order) > 2 * len(self._placed) + _LEAST_TO_COMPACT:
            self._order = [each for each in self._order if self._placed.get(each[2]) == each[0]]
            heapq.heapify(self._order)


def _is_in_use(source: Source) -> bool:
    """Whether jobs wait in a lane, or in the lanes of an index."""
    return bool(source.size) if isinstance(source, Lane) else source.first_rank() is not None
