"""Core: the ready jobs, by priority and by who may take them.

Jobs that the same workers may take stand in one lane: a heap of their own. A lane that
some workers may not take is entered in an index for each kind of workers that fits it, ordered
by the lane's first job. Picking for a worker compares the first of the lane for anybody,
of the worker's own lane, and of the best lane in the index of its kind; so it never looks
at jobs that it may not take, however many there are, and at lanes of bounced jobs that it
may not take only once as long as none is added. The lanes of a group that may start nothing
more are in no index.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, TypeAlias

from ._heaps import RunHeap
from ._roster import ANYONE, Roster, Terms, terms_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._deadlines import Deadlines
    from ._group import Group
    from ._job import Job
    from ._roster import Key, Kind
    from ._seat import Seat

# Priority and ticket are never equal in two entries, so that no two jobs are compared.
Entry: TypeAlias = "tuple[float, int, Job[Any]]"
Rank: TypeAlias = tuple[float, float]

LAST: Rank = (math.inf, math.inf)

# Below this length stale entries aren't worth a thought.
_LEAST_TO_COMPACT = 64


class Lane(RunHeap[Entry]):
    """The jobs that wait on the same terms, first the one that starts next.

    An entry is valid as long as it bears its job's ticket; others are dropped when met.
    """

    __slots__ = ("size", "terms")

    def __init__(self, terms: Terms) -> None:
        super().__init__()
        self.terms: Terms = terms
        self.size: int = 0

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

    def take(self) -> Job[Any] | None:
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

    def pop(self) -> Job[Any]:
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


IndexEntry: TypeAlias = "tuple[float, int, int, Lane]"


class Index:
    """The lanes that one kind of workers may serve, ordered by their first jobs.

    A lane's entry may be too early, since others take its jobs, but never too late.
    """

    __slots__ = ("_heap", "_sequence", "_valid", "kind")

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind
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

    def first(self, roster: Roster, seat: Seat, before: Entry | None) -> tuple[Lane | None, Rank]:
        """The best lane for a worker whose first job goes before that of ``before``.

        Returns:
          the lane or None, and a rank before which there is nothing that the worker may take.
        """
        refused: list[IndexEntry] = []
        found: Lane | None = None
        nothing_before = LAST
        while (lane := self._top()) is not None:
            entry = self._heap[0]
            ahead = before is None or entry[:2] < before[:2]
            if not ahead or roster.admits(lane.terms, seat):
                found = lane if ahead else None
                nothing_before = entry[:2]
                break
            refused.append(heapq.heappop(self._heap))
        for entry in refused:
            heapq.heappush(self._heap, entry)
        return found, nothing_before

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
                continue
            head = lane.head()
            if head is not None and head[:2] == entry[:2]:
                return lane
            heapq.heappop(heap)
            del self._valid[lane]
            if head is not None:
                self.advertise(lane, head)
        return None


class ReadyQueue:
    """Jobs that wait for a worker. While one does, its total timeout is in the heap of deadlines.

    Arguments:
      roster: who may take what.
      deadlines: where total timeouts are kept.
      tickets: numbers that nothing else that holds jobs gets too.
      lifo: whether of equal priorities the last to come goes first.
      ranked: whether priorities count at all.
    """

    __slots__ = (
        "_deadlines",
        "_gated",
        "_indexes",
        "_lanes",
        "_lifo",
        "_nothing_before",
        "_open",
        "_pinned",
        "_ranked",
        "_roster",
        "_round",
        "_tickets",
    )

    def __init__(
        self,
        roster: Roster,
        deadlines: Deadlines,
        tickets: Iterator[int],
        *,
        lifo: bool = False,
        ranked: bool = True,
    ) -> None:
        self._roster = roster
        self._deadlines = deadlines
        self._tickets = tickets
        self._lifo = lifo
        self._ranked = ranked
        self._open = Lane(ANYONE)
        self._pinned: dict[Seat, Lane] = {}
        self._lanes: dict[Terms, Lane] = {}
        self._gated: dict[Group, dict[Lane, None]] = {}
        self._indexes: dict[Key, Index] = {}
        # Counts what may give a worker something that it didn't find before. By worker, when it
        # last searched, in these terms, and the rank before which it found nothing.
        self._round = 0
        self._nothing_before: dict[Seat, tuple[int, Rank]] = {}

    def push(self, job: Job[Any], terms: Terms, *, front: bool = False) -> None:
        """Let a job wait on its terms, behind those of its priority or in front of them."""
        ticket = next(self._tickets)
        if front or self._lifo:
            ticket = -ticket
        job._ticket = ticket
        if job._deadline != math.inf:
            self._deadlines.add_timeout(job)
        entry = (job._options.priority if self._ranked else 0, ticket, job)
        if terms is ANYONE:
            job._lane = self._open
            self._open.push(entry)
        else:
            self._place(entry, terms)

    def take(self, seat: Seat) -> Job[Any] | None:
        """Take out the first job that an available worker may take."""
        lane = self._open
        if not (self._lanes or self._pinned):
            # What the rest comes to when all jobs are for anybody.
            job = lane.take() if seat._kind.group is None else None
            if job is not None:
                job._ticket = 0
                job._lane = None
                if job._deadline != math.inf:
                    self._deadlines.forget()
            return job
        kind = seat._kind
        head = lane.head() if kind.group is None else None
        if self._pinned and kind.group is None and (own := self._pinned.get(seat)) is not None:
            first = own.head()
            if first is not None and (head is None or first[:2] < head[:2]):
                lane, head = own, first
        if self._lanes and not self._is_known_to_be_best(seat, head):
            found, nothing_before = self._index(kind).first(self._roster, seat, head)
            self._nothing_before[seat] = (self._round, nothing_before)
            if found is not None:
                return self.pop(found)
        return None if head is None else self.pop(lane)

    def _is_known_to_be_best(self, seat: Seat, head: Entry | None) -> bool:
        """Whether an earlier search has shown that no lane has anything before ``head``."""
        searched_in, nothing_before = self._nothing_before.get(seat, (-1, LAST))
        return searched_in == self._round and (LAST if head is None else head[:2]) <= nothing_before

    def pop(self, lane: Lane) -> Job[Any]:
        """Take out the first job of a lane, whose `head` has just been seen to be one."""
        job = lane.pop()
        self._took_out(job, lane)
        return job

    def remove(self, job: Job[Any]) -> None:
        """Take out a job that waits here."""
        lane = job._lane
        assert lane is not None
        self._took_out(job, lane, forget=True)

    def clear(self) -> None:
        """Take out everything. The tickets and the deadlines are left to the caller."""
        self._open = Lane(ANYONE)
        self._pinned.clear()
        self._lanes.clear()
        self._gated.clear()
        self._indexes.clear()
        self._nothing_before.clear()

    def lanes(self) -> list[Lane]:
        """The lanes that hold jobs, first the one whose job starts next."""
        every = (self._open, *self._pinned.values(), *self._lanes.values())
        heads = [(head[:2], lane) for lane in every if (head := lane.head()) is not None]
        return [lane for _, lane in sorted(heads, key=lambda pair: pair[0])]

    def sizes(self, fits: Callable[[Terms], bool]) -> Iterator[tuple[Group | None, int]]:
        """By gate, how many jobs wait on such terms; not asked about those that wait for one worker."""
        for lane in (self._open, *self._lanes.values()):
            if fits(lane.terms):
                yield lane.terms.gate, lane.size

    def release(self, seat: Seat) -> None:
        """Let the jobs that wait for a worker which has left go to others if they may."""
        self._nothing_before.pop(seat, None)
        lanes = [lane for lane in self._lanes.values() if lane.terms.pinned is seat]
        for lane in lanes:
            self._drop_lane(lane)
        if seat in self._pinned:
            lanes.append(self._pinned.pop(seat))
        for lane in lanes:
            for entry in lane.entries():
                self._place(entry, terms_of(entry[2]))

    def waits_for(self, seat: Seat) -> bool:
        """Whether jobs wait for this worker alone."""
        return seat in self._pinned or any(terms.pinned is seat for terms in self._lanes)

    def reopen(self, group: Group) -> None:
        """A group that could start nothing more may start something again."""
        for lane in self._gated.get(group, ()):
            head = lane.head()
            assert head is not None
            self._advertise(lane, head)
        self.look_again()

    def forget_kinds(self, group: Group) -> None:
        """There are no workers any more that are kept for a group."""
        self._indexes = {key: index for key, index in self._indexes.items() if index.kind.group is not group}

    def look_again(self) -> None:
        """Who is available has changed, and with it what a worker may take."""
        self._round += 1

    def __iter__(self) -> Iterator[Job[Any]]:
        for lane in self.lanes():
            for entry in lane.entries():
                yield entry[2]

    def __len__(self) -> int:
        lanes = (self._open, *self._pinned.values(), *self._lanes.values())
        return sum(lane.size for lane in lanes)

    def _place(self, entry: Entry, terms: Terms) -> None:
        """Put an entry into the lane that its job's terms call for."""
        if terms is ANYONE:
            lane = self._open
            lane.push(entry)
        elif terms.pinned is not None and terms.gate is None and terms.requires <= terms.pinned._tags:
            if terms.pinned not in self._pinned:
                self._pinned[terms.pinned] = Lane(Terms(pinned=terms.pinned))
            lane = self._pinned[terms.pinned]
            lane.push(entry)
        else:
            if terms not in self._lanes:
                self._lanes[terms] = lane = Lane(terms)
                if terms.gate is not None:
                    self._gated.setdefault(terms.gate, {})[lane] = None
            lane = self._lanes[terms]
            lane.push(entry)
            if lane.head() is entry:
                self._round += 1
                self._advertise(lane, entry)
        entry[2]._lane = lane

    def _advertise(self, lane: Lane, head: Entry) -> None:
        for index in self._indexes.values():
            if index.kind.may_serve(lane.terms):
                index.advertise(lane, head)
                index.trim(len(self._lanes))

    def _index(self, kind: Kind) -> Index:
        """The index for a kind of workers, made when one first looks."""
        index = self._indexes.get(kind.key)
        if index is None:
            index = self._indexes[kind.key] = Index(kind)
            for lane in self._lanes.values():
                head = lane.head()
                if head is not None and kind.may_serve(lane.terms):
                    index.advertise(lane, head)
        return index

    def _drop_lane(self, lane: Lane) -> None:
        del self._lanes[lane.terms]
        gate = lane.terms.gate
        if gate is not None:
            lanes = self._gated[gate]
            del lanes[lane]
            if not lanes:
                del self._gated[gate]

    def _took_out(self, job: Job[Any], lane: Lane, *, forget: bool = False) -> None:
        job._ticket = 0
        job._lane = None
        if job._deadline != math.inf:
            self._deadlines.forget()
        if forget:
            lane.forget()
        if not lane.size and lane is not self._open:
            if self._lanes.get(lane.terms) is lane:
                self._drop_lane(lane)
            else:
                assert lane.terms.pinned is not None
                del self._pinned[lane.terms.pinned]
