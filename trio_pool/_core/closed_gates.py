"""The limits that allow no start now: on all workers, or on those workers that have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lanes import take_from

if TYPE_CHECKING:
    from .._policies.rate_limit import Share
    from .tag_index import Gates, Units


class ClosedGates:
    """The units and the shared limits that allow no start now.

    Attributes:
      units: the units whose limits in the whole pool allow no start.
      shares: the shared limits of workers that allow no start.
      changes: grows whenever a gate that was closed to all workers may no longer be so although the limit itself has
          not opened: when a worker joins, or loses a shared limit.
    """

    __slots__ = ("_by_unit", "_closed_on", "_workers", "changes", "shares", "units")

    def __init__(self) -> None:
        self.units: set[str] = set()
        self.shares: dict[Share, None] = {}
        self.changes: int = 0
        self._by_unit: dict[str | None, dict[Share, None]] = {}
        # How many workers there are; for each unit, on how many of them their own limits allow no start; and for each
        # shared limit, how many have it.
        self._workers = 0
        self._closed_on: dict[object, int] = {}

    def join(self, gates: Gates) -> None:
        """Count a worker with these gates."""
        self._workers += 1
        self.changes += 1
        self._count(gates, 1)

    def leave(self, gates: Gates) -> None:
        """Stop counting a worker with these gates."""
        self._workers -= 1
        self._count(gates, -1)

    def change(self, before: Gates, after: Gates) -> None:
        """Update the counts after the gates of a worker have changed."""
        opened = before - after
        self._count(after - before, 1)
        self._count(opened, -1)
        self.changes += any(not isinstance(gate, str) for gate in opened)

    def _count(self, gates: Gates, sign: int) -> None:
        for gate in gates:
            self._closed_on[gate] = self._closed_on.get(gate, 0) + sign
            if not self._closed_on[gate]:
                del self._closed_on[gate]

    def to_all(self, gate: str | Share) -> bool:
        """Whether a unit or a shared limit allows no start now on any worker."""
        if isinstance(gate, str):
            return gate in self.units or self._closed_on.get(gate, 0) == self._workers
        return gate in self.shares and self._closed_on.get(gate, 0) == self._workers

    def first_to_all(self, units: Units) -> str | Share | None:
        """A unit or a shared limit that keeps jobs with these units from starting on any worker, or None."""
        for unit in units:
            if self.to_all(unit):
                return unit
        if self.shares:
            for kind in (None, *units):
                for share in self._by_unit.get(kind, ()):
                    if self.to_all(share):
                        return share
        return None

    def to(self, units: Units) -> Gates:
        """The gates that keep jobs with these units from starting on a worker that has one of the gates."""
        if not self.shares:
            return units
        return units.union(*[self._by_unit[kind] for kind in (None, *units) if kind in self._by_unit])

    def close(self, share: Share) -> None:
        """Record that a limit that workers share allows no start now."""
        self.shares[share] = None
        self._by_unit.setdefault(share.unit, {})[share] = None

    def open(self, share: Share) -> bool:
        """Record that a limit that workers share allows starts; return whether it allowed none before."""
        if share not in self.shares:
            return False
        del self.shares[share]
        take_from(self._by_unit, share.unit, share)
        return True
