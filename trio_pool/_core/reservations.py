"""The reservation of workers for groups.

1. A group waits until it has got all its workers. After that, a worker that it loses is replaced
   as soon as another one is available.
2. No workers are reserved for a group that waits for more workers than the pool can have, since that
   would keep them from others to no purpose. The group goes on waiting, as long as workers can be added.
3. If nothing else would happen, workers that are reserved for waiting groups run jobs first,
   since the groups may wait for these jobs indirectly. Then groups that can have all their places
   get them, even before groups that came earlier. `Settling` handles this.
4. A place that is lent is not reserved, since the job that has lent it gets it back.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from .commands import RESERVED, TURNED_AWAY
from .kinds import has_place_to_reserve

if TYPE_CHECKING:
    from .._model.records import Group, WorkerRecord
    from .commands import Commands
    from .waits import Waits
    from .worker_index import WorkerIndex


class Reservations:
    """Reserves workers one by one, as they become free, for groups in the order of their opening.

    Attributes:
      lacking: how many places are still to be reserved.
      has_grown: whether ``lacking`` has grown since `offer` was last called for all idle workers.
      kept: how many places are reserved for groups that have got all of theirs.
      waiting: the groups that have not got all their workers yet, in order.
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
        # Each group with its number, in order; and a heap of the groups that lack workers or have
        # lacked some.
        self._groups: dict[Group, int] = {}
        self._line: list[tuple[int, Group]] = []
        self.lacking: int = 0
        self.has_grown: bool = False
        self.kept: int = 0
        # The part of ``kept`` for groups that were opened outside of the pool's jobs.
        self._kept_outside = 0
        self.waiting: dict[Group, None] = waits.groups
        # The groups that wait for more workers than the pool can have.
        self._beyond: set[Group] = set()
        # An upper bound for the reserve of all waiting groups.
        self._largest = 0

    @property
    def has_groups(self) -> bool:
        """Whether groups with reserved workers are open."""
        return bool(self._groups)

    @property
    def may_give_back(self) -> bool:
        """Whether a group that was opened outside of the pool's jobs has workers, which it may release."""
        return self._kept_outside > 0

    def open(self, group: Group) -> None:
        """Add a group that needs workers; call `review` next."""
        self._number += 1
        self._groups[group] = self._number
        self._largest = max(group.reserve, self._largest if self.waiting else 0)
        self.waiting[group] = None
        self._lack(group, group.reserve)

    def close(self, group: Group) -> None:
        """Remove a group, if it is still there."""
        if group not in self._groups:
            return
        del self._groups[group]
        self._count(group, -group.reserved)
        self.waiting.pop(group, None)
        self._waits.note(group)
        if group in self._beyond:
            self._beyond.remove(group)
        else:
            self.lacking -= group.lacks
        self._release(group)

    def review(self, most: float) -> bool:
        """Update the reservations for the number of places that the pool can have; return whether they changed."""
        if not self._beyond and self._largest < most:  # one of the workers may be occupied by the group's opener
            return False
        beyond = {group for group in self.waiting if group.reserve > most - occupied_by_opener(group)}
        if beyond == self._beyond:
            return False
        in_line = list(self.waiting)
        # A group that goes back in line keeps its place, so the groups behind it release their
        # workers.
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
        """Turn away the groups that wait for too many workers, since none will come; return whether there are any."""
        found = [group for group in self.waiting if group in self._beyond] if self._beyond else []
        for group in found:
            self.turn_away(group)
        return bool(found)

    def turn_away(self, group: Group) -> None:
        """Turn away a group that will never get its workers."""
        self.close(group)
        self._commands.append((TURNED_AWAY, group))

    def serve_whole(self) -> bool:
        """Reserve idle workers for the waiting groups that can get all they lack; return whether there were any.

        Called if nothing else would happen: groups that lack more workers would otherwise keep these groups waiting
        forever.
        """
        found = False
        for group in [group for group in self.waiting if group not in self._beyond]:
            refused: dict[WorkerRecord, None] = {}
            while group.lacks and (worker := self._roster.longest_idle(refused)) is not None:
                if not self.offer(worker, group):
                    refused[worker] = None
            if not group.lacks:
                found = True
            elif group.reserved:
                self._lack(group, group.reserved)
                self._release(group)
        return found

    def give_way(self) -> bool:
        """Release the workers that are reserved for waiting groups; return whether there were any."""
        found = False
        for group in self.waiting:
            if group.workers:
                found = True
                self._lack(group, group.reserved)
                self._release(group)
        return found

    def offer(self, worker: WorkerRecord, only: Group | None = None) -> bool:
        """Reserve a free exclusive worker, or free places of another, for groups that need them.

        Arguments:
          only: the only group to reserve them for, which needs some; None for the first ones in line.

        Returns:
          whether any were reserved.
        """
        found = False
        while self.lacking and self._can_be_reserved(worker) and (only is None or only.lacks):
            self._reserve(worker, self._first_in_line() if only is None else only)
            found = True
        return found

    def _can_be_reserved(self, worker: WorkerRecord) -> bool:
        """Whether a worker, or a place of it, may be reserved now."""
        if worker._kind.group is not None or not worker._available:
            return False
        return worker._has_room and has_place_to_reserve(worker)

    def _reserve(self, worker: WorkerRecord, group: Group) -> None:
        """Reserve a free place of a worker for a group."""
        group.workers[worker] = group.workers.get(worker, 0) + 1
        group.reserved += 1
        self._count(group, 1)
        self.lacking -= 1
        if worker._is_exclusive:
            self._roster.reserve(worker, group)
        else:
            self._roster.change_kept(worker, group, 1)
        if not group.lacks:
            if group in self.waiting:
                del self.waiting[group]
                self._count(group, group.reserved)
            self._waits.note(group)
            self._commands.append((RESERVED, group))

    def lose(self, worker: WorkerRecord, most: float = 0) -> None:
        """Release the places of a worker that is about to leave the pool, or will have ``most`` places.

        The runs there keep their places. If too few places are left for the reservations, groups lose reserved places,
        free ones first.
        """
        if worker._is_exclusive:
            group = worker._kind.group
            if group is not None and not most:
                self._lose(worker, group)
                self._roster.reserve(worker, None)
            return
        while worker._kept and (not most or len(worker._runs) + worker._kept_free > most):
            groups = list(reversed(worker._kept))
            group = next((each for each in groups if worker._kept[each] > worker._kept_runs[each]), groups[0])
            self._lose(worker, group)
            self._roster.change_kept(worker, group, -1)

    def _lose(self, worker: WorkerRecord, group: Group) -> None:
        """Record that a group has lost a place, and needs another."""
        group.workers[worker] -= 1
        if not group.workers[worker]:
            del group.workers[worker]
        group.reserved -= 1
        self._count(group, -1)
        self._lack(group, 1)

    def _release(self, group: Group) -> None:
        for worker, places in group.workers.items():
            if worker._is_exclusive:
                self._roster.reserve(worker, None)
            else:
                self._roster.change_kept(worker, group, -places)
        group.workers.clear()
        group.reserved = 0

    def _lack(self, group: Group, number: int) -> None:
        self.lacking += number
        self.has_grown = True
        heapq.heappush(self._line, (self._groups[group], group))

    def _count(self, group: Group, number: int) -> None:
        """Add to the number of workers that are reserved for a group, if the group has got all its workers before."""
        if group not in self.waiting:
            self.kept += number
            if group.opener is None:
                self._kept_outside += number

    def _first_in_line(self) -> Group:
        """Return the first group in line that lacks workers and may get some; there must be one."""
        line = self._line
        while True:
            group = line[0][1]
            if group in self._groups and group.lacks and group not in self._beyond:
                return group
            heapq.heappop(line)


def occupied_by_opener(group: Group) -> int:
    """How many workers that are not about to leave a group can't get, since its opener occupies them."""
    return int(group.opener is not None and not group.opener.worker._is_leaving)
