"""Which lanes each family of workers may serve, in the order of the lanes' first jobs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from .lane_index import Home, Index
from .lanes import take_from
from .tag_index import FEW, OPEN, a_tag_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from .._model.records import Group
    from .kinds import Kinds
    from .lane_index import Closed
    from .lanes import Entry, Lane
    from .startable import Startable
    from .tag_index import Family, Key, Units, WorkerKind

NO_UNITS: Final = frozenset[str]()

# How many indexes of a family are kept, in addition to twice the number of sets of units that queued jobs use.
_SPARE = 8


class ByUnits:
    """The indexes for some workers, by the units that the jobs use.

    Attributes:
      family: the family of the workers, or None if they belong to many.
      home: the workers.
      indexes: the indexes.
    """

    __slots__ = ("family", "home", "indexes")

    def __init__(self, family: Family | None, home: Home) -> None:
        self.family: Family | None = family
        self.home: Home = home
        self.indexes: dict[Units, Index] = {}


class LaneIndexes:
    """The indexes of the lanes with further terms, by who may serve them and by the units that their jobs use.

    A lane for few families of workers is entered in an index of each. A lane for many families is
    entered in an index that these share, by a tag that it requires. Jobs that use different units are
    in different indexes. So the jobs of a unit whose limits allow no start can be skipped all at once.

    Arguments:
      kinds: the kinds of workers.
      startable: receives the indexes of jobs that use units. There may be very many of these.

    Attributes:
      is_crowded: whether the waiting jobs use too many different sets of units for a worker to look at all of them.
      gated: the lanes by their groups.
      closed: the lanes of groups that may start no more jobs, with the indexes that have dropped them.
    """

    # fmt: off
    __slots__ = (
        "_by_tag", "_families", "_kinds", "_lanes", "_shared", "_startable", "_units", "_using", "closed", "gated",
        "is_crowded",
    )
    # fmt: on

    def __init__(self, kinds: Kinds, startable: Startable) -> None:
        self._kinds = kinds
        self._startable = startable
        # How many lanes there are, and how many for each set of units.
        self._lanes = 0
        self._units: dict[Units, int] = {}
        # How many of these sets have a unit.
        self._using: dict[str, int] = {}
        self.is_crowded: bool = False
        # The lanes for several workers, by a required tag or None.
        self._by_tag: dict[str | None, dict[Lane, None]] = {}
        self.gated: dict[Group, dict[Lane, None]] = {}
        self.closed: Closed = {}
        self._families: dict[Key, ByUnits] = {}
        self._shared: dict[str | None, ByUnits] = {}

    def uses_any(self, units: Collection[str]) -> bool:
        """Whether jobs wait that use any of these units."""
        return not self._using.keys().isdisjoint(units)

    def count_units(self, units: Units, difference: int) -> None:
        """Add to the number of lanes whose jobs use these units."""
        before = self._units.get(units, 0)
        number = before + difference
        if number:
            self._units[units] = number
        else:
            del self._units[units]
        if not (before and number):
            self.is_crowded = len(self._units) > FEW
            for unit in units:
                self._using[unit] = self._using.get(unit, 0) + difference
                if not self._using[unit]:
                    del self._using[unit]

    def add(self, lane: Lane) -> None:
        """Add a lane, which has no jobs yet."""
        terms = lane.terms
        self._lanes += 1
        self.count_units(terms.units, 1)
        if terms.gate is not None:
            self.gated.setdefault(terms.gate, {})[lane] = None
        if terms.pinned is not None:
            return
        tag = a_tag_of(terms.requires)
        self._by_tag.setdefault(tag, {})[lane] = None
        if self._kinds.is_wide(terms.requires):
            by_units = self._shared.get(tag)
            if by_units is None:
                tags = frozenset(() if tag is None else (tag,))
                by_units = self._shared[tag] = ByUnits(None, Home(partial(self._kinds.has_idle, tags)))
            lane.index = self._index_of(by_units, terms.units)

    def drop(self, lane: Lane) -> bool:
        """Remove a lane that has no jobs any more; return whether it was the last of its group."""
        terms = lane.terms
        self._lanes -= 1
        self.count_units(terms.units, -1)
        if terms.pinned is None:
            take_from(self._by_tag, a_tag_of(terms.requires), lane)
        if terms.gate is None or not take_from(self.gated, terms.gate, lane):
            return False
        self.closed.pop(terms.gate, None)
        return True

    def advertise(self, lane: Lane, head: Entry) -> None:
        """Enter a lane for several workers, or update it after it has got a new first job."""
        terms = lane.terms
        kinds = [] if terms.gate is None else self._kinds.with_tags(terms.requires, terms.gate)
        if lane.index is not None:
            lane.index.advertise(lane, head)
            lane.index.trim(self._lanes)
        else:
            kinds += self._kinds.with_tags(terms.requires, None)
        for kind in kinds:
            known = self._families.get(kind.key)
            if known is not None:
                index = self._index_of(known, terms.units)
                index.advertise(lane, head)
                index.trim(self._lanes)

    def of(self, kind: WorkerKind) -> Iterator[Index]:
        """Yield the indexes of the lanes that workers of a kind may serve now."""
        for by_units in self._for(kind):
            yield from _open_to(kind, by_units.indexes.values())

    def note_idle(self, kind: WorkerKind) -> None:
        """Note the indexes of the lanes that a worker of this kind, which has become idle, may serve."""
        for by_units in self._for(kind):
            index = by_units.indexes.get(NO_UNITS)
            if index is not None and (rank := index.first_rank()) is not None:
                self._startable.note(index, rank)
            self._startable.look_again(by_units.home)

    def _for(self, kind: WorkerKind) -> list[ByUnits]:
        """The indexes of the lanes that workers of a kind may serve."""
        known = self._families.get(kind.key)
        if known is None or known.family is not kind.family:
            if known is not None:
                self._forget(known)
            home = Home(partial(kind.family.has_idle, OPEN))
            known = self._families[kind.key] = ByUnits(kind.family, home)
            for lane in self._lanes_for(kind):
                head = lane.head()
                if head is not None and kind.may_serve(lane.terms):
                    self._index_of(known, lane.terms.units).advertise(lane, head)
        found = [known]
        if self._shared and kind.group is None:
            found += [self._shared[tag] for tag in (None, *kind.tags) if tag in self._shared]
        return found

    def with_tag(self, tag: str | None) -> Iterable[Lane]:
        """The lanes for several workers that are filed under one of their required tags, or under None without any."""
        return self._by_tag.get(tag, ())

    def forget(self, group: Group) -> None:
        """Drop the indexes of a group's reserved workers after these have been released."""
        for key in [key for key in self._families if key[1] is group]:
            self._forget(self._families.pop(key))

    def _forget(self, by_units: ByUnits) -> None:
        for index in by_units.indexes.values():
            self._startable.forget(index)
        self._startable.forget_gate(by_units.home)

    def clear(self) -> None:
        """Remove everything."""
        self._lanes = 0
        self.is_crowded = False
        for held in (self._units, self._using, self._by_tag, self.gated, self.closed, self._families, self._shared):
            held.clear()

    def _index_of(self, by_units: ByUnits, units: Units) -> Index:
        indexes = by_units.indexes
        index = indexes.get(units)
        if index is None:
            if len(indexes) > 2 * len(self._units) + _SPARE:
                for other in [other for other in indexes if other not in self._units]:
                    self._startable.forget(indexes.pop(other))
            index = Index(by_units.family, by_units.home, units, self.closed, self._startable.note_earlier)
            indexes[units] = index
        return index

    def _lanes_for(self, kind: WorkerKind) -> Iterator[Lane]:
        """Yield the lanes that may belong to the index of a kind of workers."""
        if kind.group is not None:
            yield from (lane for lane in self.gated.get(kind.group, ()) if lane.terms.pinned is None)
            return
        for tag in (None, *kind.tags):
            yield from (lane for lane in self._by_tag.get(tag, ()) if lane.index is None)


def _open_to(kind: WorkerKind, indexes: Iterable[Index]) -> Iterable[Index]:
    closed = kind.closed
    return [index for index in indexes if closed.isdisjoint(index.units)] if closed else indexes
