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
    KEY_REST = 14


HOLDS = {Due.REST: Hold.RESTING, Due.QUARANTINE: Hold.QUARANTINED, Due.LIMIT: Hold.LIMITED}
# A worker has a ticket for each of these kinds.
_OF_WORKERS = frozenset((*HOLDS, Due.AGE))


Entry: TypeAlias = "tuple[float, Due, int, Any]"


class Ticketed(Protocol):
    """An item with a deadline that may move; its ticket identifies the one valid entry."""

    _ticket: int


class Timed(Ticketed, Protocol):
    """An item whose deadline `Deadlines.set` changes."""

    at: float | None


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

    Entries are compared by their time, their kind and a ticket, so that items are never compared. The
    ticket also identifies the one valid entry of an item, whose deadline may move to another time and
    back again. A job has an entry only while it waits, under the ticket of that wait. While the job
    runs, a cancel scope handles its timeouts. Code that makes an entry stale, by removing its
    ticket, reports it by `forget` afterwards. When more than half of the entries are stale, the heap
    is rebuilt, so that stale entries can't accumulate.

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

    def add_ticketed(self, due: Due, item: Ticketed, when: float) -> None:
        """Add a deadline that may move; the item's ticket identifies the entry."""
        item._ticket = next(self._tickets)
        self._push(when, due, item._ticket, item)

    def drop(self, item: Ticketed) -> None:
        """Remove the deadline of an item."""
        item._ticket = 0
        self.forget()

    def add_of_worker(self, due: Due, worker: WorkerRecord, when: float) -> None:
        """Add a deadline of a worker, in place of an earlier one of this kind."""
        is_new = due not in worker._tickets
        ticket = worker._tickets[due] = next(self._tickets)
        self._push(when, due, ticket, worker)
        if not is_new:
            self.forget()

    def drop_of_worker(self, due: Due, worker: WorkerRecord) -> None:
        """Remove a deadline of a worker, if there is one of this kind."""
        if worker._tickets.pop(due, None) is not None:
            self.forget()

    def set(self, due: Due, alarm: Timed, when: float) -> None:
        """Set an alarm to another time; ``inf`` for never."""
        at = None if when == math.inf else when
        if alarm.at == at:
            return
        if alarm.at is not None:
            self.drop(alarm)
        alarm.at = at
        if at is not None:
            self.add_ticketed(due, alarm, at)

    def forget(self) -> None:
        """Record that an entry has become stale."""
        self._stale += 1
        if self._compact(self._stale, _is_current):
            self._stale = 0
            self._look()

    def pop_due(self, now: float) -> Iterator[tuple[Due, Any]]:
        """Remove and yield what has come due, one by one, with the item."""
        while self.soonest <= now and (self._run or self._heap):
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
    _, due, ticket, item = entry
    return bool((item._tickets.get(due) if due in _OF_WORKERS else abs(item._ticket)) == ticket)


def is_over(due: Due, item: Any) -> None:
    """Clear the deadline of an item once it has come."""
    if due not in _OF_WORKERS:
        item.at, item._ticket = None, 0
        return
    del item._tickets[due]
    if due is Due.AGE:
        item._expires_at = None
    else:
        del item._holds[HOLDS[due]]
