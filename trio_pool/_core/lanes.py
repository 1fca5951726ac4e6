"""Jobs that wait on the same terms, and the order in which a worker looks at those on different ones."""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, TypeAlias

from .run_heap import RunHeap

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._model.records import Group, JobRecord, Terms, WorkerRecord
    from .tag_index import WorkerKind
    from .worker_index import WorkerIndex

# Priority and ticket are never equal in two entries, so that no two jobs are compared.
Entry: TypeAlias = "tuple[float, int, JobRecord]"
Rank: TypeAlias = tuple[float, float]

LAST: Rank = (math.inf, math.inf)

# Below this length stale entries aren't worth a thought.
_LEAST_TO_COMPACT = 64


class Lane(RunHeap[Entry]):
    """The jobs that wait on the same terms, first the one that starts next.

    An entry is valid as long as it bears its job's ticket; others are dropped when met.
    """

    __slots__ = ("index", "is_counted", "size", "terms")

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self.terms: Terms = terms
        self.size: int = 0
        # What the queue keeps with it: the index that it shares with lanes that many kinds of workers may
        # serve, or None; and whether an elastic pool counts its jobs.
        self.index: Index | None = None
        self.is_counted: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether its jobs' group may start nothing more."""
        gate = self.terms.gate
        return gate is not None and gate.is_full

    def push(self, entry: Entry) -> None:
        """Add an entry."""
        self._add(entry)
        self.size += 1

    def head(self) -> Entry | None:
        """The first valid entry, or None."""
        run, heap = self._run, self._heap
        while run and not _is_valid(run[0]):
            run.popleft()
        while heap and not _is_valid(heap[0]):
            heapq.heappop(heap)
        return self._first()

    def take(self) -> JobRecord | None:
        """Take out the first job, or None: what `head` and `pop` come to, in one."""
        if self._heap:
            return None if self.head() is None else self.pop()
        run = self._run
        while run:
            _, ticket, job = run.popleft()
            if job._ticket == ticket:
                self.size -= 1
                return job
        return None

    def pop(self) -> JobRecord:
        """Take out the job of the first entry, which must have been found by `head`."""
        self.size -= 1
        return self._pop()[2]

    def forget(self) -> None:
        """One of the entries has become invalid."""
        self.size -= 1
        self._compact(len(self) - self.size, _is_valid)

    def entries(self) -> list[Entry]:
        """The valid entries, first that of the job that starts next."""
        return sorted(filter(_is_valid, self))


def _is_valid(entry: Entry) -> bool:
    return entry[2]._ticket == entry[1]


def rank_of(entry: Entry) -> Rank:
    """What says when the job of an entry starts."""
    return entry[:2]


IndexEntry: TypeAlias = "tuple[float, int, int, Lane]"
Closed: TypeAlias = "dict[Group, dict[tuple[Index | None, Lane], None]]"


class Index:
    """Lanes ordered by their first jobs: those that one kind of workers may serve, or that many kinds may.

    A lane's entry may be too early, since others take its jobs, but never too late.

    Arguments:
      kind: the kind, or None if there are many.
      closed: where to note the lanes of groups that may start nothing more, which it drops.
    """

    __slots__ = ("_closed", "_heap", "_sequence", "_valid", "kind")

    def __init__(self, kind: WorkerKind | None, closed: Closed) -> None:
        self.kind: WorkerKind | None = kind
        self._closed = closed
        self._heap: list[IndexEntry] = []
        self._valid: dict[Lane, IndexEntry] = {}
        self._sequence = 0

    def advertise(self, lane: Lane, head: Entry) -> None:
        """A lane is new, or has a new first job."""
        known = self._valid.get(lane)
        if known is not None and known[:2] <= head[:2]:
            return
        self._sequence += 1
        entry = (head[0], head[1], self._sequence, lane)
        self._valid[lane] = entry
        heapq.heappush(self._heap, entry)

    def first(self, roster: WorkerIndex, worker: WorkerRecord, before: Rank) -> tuple[Lane | None, Rank]:
        """The best lane for a worker whose first job goes before that.

        Returns:
          the lane or None, and a rank before which there is nothing that the worker may take.
        """
        entry, lane = self._search(lambda entry: entry[:2] >= before or roster.admits(entry[3].terms, worker))
        if entry is None:
            return None, LAST
        return (lane if entry[:2] < before else None), entry[:2]

    def first_startable(self, roster: WorkerIndex) -> tuple[Lane, WorkerRecord] | None:
        """The best lane whose first job an idle worker may take, with that worker."""
        found: list[tuple[Lane, WorkerRecord]] = []

        def finds_worker(entry: IndexEntry) -> bool:
            worker = roster.choose(entry[3].terms)
            if worker is not None:
                found.append((entry[3], worker))
            return worker is not None

        self._search(finds_worker)
        return found[0] if found else None

    def first_rank(self) -> Rank | None:
        """The rank of the first job of all, or None."""
        return None if self._top() is None else self._heap[0][:2]

    def _search(self, suits: Callable[[IndexEntry], bool]) -> tuple[IndexEntry | None, Lane | None]:
        """The first entry that suits, with its lane."""
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
        """Drop what is stale if there is much of it, ``lanes`` being the live ones."""
        if len(self._heap) > 2 * lanes + _LEAST_TO_COMPACT:
            self._valid = {lane: entry for lane, entry in self._valid.items() if lane.size}
            self._heap = list(self._valid.values())
            heapq.heapify(self._heap)

    def _top(self) -> Lane | None:
        """The lane at the top, once its entry is what it should be."""
        heap = self._heap
        while heap:
            entry = heap[0]
            lane = entry[3]
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
            if head is not None and head[:2] == entry[:2]:
                return lane
            heapq.heappop(heap)
            del self._valid[lane]
            if head is not None:
                self.advertise(lane, head)
        return None
