"""The queue of ready jobs, by priority and by the workers that may run them.

Jobs that the same workers may run are in one lane. A lane that only some workers may serve is entered in indexes,
which are ordered by the lanes' first jobs. There is one index for each kind of workers, and for each set of units that
jobs use. A lane that fits many kinds is entered in an index that these kinds share, by a tag that it requires.

To pick a job for a worker, the queue compares the first jobs of the lane for any worker, of the worker's own lanes,
and of the best lanes in these indexes. So the queue never looks at jobs that the worker may not run, however many
there are. Lanes of bounced jobs that the worker may not run are checked only once, as long as none is added. The
lanes of a group that may start no more jobs are in no index. With bounds for keys, each lane takes turns between keys.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, cast

from .._model.records import ANYONE, Terms
from .lane_index import Home
from .lane_indexes import LaneIndexes
from .lanes import LAST, FairLane, Lane, take_from
from .startable import Startable
from .terms import limited_terms, terms_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from .._model.key_record import KeyRecord
    from .._model.records import Group, JobRecord, WorkerRecord
    from .._policies.rate_limit import Share
    from .deadlines import Deadlines
    from .demand import Demand
    from .keys import Keys
    from .lanes import Entry, HeldLanes, Rank
    from .tag_index import WorkerKind
    from .worker_index import WorkerIndex


class ReadyQueue:
    """Jobs that wait for a worker. The total timeouts of waiting jobs are in the heap of deadlines.

    Arguments:
      roster: the index of workers.
      deadlines: the heap of deadlines.
      tickets: numbers that are unique among everything that holds jobs.
      lifo: whether the last of several jobs with equal priority goes first.
      ranked: whether priorities and turns count at all.
      keys: the keys, if there are bounds for them.
    """

    # fmt: off
    __slots__ = (
        "_bounced", "_deadlines", "_held", "_homes", "_keys", "_lanes", "_lifo", "_nothing_before", "_open", "_pinned",
        "_ranked", "_roster", "_round", "_startable", "_tickets", "demand", "indexes",
    )
    # fmt: on

    def __init__(
        self,
        roster: WorkerIndex,
        deadlines: Deadlines,
        tickets: Iterator[int],
        *,
        lifo: bool = False,
        ranked: bool = True,
        keys: Keys | None = None,
    ) -> None:
        self._roster = roster
        self._deadlines = deadlines
        self._tickets = tickets
        self._lifo = lifo
        self._ranked = ranked
        self._keys = keys
        # For each key that may start no jobs, the lanes that have put its jobs aside.
        self._held: HeldLanes = {}
        self._open = self._new_lane(ANYONE)
        # The lanes of the jobs that wait for only one worker.
        self._pinned: dict[WorkerRecord, dict[Terms, Lane]] = {}
        self._homes: dict[WorkerRecord, Home] = {}
        # The lanes with further terms.
        self._lanes: dict[Terms, Lane] = {}
        self._bounced: dict[Lane, None] = {}
        self._startable = Startable(roster)
        self.indexes: LaneIndexes = LaneIndexes(roster.kinds, self._startable)
        # In an elastic pool: the jobs for which a worker may be opened.
        self.demand: Demand | None = None
        # The number of times that a new job may have become available to a worker; and for each worker, that number at
        # its last search, and the rank before which it found nothing.
        self._round = 0
        self._nothing_before: dict[WorkerRecord, tuple[int, Rank]] = {}

    def push(self, job: JobRecord, terms: Terms, *, front: bool = False, ticket: int | None = None) -> None:
        """Add a job, behind or in front of those of its priority, or with an earlier ``ticket``."""
        if ticket is None:
            ticket = next(self._tickets)
            if front or self._lifo:
                ticket = -ticket
        if terms.units:
            terms = limited_terms(terms, self._roster.limited_units)
        job._ticket = ticket
        if job._deadline != math.inf:
            self._deadlines.add_timeout(job)
        priority = job._options.priority if self._ranked else 0
        if terms is ANYONE:
            job._lane = lane = self._open
            if priority == 0 and ticket > 0:
                lane.append(job)
            else:
                lane.push((priority, 0.0, ticket, job))
            if self.demand is not None:
                self.demand.enter(job, ANYONE)
            if self._roster.idle_count and (self._lanes or self._pinned):
                self._note_startable(lane)
        else:
            self._place((priority, 0.0, ticket, job), terms)

    def take(self, worker: WorkerRecord) -> JobRecord | None:
        """Remove and return the first job that an available worker with a free place may run."""
        if worker._kept:
            for kind in self._roster.kinds.open_to(worker):
                self._nothing_before.pop(worker, None)  # the rank is valid for only one kind
                if (taken := self._take(worker, kind)) is not None:
                    return taken
            return None
        lane = self._open
        if not (self._lanes or self._pinned):
            # A shorter path with the same result, if all jobs are for any worker.
            job = lane.take() if worker._kind.group is None else None
            if job is not None:
                job._ticket = 0
                job._lane = None
                if self.demand is not None:
                    self.demand.leave(job, ANYONE)
                if job._deadline != math.inf:
                    self._deadlines.forget()
            return job
        return self._take(worker, worker._kind)

    def _take(self, worker: WorkerRecord, kind: WorkerKind) -> JobRecord | None:
        """Do what `take` does, for a free place of this kind."""
        lane = self._open
        head = lane.head() if kind.group is None else None
        for own in self._pinned.get(worker, {}).values() if self._pinned else ():
            first = own.head()
            assert first is not None
            if head is None or first[:3] < head[:3]:
                if own.is_closed:
                    assert own.terms.gate is not None
                    self.indexes.closed.setdefault(own.terms.gate, {})[None, own] = None
                elif self._roster.admits(own.terms, worker):
                    lane, head = own, first
        if self._lanes and not self._is_known_to_be_best(worker, head):
            best, nothing_before = None, LAST
            before = LAST if head is None else head[:3]
            for index in self.indexes.of(kind):
                found, rank = index.first(self._roster, worker, before)
                nothing_before = min(nothing_before, rank)
                if found is not None:
                    best, before = found, rank
            self._nothing_before[worker] = (self._round, nothing_before)
            if best is not None:
                return self.pop(best)
        return None if head is None else self.pop(lane)

    def _is_known_to_be_best(self, worker: WorkerRecord, head: Entry | None) -> bool:
        """Whether an earlier search has shown that no lane has a job before ``head``."""
        searched_in, nothing_before = self._nothing_before.get(worker, (-1, LAST))
        return searched_in == self._round and (LAST if head is None else head[:3]) <= nothing_before

    def pop(self, lane: Lane) -> JobRecord:
        """Remove and return the first job of a lane whose `head` has just been checked."""
        job = lane.pop()
        self._took_out(job, lane)
        return job

    def remove(self, job: JobRecord) -> None:
        """Remove a job."""
        lane = cast("Lane", job._lane)
        self._took_out(job, lane, forget=True)

    def clear(self) -> None:
        """Remove everything. The caller handles the tickets and the deadlines."""
        self._open = self._new_lane(ANYONE)
        for held in (self._pinned, self._homes, self._lanes, self._bounced, self._held):
            held.clear()
        if self.demand is not None:
            self.demand.clear()
        self.indexes.clear()
        self._nothing_before.clear()
        self._startable.clear()

    def lanes(self) -> list[Lane]:
        """The lanes that hold jobs, in the order of their first jobs."""
        heads = [(LAST if (head := lane.head()) is None else head[:3], lane) for lane in self._every() if lane.size]
        return [lane for _, lane in sorted(heads, key=lambda pair: pair[0])]

    @property
    def is_plain(self) -> bool:
        """Whether all jobs are for any worker; then the index of startable jobs is not used."""
        return not (self._lanes or self._pinned)

    def first_startable(self) -> tuple[Lane, WorkerRecord] | None:
        """Return the lane with the next startable job, and an idle worker that may run the job."""
        if not (self._lanes or self._pinned):  # a shorter path with the same result
            worker = None if self._open.head() is None else self._roster.choose(ANYONE)
            return None if worker is None else (self._open, worker)
        return self._startable.first()

    def note_idle(self, workers: Iterable[WorkerRecord]) -> None:
        """Note the lanes for idle workers that have not looked for jobs themselves."""
        self._startable.note_changes()
        self._note_startable(self._open)
        for worker in workers:
            if worker in self._homes:
                self._startable.look_again(self._homes[worker])
            if self._lanes:
                kinds = self._roster.kinds.open_to(worker, self.indexes.gated) if worker._kept else (worker._kind,)
                for kind in kinds:
                    self.indexes.note_idle(kind)

    def _note_startable(self, lane: Lane) -> None:
        head = lane.head()
        if head is not None:
            self._startable.note(lane, head[:3])

    def release(self, worker: WorkerRecord) -> None:
        """Move the jobs that wait for a leaving worker to other lanes, if other workers may run them."""
        self._nothing_before.pop(worker, None)
        for lane in list(self._pinned.get(worker, {}).values()):
            entries = lane.entries()
            # First all are removed, since an entry that returns beside its stale copy would make that valid again.
            for entry in entries:
                self._left_lane(entry[3], lane, forget=True)
            for priority, _, ticket, job in entries:
                self._place((priority, 0.0, ticket, job), self._terms_of(job))

    def move(self, job: JobRecord) -> None:
        """Move a job whose terms have changed to another lane; it keeps its place in the order."""
        self._left_lane(job, cast("Lane", job._lane), forget=True)
        self._place((job._options.priority if self._ranked else 0, 0.0, job._ticket, job), self._terms_of(job))

    def _terms_of(self, job: JobRecord) -> Terms:
        return limited_terms(terms_of(job), self._roster.limited_units)

    def waits_for(self, worker: WorkerRecord) -> bool:
        """Whether jobs wait for only this worker."""
        return worker in self._pinned

    def lanes_for(self, worker: WorkerRecord, *, tags: bool) -> list[Lane]:
        """The lanes of jobs that wait for only this worker; with ``tags`` also lanes that may require its tags."""
        found = list(self._pinned.get(worker, {}).values())
        if tags:
            found += (lane for tag in (None, *worker._tags) for lane in self.indexes.with_tag(tag))
            if self._open.size:
                found.append(self._open)
        return found

    def reopen_gate(self, gate: str | Share) -> None:
        """Look again at the jobs that wait for a unit or for a shared limit that allows starts again."""
        self._startable.reopen(gate)

    def reopen(self, group: Group) -> None:
        """Enter the lanes of a group again, after the group may start jobs again."""
        self._startable.reopen(group)
        for index, lane in self.indexes.closed.pop(group, ()):
            head = lane.head()
            if head is not None:
                if index is not None:
                    index.advertise(lane, head)
                self._startable.note(lane, head[:3])
        self._round += 1

    def reopen_key(self, key: KeyRecord) -> None:
        """Enter the jobs of a key again, after the key may start jobs again."""
        for lane in self._held.pop(key, ()):
            lane.reopen(key)
            self._note_head(lane)

    def _note_head(self, lane: Lane) -> None:
        """Note that a lane may have a new first job."""
        head = lane.head()
        if head is None:
            return
        if lane.terms in self._lanes:
            self._round += 1
            if lane.terms.pinned is None:
                self.indexes.advertise(lane, head)
        if self._roster.idle_count or lane.home is not None:
            self._startable.note(lane, head[:3])

    def reopen_for(self, worker: WorkerRecord) -> None:
        """Let a worker search again, since it may now run jobs of more units."""
        self._nothing_before.pop(worker, None)

    def uses_any(self, units: Collection[str]) -> bool:
        """Whether jobs wait that use any of these units."""
        return self.indexes.uses_any(units)

    def forget_kinds(self, group: Group) -> None:
        """Drop the indexes of a group's reserved workers after these have been released."""
        self.indexes.forget(group)

    def look_again(self) -> None:
        """Allow new searches after the available workers have changed."""
        self._round += 1
        if self._roster.idle_count:
            for lane in self._bounced:
                self._note_startable(lane)

    def __iter__(self) -> Iterator[JobRecord]:
        for lane in self.lanes():
            for entry in lane.entries():
                yield entry[3]

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
        """Put an entry into the lane for its job's terms."""
        if terms is ANYONE:
            lane = self._open
        elif terms.pinned is not None and terms.gate is None and terms.requires <= terms.pinned._tags:
            worker = terms.pinned
            lanes = self._pinned.setdefault(worker, {})
            terms = Terms(pinned=worker, units=terms.units)
            if terms not in lanes:
                lanes[terms] = self._new_lane(terms)
                lanes[terms].home = self._home_of(worker)
                self.indexes.count_units(terms.units, 1)
            lane = lanes[terms]
        else:
            lane = self._lanes.get(terms) or self._add_lane(terms)
        if not lane.size and self._roster.idle_count:
            self._note_startable(self._open)  # until now the queue may have been plain; then nothing is noted
        job = entry[3]
        job._lane = lane
        lane.push(entry)
        if self.demand is not None and (lane.is_counted or lane is self._open):
            self.demand.enter(job, terms)
        head = lane.head()
        if head is not None and head[3] is job:
            self._note_head(lane)

    def _new_lane(self, terms: Terms) -> Lane:
        return Lane(terms) if self._keys is None else FairLane(terms, self._keys, self._held, ranked=self._ranked)

    def _add_lane(self, terms: Terms) -> Lane:
        lane = self._lanes[terms] = self._new_lane(terms)
        self.indexes.add(lane)
        if terms.pinned is not None:
            self._pinned.setdefault(terms.pinned, {})[terms] = lane
            lane.home = self._home_of(terms.pinned)
            return lane
        if terms.failed:
            self._bounced[lane] = None
        lane.is_counted = self.demand is not None and terms.requires <= self.demand.tags
        return lane

    def _home_of(self, worker: WorkerRecord) -> Home:
        home = self._homes.get(worker)
        if home is None:
            home = self._homes[worker] = Home(partial(self._roster.is_idle, worker))
        return home

    def _drop_lane(self, lane: Lane) -> None:
        terms = lane.terms
        self._startable.forget(lane)
        if terms.pinned is not None and take_from(self._pinned, terms.pinned, terms):
            self._startable.forget_gate(self._homes.pop(terms.pinned))
        if self._lanes.pop(terms, None) is None:
            self.indexes.count_units(terms.units, -1)
            return
        self._bounced.pop(lane, None)
        if self.indexes.drop(lane):
            assert terms.gate is not None
            self._startable.forget_gate(terms.gate)

    def _took_out(self, job: JobRecord, lane: Lane, *, forget: bool = False) -> None:
        job._ticket = 0
        if job._deadline != math.inf:
            self._deadlines.forget()
        self._left_lane(job, lane, forget=forget)

    def _left_lane(self, job: JobRecord, lane: Lane, *, forget: bool) -> None:
        job._lane = None
        if forget:
            lane.forget(job)
        if self.demand is not None and (lane.is_counted or lane is self._open):
            self.demand.leave(job, lane.terms)
        if not lane.size and lane is not self._open:
            self._drop_lane(lane)
