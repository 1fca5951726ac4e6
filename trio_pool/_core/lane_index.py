"""The order in which workers look at jobs on different terms."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, TypeAlias

from .lanes import LAST

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.records import Group, WorkerRecord
    from .lanes import Entry, Lane, Rank
    from .tag_index import Family, Units
    from .worker_index import WorkerIndex

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64

IndexEntry: TypeAlias = "tuple[float, float, int, int, Lane]"
Closed: TypeAlias = "dict[Group, dict[tuple[Index | None, Lane], None]]"


class Home:
    """The workers that lanes or indexes are meant for: those of a family, those with a tag, or a single one.

    Attributes:
      has_idle: returns whether one of them is idle, or may be.
    """

    __slots__ = ("has_idle",)

    def __init__(self, has_idle: Callable[[], bool]) -> None:
        self.has_idle: Callable[[], bool] = has_idle


class Index:
    """Lanes ordered by their first jobs: those that one family of workers may serve, or that many families may.

    The jobs of all lanes use the same units. A lane's entry may be too early, since the first job
    may be taken elsewhere, but never too late.

    Arguments:
      family: the family, or None if there are many.
      home: the workers of the family, or those that the lanes are meant for.
      units: the units.
      closed: receives the lanes of groups that may start no more jobs, which the index drops.
      note: called with the rank of a lane that is entered, if there are units.
    """

    __slots__ = ("_closed", "_heap", "_note", "_sequence", "_valid", "family", "home", "units")

    def __init__(
        self, family: Family | None, home: Home, units: Units, closed: Closed, note: Callable[[Index, Rank], object]
    ) -> None:
        self.family: Family | None = family
        self.home: Home = home
        self.units: Units = units
        self._closed = closed
        self._note = note
        self._heap: list[IndexEntry] = []
        self._valid: dict[Lane, IndexEntry] = {}
        self._sequence = 0

    def advertise(self, lane: Lane, head: Entry) -> None:
        """Add a lane, or update it after it has got a new first job."""
        known = self._valid.get(lane)
        if known is not None and known[:3] <= head[:3]:
            return
        self._sequence += 1
        entry = (*head[:3], self._sequence, lane)
        self._valid[lane] = entry
        heapq.heappush(self._heap, entry)
        if self.units:
            self._note(self, entry[:3])

    def first(self, roster: WorkerIndex, worker: WorkerRecord, before: Rank) -> tuple[Lane | None, Rank]:
        """Return the best lane for a worker among those whose first job goes before ``before``.

        Returns:
          the lane or None, and a rank before which there is no job that the worker may run.
        """
        entry, lane = self._search(lambda entry: entry[:3] >= before or roster.admits(entry[4].terms, worker))
        if entry is None:
            return None, LAST
        return (lane if entry[:3] < before else None), entry[:3]

    def first_startable(self, roster: WorkerIndex) -> tuple[Lane, WorkerRecord] | None:
        """Return the best lane whose first job an idle worker may run, with that worker."""
        found: list[tuple[Lane, WorkerRecord]] = []

        def finds_worker(entry: IndexEntry) -> bool:
            worker = roster.choose(entry[4].terms)
            if worker is not None:
                found.append((entry[4], worker))
            return worker is not None

        self._search(finds_worker)
        return found[0] if found else None

    def first_rank(self) -> Rank | None:
        """The rank of the first job of all lanes, or None."""
        return None if self._top() is None else self._heap[0][:3]

    def _search(self, suits: Callable[[IndexEntry], bool]) -> tuple[IndexEntry | None, Lane | None]:
        """Return the first entry that ``suits`` accepts, with its lane."""
        refused: list[IndexEntry] = []
        found: tuple[IndexEntry | None, Lane | None] = (None, None)
        while (lane := self._top()) is not None:
            entry = self._heap[0]
            if suits(entry):
                found = (entry, lane)
                break
            refused.append(heapq.heappop(self._heap))
        for entry in refused:
            heapq.heappush(self._heap, entry)
        return found

    def trim(self, lanes: int) -> None:
        """Drop stale entries if there are many; ``lanes`` is the number of live lanes."""
        if len(self._heap) > 2 * lanes + _LEAST_TO_COMPACT:
            self._valid = {lane: entry for lane, entry in self._valid.items() if lane.size}
            self._heap = list(self._valid.values())
            heapq.heapify(self._heap)

    def _top(self) -> Lane | None:
        """Return the lane at the top, after correcting its entry."""
        heap = self._heap
        while heap:
            entry = heap[0]
            lane = entry[4]
            if self._valid.get(lane) is not entry:
                heapq.heappop(heap)
                continue
            if lane.is_closed:
                heapq.heappop(heap)
                del self._valid[lane]
                assert lane.terms.gate is not None
                self._closed.setdefault(lane.terms.gate, {})[self, lane] = None
                continue
            head = lane.head()
            if head is not None and head[:3] == entry[:3]:
                return lane
            heapq.heappop(heap)
            del self._valid[lane]
            if head is not None:
                self.advertise(lane, head)
        return None
