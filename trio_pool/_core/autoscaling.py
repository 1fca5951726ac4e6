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
    """Keeps the number of elastic workers between ``min`` and ``max``.

    Workers added by the program are not counted.

    How long one worker has been idle says little. If the longest idle worker gets the next job, no
    worker is idle for long, however many there are. So the autoscaler records since when there has
    always been one idle worker, two idle workers, and so on.
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
        # The runtime opens the first workers, and gives up if one of them can't be opened.
        self.begun: bool = False
        # How many workers have joined and not left; and those of them that are not about to leave.
        self._present = 0
        self._crew: dict[WorkerRecord, None] = {}
        # The workers whose resource is about to be opened. Those of them with jobs that must end
        # first, since the jobs used or had lent the worker when the resource broke. And those for
        # which opening has already failed.
        self._unopened: set[WorkerRecord] = set()
        self._held: set[WorkerRecord] = set()
        self._failing: dict[WorkerRecord, None] = {}
        # The idle workers, the longest idle first. A worker whose resource is reopened because of
        # its age stays idle: otherwise it would never be retired.
        self._idle: dict[WorkerRecord, None] = {}
        # Since when there have been this many idle workers: the first entry for one, the second for
        # two, and so on.
        self._idle_since: deque[float] = deque()
        # When to look for workers to retire.
        self._retire_at: float | None = None
        # Workers that the runtime has to open but that have not joined yet.
        self._ordered = 0

    @property
    def is_hiring(self) -> bool:
        """Whether a worker is about to join."""
        return self._ordered > 0

    @property
    def is_letting_go(self) -> bool:
        """Whether a worker is about to leave."""
        return self._present > len(self._crew)

    @property
    def is_short(self) -> bool:
        """Whether jobs wait for which another worker could be opened."""
        return self._there < self._elastic.max and not self._failing and self._waiting() > 0

    @property
    def most(self) -> float:
        """The maximum number of elastic workers."""
        return self._elastic.max

    @property
    def own(self) -> int:
        """How many elastic workers stay."""
        return len(self._crew)

    @property
    def _there(self) -> int:
        return self._present + self._ordered

    @property
    def _coming(self) -> int:
        """How many workers are about to open their resources, except those whose jobs have to end first."""
        return len(self._unopened) - sum(not worker._coming for worker in self._held)

    def could_open(self, terms: Terms) -> bool:
        """Whether a worker for such a job is about to join, or may be opened."""
        return (self._ordered > 0 or self._there < self._elastic.max) and self.could_take(terms)

    def could_replace(self, terms: Terms) -> bool:
        """Whether a worker for such a job may be opened after a leaving worker has left."""
        return len(self._crew) + self._ordered < self._elastic.max and self.could_take(terms)

    def will_open(self, terms: Terms) -> bool:
        """Whether a worker for such a job is about to join in any case."""
        is_short = len(self._crew) < self._elastic.min and self._there < self._elastic.max
        return (self._ordered > 0 or is_short) and self.could_take(terms)

    def will_replace(self, terms: Terms) -> bool:
        """Whether a worker for such a job will join after a leaving worker has left."""
        return len(self._crew) + self._ordered < self._elastic.min and self.could_take(terms)

    def could_take(self, terms: Terms) -> bool:
        """Whether a new elastic worker may run such a job."""
        return terms.pinned is None and terms.requires <= self._elastic.tags

    def still_wants_one(self) -> bool:
        """Whether an ordered worker is still needed that could not be opened at once."""
        wanted = self._waiting() + self._reservations.lacking
        return len(self._crew) < self._elastic.min or wanted > self._coming

    def joined(self, worker: WorkerRecord, *, ordered: bool) -> None:
        """Record that an elastic worker has joined."""
        self._present += 1
        self._crew[worker] = None
        self._unopened.add(worker)
        self._ordered -= ordered
        self._look_again()  # some workers may have been idle for long, but were needed for ``min``

    def opened(self, worker: WorkerRecord) -> None:
        """Record that a worker's resource is open."""
        self._unopened.discard(worker)
        self._held.discard(worker)
        self._failing.pop(worker, None)

    def reopening(self, worker: WorkerRecord, *, again: bool) -> None:
        """Record that a worker's resource is being reopened; ``again`` after a failed attempt to open it."""
        if worker in self._crew:
            self._unopened.add(worker)
            if worker._runs or worker._lent:
                self._held.add(worker)
            if again:
                self._failing[worker] = None

    def refused(self) -> None:
        """Record that an ordered worker will not join, since the pool ends."""
        self._ordered -= 1

    def left(self, worker: WorkerRecord) -> None:
        """Record that a worker has left, which may now be replaced."""
        if worker._elastic:
            self._present -= 1
            self.gone(worker)

    def gone(self, worker: WorkerRecord) -> None:
        """Record that a worker is about to leave or has left."""
        self._crew.pop(worker, None)
        self.opened(worker)
        if worker in self._idle:
            del self._idle[worker]
            self._idle_since.popleft()  # the worker leaves because of its own idle time, not that of the others

    def hire(self, now: float) -> None:
        """Order the missing workers: for waiting jobs, and to keep at least ``min`` workers."""
        if not self.begun or self._there >= self._elastic.max or self._failing:
            return  # while the resource can't be opened, the workers that try are enough
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
        """Return a worker whose resource can't be opened and that no job needs any more, or None."""
        if not self._failing or len(self._crew) <= self._elastic.min or self._waiting() or self._reservations.lacking:
            return None
        return next((worker for worker in self._failing if worker._kind.group is None), None)

    def parked(self, worker: WorkerRecord, now: float) -> None:
        """Record that a worker has become idle."""
        if not worker._elastic or worker in self._idle:
            return
        self._idle[worker] = None
        self._idle_since.append(now)
        self._look_again()

    def unparked(self, worker: WorkerRecord) -> None:
        """Record that a worker has got a job or can't take one any more."""
        if worker in self._idle and worker._is_open:
            del self._idle[worker]
            self._idle_since.pop()

    def given_back(self) -> None:
        """Look for workers to retire after a group has released its workers."""
        self._look_again()

    def retire(self, now: float) -> WorkerRecord | None:
        """Return the next worker to retire now, or None. The worker must depart before the next call."""
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
        """Whether an idle worker must stay although there are too many."""
        if worker._kind.group is not None or worker._lent or self._queue.waits_for(worker):
            return True
        # A worker that is being reopened counts as coming for waiting jobs.
        return worker in self._unopened and (self._waiting() > 0 or self._reservations.lacking > 0)

    def _look_again(self) -> None:
        """Schedule the next search for workers to retire, if there may be any."""
        if self._retire_at is None and self._idle_since and len(self._crew) > self._elastic.min:
            self._look_again_at(self._idle_since[0] + self._elastic.idle_timeout)

    def _look_again_at(self, when: float) -> None:
        if when < math.inf:
            self._retire_at = when
            self._deadlines.add(Due.RETIRE, self, when)

    def _waiting(self) -> int:
        """How many jobs wait that an elastic worker may run, in the queue or for a place in it."""
        by_gate: dict[Group | None, int] = {}
        for queue in (self._queue, self._waiting_line.by_taker):
            for gate, size in queue.counted():
                by_gate[gate] = by_gate.get(gate, 0) + size
        return sum(size if gate is None else int(min(size, max(0, gate.room))) for gate, size in by_gate.items())

    def _startable(self, now: float) -> float:
        """How many more attempts the limits of the pool allow to start now."""
        room = max(0, self._state.limits.room)  # more attempts may run than allowed, if the bound was lowered
        meter = self._state.limits.meter
        if meter is None or not room:
            return room
        if (ready := meter.ready_at(now)) > now:
            self._state.limits.wait_for_meter(ready)
        return min(room, meter.startable(now))
