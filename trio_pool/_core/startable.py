"""Finding waiting jobs that idle workers may run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

from .lanes import LAST, Lane, rank_of

if TYPE_CHECKING:
    from .._model.records import Group, WorkerRecord
    from .lane_index import Index
    from .lanes import Rank
    from .tag_index import Units
    from .worker_index import WorkerIndex

    # A place to look for jobs that can start.
    Source: TypeAlias = Lane | Index

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64


class Startable:
    """The places to look for jobs that idle workers may run, the one with the next job to start first.

    A lane, or an index of lanes, is noted when it gets a job or a worker that may have been
    missing. The lane or index is forgotten when the search finds nothing there. So the search skips
    everything that has not changed. Entries of units whose limits allow no start stay untouched
    until they do.
    """

    __slots__ = ("_by_units", "_ranks", "_roster")

    def __init__(self, roster: WorkerIndex) -> None:
        self._roster = roster
        # For each source, the rank of its one valid entry; may be too early, but never too late.
        self._ranks: dict[Source, Rank] = {}
        # The entries by the units that their jobs use. There are few of these, so they are compared
        # one by one.
        self._by_units: dict[Units, Shelves] = {}

    def note(self, source: Source, rank: Rank) -> None:
        """Record that there may be a job, but none before this rank."""
        known = self._ranks.get(source)
        if known is not None and known <= rank:
            return
        self._ranks[source] = rank
        gate, units = (source.terms.gate, source.terms.units) if isinstance(source, Lane) else (None, source.units)
        shelves = self._by_units.get(units)
        if shelves is None:
            shelves = self._by_units[units] = Shelves(self._ranks)
        shelves.add(source, gate, rank)

    def reopen(self, group: Group) -> None:
        """Reopen a group that may start jobs again."""
        for shelves in self._by_units.values():
            shelves.reopen(group)

    def forget(self, source: Source) -> None:
        """Remove a source without startable jobs."""
        self._ranks.pop(source, None)

    def forget_group(self, group: Group) -> None:
        """Remove a group without waiting jobs."""
        for shelves in self._by_units.values():
            shelves.forget_group(group)

    def clear(self) -> None:
        """Remove everything."""
        self._ranks.clear()
        self._by_units.clear()

    def first(self) -> tuple[Lane, WorkerRecord] | None:
        """Return the lane with the next startable job, and an idle worker that may run the job."""
        while True:
            best, rank = None, LAST
            for units, shelves in tuple(self._by_units.items()):
                if units and not self._roster.closed_units.isdisjoint(units):
                    continue
                top = shelves.first_rank()
                if top is None:
                    if units and shelves.is_empty():
                        del self._by_units[units]
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
            del self._ranks[source]
            if head is not None:
                self.note(source, head[:3])

    def _look(self, source: Source) -> tuple[Lane, WorkerRecord] | None:
        if isinstance(source, Lane):
            worker = self._roster.choose(source.terms) if source.size else None
            return None if worker is None else (source, worker)
        if source.family is not None and not source.family.has_idle():
            return None
        return source.first_startable(self._roster)


class Shelves:
    """The entries of sources whose jobs use the same units, one shelf for each group.

    Entries of a group that may start no more jobs stay untouched until it may.

    Arguments:
      ranks: for each source, the rank of its one valid entry.
    """

    __slots__ = ("_order", "_placed", "_ranks", "_sequence", "_shelves")

    def __init__(self, ranks: dict[Source, Rank]) -> None:
        self._ranks = ranks
        # The entries by group, and the groups by their first entries.
        self._shelves: dict[Group | None, list[tuple[Rank, int, Source]]] = {}
        self._order: list[tuple[Rank, int, Group | None]] = []
        # For each group, the rank of its one valid entry in that order.
        self._placed: dict[Group | None, Rank] = {}
        self._sequence = 0

    def add(self, source: Source, gate: Group | None, rank: Rank) -> None:
        """Add the entry of a source."""
        shelf = self._shelves.setdefault(gate, [])
        self._sequence += 1
        entry = (rank, self._sequence, source)
        heapq.heappush(shelf, entry)
        if shelf[0] is entry:
            self._place(gate, rank)
        if len(shelf) > 2 * len(self._ranks) + _LEAST_TO_COMPACT:
            shelf[:] = [each for each in shelf if self._ranks.get(each[2]) == each[0]]
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
            if self._ranks.get(shelf[0][2]) == rank:
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
