"""Core: which groups have which workers for themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._effects import Reserved

if TYPE_CHECKING:
    from ._effects import Effects
    from ._group import Group
    from ._roster import Roster
    from ._seat import Seat


class Reservations:
    """Sets workers aside one by one, as they become free, for groups in the order of their opening."""

    __slots__ = ("_effects", "_groups", "_roster", "lacking")

    def __init__(self, roster: Roster, effects: Effects) -> None:
        self._roster = roster
        self._effects = effects
        self._groups: dict[Group, None] = {}
        # How many workers are still to be set aside.
        self.lacking: int = 0

    @property
    def has_any(self) -> bool:
        """Whether any group has workers for itself, and so may give some back."""
        return any(group.seats for group in self._groups)

    def open(self, group: Group) -> None:
        """A group wants workers for itself."""
        self._groups[group] = None
        self.lacking += group.reserve

    def close(self, group: Group) -> None:
        """It wants them no longer."""
        del self._groups[group]
        self.lacking -= group.lacks
        for seat in group.seats:
            self._roster.reserve(seat, None)
        group.seats.clear()

    def offer(self, seat: Seat) -> bool:
        """A worker is free: set it aside if it is wanted and may be; returns whether it was."""
        if not self.lacking or seat._kind.group is not None or not self._is_free(seat):
            return False
        group = next(group for group in self._groups if group.lacks)
        group.seats[seat] = None
        self.lacking -= 1
        self._roster.reserve(seat, group)
        if not group.lacks:
            self._effects.append(Reserved(group))
        return True

    def lose(self, seat: Seat) -> None:
        """A worker is to leave the pool."""
        group = seat._kind.group
        if group is not None:
            del group.seats[seat]
            self.lacking += 1
            self._roster.reserve(seat, None)

    def _is_free(self, seat: Seat) -> bool:
        return seat._available and seat._current is None and not seat._loans
