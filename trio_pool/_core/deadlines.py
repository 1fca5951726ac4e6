"""The single heap of deadlines: timeouts, delays, and what holds workers back."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .._model.states import Hold
from .run_heap import RunHeap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._model.records import JobRecord, WorkerRecord


class Due(enum.IntEnum):
    """The kinds of deadlines, in the order in which they take effect at the same instant."""

    TOTAL_TIMEOUT = 0
    AGE = 1
    REST = 2
    QUARANTINE = 3
    LIMIT = 4
    RATE = 5
    POOL_REST = 6
    DELAY = 7
    RETIRE = 8
    HEDGE = 9
    OPEN = 10
    CHECK = 11
    UNIT = 12
    WAKE = 13


# The time in a field of the item identifies the one valid entry for these kinds. All others have
# tickets instead, since their deadlines may move to another time and back again.
HOLDS = {Due.REST: Hold.RESTING, Due.QUARANTINE: Hold.QUARANTINED, Due.LIMIT: Hold.LIMITED}
FIELDS = {
    Due.AGE: "_expires_at",
    Due.POOL_REST: "resting_until",
}


Entry: TypeAlias = "tuple[float, Due, int, Any]"


class Ticketed(Protocol):
    """An item with a deadline that may move; its ticket identifies the one valid entry."""

    _ticket: int


class Alarm:
    """A deadline of its own, changed by `Deadlines.set`.

    Attributes:
      at: the time, or None.
    """

    __slots__ = ("_ticket", "at")

    def __init__(self) -> None:
        self._ticket: int = 0
        self.at: float | None = None


class Deadlines(RunHeap[Entry]):
    """A heap with lazy deletion: stale entries are dropped when they are reached.

    Entries are compared by their time, their kind and a ticket, so that items are never compared. A
    job has an entry only while it waits, under the ticket of that wait. While the job runs, a
    cancel scope handles its timeouts. Code that makes an entry stale reports it by `forget`. When
    more than half of the entries are stale, the heap is rebuilt, so that stale entries can't
    accumulate.

    Attributes:
      soonest: when to call `pop_due` next, or ``inf``; may be too early, but never too late.
    """

    __slots__ = ("_stale", "_tickets", "soonest")

    def __init__(self, tickets: Iterator[int]) -> None:
        super().__init__()
        self._tickets = tickets
        self._stale = 0
        self.soonest: float = math.inf

    def add_timeout(self, job: JobRecord) -> None:
        """Add the total timeout of a job that has begun to wait."""
        self._push(job._deadline, Due.TOTAL_TIMEOUT, abs(job._ticket), job)

    def add_blocked(self, job: JobRecord) -> None:
        """Add a job that has begun to wait for others; its ticket identifies the entry, if there is one."""
        job._ticket = next(self._tickets)
        if job._deadline != math.inf:
            self.add_timeout(job)

    def drop_blocked(self, job: JobRecord) -> None:
        """Remove a job that no longer waits for others."""
        job._ticket = 0
        if job._deadline != math.inf:
            self.forget()

    def add_delay(self, job: JobRecord, until: float) -> None:
        """Add the end of a job's delay; the job's ticket identifies the entry."""
        job._ticket = next(self._tickets)
        self._push(until, Due.DELAY, job._ticket, job)

    def add_ticketed(self, due: Due, item: Ticketed, when: float) -> None:
        """Add a deadline that may move; the item's ticket identifies the entry."""
        item._ticket = next(self._tickets)
        self._push(when, due, item._ticket, item)

    def add_unit(self, gate: Ticketed, ready: float) -> None:
        """Add the time when the limits of a unit allow a start; the ticket identifies the entry."""
        gate._ticket = next(self._tickets)
        self._push(ready, Due.UNIT, gate._ticket, gate)

    def add_wake(self, woken: Ticketed, when: float) -> None:
        """Add something to look at before the next event; the ticket identifies the entry."""
        woken._ticket = next(self._tickets)
        self._push(when, Due.WAKE, woken._ticket, woken)

    def add(self, due: Due, item: object, when: float) -> None:
        """Add a deadline of one of `FIELDS`; ``when`` must be stored in the item's field for this kind."""
        self._push(when, due, next(self._tickets), item)

    def add_hold(self, due: Due, worker: WorkerRecord, when: float) -> None:
        """Add the end of a hold of a worker; its ticket identifies the entry."""
        ticket = worker._hold_ends[HOLDS[due]] = next(self._tickets)
        self._push(when, due, ticket, worker)

    def set(self, due: Due, alarm: Alarm, when: float) -> None:
        """Set an alarm to another time; ``inf`` for never."""
        at = None if when == math.inf else when
        if alarm.at == at:
            return
        if alarm.at is not None:
            alarm._ticket = 0
            self.forget()
        alarm.at = at
        if at is not None:
            alarm._ticket = next(self._tickets)
            self._push(at, due, alarm._ticket, alarm)

    def forget(self) -> None:
        """Record that an entry has become stale."""
        self._stale += 1
        if self._compact(self._stale, _is_current):
            self._stale = 0
            self._look()

    def pop_due(self, now: float) -> Iterator[tuple[Due, Any]]:
        """Remove and yield what has come due, one by one, with the item."""
        while self.soonest <= now and len(self):
            entry = self._pop()
            self._look()
            if not _is_current(entry):
                self._stale -= 1
                continue
            if entry[1] is Due.TOTAL_TIMEOUT:
                self._stale -= 1  # the caller removes the job from its queue, which reports it by forget()
            yield entry[1], entry[3]

    def _push(self, when: float, due: Due, sequence: int, item: object) -> None:
        self._add((when, due, sequence, item))
        if when < self.soonest:
            self.soonest = when

    def _look(self) -> None:
        first = self._first()
        self.soonest = math.inf if first is None else first[0]


def _is_current(entry: Entry) -> bool:
    when, due, sequence, item = entry
    if (hold := HOLDS.get(due)) is not None:
        return bool(item._hold_ends.get(hold) == sequence)
    field = FIELDS.get(due)
    return bool(abs(item._ticket) == sequence if field is None else getattr(item, field) == when)


def is_over(due: Due, item: Any) -> None:
    """Remove the time of an item whose deadline has come."""
    if (hold := HOLDS.get(due)) is not None:
        del item._holds[hold], item._hold_ends[hold]
    elif (field := FIELDS.get(due)) is not None:
        setattr(item, field, None)
    else:
        item.at, item._ticket = None, 0
