"""The one heap of what comes due: ends of timeouts, of delays, of what holds workers back."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .._model.states import Hold
from .run_heap import RunHeap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._model.records import JobRecord


class Due(enum.IntEnum):
    """What comes due, in the order in which it counts at one and the same instant."""

    TOTAL_TIMEOUT = 0
    AGE = 1
    REST = 2
    QUARANTINE = 3
    LIMIT = 4
    RATE = 5
    DELAY = 6
    RETIRE = 7
    HEDGE = 8


# What of a worker has the time of its one valid entry, and where others have it that have but one.
# Jobs, and who waits for the pool's rate limit, have tickets: what they wait for may
# move to another time, and back again.
HOLDS = {Due.REST: Hold.RESTING, Due.QUARANTINE: Hold.QUARANTINED, Due.LIMIT: Hold.LIMITED}
FIELDS = {
    Due.AGE: "_expires_at",
    Due.RETIRE: "_retire_at",
    Due.HEDGE: "next_at",
}


Entry: TypeAlias = "tuple[float, Due, int, Any]"


class Ticketed(Protocol):
    """What waits for a time that may move; its ticket names its one valid entry."""

    _ticket: int


class Deadlines(RunHeap[Entry]):
    """A heap with lazy deletion: what is no longer current is dropped when met.

    Entries are told apart by when they are due, what comes due, and a ticket, so that no
    two items are ever compared. A job has an entry only while it waits, under the ticket
    that it waits with; while it runs, its timeouts are its cancel scope's business. Whoever
    makes an entry stale says so, and when more than half of them are, the heap is built
    anew: it can't grow by what is over.

    Attributes:
      soonest: when `pop_due` is to be called next, or ``inf``: never too late, if too early.
    """

    __slots__ = ("_stale", "_tickets", "soonest")

    def __init__(self, tickets: Iterator[int]) -> None:
        super().__init__()
        self._tickets = tickets
        self._stale = 0
        self.soonest: float = math.inf

    def add_timeout(self, job: JobRecord) -> None:
        """The total timeout of a job that has begun to wait and has one."""
        self._push(job._deadline, Due.TOTAL_TIMEOUT, abs(job._ticket), job)

    def add_blocked(self, job: JobRecord) -> None:
        """A job has begun to wait for others; its ticket names what entry there is."""
        job._ticket = next(self._tickets)
        if job._deadline != math.inf:
            self.add_timeout(job)

    def drop_blocked(self, job: JobRecord) -> None:
        """It waits for them no longer."""
        job._ticket = 0
        if job._deadline != math.inf:
            self.forget()

    def add_delay(self, job: JobRecord, until: float) -> None:
        """The end of the job's backing off; its ticket names the entry."""
        job._ticket = next(self._tickets)
        self._push(until, Due.DELAY, job._ticket, job)

    def add_rate(self, waiting: Ticketed, ready: float) -> None:
        """When the pool's rate limit lets an attempt start; its ticket names the entry."""
        waiting._ticket = next(self._tickets)
        self._push(ready, Due.RATE, waiting._ticket, waiting)

    def add(self, due: Due, item: object, when: float) -> None:
        """What has to do with workers; ``when`` must stand in the field that is meant for it."""
        self._push(when, due, next(self._tickets), item)

    def forget(self) -> None:
        """Say that an entry has become stale."""
        self._stale += 1
        if self._compact(self._stale, _is_current):
            self._stale = 0
            self._look()

    def pop_due(self, now: float) -> Iterator[tuple[Due, Any]]:
        """Take out what has come due, one by one, each with what it is about."""
        while self.soonest <= now and len(self):
            entry = self._pop()
            self._look()
            if not _is_current(entry):
                self._stale -= 1
                continue
            if entry[1] is Due.TOTAL_TIMEOUT:
                self._stale -= 1  # who takes the job out of where it waits says that it is over
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
        return bool(item._holds.get(hold) == when)
    field = FIELDS.get(due)
    return bool(abs(item._ticket) == sequence if field is None else getattr(item, field) == when)


def is_over(due: Due, item: Any) -> None:
    """What has come due of an item that has a time for it holds no longer."""
    if (hold := HOLDS.get(due)) is not None:
        del item._holds[hold]
    else:
        setattr(item, FIELDS[due], None)
