"""The kinds of the workers: by their tags and by the groups that they, or places of them, are reserved for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tag_index import OPEN, Family, TagIndex, WorkerKind

if TYPE_CHECKING:
    from .._model.pool_config import Pick
    from .._model.records import Group, Terms, WorkerRecord
    from .tag_index import Fit, Gates, Key


class Kinds:
    """All kinds of workers in the pool.

    An exclusive worker belongs to one kind, which changes when the worker is reserved. Any other
    worker belongs to the kind of its tags without a group, and also to one kind for each group that
    has places of it reserved.

    Attributes:
      only: the only kind, if all workers are exclusive and none is reserved, and if picks are not
          random.
    """

    __slots__ = ("_by_key", "_everybody", "_pick", "by_group", "only")

    def __init__(self, pick: Pick) -> None:
        self._pick: Pick = pick
        self._by_key: dict[Key, Family] = {}
        # The kinds by the group that they are reserved for and by their gates; and kinds by their tags
        # alone.
        self.by_group: dict[Group | None, dict[Gates, TagIndex]] = {None: {OPEN: TagIndex(pick)}}
        self._everybody = TagIndex(pick)
        self.only: WorkerKind | None = None

    def join(self, worker: WorkerRecord) -> None:
        """Add a worker."""
        kind = self._everybody.by_tags.get(worker._tags)
        if kind is None:
            kind = WorkerKind(Family((worker._tags, None)))
            self._everybody.add(kind)
        kind.add_members(1)
        self.enter(worker, None)

    def leave(self, worker: WorkerRecord) -> bool:
        """Remove a worker, none of whose places is reserved; return whether it was the last with its tags."""
        kind = self._everybody.by_tags[worker._tags]
        kind.add_members(-1)
        if not kind.members:
            self._everybody.remove(kind)
        self.quit(worker._kind)
        return not kind.members

    def enter(self, worker: WorkerRecord, group: Group | None) -> None:
        """Add a worker to the kind that is reserved for a group, or for none."""
        worker._kind = self.add_to(worker, group)
        if not worker._is_exclusive:
            self.note_places(worker)

    def add_to(self, worker: WorkerRecord, group: Group | None) -> WorkerKind:
        """Count a worker among the kind that is reserved for a group, or for none; return the kind."""
        key = (worker._tags, group)
        closed = worker._closed
        family = self._by_key.get(key)
        if family is None:
            family = self._by_key[key] = Family(key)
        kind = family.kinds.get(closed)
        if kind is None:
            kind = family.kinds[closed] = WorkerKind(family, closed)
            kind.has_places = not worker._is_exclusive
            indexes = self.by_group.setdefault(group, {})
            if closed not in indexes:
                indexes[closed] = TagIndex(self._pick)
            indexes[closed].add(kind)
            self._look_for_only()
        kind.add_members(1)
        return kind

    def remove_from(self, worker: WorkerRecord, group: Group | None) -> None:
        """Undo `add_to`."""
        self.quit(self._kind_of(worker, group))

    def quit(self, kind: WorkerKind) -> None:
        """Count one worker less among a kind."""
        kind.add_members(-1)
        if kind.members:
            return
        family = kind.family
        if not family.has_members():
            gone = list(family.kinds.values())
            del self._by_key[kind.key]
        elif any(not isinstance(gate, str) for gate in kind.closed):
            gone = [family.kinds.pop(kind.closed)]  # shared limits may be new ones each time
        else:
            return
        indexes = self.by_group[kind.group]
        for each in gone:
            kinds = indexes[each.closed]
            kinds.remove(each)
            if not kinds.by_tags and (kind.group is not None or each.closed):
                del indexes[each.closed]
        if not indexes:
            del self.by_group[kind.group]
        self._look_for_only()

    def set_closed(self, worker: WorkerRecord, closed: Gates) -> bool:
        """Move a worker to the kinds with these gates; return whether it is idle."""
        left = self.of(worker)
        since = {kind.group: number for kind in left if (number := kind.unpark(worker)) is not None}
        counts = worker._available and not worker._lent
        self.add_available(worker, -counts)
        worker._closed = closed
        worker._kind = self.add_to(worker, worker._kind.group)
        for group in worker._kept:
            self.add_to(worker, group)
        if not worker._is_exclusive:
            self.note_places(worker)
        for kind in left:
            self.quit(kind)
        self.add_available(worker, counts)
        for kind in self.of(worker) if since else ():
            if kind.group in since:
                put_back(worker, kind, since[kind.group])
        return bool(since)

    def set_places(self, worker: WorkerRecord, limit: float) -> None:
        """Change the number of a worker's places, while it is free in no kind."""
        worker._max_running = limit
        if limit != 1 and worker._is_exclusive:
            worker._is_exclusive = False
            self.note_places(worker)

    def change_kept(self, worker: WorkerRecord, group: Group, number: int) -> None:
        """Reserve more or fewer places of a worker for a group, while it is free in no kind."""
        if group not in worker._kept:
            self.add_to(worker, group)
            worker._kept[group] = 0
            worker._kept_runs[group] = sum(run.job._options.group is group for run in worker._runs)
        worker._kept[group] += number
        if not worker._kept[group]:
            del worker._kept[group], worker._kept_runs[group]
            self.remove_from(worker, group)

    def note_places(self, worker: WorkerRecord) -> None:
        """Record that a worker is not exclusive."""
        for kind in self.of(worker):
            if not kind.has_places:
                self.by_group[kind.group][kind.closed].note_places(kind)
                self._look_for_only()

    def _look_for_only(self) -> None:
        family = next(iter(self._by_key.values())) if len(self._by_key) == 1 else None
        only = None if family is None or len(family.kinds) > 1 else family.kinds.get(OPEN)
        is_simple = only is not None and only.group is None and not only.has_places and self._pick != "random"
        self.only = only if is_simple else None

    def of(self, worker: WorkerRecord) -> list[WorkerKind]:
        """The kinds that a worker belongs to."""
        return [worker._kind, *(self._kind_of(worker, group) for group in worker._kept)]

    def _kind_of(self, worker: WorkerRecord, group: Group | None) -> WorkerKind:
        return self._by_key[worker._tags, group].kinds[worker._closed]

    def open_to(self, worker: WorkerRecord) -> list[WorkerKind]:
        """The kinds in which a worker that is not exclusive has a free place."""
        if not worker._has_room:
            return []
        taken = len(worker._runs)
        kinds: list[WorkerKind] = []
        for group, number in worker._kept.items():
            left = number - worker._kept_runs[group]
            if left > 0:
                taken += left
                kinds.append(self._kind_of(worker, group))
        return [worker._kind, *kinds] if taken < worker._max_running else kinds

    def add_available(self, worker: WorkerRecord, number: int) -> None:
        """Add to the number of available workers of each kind in which a worker has places."""
        if not worker._kept:
            worker._kind.add_available(number)
            return
        for kind in self.of(worker):
            if kind.group is not None or _has_unreserved(worker):
                kind.add_available(number)

    def everybody(self, requires: frozenset[str]) -> Fit:
        """The kinds by tags alone that have these tags."""
        return self._everybody.fit(requires)

    def unreserved(self) -> list[WorkerKind]:
        """The kinds that are reserved for no group."""
        return [kind for index in self.by_group[None].values() for kind in index.by_tags.values()]

    def fits_for(self, requires: frozenset[str], group: Group | None, gates: Gates = OPEN) -> list[Fit]:
        """The kinds with these tags that are reserved for a group, or for none, and that have none of these gates."""
        indexes = self.by_group.get(group)
        if indexes is None:
            return []
        return [index.fit(requires) for closed, index in indexes.items() if not closed or closed.isdisjoint(gates)]

    def is_wide(self, requires: frozenset[str]) -> bool:
        """Whether too many unreserved kinds have these tags to search them one by one."""
        return any(fit.is_wide for fit in self.fits_for(requires, None))

    def with_tags(self, requires: frozenset[str], group: Group | None) -> list[WorkerKind]:
        """The kinds with these tags that are reserved for a group, or for none, whatever units are closed."""
        return [kind for fit in self.fits_for(requires, group) for kind in fit.kinds]

    def all(self) -> list[WorkerKind]:
        """All kinds that have workers."""
        families = list(self._by_key.values())
        return [kind for family in families for kind in list(family.kinds.values()) if kind.members]


def may_serve(worker: WorkerRecord, terms: Terms) -> bool:
    """Whether a worker may ever run such a job, according to its tags and the groups that it is reserved for."""
    if not worker._kept:
        return bool(worker._kind.may_serve(terms))
    return terms.requires <= worker._tags and (terms.gate in worker._kept or _has_unreserved(worker))


def _has_unreserved(worker: WorkerRecord) -> bool:
    """Whether not all places of a worker that is not exclusive are reserved."""
    return sum(worker._kept.values()) < worker._max_running


def put_back(worker: WorkerRecord, kind: WorkerKind, number: int) -> None:
    """Let a worker be idle again where it was in the order."""
    in_order = number > next(reversed(kind.idle.values()), 0)
    kind.park(worker, number)
    if not in_order:
        kind.idle = dict(sorted(kind.idle.items(), key=lambda item: item[1]))


def has_place_for(worker: WorkerRecord, group: Group | None) -> bool:
    """Whether a place of a worker is free that isn't reserved for other groups than this one."""
    taken = len(worker._runs)
    for other, number in worker._kept.items():
        if other is not group:
            taken += max(0, number - worker._kept_runs[other])
    return taken < worker._max_running
