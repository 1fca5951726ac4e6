"""Finding waiting jobs that idle workers may run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

from .._policies.rate_limit import Share
from .lane_index import Home
from .lanes import Lane, rank_of

if TYPE_CHECKING:
    from .._model.records import Group, WorkerRecord
    from .lane_index import Index
    from .lanes import Rank
    from .worker_index import WorkerIndex

    # A place to look for jobs that can start.
    Source: TypeAlias = Lane | Index
    Entry: TypeAlias = tuple[Rank, int, Source]
    # What may keep the jobs of a source from starting: their group; a unit, or a limit that all workers share; several
    # shared limits that are all closed; or a `Home`, if none of the workers that may serve the source is idle.
    Gate: TypeAlias = Group | str | Share | frozenset[Share] | Home | None

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64


class Startable:
    """The sources in which to look for jobs that idle workers may run, the one with the next job to start first.

    A source is a lane or an index of lanes. It is noted when it gets a job or a worker that may have
    been missing. The search skips every source that has not changed.

    Each source has one entry, on a shelf. The shelves are in the order of their first entries. There
    is one shelf for each gate, and one for none. A shelf whose gate is found closed leaves the order
    until the gate opens. A source that is found to wait at another gate moves to the shelf of that
    gate. So sources at closed gates cost nothing, however many gates and sources there are.

    A source for which no worker is found is refused. It is looked at again after it has been noted
    again, after one of the workers that may serve it has become idle, or, if limits that workers share
    are closed, as soon as one of these opens.
    """

    # fmt: off
    __slots__ = (
        "_changes", "_entries", "_order", "_placed", "_refused", "_refusing", "_roster", "_sequence", "_several",
        "_shelves",
    )
    # fmt: on

    def __init__(self, roster: WorkerIndex) -> None:
        self._roster = roster
        # For each source, its one valid entry; its rank may be too early, but never too late.
        self._entries: dict[Source, Entry] = {}
        # The entries by their gates, and the gates by their first entries.
        self._shelves: dict[Gate, list[Entry]] = {}
        self._order: list[tuple[Rank, int, Gate]] = []
        # For each gate in that order, the rank of its one valid entry there.
        self._placed: dict[Gate, Rank] = {}
        # The refused entries, by the workers that may serve them; and the sources that may be among them.
        self._refusing: dict[Home, list[Entry]] = {}
        self._refused: dict[Source, None] = {}
        # The gates that consist of several shared limits; there are few of these.
        self._several: dict[frozenset[Share], None] = {}
        self._sequence = 0
        # The value of ``changes`` of the closed gates at the last look.
        self._changes = 0

    def note(self, source: Source, rank: Rank) -> None:
        """Record that there may be a job that can start, but none before this rank."""
        known = self._entries.get(source)
        if known is None or known[0] > rank or source in self._refused:
            self._add(source, _first_gate_of(source), rank)

    def note_earlier(self, source: Source, rank: Rank) -> None:
        """Record that there is a job of this rank, which may be before those noted."""
        known = self._entries.get(source)
        if known is None or known[0] > rank:
            self._add(source, _first_gate_of(source), rank)

    def _add(self, source: Source, gate: Gate, rank: Rank) -> None:
        """Put the entry of a source on the shelf of a gate."""
        self._refused.pop(source, None)
        self._put(self._new_entry(source, rank), gate)

    def _new_entry(self, source: Source, rank: Rank) -> Entry:
        self._sequence += 1
        entry = self._entries[source] = (rank, self._sequence, source)
        return entry

    def _put(self, entry: Entry, gate: Gate) -> None:
        shelf = self._shelves.setdefault(gate, [])
        self._push(shelf, entry)
        if shelf[0] is entry:
            self._place(gate, entry[0])

    def _push(self, shelf: list[Entry], entry: Entry) -> None:
        heapq.heappush(shelf, entry)
        if len(shelf) > 2 * len(self._entries) + _LEAST_TO_COMPACT:
            shelf[:] = [each for each in shelf if self._entries.get(each[2]) is each]
            heapq.heapify(shelf)

    def _refuse(self, source: Source, rank: Rank) -> None:
        """Record that no idle worker may run a job of a source that has jobs."""
        home: Home | None = source.home
        closed = self._roster.closed.shares
        if home is None and not closed:
            self.forget(source)
            return
        entry = self._new_entry(source, rank)
        self._refused[source] = None
        if home is not None:
            self._push(self._refusing.setdefault(home, []), entry)
        if closed:
            gate = frozenset(closed)
            self._several[gate] = None
            self._put(entry, gate)  # in both places: the first return makes the other stale

    def reopen(self, gate: Gate) -> None:
        """Look again at what waits for a group, a unit or a shared limit that allows starts again."""
        shelf = self._shelves.get(gate)
        if shelf and gate not in self._placed:
            self._place(gate, shelf[0][0])
        if isinstance(gate, Share):
            for several in self._several:
                if gate in several:
                    self.reopen(several)

    def look_again(self, home: Home) -> None:
        """Look again at the sources for some workers, one of which has become idle."""
        refused = self._refusing.pop(home, None)
        shelf = self._shelves.get(home)
        if refused and not shelf:
            shelf = self._shelves[home] = refused
        elif refused and shelf:
            for entry in refused:
                if self._entries.get(entry[2]) is entry:
                    self._push(shelf, entry)
        if shelf and self._placed.get(home) != shelf[0][0]:
            self._place(home, shelf[0][0])

    def note_changes(self) -> None:
        """Look again at the sources behind gates closed on all workers, if a worker has joined or has lost a limit."""
        if self._changes != self._roster.closed.changes:
            self._changes = self._roster.closed.changes
            for gate in self._shelves:
                if isinstance(gate, (str, Share)):
                    self.reopen(gate)

    def forget(self, source: Source) -> None:
        """Remove a source without startable jobs."""
        self._entries.pop(source, None)
        self._refused.pop(source, None)

    def forget_gate(self, gate: Group | Home) -> None:
        """Remove a group or workers for which no jobs wait any more."""
        self._shelves.pop(gate, None)
        self._placed.pop(gate, None)
        if isinstance(gate, Home):
            self._refusing.pop(gate, None)

    def clear(self) -> None:
        """Remove everything."""
        for held in (self._entries, self._shelves, self._placed, self._refusing, self._refused, self._several):
            held.clear()
        self._order.clear()

    def first(self) -> tuple[Lane, WorkerRecord] | None:
        """Return the lane with the next startable job, and an idle worker that may run the job."""
        while (shelf := self._first_shelf()) is not None:
            rank, _, source = shelf[0]
            closed = self._closed_gate_of(source)
            if closed is not None:
                heapq.heappop(shelf)
                self._add(source, closed, rank)
                continue
            found = self._look(source)
            head = None if found is None else found[0].head()
            if head is not None and rank_of(head) == rank:
                return found
            heapq.heappop(shelf)
            if head is not None:
                self._add(source, _first_gate_of(source), head[:3])
            elif _is_in_use(source):
                self._refuse(source, rank)
            else:
                self.forget(source)
        return None

    def _first_shelf(self) -> list[Entry] | None:
        """The shelf with the first entry of all whose gates are open, or None."""
        order = self._order
        while order:
            rank, _, gate = order[0]
            if self._placed.get(gate) != rank:
                heapq.heappop(order)
                continue
            shelf = self._shelves[gate]
            while shelf and self._entries.get(shelf[0][2]) is not shelf[0]:
                heapq.heappop(shelf)
            if shelf and shelf[0][0] == rank and not self._is_closed(gate):
                return shelf
            heapq.heappop(order)
            del self._placed[gate]
            if not shelf:
                del self._shelves[gate]
                if isinstance(gate, frozenset):
                    del self._several[gate]
            elif shelf[0][0] != rank:
                self._place(gate, shelf[0][0])
        return None

    def _is_closed(self, gate: Gate) -> bool:
        if gate is None:
            return False
        if isinstance(gate, (str, Share)):
            return self._roster.closed.to_all(gate)
        if isinstance(gate, Home):
            return not gate.has_idle()
        if isinstance(gate, frozenset):
            return self._roster.closed.shares.keys() >= gate
        return gate.is_full

    def _closed_gate_of(self, source: Source) -> Gate:
        """A closed gate that keeps the jobs of a source from starting, or None."""
        if isinstance(source, Lane):
            group, units = source.terms.gate, source.terms.units
            if group is not None and group.is_full:
                return group
        else:
            units = source.units
        closed = self._roster.closed.first_to_all(units)
        if closed is not None:
            return closed
        home: Home | None = source.home
        return None if home is None or home.has_idle() else home

    def _look(self, source: Source) -> tuple[Lane, WorkerRecord] | None:
        if isinstance(source, Lane):
            worker = self._roster.choose(source.terms) if source.size else None
            return None if worker is None else (source, worker)
        if source.family is not None and not source.family.has_idle(self._roster.closed.to(source.units)):
            return None
        return source.first_startable(self._roster)

    def _place(self, gate: Gate, rank: Rank) -> None:
        """Add a gate to the order by its first entry."""
        self._placed[gate] = rank
        self._sequence += 1
        heapq.heappush(self._order, (rank, self._sequence, gate))
        if len(self._order) > 2 * len(self._placed) + _LEAST_TO_COMPACT:
            self._order = [each for each in self._order if self._placed.get(each[2]) == each[0]]
            heapq.heapify(self._order)


def _is_in_use(source: Source) -> bool:
    """Whether jobs wait in a lane, or in the lanes of an index."""
    return bool(source.size) if isinstance(source, Lane) else source.first_rank() is not None


def _first_gate_of(source: Source) -> Gate:
    """The gate at which a source begins to wait."""
    if isinstance(source, Lane) and source.terms.gate is not None:
        return source.terms.gate
    home: Home | None = source.home
    return home
