"""Which groups have which workers for themselves.

1. A group waits until it has had all the workers that it wants. From then on a worker that
   it loses is replaced as soon as there is another.
2. A group that waits for more than the pool can have has none set aside: that would keep them
   from others for nothing. It goes on waiting, as long as workers may come.
3. Where nothing happens by itself any more, what is set aside for groups that wait runs jobs
   first, since what the groups wait for may wait for these. `Settling` sees to that.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from .commands import RESERVED, TURNED_AWAY

if TYPE_CHECKING:
    from .._model.records import Group, WorkerRecord
    from .commands import Commands
    from .waits import Waits
    from .worker_index import WorkerIndex


class Reservations:
    """Sets workers aside one by one, as they become free, for groups in the order of their opening.

    Attributes:
      lacking: how many workers are still to be set aside.
      has_grown: whether these have become more since `offer` was last called for all idle workers.
      kept: how many workers are set aside for groups that have had all that they want.
      waiting: the groups that have not had all that they want, the first to come first.
    """

    __slots__ = (
        "_beyond",
        "_commands",
        "_groups",
        "_kept_outside",
        "_largest",
        "_line",
        "_number",
        "_roster",
        "_waits",
        "has_grown",
        "kept",
        "lacking",
        "waiting",
    )

    def __init__(self, roster: WorkerIndex, commands: Commands, waits: Waits) -> None:
        self._roster = roster
        self._commands = commands
        self._waits = waits
        self._number = 0
        # Each with its number, in the order of these; and those that lack workers, or have lacked some.
        self._groups: dict[Group, int] = {}
        self._line: list[tuple[int, Group]] = []
        self.lacking: int = 0
        self.has_grown: bool = False
        self.kept: int = 0
        # Those of them whose groups were opened outside of the pool's jobs.
        self._kept_outside = 0
        self.waiting: dict[Group, None] = waits.groups
        # Those that wait for more than the pool can have.
        self._beyond: set[Group] = set()
        # No group that waits wants more than this.
        self._largest = 0

    @property
    def may_give_back(self) -> bool:
        """Whether a group that was opened outside of the pool's jobs has workers, and so may give some back."""
        return self._kept_outside > 0

    def open(self, group: Group) -> None:
        """A group wants workers for itself; `review` has to follow."""
        self._number += 1
        self._groups[group] = self._number
        self._largest = max(group.reserve, self._largest if self.waiting else 0)
        self.waiting[group] = None
        self._lack(group, group.reserve)

    def close(self, group: Group) -> None:
        """It wants them no longer, if it still did."""
        if group not in self._groups:
            return
        del self._groups[group]
        self._count(group, -len(group.workers))
        self.waiting.pop(group, None)
        self._waits.note(group)
        if group in self._beyond:
            self._beyond.remove(group)
        else:
            self.lacking -= group.lacks
        self._release(group)

    def review(self, most: float) -> bool:
        """The pool can have so many workers now; returns whether that changes who gets some."""
        if not self._beyond and self._largest < most:  # one of them may be its opener's
            return False
        beyond = {group for group in self.waiting if group.reserve > most - occupied_by_opener(group)}
        if beyond == self._beyond:
            return False
        in_line = list(self.waiting)
        # What goes before those behind it goes before them again.
        back = next((place for place, group in enumerate(in_line) if group in self._beyond - beyond), len(in_line))
        for group in (*beyond, *in_line[back:]):
            self._release(group)
        self._beyond = beyond
        self.lacking = 0
        for group in self._groups:
            if group not in beyond and group.lacks:
                self._lack(group, group.lacks)
        return True

    def turn_away_beyond(self) -> bool:
        """No workers will come any more: let those go on without that want too many; returns whether there are any."""
        found = [group for group in self.waiting if group in self._beyond] if self._beyond else []
        for group in found:
            self.turn_away(group)
        return bool(found)

    def turn_away(self, group: Group) -> None:
        """A group waits in vain."""
        self.close(group)
        self._commands.append((TURNED_AWAY, group))

    def give_way(self) -> bool:
        """Release what is set aside for groups that wait; returns whether there was anything."""
        found = False
        for group in self.waiting:
            if group.workers:
                found = True
                self._lack(group, len(group.workers))
                self._release(group)
        return found

    def offer(self, worker: WorkerRecord) -> bool:
        """A worker is free: set it aside if it is wanted and may be; returns whether it was."""
        if not self.lacking or worker._kind.group is not None or not self._is_free(worker):
            return False
        group = self._first_in_line()
        group.workers[worker] = None
        self._count(group, 1)
        self.lacking -= 1
        self._roster.reserve(worker, group)
        if not group.lacks:
            if group in self.waiting:
                del self.waiting[group]
                self._count(group, len(group.workers))
            self._waits.note(group)
            self._commands.append((RESERVED, group))
        return True

    def lose(self, worker: WorkerRecord) -> None:
        """A worker is to leave the pool."""
        group = worker._kind.group
        if group is not None:
            del group.workers[worker]
            self._count(group, -1)
            self._lack(group, 1)
            self._roster.reserve(worker, None)

    def _release(self, group: Group) -> None:
        for worker in group.workers:
            self._roster.reserve(worker, None)
        group.workers.clear()

    def _lack(self, group: Group, number: int) -> None:
        self.lacking += number
        self.has_grown = True
        heapq.heappush(self._line, (self._groups[group], group))

    def _count(self, group: Group, number: int) -> None:
        """So many more workers are set aside for a group, which count if it has had all that it wants."""
        if group not in self.waiting:
            self.kept += number
            if group.opener is None:
                self._kept_outside += number

    def _first_in_line(self) -> Group:
        """The first to have come of those that lack workers and may get some; there must be one."""
        line = self._line
        while True:
            group = line[0][1]
            if group in self._groups and group.lacks and group not in self._beyond:
                return group
            heapq.heappop(line)

    def _is_free(self, worker: WorkerRecord) -> bool:
        return worker._available and not worker._runs and not worker._lent


def occupied_by_opener(group: Group) -> int:
    """How many of the workers that stay in the pool a group can't have, since its opener has them."""
    return int(group.opener is not None and not group.opener.worker._is_leaving)
