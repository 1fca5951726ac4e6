"""Jobs that wait on the same terms, and the order in which a worker looks at those on different terms."""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from .run_heap import RunHeap

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.records import Group, JobRecord, Terms, WorkerRecord
    from .tag_index import Family, Units
    from .worker_index import WorkerIndex

# The priority, the turn of the job's key, the ticket, and the job. Tickets are never equal in two entries, so jobs are
# never compared. Without bounds for keys every turn is 0.
Entry: TypeAlias = "tuple[float, float, int, JobRecord]"
Rank: TypeAlias = tuple[float, float, float]

LAST: Rank = (math.inf, math.inf, math.inf)

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64


class Lane(RunHeap[Entry]):
    """The jobs that wait on the same terms, the next one to start first.

    An entry is valid as long as it has its job's ticket and the lane is its job's lane; invalid
    entries are dropped when they are reached. Most jobs need no entry: those of priority 0 that
    come last stand in a queue of their own, where a job is valid as long as the lane is its lane.
    """

    __slots__ = ("_plain", "index", "is_counted", "size", "terms")

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self.terms: Terms = terms
        self.size: int = 0
        self._plain: deque[JobRecord] = deque()
        # Set by the queue: the index that the lane shares with other lanes for many kinds of
        # workers, or None. And whether an elastic pool counts the lane's jobs.
        self.index: Index | None = None
        self.is_counted: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether the jobs' group may start no more jobs now."""
        gate = self.terms.gate
        return gate is not None and gate.is_full

    def push(self, entry: Entry) -> None:
        """Add an entry."""
        self._add(entry)
        self.size += 1

    def append(self, job: JobRecord) -> None:
        """Add a job of priority 0 with the largest ticket so far; its lane must be set."""
        self._plain.append(job)
        self.size += 1

    def head(self) -> Entry | None:
        """Return the first valid entry, or None."""
        run, heap, plain = self._run, self._heap, self._plain
        while run and not self._is_valid(run[0]):
            run.popleft()
        while heap and not self._is_valid(heap[0]):
            heapq.heappop(heap)
        while plain and plain[0]._lane is not self:
            plain.popleft()
        first = self._first()
        if plain:
            entry = _entry_of(plain[0])
            if first is None or entry < first:
                return entry
        return first

    def take(self) -> JobRecord | None:
        """Remove and return the first job, or None: `head` and `pop` in one."""
        if self._heap or self._run:
            return None if self.head() is None else self.pop()
        plain = self._plain
        while plain:
            job = plain.popleft()
            if job._lane is self:
                self.size -= 1
                return job
        return None

    def pop(self) -> JobRecord:
        """Remove and return the job of the first entry, which `head` must have returned."""
        self.size -= 1
        first, plain = self._first(), self._plain
        if plain and (first is None or _entry_of(plain[0]) < first):
            return plain.popleft()
        return self._pop()[3]

    def forget(self) -> None:
        """Record that one of the entries has become invalid."""
        self.size -= 1
        if self._compact(len(self) - self.size, self._is_valid):
            self._plain = deque(job for job in self._plain if job._lane is self)

    def _is_valid(self, entry: Entry) -> bool:
        job = entry[3]
        return job._ticket == entry[2] and job._lane is self

    def entries(self) -> list[Entry]:
        """The valid entries, in the order in which the jobs start."""
        plain = [_entry_of(job) for job in self._plain if job._lane is self]
        return sorted([*filter(self._is_valid, self), *plain])

    def __len__(self) -> int:
        """The number of entries, including stale ones."""
        return super().__len__() + len(self._plain)


def _entry_of(job: JobRecord) -> Entry:
    """The entry of a job that stands without one."""
    return 0, 0.0, job._ticket, job


def rank_of(entry: Entry) -> Rank:
    """The part of an entry that determines when its job starts."""
    return entry[:3]


IndexEntry: TypeAlias = "tuple[float, float, int, int, Lane]"
Closed: TypeAlias = "dict[Group, dict[tuple[Index | None, Lane], None]]"


class Index:
    """Lanes ordered by their first jobs: those that one family of workers may serve, or that many may.

    The jobs of all lanes use the same units. A lane's entry may be too early, since the first job
    may be taken elsewhere, but never too late.

    Arguments:
      family: the family, or None if there are many.
      units: the units.
      closed: receives the lanes of groups that may start no more jobs, which the index drops.
    """

    __slots__ = ("_closed", "_heap", "_sequence", "_valid", "family", "units")

    def __init__(self, family: Family | None, units: Units, closed: Closed) -> None:
        self.family: Family | None = family
        self.units: Units = units
        self._closed = closed
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


def take_from(held: dict[Any, dict[Any, Any]], key: object, item: object) -> bool:
    """Remove an item from the items under a key; return whether it was the last."""
    del held[key][item]
    if held[key]:
        return False
    del held[key]
    return True
