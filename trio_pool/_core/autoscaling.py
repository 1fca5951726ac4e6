"""When an elastic pool opens another worker, and when it retires one."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from .commands import HIRE
from .deadlines import Due

if TYPE_CHECKING:
    from .._model.records import Group, Terms, WorkerRecord
    from .._policies.resource import Elastic
    from .state import PoolState


class Autoscaler:
    """Holds the number of elastic workers between ``min`` and ``max``.

    Workers that the program has added itself are none of its business.

    How long a worker has been idle says little: where the longest idle one gets the next job,
    none is idle for long, however many there are. What counts is since when there has been one idle
    worker, two idle workers, and so on without a break.
    """

    __slots__ = (
        "_crew",
        "_deadlines",
        "_elastic",
        "_failing",
        "_held",
        "_idle",
        "_idle_since",
        "_ordered",
        "_present",
        "_queue",
        "_reservations",
        "_retire_at",
        "_state",
        "_unopened",
        "_waiting_line",
        "begun",
    )

    def __init__(self, elastic: Elastic[Any], state: PoolState) -> None:
        self._elastic = elastic
        self._state = state
        self._deadlines = state.deadlines
        self._queue = state.queue
        self._waiting_line = state.waiting_line
        self._reservations = state.reservations
        state.queue.counted_tags = state.waiting_line.by_taker.counted_tags = elastic.tags
        state.roster.on_parked, state.roster.on_unparked = self.parked, self.unparked
        # The first workers are opened by the shell, which gives up if one of them can't be.
        self.begun: bool = False
        # How many have joined and not left; and those of them that are not told to leave.
        self._present = 0
        self._crew: dict[WorkerRecord, None] = {}
        # Those of them whose resource is about to be opened; those of these whose jobs had to end first when it broke,
        # or had lent them; and those where opening has failed already.
        self._unopened: set[WorkerRecord] = set()
        self._held: set[WorkerRecord] = set()
        self._failing: dict[WorkerRecord, None] = {}
        # The idle ones, the longest idle first. One whose resource is opened anew meanwhile, being
        # too old, remains idle: else it would never be retired.
        self._idle: dict[WorkerRecord, None] = {}
        # Since when there have been so many idle workers: the first for one, the second for two ...
        self._idle_since: deque[float] = deque()
        # When it is to be looked for some to retire.
        self._retire_at: float | None = None
        # Workers that the shell has been told to open, but that have not joined yet.
        self._ordered = 0

    @property
    def is_hiring(self) -> bool:
        """Whether a worker is about to join."""
        return self._ordered > 0

    @property
    def is_letting_go(self) -> bool:
        """Whether a worker is to leave that has not left."""
        return self._present > len(self._crew)

    @property
    def is_short(self) -> bool:
        """Whether jobs wait for which another worker could be opened."""
        return self._there < self._elastic.max and not self._failing and self._waiting() > 0

    @property
    def most(self) -> float:
        """How many workers it may open at most."""
        return self._elastic.max

    @property
    def own(self) -> int:
        """How many of those that stay are its own."""
        return len(self._crew)

    @property
    def _there(self) -> int:
        return self._present + self._ordered

    @property
    def _coming(self) -> int:
        """How many are about to open their resources; not those whose jobs have to end first, and may wait."""
        return len(self._unopened) - sum(not worker._coming for worker in self._held)

    def could_open(self, terms: Terms) -> bool:
        """Whether one more worker is about to join, or may be opened, that may take such a job."""
        return (self._ordered > 0 or self._there < self._elastic.max) and self.could_take(terms)

    def could_replace(self, terms: Terms) -> bool:
        """Whether one may be opened that may take such a job, once one of those that are to leave has left."""
        return len(self._crew) + self._ordered < self._elastic.max and self.could_take(terms)

    def will_open(self, terms: Terms) -> bool:
        """Whether one that may take such a job is about to join, whoever else there is for it to do."""
        is_short = len(self._crew) < self._elastic.min and self._there < self._elastic.max
        return (self._ordered > 0 or is_short) and self.could_take(terms)

    def will_replace(self, terms: Terms) -> bool:
        """Whether one that may take such a job will join once one of those that are to leave has left."""
        return len(self._crew) + self._ordered < self._elastic.min and self.could_take(terms)

    def could_take(self, terms: Terms) -> bool:
        """Whether a worker that could be opened may take such a job."""
        return terms.pinned is None and terms.requires <= self._elastic.tags

    def joined(self, worker: WorkerRecord, *, ordered: bool) -> None:
        """One of these workers has joined."""
        self._present += 1
        self._crew[worker] = None
        self._unopened.add(worker)
        self._ordered -= ordered
        self._look_again()  # some may have been idle for long, and were within the least number

    def opened(self, worker: WorkerRecord) -> None:
        """A worker's resource is open."""
        self._unopened.discard(worker)
        self._held.discard(worker)
        self._failing.pop(worker, None)

    def reopening(self, worker: WorkerRecord, *, again: bool) -> None:
        """A worker's resource has to be opened anew, or that has failed and is tried again."""
        if worker in self._crew:
            self._unopened.add(worker)
            if worker._runs or worker._lent:
                self._held.add(worker)
            if again:
                self._failing[worker] = None

    def refused(self) -> None:
        """A worker that was ordered will not join: the pool is ending."""
        self._ordered -= 1

    def left(self, worker: WorkerRecord) -> None:
        """A worker has left: only now may there be another in its place."""
        if worker._elastic:
            self._present -= 1
            self.gone(worker)

    def gone(self, worker: WorkerRecord) -> None:
        """A worker is to leave, or has left."""
        self._crew.pop(worker, None)
        self.opened(worker)
        if worker in self._idle:
            del self._idle[worker]
            self._idle_since.popleft()  # it is its time that is up, not that of the others

    def hire(self, now: float) -> None:
        """Order what is missing: for jobs that wait, and to keep the least number of workers."""
        if not self.begun or self._there >= self._elastic.max or self._failing:
            return  # where the resource can't be opened, those that try are enough
        missing: float = self._elastic.min - len(self._crew) - self._ordered
        wanted: float = self._reservations.lacking
        if waiting := self._waiting():
            wanted += min(waiting, self._startable(now))
        if wanted:
            missing = max(missing, wanted - self._ordered - self._coming)
        if missing <= 0:
            return
        for _ in range(int(min(missing, self._elastic.max - self._there))):
            self._ordered += 1
            self._state.commands.append((HIRE, None))

    def not_needed(self) -> WorkerRecord | None:
        """A worker whose resource can't be opened, and for which no job waits any more, or None."""
        if not self._failing or len(self._crew) <= self._elastic.min or self._waiting() or self._reservations.lacking:
            return None
        return next((worker for worker in self._failing if worker._kind.group is None), None)

    def parked(self, worker: WorkerRecord, now: float) -> None:
        """A worker has become idle."""
        if not worker._elastic or worker in self._idle:
            return
        self._idle[worker] = None
        self._idle_since.append(now)
        self._look_again()

    def unparked(self, worker: WorkerRecord) -> None:
        """A worker can't be given a job any more, or has just been given one."""
        if worker in self._idle and worker._is_open:
            del self._idle[worker]
            self._idle_since.pop()

    def given_back(self) -> None:
        """Workers that a group had for itself may be retired again."""
        self._look_again()

    def retire(self, now: float) -> WorkerRecord | None:
        """The next worker to be retired now, or None. It has to depart before this is asked again."""
        if not self._idle_since or len(self._crew) <= self._elastic.min:
            return None
        if self._idle_since[0] + self._elastic.idle_timeout > now:
            self._look_again()
            return None
        longest = next((worker for worker in self._idle if not self._is_needed(worker)), None)
        if longest is None and self._elastic.idle_timeout:
            self._look_again_at(now + self._elastic.idle_timeout)
        return longest

    def _is_needed(self, worker: WorkerRecord) -> bool:
        """Whether an idle worker may not be retired, though there are too many."""
        if worker._kind.group is not None or worker._lent or self._queue.waits_for(worker):
            return True
        # One that is opened anew counts as coming for those that wait.
        return worker in self._unopened and (self._waiting() > 0 or self._reservations.lacking > 0)

    def _look_again(self) -> None:
        """See to it that it is looked for workers to retire, if there may be some."""
        if self._retire_at is None and self._idle_since and len(self._crew) > self._elastic.min:
            self._look_again_at(self._idle_since[0] + self._elastic.idle_timeout)

    def _look_again_at(self, when: float) -> None:
        if when < math.inf:
            self._retire_at = when
            self._deadlines.add(Due.RETIRE, self, when)

    def _waiting(self) -> int:
        """How many jobs wait that one of these workers may take, in the queue or for a place in it."""
        by_gate: dict[Group | None, int] = {}
        for queue in (self._queue, self._waiting_line.by_taker):
            for gate, size in queue.counted():
                by_gate[gate] = by_gate.get(gate, 0) + size
        return sum(size if gate is None else int(min(size, max(0, gate.room))) for gate, size in by_gate.items())

    def _startable(self, now: float) -> float:
        """How many more attempts the limits of the pool would let start now."""
        room = max(0, self._state.limits.room)  # there may be more under way than the bound, since that was changed
        meter = self._state.limits.meter
        if meter is None or not room:
            return room
        if (ready := meter.ready_at(now)) > now:
            self._state.limits.wait_for_meter(ready)
        return min(room, meter.startable(now))
