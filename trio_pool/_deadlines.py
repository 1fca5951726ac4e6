"""Core: the one heap of what comes due: ends of timeouts, of rests and of delays."""

from __future__ import annotations

import enum
import heapq
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from ._job import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._job import Job
    from ._seat import Seat


class Due(enum.IntEnum):
    """What comes due, in the order in which it counts at one and the same instant."""

    TOTAL_TIMEOUT = 0
    REST = 1
    DELAY = 2


Entry: TypeAlias = "tuple[float, Due, int, Any]"

# Below this length stale entries aren't worth a thought.
_LEAST_TO_COMPACT = 64


@attrs.define(eq=False)
class Deadlines:
    """A heap with lazy deletion: what is no longer current is dropped when met.

    Entries are told apart by when they are due, what comes due, and a ticket, so that no
    two items are ever compared. Whoever makes an entry stale says so, and when
    more than half of them are, the heap is built anew: it can't grow by what is over.
    """

    _tickets: Iterator[int]
    _heap: list[Entry] = attrs.field(factory=list["Entry"], init=False)
    _stale: int = attrs.field(default=0, init=False)

    def add_timeout(self, job: Job[Any]) -> None:
        """The job's total timeout, if it has one."""
        if job._deadline != math.inf:
            self._push(job._deadline, Due.TOTAL_TIMEOUT, next(self._tickets), job)

    def add_delay(self, job: Job[Any], until: float) -> None:
        """The end of the job's backing off; its ticket names the entry."""
        job._ticket = next(self._tickets)
        self._push(until, Due.DELAY, job._ticket, job)

    def add_rest(self, seat: Seat, until: float) -> None:
        """The end of a worker's rest, which must be the seat's ``resting_until``."""
        self._push(until, Due.REST, next(self._tickets), seat)

    def forget(self) -> None:
        """Say that an entry has become stale."""
        self._stale += 1
        if self._stale * 2 > len(self._heap) > _LEAST_TO_COMPACT:
            self._heap = [entry for entry in self._heap if _is_current(entry)]
            heapq.heapify(self._heap)
            self._stale = 0

    def soonest(self) -> float:
        """When `pop_due` is to be called next, or ``inf``: never too late, if too early."""
        return self._heap[0][0] if self._heap else math.inf

    def pop_due(self, now: float) -> Iterator[tuple[Due, Any]]:
        """Take out what has come due, one by one, each with what it is about."""
        while self._heap and self._heap[0][0] <= now:
            entry = heapq.heappop(self._heap)
            if _is_current(entry):
                yield entry[1], entry[3]
            else:
                self._stale -= 1

    def __len__(self) -> int:
        return len(self._heap)

    def _push(self, when: float, due: Due, sequence: int, item: Job[Any] | Seat) -> None:
        heapq.heappush(self._heap, (when, due, sequence, item))


def _is_current(entry: Entry) -> bool:
    when, due, sequence, item = entry
    if due is Due.TOTAL_TIMEOUT:
        # Without a state it waits for a place in the queue, or has been withdrawn.
        withdrawn = item._state is None and item._cancelled
        return not (withdrawn or item.state.is_final)
    if due is Due.REST:
        return bool(item._resting_until == when)
    return item._state is JobState.DELAYED and item._ticket == sequence
