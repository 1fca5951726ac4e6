"""An index of workers by their tags, which finds the workers for a job without searching all of them.

Workers with the same tags that are reserved for the same group, or for none, are of one kind. A
`TagIndex` holds the kinds that are reserved for one group, or for none. A `Fit` holds the kinds
that have a set of required tags, and is updated when kinds are added or removed. A fit with many
kinds also stores totals over them: the number of their workers, and which of these are idle.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._model.pool_config import Pick
    from .._model.records import Group, Terms, WorkerRecord
    from .free_places import FreePlaces

Key: TypeAlias = "tuple[frozenset[str], Group | None]"
Units: TypeAlias = "frozenset[str]"
# What may keep a worker from starting a job: the units that its own limits have closed, and the limits that it shares.
Gates: TypeAlias = "frozenset[object]"

OPEN: Gates = frozenset()

# The fraction of the worker's places that is taken, the number of attempts that run if its places have no bound, and a
# number that grows with each start and end.
Rank: TypeAlias = "tuple[float, int, int]"

# The rank of a free worker, a number that breaks ties, the worker, and the kind in which it is free.
Entry: TypeAlias = "tuple[Rank, int, WorkerRecord, WorkerKind]"

# Up to this number, the kinds of a fit are searched one by one, and idle workers are sorted.
FEW = 8

# How many fits are kept, in addition to the number of kinds.
_SPARE = 1_000

# Below this length, stale entries are not worth removing.
_LEAST_TO_COMPACT = 64


class Family:
    """The kinds of workers with the same tags that are reserved for the same group, or for none.

    Attributes:
      key: the tags and the group.
      kinds: the kinds by their gates. A kind without workers is kept, since units close and open all the time.
    """

    __slots__ = ("key", "kinds")

    def __init__(self, key: Key) -> None:
        self.key: Key = key
        self.kinds: dict[Gates, WorkerKind] = {}

    def has_members(self) -> bool:
        """Whether any kind has workers."""
        return any(kind.members for kind in self.kinds.values())

    def has_idle(self, closed: Gates) -> bool:
        """Whether any worker without these gates is idle, or may be, since it has free places."""
        return any((kind.idle or kind.kept) and kind.closed.isdisjoint(closed) for kind in self.kinds.values())


class WorkerKind:
    """The workers of a family with the same gates.

    Attributes:
      closed: the units whose limits on these workers allow no start now, and the limits that they share.
    """

    # fmt: off
    __slots__ = (
        "available", "closed", "family", "group", "has_places", "idle", "is_mixed", "kept", "key", "members", "tags",
        "wide",
    )
    # fmt: on

    def __init__(self, family: Family, closed: Gates = OPEN) -> None:
        self.family: Family = family
        self.closed: Gates = closed
        self.key: Key = family.key
        self.tags: frozenset[str] = self.key[0]
        self.group: Group | None = self.key[1]
        self.members: int = 0
        self.available: int = 0
        # Whether there are, or have been, workers with several places, which ``idle`` doesn't keep in order.
        self.has_places: bool = False
        # Whether a worker has been put back before many idle ones, so that ``idle`` isn't in the order of its numbers.
        self.is_mixed: bool = False
        # The free workers, in the order in which they last started or ended a run, each with an increasing number.
        self.idle: dict[WorkerRecord, int] = {}
        # The workers with several places of which a free one is reserved for the group. They are not in ``idle``, so
        # that a change of a worker need not be noted for each group with places of it: see `FreePlaces`.
        self.kept: dict[WorkerRecord, None] = {}
        # The wide fits that contain this kind; they store totals over their kinds.
        self.wide: dict[Fit, None] = {}

    @property
    def is_in_order(self) -> bool:
        """Whether the free workers are in order of their numbers."""
        return not (self.has_places or self.is_mixed)

    def may_serve(self, terms: Terms) -> bool:
        """Whether such a worker may ever run such a job, according to its tags and its group."""
        return terms.requires <= self.tags and (self.group is None or self.group is terms.gate)

    def add_members(self, number: int) -> None:
        """Add to the number of workers."""
        self.members += number
        for fit in self.wide:
            fit.members += number

    def add_available(self, number: int) -> None:
        """Add to the number of available workers."""
        self.available += number
        for fit in self.wide:
            fit.available += number

    def park(self, worker: WorkerRecord, number: int) -> None:
        """Record that one of the workers is idle."""
        self.idle[worker] = number
        for fit in self.wide:
            fit.park(worker, number, self)

    def unpark(self, worker: WorkerRecord) -> int | None:
        """Record that one of the workers is no longer idle; return its number if it was."""
        number = self.idle.pop(worker, None)
        if number is not None:
            for fit in self.wide:
                fit.unpark(worker)
        return number

    def keep(self, worker: WorkerRecord) -> None:
        """Record that a free place of a worker is reserved for the group."""
        self.kept[worker] = None
        for fit in self.wide:
            fit.keep(worker)

    def unkeep(self, worker: WorkerRecord) -> bool:
        """Record that no free place of a worker is reserved for the group any longer; return whether one was."""
        if worker not in self.kept:
            return False
        del self.kept[worker]
        for fit in self.wide:
            fit.unpark(worker)
        return True


class Fit:
    """The kinds that have all the tags that some jobs require.

    Attributes:
      kinds: the kinds.
      is_wide: whether there are, or have been, too many kinds to search one by one, or one that is not in order.
      members: the number of workers, if wide.
      available: the number of available workers, if wide.
      urn: the idle workers, if wide and picks are random.
    """

    # fmt: off
    __slots__ = (
        "_idle", "_pick", "_places", "_seen", "_sequence", "_waiting_line", "available", "is_wide", "kinds", "members",
        "requires", "urn",
    )
    # fmt: on

    def __init__(self, requires: frozenset[str], pick: Pick, places: FreePlaces | None = None) -> None:
        # The free workers with several places, or None for kinds that no group has reserved; and the last change read.
        self._places = places
        self._seen = 0
        self.requires: frozenset[str] = requires
        self.kinds: dict[WorkerKind, None] = {}
        self.is_wide: bool = False
        self.members: int = 0
        self.available: int = 0
        self._pick: Pick = pick
        # If wide, a heap of the idle workers, the preferred one first. Workers that are no longer
        # idle are removed when they are reached.
        self._idle: list[Entry] = []
        self._sequence = 0
        # With random picks, a list of all idle workers instead, and each worker's position in the
        # list.
        self.urn: list[WorkerRecord] = []
        self._waiting_line: dict[WorkerRecord, int] = {}

    def add(self, kind: WorkerKind) -> None:
        """Add a kind."""
        self.kinds[kind] = None
        if self.is_wide:
            self._widen(kind)
        elif len(self.kinds) > FEW or self._pick == "random" or not kind.is_in_order:
            self.widen()

    def widen(self) -> None:
        """Store totals over the kinds, and their free workers in order."""
        if not self.is_wide:
            self.is_wide = True
            for each in self.kinds:
                self._widen(each)

    def narrow(self) -> None:
        """Go back to searching the kinds one by one, if they are few and in order."""
        if len(self.kinds) <= FEW and self._pick != "random" and all(kind.is_in_order for kind in self.kinds):
            self.is_wide = False
            self.members = self.available = 0
            self._idle.clear()
            for kind in self.kinds:
                del kind.wide[self]

    def remove(self, kind: WorkerKind) -> None:
        """Remove a kind that has no workers any more."""
        del self.kinds[kind]
        kind.wide.pop(self, None)

    def _widen(self, kind: WorkerKind) -> None:
        kind.wide[self] = None
        self.members += kind.members
        self.available += kind.available
        for worker, number in kind.idle.items():
            self.park(worker, number, kind)
        for worker in kind.kept:
            self.keep(worker)
        self._seen = -1

    def count(self) -> int:
        """The number of workers."""
        return self.members if self.is_wide else sum([kind.members for kind in self.kinds])

    def count_available(self) -> int:
        """The number of available workers."""
        return self.available if self.is_wide else sum([kind.available for kind in self.kinds])

    def park(self, worker: WorkerRecord, number: int, kind: WorkerKind) -> None:
        """Record that a worker is free in one of the kinds, if wide."""
        if self._pick == "random":
            self._waiting_line[worker] = len(self.urn)
            self.urn.append(worker)
            return
        idle = self._idle
        self._sequence += 1
        heapq.heappush(idle, (rank_of(worker, number, self._pick), self._sequence, worker, kind))
        if len(idle) > _LEAST_TO_COMPACT and len(idle) > 2 * self.members:
            self._idle = list({entry[2]: entry for entry in idle if self._is_idle(entry)}.values())
            heapq.heapify(self._idle)

    def keep(self, worker: WorkerRecord) -> None:
        """Record that a free place of a worker is reserved for the group, if wide."""
        if self._pick == "random":
            self._waiting_line[worker] = len(self.urn)
            self.urn.append(worker)

    def _catch_up(self, places: FreePlaces) -> None:
        """Enter the workers with several places that have changed since the last search, or all."""
        changed = places.since(self._seen, self.members // max(1, len(self.kinds))) if self._seen >= 0 else None
        for kind in self.kinds:
            for worker in kind.kept if changed is None else changed:
                if worker in kind.kept and worker in places.free:
                    self.park(worker, places.free[worker], kind)
        self._seen = places.last

    def unpark(self, worker: WorkerRecord) -> None:
        """Record that a worker is no longer idle, if wide."""
        if self._pick == "random":
            place, last = self._waiting_line.pop(worker), self.urn.pop()
            if last is not worker:
                self.urn[place] = last
                self._waiting_line[last] = place

    def has_idle(self, but: WorkerRecord | None) -> bool:
        """Whether a worker is idle, other than ``but``."""
        if self._pick == "random":
            return len(self.urn) > (but in self._waiting_line)
        return self.first(None if but is None else lambda worker: worker is not but) is not None

    def _is_idle(self, entry: Entry) -> bool:
        rank, _, worker, kind = entry
        number = kind.idle.get(worker)
        if number is None and worker in kind.kept and self._places is not None:
            number = self._places.free.get(worker)
        return number is not None and rank_of(worker, number, self._pick) == rank and kind in self.kinds

    def first(self, may_take: Callable[[WorkerRecord], bool] | None) -> tuple[Rank, WorkerRecord] | None:
        """The preferred one of the idle workers that ``may_take`` accepts (all if None), with its rank."""
        if not self.is_wide:
            found = [
                entry for kind in self.kinds if kind.idle and (entry := self._first_of(kind, may_take)) is not None
            ]
            return min(found, default=None)
        if self._places is not None and self._seen != self._places.last:
            self._catch_up(self._places)
        idle = self._idle
        refused: list[Entry] = []
        best: tuple[Rank, WorkerRecord] | None = None
        while idle and best is None:
            if not self._is_idle(idle[0]):
                heapq.heappop(idle)
            elif may_take is None or may_take(idle[0][2]):
                best = idle[0][0], idle[0][2]
            else:
                refused.append(heapq.heappop(idle))
        for again in refused:
            heapq.heappush(idle, again)
        return best

    def _first_of(
        self, kind: WorkerKind, may_take: Callable[[WorkerRecord], bool] | None
    ) -> tuple[Rank, WorkerRecord] | None:
        sign = -1 if self._pick == "last_used" else 1
        for worker, number in reversed(kind.idle.items()) if sign < 0 else kind.idle.items():
            if may_take is None or may_take(worker):
                return (0.0, 0, sign * number), worker
        return None


class TagIndex:
    """The kinds of workers that are reserved for one group, or for none; ``places`` is given only for a group."""

    __slots__ = ("_by_tag", "_fits", "_fits_by_tag", "_pick", "_places", "by_tags")

    def __init__(self, pick: Pick, places: FreePlaces | None = None) -> None:
        self._pick: Pick = pick
        self._places = places
        self.by_tags: dict[frozenset[str], WorkerKind] = {}
        # Maps each tag to the kinds that have it, and None to all kinds.
        self._by_tag: dict[str | None, dict[WorkerKind, None]] = {None: {}}
        self._fits: dict[frozenset[str], Fit] = {}
        # Maps one of the tags that a fit requires, or None if it requires none, to these fits.
        self._fits_by_tag: dict[str | None, dict[Fit, None]] = {}

    def add(self, kind: WorkerKind) -> None:
        """Add a kind."""
        self.by_tags[kind.tags] = kind
        for tag in (None, *kind.tags):
            self._by_tag.setdefault(tag, {})[kind] = None
        for fit in list(self._fits_of(kind)):
            fit.add(kind)

    def remove(self, kind: WorkerKind) -> None:
        """Remove a kind that has no workers any more."""
        for fit in list(self._fits_of(kind)):
            fit.remove(kind)
        del self.by_tags[kind.tags]
        for tag in kind.tags:
            del self._by_tag[tag][kind]
            if not self._by_tag[tag]:
                del self._by_tag[tag]
        del self._by_tag[None][kind]

    def fit(self, requires: frozenset[str]) -> Fit:
        """Return the kinds that have all of these tags."""
        fit = self._fits.get(requires)
        if fit is None:
            if len(self._fits) > _SPARE + len(self.by_tags):
                self._forget()
            fit = self._fits[requires] = Fit(requires, self._pick, self._places)
            nobody: dict[WorkerKind, None] = {}
            found = min((self._by_tag.get(tag, nobody) for tag in requires), key=len, default=self._by_tag[None])
            for kind in found:
                if requires <= kind.tags:
                    fit.add(kind)
            self._fits_by_tag.setdefault(a_tag_of(requires), {})[fit] = None
        return fit

    def widen(self, kind: WorkerKind) -> None:
        """Widen the fits that contain a kind, since they can't rely on its order."""
        for fit in list(self._fits_of(kind)):
            fit.widen()

    def _fits_of(self, kind: WorkerKind) -> Iterator[Fit]:
        for tag in (None, *kind.tags):
            for fit in self._fits_by_tag.get(tag, ()):
                if fit.requires <= kind.tags:
                    yield fit

    def _forget(self) -> None:
        """Drop all fits, since jobs may require different tags each time."""
        self._fits.clear()
        self._fits_by_tag.clear()
        for kind in self.by_tags.values():
            kind.wide.clear()


def a_tag_of(requires: frozenset[str]) -> str | None:
    """Return one of these tags, always the same, or None if there are none."""
    return next(iter(requires), None)


def rank_of(worker: WorkerRecord, number: int, pick: Pick) -> Rank:
    """The rank of a free worker in the order of preference."""
    if pick == "last_used":
        return 0.0, 0, -number
    most, running = worker._max_running, len(worker._runs)
    if most == 1:
        return 0.0, 0, number
    return (0.0, running, number) if most == math.inf else (running / most, 0, number)
