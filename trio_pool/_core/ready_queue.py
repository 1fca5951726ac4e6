"""The ready jobs, by priority and by who may take them.

Jobs that the same workers may take stand in one lane: a heap of their own. A lane that
some workers may not take is entered in an index for each kind of workers that fits it, ordered
by the lane's first job; one that many kinds fit is entered in one that these share, by a tag that it
requires. Picking for a worker compares the first of the lane for anybody, of the worker's
own lanes, and of the best lanes in these indexes; so it never looks
at jobs that it may not take, however many there are, and at lanes of bounced jobs that it
may not take only once as long as none is added. The lanes of a group that may start nothing
more are in no index.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from .._model.records import ANYONE, Terms
from .lanes import LAST, Index, Lane
from .startable import Startable
from .tag_index import a_tag_of
from .worker_index import terms_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._model.records import Group, JobRecord, WorkerRecord
    from .deadlines import Deadlines
    from .lanes import Closed, Entry, Rank
    from .tag_index import Key, WorkerKind
    from .worker_index import WorkerIndex


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
        "_bounced",
        "_by_tag",
        "_closed",
        "_counted",
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
        "_shared",
        "_startable",
        "_tickets",
        "counted_tags",
    )

    def __init__(
        self,
        roster: WorkerIndex,
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
        # By each worker, the lanes of the jobs that wait for it alone.
        self._pinned: dict[WorkerRecord, dict[Terms, Lane]] = {}
        # Those that are neither for anybody nor for any job of one worker; and of these, by a tag that
        # they require or None, those that are for more than one worker.
        self._lanes: dict[Terms, Lane] = {}
        self._by_tag: dict[str | None, dict[Lane, None]] = {}
        self._bounced: dict[Lane, None] = {}
        self._gated: dict[Group, dict[Lane, None]] = {}
        self._closed: Closed = {}
        self._indexes: dict[Key, Index] = {}
        self._shared: dict[str | None, Index] = {}
        self._startable = Startable(roster)
        # What the workers have that an elastic pool opens, or None; and by group, how many jobs wait for such.
        self.counted_tags: frozenset[str] | None = None
        self._counted: dict[Group | None, int] = {}
        # Counts what may give a worker something that it didn't find before. By worker, when it
        # last searched, in these terms, and the rank before which it found nothing.
        self._round = 0
        self._nothing_before: dict[WorkerRecord, tuple[int, Rank]] = {}

    def push(self, job: JobRecord, terms: Terms, *, front: bool = False) -> None:
        """Let a job wait on its terms, behind those of its priority or in front of them."""
        ticket = next(self._tickets)
        if front or self._lifo:
            ticket = -ticket
        job._ticket = ticket
        if job._deadline != math.inf:
            self._deadlines.add_timeout(job)
        entry = (job._options.priority if self._ranked else 0, ticket, job)
        if terms is ANYONE:
            job._lane = lane = self._open
            lane.push(entry)
            if self._roster.idle_count and not self.is_plain and lane.head() is entry:
                self._startable.note(lane, entry[:2])
        else:
            self._place(entry, terms)

    def take(self, worker: WorkerRecord) -> JobRecord | None:
        """Take out the first job that an available worker may take."""
        lane = self._open
        if not (self._lanes or self._pinned):
            # What the rest comes to when all jobs are for anybody.
            job = lane.take() if worker._kind.group is None else None
            if job is not None:
                job._ticket = 0
                job._lane = None
                if job._deadline != math.inf:
                    self._deadlines.forget()
            return job
        kind = worker._kind
        head = lane.head() if kind.group is None else None
        for own in self._pinned.get(worker, {}).values() if self._pinned else ():
            first = own.head()
            assert first is not None
            if head is None or first[:2] < head[:2]:
                if own.is_closed:
                    assert own.terms.gate is not None
                    self._closed.setdefault(own.terms.gate, {})[None, own] = None
                elif self._roster.admits(own.terms, worker):
                    lane, head = own, first
        if self._lanes and not self._is_known_to_be_best(worker, head):
            best, nothing_before = None, LAST
            before = LAST if head is None else head[:2]
            for index in self._indexes_for(kind):
                found, rank = index.first(self._roster, worker, before)
                nothing_before = min(nothing_before, rank)
                if found is not None:
                    best, before = found, rank
            self._nothing_before[worker] = (self._round, nothing_before)
            if best is not None:
                return self.pop(best)
        return None if head is None else self.pop(lane)

    def _is_known_to_be_best(self, worker: WorkerRecord, head: Entry | None) -> bool:
        """Whether an earlier search has shown that no lane has anything before ``head``."""
        searched_in, nothing_before = self._nothing_before.get(worker, (-1, LAST))
        return searched_in == self._round and (LAST if head is None else head[:2]) <= nothing_before

    def pop(self, lane: Lane) -> JobRecord:
        """Take out the first job of a lane, whose `head` has just been seen to be one."""
        job = lane.pop()
        self._took_out(job, lane)
        return job

    def remove(self, job: JobRecord) -> None:
        """Take out a job that waits here."""
        lane = cast("Lane", job._lane)
        self._took_out(job, lane, forget=True)

    def clear(self) -> None:
        """Take out everything. The tickets and the deadlines are left to the caller."""
        self._open = Lane(ANYONE)
        for held in (self._pinned, self._lanes, self._by_tag, self._bounced, self._gated, self._closed, self._counted):
            held.clear()
        self._indexes.clear()
        self._shared.clear()
        self._nothing_before.clear()
        self._startable.clear()

    def lanes(self) -> list[Lane]:
        """The lanes that hold jobs, first the one whose job starts next."""
        heads = [(head[:2], lane) for lane in self._every() if (head := lane.head()) is not None]
        return [lane for _, lane in sorted(heads, key=lambda pair: pair[0])]

    def counted(self) -> Iterator[tuple[Group | None, int]]:
        """By gate, how many jobs wait that a worker may take which an elastic pool opens."""
        yield None, self._open.size
        yield from self._counted.items()

    @property
    def is_plain(self) -> bool:
        """Whether all jobs are for anybody; then nothing is noted about who may be able to take what."""
        return not (self._lanes or self._pinned)

    def first_startable(self) -> tuple[Lane, WorkerRecord] | None:
        """The lane whose first job starts next of those that an idle worker may take, and that worker."""
        if self.is_plain:  # what the rest comes to then
            worker = None if self._open.head() is None else self._roster.choose(ANYONE)
            return None if worker is None else (self._open, worker)
        return self._startable.first()

    def note_idle(self, workers: Iterable[WorkerRecord]) -> None:
        """Idle workers have not looked for jobs themselves."""
        self._note_startable(self._open)
        for worker in workers:
            for own in self._pinned.get(worker, {}).values():
                self._note_startable(own)
            for index in self._indexes_for(worker._kind) if self._lanes else ():
                rank = index.first_rank()
                if rank is not None:
                    self._startable.note(index, rank)

    def _note_startable(self, lane: Lane) -> None:
        head = lane.head()
        if head is not None:
            self._startable.note(lane, head[:2])

    def release(self, worker: WorkerRecord) -> None:
        """Let the jobs that wait for a worker which has left go to others if they may."""
        self._nothing_before.pop(worker, None)
        for lane in list(self._pinned.get(worker, {}).values()):
            self._drop_lane(lane)
            for entry in lane.entries():
                self._place(entry, terms_of(entry[2]))

    def waits_for(self, worker: WorkerRecord) -> bool:
        """Whether jobs wait for this worker alone."""
        return worker in self._pinned

    def lanes_for(self, worker: WorkerRecord, *, tags: bool) -> list[Lane]:
        """The lanes of jobs that wait for a worker alone, and with ``tags`` of those that may want its tags."""
        found = list(self._pinned.get(worker, {}).values())
        if tags:
            found += (lane for tag in (None, *worker._tags) for lane in self._by_tag.get(tag, ()))
            if self._open.size:
                found.append(self._open)
        return found

    def reopen(self, group: Group) -> None:
        """A group that could start nothing more may start something again."""
        self._startable.reopen(group)
        for index, lane in self._closed.pop(group, ()):
            head = lane.head()
            if head is not None:
                if index is not None:
                    index.advertise(lane, head)
                self._startable.note(lane, head[:2])
        self._round += 1

    def forget_kinds(self, group: Group) -> None:
        """There are no workers any more that are kept for a group."""
        for key in [key for key in self._indexes if key[1] is group]:
            del self._indexes[key]

    def look_again(self) -> None:
        """Who is available has changed, and with it what a worker may take."""
        self._round += 1
        if self._roster.idle_count:
            for lane in self._bounced:
                self._note_startable(lane)

    def __iter__(self) -> Iterator[JobRecord]:
        for lane in self.lanes():
            for entry in lane.entries():
                yield entry[2]

    def __len__(self) -> int:
        return sum(lane.size for lane in self._every())

    def _every(self) -> Iterator[Lane]:
        yield self._open
        for lanes in self._pinned.values():
            for lane in lanes.values():
                if lane.terms not in self._lanes:
                    yield lane
        yield from self._lanes.values()

    def _place(self, entry: Entry, terms: Terms) -> None:
        """Put an entry into the lane that its job's terms call for."""
        if terms is ANYONE:
            lane = self._open
        elif terms.pinned is not None and terms.gate is None and terms.requires <= terms.pinned._tags:
            lanes = self._pinned.setdefault(terms.pinned, {})
            terms = Terms(pinned=terms.pinned)
            if terms not in lanes:
                lanes[terms] = Lane(terms)
            lane = lanes[terms]
        else:
            lane = self._lanes.get(terms) or self._add_lane(terms)
        if not lane.size and self._roster.idle_count:
            self._note_startable(self._open)  # up to now this may have been the only one
        lane.push(entry)
        entry[2]._lane = lane
        if lane.is_counted:
            self._counted[terms.gate] = self._counted.get(terms.gate, 0) + 1
        if lane.head() is entry:
            if terms in self._lanes:
                self._round += 1
                if terms.pinned is None:
                    self._advertise(lane, entry)
            if self._roster.idle_count:
                self._startable.note(lane, entry[:2])

    def _add_lane(self, terms: Terms) -> Lane:
        lane = self._lanes[terms] = Lane(terms)
        if terms.gate is not None:
            self._gated.setdefault(terms.gate, {})[lane] = None
        if terms.pinned is not None:
            self._pinned.setdefault(terms.pinned, {})[terms] = lane
            return lane
        tag = a_tag_of(terms.requires)
        self._by_tag.setdefault(tag, {})[lane] = None
        if terms.failed:
            self._bounced[lane] = None
        if self._roster.kinds_for(terms)[0].is_wide:
            lane.index = self._shared.get(tag)
            if lane.index is None:
                lane.index = self._shared[tag] = Index(None, self._closed)
        lane.is_counted = self.counted_tags is not None and terms.requires <= self.counted_tags
        return lane

    def _advertise(self, lane: Lane, head: Entry) -> None:
        everybodys, own = self._roster.kinds_for(lane.terms)
        kinds: Iterable[WorkerKind] = () if own is None else own.kinds
        if lane.index is not None:
            lane.index.advertise(lane, head)
            lane.index.trim(len(self._lanes))
        else:
            kinds = (*everybodys.kinds, *kinds)
        for kind in kinds:
            index = self._indexes.get(kind.key)
            if index is not None:
                index.advertise(lane, head)
                index.trim(len(self._lanes))

    def _indexes_for(self, kind: WorkerKind) -> Iterator[Index]:
        """Where the lanes are entered that a kind of workers may serve; its own is made when one first looks."""
        index = self._indexes.get(kind.key)
        if index is None or index.kind is not kind:
            # Where the last worker of such a kind has left meanwhile, lanes may have come that were not entered.
            index = self._indexes[kind.key] = Index(kind, self._closed)
            for lane in self._lanes_for(kind):
                head = lane.head()
                if head is not None and kind.may_serve(lane.terms):
                    index.advertise(lane, head)
        index.kind = kind  # the last worker of the one before may have left, or been kept for a group
        yield index
        if self._shared and kind.group is None:
            for tag in (None, *kind.tags):
                shared = self._shared.get(tag)
                if shared is not None:
                    yield shared

    def _lanes_for(self, kind: WorkerKind) -> Iterator[Lane]:
        """The lanes that may belong into the index of a kind of workers."""
        if kind.group is not None:
            yield from (lane for lane in self._gated.get(kind.group, ()) if lane.terms.pinned is None)
            return
        for tag in (None, *kind.tags):
            yield from (lane for lane in self._by_tag.get(tag, ()) if lane.index is None)

    def _drop_lane(self, lane: Lane) -> None:
        terms = lane.terms
        self._startable.forget(lane)
        if terms.pinned is not None:
            _take_from(self._pinned, terms.pinned, terms)
        if self._lanes.pop(terms, None) is None:
            return
        if terms.pinned is None:
            _take_from(self._by_tag, a_tag_of(terms.requires), lane)
            self._bounced.pop(lane, None)
        if terms.gate is not None and _take_from(self._gated, terms.gate, lane):
            self._closed.pop(terms.gate, None)
            self._startable.forget_group(terms.gate)

    def _took_out(self, job: JobRecord, lane: Lane, *, forget: bool = False) -> None:
        job._ticket = 0
        job._lane = None
        if job._deadline != math.inf:
            self._deadlines.forget()
        if forget:
            lane.forget()
        if lane.is_counted:
            gate = lane.terms.gate
            self._counted[gate] -= 1
            if not self._counted[gate]:
                del self._counted[gate]
        if not lane.size and lane is not self._open:
            self._drop_lane(lane)


def _take_from(held: dict[Any, dict[Any, Any]], key: object, item: object) -> bool:
    """Take something out of what is held under a key; returns whether it was the last."""
    del held[key][item]
    if held[key]:
        return False
    del held[key]
    return True
