"""Which lanes each family of workers may serve, in the order of the lanes' first jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lane_index import Index
from .lanes import take_from
from .tag_index import a_tag_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from .._model.records import Group
    from .kinds import Kinds
    from .lane_index import Closed
    from .lanes import Entry, Lane
    from .tag_index import Family, Key, Units, WorkerKind

# How many more indexes of a family are kept than jobs in the queue use sets of units.
_SPARE = 8


class LaneIndexes:
    """The indexes of the lanes with further terms, by who may serve them and by the units that their jobs use.

    A lane for few families of workers is entered in an index of each; one for many in an index that
    these share, by a tag that it requires. Jobs that use different units are in different indexes,
    so that those of a unit whose limits allow no start are left out without looking at them.

    Attributes:
      gated: the lanes by their groups.
      closed: the lanes of groups that may start no more jobs, with the indexes that have dropped them.
    """

    __slots__ = ("_by_tag", "_families", "_kinds", "_lanes", "_shared", "_units", "closed", "gated")

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        # How many lanes there are, and how many for each set of units.
        self._lanes = 0
        self._units: dict[Units, int] = {}
        # The lanes for several workers, by a required tag or None.
        self._by_tag: dict[str | None, dict[Lane, None]] = {}
        self.gated: dict[Group, dict[Lane, None]] = {}
        self.closed: Closed = {}
        self._families: dict[Key, tuple[Family, dict[Units, Index]]] = {}
        self._shared: dict[str | None, dict[Units, Index]] = {}

    def uses_any(self, units: Collection[str]) -> bool:
        """Whether jobs wait that use any of these units."""
        return any(not used.isdisjoint(units) for used in self._units)

    def count_units(self, units: Units, difference: int) -> None:
        """Add to the number of lanes whose jobs use these units."""
        number = self._units.get(units, 0) + difference
        if number:
            self._units[units] = number
        else:
            del self._units[units]

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
            lane.index = self._index_of(None, self._shared.setdefault(tag, {}), terms.units)

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
                index = self._index_of(*known, terms.units)
                index.advertise(lane, head)
                index.trim(self._lanes)

    def of(self, kind: WorkerKind) -> Iterator[Index]:
        """Yield the indexes of the lanes that workers of a kind may serve now."""
        known = self._families.get(kind.key)
        if known is None or known[0] is not kind.family:
            known = self._families[kind.key] = (kind.family, {})
            for lane in self._lanes_for(kind):
                head = lane.head()
                if head is not None and kind.may_serve(lane.terms):
                    self._index_of(*known, lane.terms.units).advertise(lane, head)
        yield from _open_to(kind, known[1].values())
        if self._shared and kind.group is None:
            for tag in (None, *kind.tags):
                if tag in self._shared:
                    yield from _open_to(kind, self._shared[tag].values())

    def with_tag(self, tag: str | None) -> Iterable[Lane]:
        """The lanes for several workers that require a tag, or None, among others; each lane has one such tag."""
        return self._by_tag.get(tag, ())

    def forget(self, group: Group) -> None:
        """Drop the indexes of a group's reserved workers after these have been released."""
        for key in [key for key in self._families if key[1] is group]:
            del self._families[key]

    def clear(self) -> None:
        """Remove everything."""
        self._lanes = 0
        for held in (self._units, self._by_tag, self.gated, self.closed, self._families, self._shared):
            held.clear()

    def _index_of(self, family: Family | None, by_units: dict[Units, Index], units: Units) -> Index:
        index = by_units.get(units)
        if index is None:
            if len(by_units) > len(self._units) + _SPARE:
                for other in [other for other in by_units if other not in self._units]:
                    del by_units[other]
            index = by_units[units] = Index(family, units, self.closed)
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
