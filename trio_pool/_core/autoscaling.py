"""When an elastic pool opens another worker, and when it retires one."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

from .._model.states import Hold
from .commands import HIRE
from .deadlines import Alarm, Due
from .demand import Demand

if TYPE_CHECKING:
    from .._model.records import Terms, WorkerRecord
    from .._policies.resource import Elastic
    from .headroom import Headroom
    from .state import PoolState


class Autoscaler:
    """Keeps the number of elastic workers between ``min`` and ``max``.

    Workers added by the program are not counted.

    The idle time of a single worker says little. If the longest idle worker gets the next job, no
    worker is idle for long, however many there are. So the autoscaler records since when there has
    always been at least one idle worker, at least two idle workers, and so on.
    """

    __slots__ = (
        "_crew",
        "_deadlines",
        "_demand",
        "_elastic",
        "_failing",
        "_headroom",
        "_held",
        "_idle",
        "_idle_since",
        "_opening",
        "_ordered",
        "_present",
        "_queue",
        "_reservations",
        "_retiring",
        "_state",
        "_unopened",
        "_waiting_line",
        "begun",
    )

    def __init__(self, elastic: Elastic[Any], state: PoolState, headroom: Headroom) -> None:
        self._elastic = elastic
        self._state = state
        self._deadlines = state.deadlines
        self._queue = state.queue
        self._waiting_line = state.waiting_line
        self._reservations = state.reservations
        self._headroom = headroom
        self._demand = Demand(elastic.tags, elastic.open_after, headroom)
        state.queue.demand = state.waiting_line.by_taker.demand = self._demand
        if state.keys is not None:
            state.keys.on_change = self._demand.note_key
        state.roster.on_parked, state.roster.on_unparked = self.parked, self.unparked
        # The runtime opens the first workers, and gives up if one of them can't be opened.
        self.begun: bool = False
        # How many workers have joined and not left; and which of them are not about to leave.
        self._present = 0
        self._crew: dict[WorkerRecord, None] = {}
        # The workers whose resource is about to be opened; those of them with jobs that must end
        # first, since the jobs used or had lent the worker when the resource broke; and those for
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
        # When the next job will have waited long enough for a worker to be opened.
        self._opening = Alarm()
        # When to look for workers to retire.
        self._retiring = Alarm()
        # Workers that the runtime has to open but that have not joined yet.
        self._ordered = 0

    @property
    def is_hiring(self) -> bool:
        """Whether a worker is about to join."""
        return self._ordered > 0

    @property
    def is_patient(self) -> bool:
        """Whether a worker will be opened if the waiting jobs go on waiting."""
        return self._opening.at is not None

    @property
    def is_letting_go(self) -> bool:
        """Whether a worker is about to leave."""
        return self._present > len(self._crew)

    @property
    def is_short(self) -> bool:
        """Whether jobs wait for which another worker could be opened."""
        return self._there < self._elastic.max and not self._failing and self._demand.waiting() > 0

    @property
    def more_places(self) -> float:
        """How many places the pool would gain with ``max`` elastic workers; negative if there are more than ``max``."""
        more = self._elastic.max - len(self._crew)
        return more * self._elastic.max_running if more else 0.0  # either factor may be infinite

    @property
    def _there(self) -> int:
        return self._present + self._ordered

    @property
    def _coming(self) -> int:
        """How many workers are about to open their resources, except those whose jobs have to end first."""
        return len(self._unopened) - sum(not worker._coming for worker in self._held)

    def could_open(self, terms: Terms) -> bool:
        """Whether a worker for such a job is about to join, or can be opened."""
        return (self._ordered > 0 or self._there < self._elastic.max) and self.could_take(terms)

    def could_replace(self, terms: Terms) -> bool:
        """Whether a worker for such a job can be opened after a leaving worker has left."""
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
        """Whether an ordered worker that could not be opened at once is still needed."""
        if self._present >= self._elastic.max:
            return False  # ``max`` is lower now
        wanted = self._demand.waiting() + self._reservations.lacking
        missing = max(math.ceil(wanted / self._elastic.max_running), 1) - self._coming
        return len(self._crew) < self._elastic.min or (wanted > 0 and missing > 0)

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
        """Record that a worker has left, and can now be replaced."""
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
        if not self.begun:
            return
        # While resources can't be opened, no workers are added to those that are trying.
        may_open = self._there < self._elastic.max and not self._failing
        startable = self._startable_by_new(now) if may_open or self._demand.patience else 0
        if not may_open:
            self._look_for_ripe_at(math.inf)
            return
        missing: float = self._elastic.min - len(self._crew) - self._ordered
        wanted: float = self._reservations.lacking
        wanted += startable
        if wanted:
            workers = max(math.ceil(wanted / self._elastic.max_running), 1)
            missing = max(missing, workers - self._ordered - self._coming)
        if missing <= 0:
            return
        for _ in range(int(min(missing, self._elastic.max - self._there))):
            self._ordered += 1
            self._state.commands.append((HIRE, None))

    def not_needed(self) -> WorkerRecord | None:
        """Return a worker whose resource can't be opened and that no job needs any more, or None."""
        if not self._failing or len(self._crew) <= self._elastic.min:
            return None
        if self._demand.waiting() or self._reservations.lacking:
            return None
        return next((worker for worker in self._failing if worker._kind.group is None and not worker._kept), None)

    def parked(self, worker: WorkerRecord, now: float) -> None:
        """Record that a worker has become idle."""
        if not worker._elastic or worker in self._idle:
            return
        self._idle[worker] = None
        self._idle_since.append(now)
        self._look_again()

    def unparked(self, worker: WorkerRecord) -> None:
        """Record that a worker has got a job or can no longer take one."""
        if worker in self._idle and worker._is_open and Hold.CHECKING not in worker._holds:
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

    def surplus(self) -> WorkerRecord | None:
        """Return an idle worker that has to leave since ``max`` is lower now, or None."""
        if not self._has_surplus:
            return None
        return next((worker for worker in self._idle if not self._is_bound(worker)), None)

    def is_surplus(self, worker: WorkerRecord) -> bool:
        """Whether a worker that has ended a run has to leave since ``max`` is lower now."""
        if not (self._has_surplus and worker in self._crew and worker._available) or worker._runs:
            return False
        return not self._is_bound(worker)

    @property
    def _has_surplus(self) -> bool:
        return len(self._crew) > self._elastic.max  # ordered workers don't count: they can be refused

    def _is_bound(self, worker: WorkerRecord) -> bool:
        """Whether the worker is needed by a group, by a job that has lent it, or by a job that waits only for it."""
        if worker._kind.group is not None or worker._kept or worker._lent:
            return True
        return self._queue.waits_for(worker) or self._waiting_line.by_taker.waits_for(worker)

    def _is_needed(self, worker: WorkerRecord) -> bool:
        """Whether an idle worker must stay although it has been idle for long."""
        if self._is_bound(worker):
            return True
        # A worker that is being reopened counts as coming for waiting jobs.
        return worker in self._unopened and (self._demand.waiting() > 0 or self._reservations.lacking > 0)

    def change(self, elastic: Elastic[Any]) -> None:
        """Change ``min``, ``max``, ``idle_timeout`` and ``open_after``."""
        self._elastic = elastic
        self._demand.set_patience(elastic.open_after)
        self._deadlines.set(Due.RETIRE, self._retiring, math.inf)
        self._look_again()

    def _look_again(self) -> None:
        """Schedule the next search for workers to retire, if there may be any."""
        if self._retiring.at is None and self._idle_since and len(self._crew) > self._elastic.min:
            self._look_again_at(self._idle_since[0] + self._elastic.idle_timeout)

    def _look_again_at(self, when: float) -> None:
        self._deadlines.set(Due.RETIRE, self._retiring, when)

    def _startable_by_new(self, now: float) -> float:
        """Return how many jobs have waited long enough for nothing but a worker; schedule the next look."""
        room = self._headroom.starts(now) if self._demand.waiting() else 0
        ripe, next_at = self._demand.ripe(now, room > 0)
        self._look_for_ripe_at(next_at)
        return min(ripe, room)

    def _look_for_ripe_at(self, when: float) -> None:
        """Look again at this time, or earlier; ``inf`` for never."""
        at = self._opening.at
        if at is None or when < at or when == math.inf:
            self._deadlines.set(Due.OPEN, self._opening, when)
