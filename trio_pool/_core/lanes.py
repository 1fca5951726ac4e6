"""Jobs that wait on the same terms, and the turns that their keys take."""

from __future__ import annotations

import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias

from .run_heap import RunHeap

if TYPE_CHECKING:
    from .._model.key_record import KeyRecord
    from .._model.records import JobRecord, Terms
    from .keys import Keys

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
    entries are dropped when they are reached. Most jobs need no entry: jobs of priority 0 that are
    added last are in a separate queue, where a job is valid as long as the lane is its lane.
    """

    __slots__ = ("_plain", "home", "index", "is_counted", "size", "terms")

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self.terms: Terms = terms
        self.size: int = 0
        self._plain: deque[JobRecord] = deque()
        # Set by the queue: the `Index` that the lane shares with other lanes for many kinds of
        # workers, or None; and whether an elastic pool counts the lane's jobs.
        self.index: Any = None
        # The only worker that may serve the lane, as a `Home`, or None.
        self.home: Any = None
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

    def forget(self, job: JobRecord) -> None:
        """Record that the entry of a job has become invalid."""
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
    """The entry of a job that is in the queue of jobs without entries."""
    return 0, 0.0, job._ticket, job


class Line:
    """The jobs of one key in a lane.

    Attributes:
      key: the key.
      heap: the entries of its jobs, stale ones included.
      size: how many of these are valid.
      place: the line's one valid entry in the order of the lane, or None while its key is closed.
    """

    __slots__ = ("heap", "key", "place", "size")

    def __init__(self, key: KeyRecord) -> None:
        self.key: KeyRecord = key
        self.heap: list[Entry] = []
        self.size: int = 0
        self.place: Place | None = None


class FairLane(Lane):
    """A lane of a pool with bounds for keys: it takes turns between the keys of its jobs.

    The lines of the keys are in a heap, ordered by their first jobs. A place in the heap may be too early,
    since the first job may be gone and the key may have had a turn elsewhere, but it is never too late.
    The line of a key that may start no more jobs is removed from the heap when it is reached.

    Arguments:
      keys: the keys.
      held: receives the lanes whose lines have been removed from the heap, by the keys of these lines.
      ranked: whether turns count at all.
    """

    __slots__ = ("_held", "_keys", "_lines", "_order", "_ranked", "_sequence")

    def __init__(self, terms: Terms, keys: Keys, held: HeldLanes, *, ranked: bool) -> None:
        super().__init__(terms)
        self._keys = keys
        self._held = held
        self._ranked = ranked
        self._lines: dict[KeyRecord, Line] = {}
        self._order: list[Place] = []
        self._sequence = 0

    def push(self, entry: Entry) -> None:
        """Add an entry; its job's lane must be set."""
        key = self._keys.enter(entry[3])
        line = self._lines.get(key)
        is_new = line is None
        if line is None:
            line = self._lines[key] = Line(key)
        heapq.heappush(line.heap, entry)
        line.size += 1
        self.size += 1
        if not self._ranked:
            key.in_line += 1
        if is_new or (line.place is not None and self._head_of(line) is entry):
            self._advertise(line)

    def append(self, job: JobRecord) -> None:
        """Add a job of priority 0 with the largest ticket so far; its lane must be set."""
        self.push(_entry_of(job))

    def head(self) -> Entry | None:
        """Return the first valid entry of all keys that may start jobs, or None."""
        order, units = self._order, self.terms.units
        while order:
            place = order[0]
            line = place[4]
            if line.place is not place:
                heapq.heappop(order)
            elif line.key.is_closed_to(units):
                heapq.heappop(order)
                line.place = None
                self._held.setdefault(line.key, {})[self] = None
            elif place[:3] == (rank := self._rank_of(line)):
                first = line.heap[0]
                return first[0], rank[1], first[2], first[3]
            else:
                heapq.heappop(order)
                self._advertise(line)
        return None

    def take(self) -> JobRecord | None:
        """Remove and return the first job, or None."""
        return None if self.head() is None else self.pop()

    def pop(self) -> JobRecord:
        """Remove and return the job of the first entry, which `head` must have returned."""
        line = heapq.heappop(self._order)[4]
        line.place = None
        job = heapq.heappop(line.heap)[3]
        if self._is_left(line):
            self._advertise(line)
        return job

    def forget(self, job: JobRecord) -> None:
        """Record that the entry of a job has become invalid."""
        assert job._key is not None
        line = self._lines[job._key]
        if self._is_left(line) and len(line.heap) > 2 * line.size + _LEAST_TO_COMPACT:
            line.heap = list(filter(self._is_valid, line.heap))
            heapq.heapify(line.heap)

    def reopen(self, key: KeyRecord) -> None:
        """Enter the jobs of a key again, after the key may start jobs again."""
        self._advertise(self._lines[key])

    def entries(self) -> list[Entry]:
        """The valid entries, including those of closed keys, in the order of their turns so far."""
        return sorted(
            (entry[0], self._turn_of(line.key), entry[2], entry[3])
            for line in self._lines.values()
            for entry in filter(self._is_valid, line.heap)
        )

    def _is_left(self, line: Line) -> bool:
        """Count one job fewer in a line; return whether any are left."""
        key = line.key
        line.size -= 1
        self.size -= 1
        if not self._ranked:
            key.in_line -= 1
            if not key.has_jobs:
                self._keys.let_go(key)
        if line.size:
            return True
        del self._lines[key]
        line.place = None
        if self in self._held.get(key, ()):
            take_from(self._held, key, self)
        if not self._lines:
            self._order.clear()
        return False

    def _head_of(self, line: Line) -> Entry:
        """The first valid entry of a line, which has one."""
        heap = line.heap
        while not self._is_valid(heap[0]):
            heapq.heappop(heap)
        return heap[0]

    def _turn_of(self, key: KeyRecord) -> float:
        return key.turn if self._ranked else 0.0

    def _rank_of(self, line: Line) -> Rank:
        first = self._head_of(line)
        return first[0], self._turn_of(line.key), first[2]

    def _advertise(self, line: Line) -> None:
        """Enter a line by its first job."""
        self._sequence += 1
        line.place = place = (*self._rank_of(line), self._sequence, line)
        heapq.heappush(self._order, place)
        if len(self._order) > 2 * len(self._lines) + _LEAST_TO_COMPACT:
            self._order = [each for each in self._order if each[4].place is each]
            heapq.heapify(self._order)

    def __len__(self) -> int:
        """The number of valid entries."""
        return self.size


# The rank of a line's first job, a number that breaks ties, and the line.
Place: TypeAlias = "tuple[float, float, float, int, Line]"
HeldLanes: TypeAlias = "dict[KeyRecord, dict[FairLane, None]]"


def rank_of(entry: Entry) -> Rank:
    """The part of an entry that determines when its job starts."""
    return entry[:3]


def take_from(held: dict[Any, dict[Any, Any]], key: object, item: object) -> bool:
    """Remove an item from the items under a key; return whether it was the last."""
    del held[key][item]
    if held[key]:
        return False
    del held[key]
    return True
