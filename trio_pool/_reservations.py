"""Core: which groups have which workers for themselves.

1. A group waits until it has had all the workers that it wants. From then on a worker that
   it loses is replaced as soon as there is another.
2. A group that waits for more than the pool can have has none set aside: that would keep them
   from others for nothing. It goes on waiting, as long as workers may come.
3. Where nothing happens by itself any more, what is set aside for groups that wait runs jobs
   first, since what the groups wait for may wait for these. `Aftermath` sees to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._effects import Reserved, TurnedAway

if TYPE_CHECKING:
    from ._effects import Effects
    from ._group import Group
    from ._roster import Roster
    from ._seat import Seat
    from ._standing import Standing


class Reservations:
    """Sets workers aside one by one, as they become free, for groups in the order of their opening.

    Attributes:
      lacking: how many workers are still to be set aside.
      waiting: the groups that have not had all that they want, the first to come first.
    """

    __slots__ = ("_beyond", "_effects", "_groups", "_roster", "_standing", "lacking", "waiting")

    def __init__(self, roster: Roster, effects: Effects, standing: Standing) -> None:
        self._roster = roster
        self._effects = effects
        self._standing = standing
        self._groups: dict[Group, None] = {}
        self.lacking: int = 0
        self.waiting: dict[Group, None] = {}
        # Those that wait for more than the pool can have.
        self._beyond: set[Group] = set()

    @property
    def may_give_back(self) -> bool:
        """Whether a group that was opened outside of the pool's jobs has workers, and so may give some back."""
        return any(group.seats and group.opener is None for group in self._groups if group not in self.waiting)

    @property
    def kept(self) -> int:
        """How many workers are set aside for groups that have had all that they want."""
        return sum(len(group.seats) for group in self._groups if group not in self.waiting)

    def open(self, group: Group) -> None:
        """A group wants workers for itself; `review` has to follow."""
        self._groups[group] = self.waiting[group] = None
        self.lacking += group.reserve

    def close(self, group: Group) -> None:
        """It wants them no longer, if it still did."""
        if group not in self._groups:
            return
        del self._groups[group]
        self.waiting.pop(group, None)
        self._standing.note(group)
        if group in self._beyond:
            self._beyond.remove(group)
        else:
            self.lacking -= group.lacks
        self._release(group)

    def review(self, most: float) -> bool:
        """The pool can have so many workers now; returns whether that changes who gets some."""
        beyond = {group for group in self.waiting if group.reserve > most - group.occupied}
        if beyond == self._beyond:
            return False
        in_line = list(self.waiting)
        # What goes before those behind it goes before them again.
        back = next((place for place, group in enumerate(in_line) if group in self._beyond - beyond), len(in_line))
        for group in (*beyond, *in_line[back:]):
            self._release(group)
        self._beyond = beyond
        self.lacking = sum(group.lacks for group in self._groups if group not in beyond)
        return True

    def turn_away_beyond(self) -> bool:
        """No workers will come any more: let those go on without that want too many; returns whether there are any."""
        found = [group for group in self.waiting if group in self._beyond]
        for group in found:
            self.turn_away(group)
        return bool(found)

    def turn_away(self, group: Group) -> None:
        """A group waits in vain."""
        self.close(group)
        self._effects.append(TurnedAway(group))

    def give_way(self) -> bool:
        """Release what is set aside for groups that wait; returns whether there was anything."""
        found = False
        for group in self.waiting:
            if group.seats:
                found = True
                self.lacking += len(group.seats)
                self._release(group)
        return found

    def offer(self, seat: Seat) -> bool:
        """A worker is free: set it aside if it is wanted and may be; returns whether it was."""
        if not self.lacking or seat._kind.group is not None or not self._is_free(seat):
            return False
        group = next(group for group in self._groups if group.lacks and group not in self._beyond)
        group.seats[seat] = None
        self.lacking -= 1
        self._roster.reserve(seat, group)
        if not group.lacks:
            self.waiting.pop(group, None)
            self._standing.note(group)
            self._effects.append(Reserved(group))
        return True

    def lose(self, seat: Seat) -> None:
        """A worker is to leave the pool."""
        group = seat._kind.group
        if group is not None:
            del group.seats[seat]
            self.lacking += 1
            self._roster.reserve(seat, None)

    def _release(self, group: Group) -> None:
        for seat in group.seats:
            self._roster.reserve(seat, None)
        group.seats.clear()

    def _is_free(self, seat: Seat) -> bool:
        return seat._available and seat._current is None and not seat._loans
