"""The kinds of the workers: by their tags and by the groups that they, or places of them, are reserved for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tag_index import TagIndex, WorkerKind

if TYPE_CHECKING:
    from .._model.pool_config import Pick
    from .._model.records import Group, Terms, WorkerRecord
    from .tag_index import Fit, Key


class Kinds:
    """All kinds of workers in the pool.

    An exclusive worker belongs to one kind, which changes when the worker is reserved. Any other
    worker belongs to the kind of its tags without a group, and also to one kind for each group that
    has places of it reserved.

    Attributes:
      only: the only kind, if all workers are exclusive and none is reserved, and if picks are not
          random.
    """

    __slots__ = ("_by_group", "_by_key", "_everybody", "_pick", "only")

    def __init__(self, pick: Pick) -> None:
        self._pick: Pick = pick
        self._by_key: dict[Key, WorkerKind] = {}
        # The kinds by the group that they are reserved for; and kinds by their tags alone.
        self._by_group: dict[Group | None, TagIndex] = {None: TagIndex(pick)}
        self._everybody = TagIndex(pick)
        self.only: WorkerKind | None = None

    def join(self, worker: WorkerRecord) -> None:
        """Add a worker."""
        kind = self._everybody.by_tags.get(worker._tags)
        if kind is None:
            kind = WorkerKind((worker._tags, None))
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
        kind = self._by_key.get(key)
        if kind is None:
            kind = self._by_key[key] = WorkerKind(key)
            kind.has_places = not worker._is_exclusive
            if group not in self._by_group:
                self._by_group[group] = TagIndex(self._pick)
            self._by_group[group].add(kind)
            self._look_for_only()
        kind.add_members(1)
        return kind

    def remove_from(self, worker: WorkerRecord, group: Group | None) -> None:
        """Undo `add_to`."""
        self.quit(self._by_key[worker._tags, group])

    def quit(self, kind: WorkerKind) -> None:
        """Count one worker less among a kind."""
        kind.add_members(-1)
        if not kind.members:
            del self._by_key[kind.key]
            kinds = self._by_group[kind.group]
            kinds.remove(kind)
            if not kinds.by_tags and kind.group is not None:
                del self._by_group[kind.group]
            self._look_for_only()

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
                self._by_group[kind.group].note_places(kind)
                self._look_for_only()

    def _look_for_only(self) -> None:
        only = next(iter(self._by_key.values())) if len(self._by_key) == 1 else None
        is_simple = only is not None and only.group is None and not only.has_places and self._pick != "random"
        self.only = only if is_simple else None

    def of(self, worker: WorkerRecord) -> list[WorkerKind]:
        """The kinds that a worker belongs to."""
        return [worker._kind, *(self._by_key[worker._tags, group] for group in worker._kept)]

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
                kinds.append(self._by_key[worker._tags, group])
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
        return list(self._by_group[None].by_tags.values())

    def fits_for(self, requires: frozenset[str], group: Group | None) -> tuple[Fit, Fit | None]:
        """The kinds with these tags: those that are reserved for no group, and those for the given one."""
        own = None if group is None else self._by_group.get(group)
        return self._by_group[None].fit(requires), None if own is None else own.fit(requires)

    def all(self) -> list[WorkerKind]:
        """All kinds."""
        return list(self._by_key.values())


def may_serve(worker: WorkerRecord, terms: Terms) -> bool:
    """Whether a worker may ever run such a job, according to its tags and the groups that it is reserved for."""
    if not worker._kept:
        return bool(worker._kind.may_serve(terms))
    return terms.requires <= worker._tags and (terms.gate in worker._kept or _has_unreserved(worker))


def _has_unreserved(worker: WorkerRecord) -> bool:
    """Whether not all places of a worker that is not exclusive are reserved."""
    return sum(worker._kept.values()) < worker._max_running


def has_place_for(worker: WorkerRecord, group: Group | None) -> bool:
    """Whether a place of a worker is free that isn't reserved for other groups than this one."""
    taken = len(worker._runs)
    for other, number in worker._kept.items():
        if other is not group:
            taken += max(0, number - worker._kept_runs[other])
    return taken < worker._max_running
