"""The clock of a replay, and the only task that moves it."""

from __future__ import annotations

import math
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from ._values import DIGITS

if TYPE_CHECKING:
    from collections.abc import Callable

Rank = tuple[int, int]
"""The order of tasks at the same instant: the kind of the waiting task, and its number within that kind."""

WORKER, RUN, LATE_RUN, THREAD, LATE, LAST = range(6)


class ReplayClock(trio.abc.Clock):
    """A clock that only the conductor moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None:
        """Do nothing; there is nothing to start."""

    def current_time(self) -> float:
        """The replay's time."""
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Return how long to sleep: no time passes by itself."""
        return 0.0 if deadline <= self.now else 999999.0


class _Entry:
    """A call that is due at a time, unless it has been dropped by then."""

    __slots__ = ("go_on", "is_over")

    def __init__(self, go_on: Callable[[], object]) -> None:
        self.go_on = go_on
        self.is_over = False


class Conductor:
    """Lets the tasks of a replay go on at their times, one after another.

    Trio runs tasks that become ready at the same moment in any order. So the conductor lets the next task go on only
    when all others wait. This makes the events and their order the same in each replay.

    Arguments:
      clock: the clock of the replay.

    Attributes:
      scope: around the replay; cancelled if nothing in it would ever happen again.
    """

    def __init__(self, clock: ReplayClock) -> None:
        self._clock = clock
        self.scope = trio.CancelScope()
        self._heap: list[tuple[float, Rank, int, _Entry]] = []
        self._numbers = count()

    @property
    def now(self) -> float:
        """The replay's time."""
        return self._clock.now

    def call_at(self, time: float, rank: Rank, go_on: Callable[[], object]) -> _Entry:
        """Call a function at a time."""
        entry = _Entry(go_on)
        heappush(self._heap, (round(time, DIGITS), rank, next(self._numbers), entry))
        return entry

    async def until(self, time: float, rank: Rank) -> None:
        """Wait until a time. A checkpoint."""
        entry = self.call_at(time, rank, partial(trio.lowlevel.reschedule, trio.lowlevel.current_task()))

        def abort(_: Callable[[], Any]) -> trio.lowlevel.Abort:
            entry.is_over = True
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def run(self) -> None:  # noqa: ASYNC910  # the body of a task
        """Move the clock from one moment to the next at which something happens. The body of a task."""
        heap, clock = self._heap, self._clock
        while True:
            await trio.testing.wait_all_tasks_blocked()
            while heap and heap[0][3].is_over:
                heappop(heap)
            if not heap or heap[0][0] > clock.now:
                rest = trio.lowlevel.current_statistics().seconds_to_next_deadline
                due = heap[0][0] if heap else math.inf
                deadline = clock.now + max(rest, 0.0)
                if due == deadline == math.inf:
                    self.scope.cancel()
                    continue
                if deadline <= due:
                    clock.now = deadline  # Trio handles the deadline, and then all tasks wait again
                    continue
                clock.now = due
            entry = heappop(heap)[3]
            entry.is_over = True
            entry.go_on()
