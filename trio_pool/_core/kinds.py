"""The kinds of workers: by their tags and by the groups for which they, or some of their places, are reserved."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from .free_places import FreePlaces
from .tag_index import FEW, OPEN, Family, TagIndex, WorkerKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.pool_config import Pick
    from .._model.records import Group, Run, Terms, WorkerRecord
    from .tag_index import Fit, Gates, Key


class Kinds:
    """All kinds of workers in the pool.

    An exclusive worker belongs to one kind, which changes when the worker is reserved. Any other
    worker belongs to the kind of its tags without a group, and also to one kind for each group that
    has places of it reserved.

    Attributes:
      only: the only kind, if all workers are exclusive and none is reserved, if its idle workers are
          in order, and if picks are not random.
      have_places: whether there has ever been a worker that is not exclusive.
    """

    __slots__ = ("_by_key", "_everybody", "_pick", "by_group", "have_places", "only", "places")

    def __init__(self, pick: Pick) -> None:
        self._pick: Pick = pick
        self._by_key: dict[Key, Family] = {}
        self.places: FreePlaces = FreePlaces()
        # The kinds by the group that they are reserved for and by their gates; and kinds by their tags
        # alone.
        self.by_group: dict[Group | None, dict[Gates, TagIndex]] = {None: {OPEN: TagIndex(pick)}}
        self._everybody = TagIndex(pick)
        self.only: WorkerKind | None = None
        self.have_places: bool = False

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
        self.places.leave(worker)
        return not kind.members

    def enter(self, worker: WorkerRecord, group: Group | None) -> None:
        """Add a worker to the kind that is reserved for a group, or for none."""
        worker._kind = self.add_to(worker, group)

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
            indexes = self.by_group.setdefault(group, {})
            if closed not in indexes:
                indexes[closed] = TagIndex(self._pick, None if group is None else self.places)
            indexes[closed].add(kind)
            self._look_for_only()
        kind.add_members(1)
        if not worker._is_exclusive:
            self._note_places(kind)
        return kind

    def remove_from(self, worker: WorkerRecord, group: Group | None) -> None:
        """Undo `add_to`."""
        self.quit(self._kind_of(worker, group))

    def quit(self, kind: WorkerKind) -> None:
        """Count one worker fewer in a kind."""
        kind.add_members(-1)
        if kind.members:
            return
        family = kind.family
        if not family.has_members():
            gone = list(family.kinds.values())
            del self._by_key[kind.key]
        elif kind.closed and (len(family.kinds) > FEW or any(not isinstance(gate, str) for gate in kind.closed)):
            # There may be very many combinations of units, and new shared limits each time.
            gone = [family.kinds.pop(kind.closed)]
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
        since = worker._kind.unpark(worker)
        kept = [kind.group for kind in left if kind.unkeep(worker) and kind.group is not None]
        counts = worker._available and not worker._lent
        self.add_available(worker, -counts)
        worker._closed = closed
        worker._kind = self.add_to(worker, worker._kind.group)
        for group in worker._kept:
            self.add_to(worker, group)
        for own in kept:
            self._kind_of(worker, own).keep(worker)
        if kept and worker in self.places.free:
            self.places.add(worker, self.places.free[worker])
        for kind in left:
            self.quit(kind)
        self.add_available(worker, counts)
        if since is not None:
            self.put_back(worker, worker._kind, since)
        return since is not None or worker in self.places.free

    def put_back(self, worker: WorkerRecord, kind: WorkerKind, number: int) -> None:
        """Make a worker idle again, at its previous position in the order."""
        is_before_others = kind.is_in_order and number < next(reversed(kind.idle.values()), 0)
        if is_before_others and len(kind.idle) > FEW:
            kind.is_mixed = True
            self._give_up_order(kind)
        kind.park(worker, number)
        if is_before_others and kind.is_in_order:
            kind.idle = dict(sorted(kind.idle.items(), key=itemgetter(1)))

    def note_empty(self, kind: WorkerKind) -> None:
        """Record that no worker of a kind is idle any more: the next ones will be in order."""
        if kind.is_mixed:
            kind.is_mixed = False
            for fit in list(kind.wide):
                fit.narrow()
            self._look_for_only()

    def set_places(self, worker: WorkerRecord, limit: float) -> None:
        """Change the number of a worker's places, while it is free in no kind."""
        worker._max_running = limit
        if limit != 1 and worker._is_exclusive:
            worker._is_exclusive = False
            worker._under_way = len(worker._runs), sum([run.since for run in worker._runs])
            for kind in self.of(worker):
                self._note_places(kind)

    def change_kept(self, worker: WorkerRecord, group: Group, number: int) -> None:
        """Reserve more or fewer places of a worker for a group, while it is not free."""
        counts = worker._available and not worker._lent
        worker._kind.add_available(-counts * _has_unreserved(worker))
        if group not in worker._kept:
            self.add_to(worker, group).add_available(counts)
            worker._kept[group] = 0
            runs = worker._runs if group.live else ()
            worker._kept_runs[group] = sum([run.job._options.group is group for run in runs])
        before = worker._kept[group] - worker._kept_runs[group]
        worker._kept[group] += number
        worker._kept_places += number
        self._note_left(worker, group, before, before + number if worker._kept[group] else 0)
        if not worker._kept[group]:
            self._kind_of(worker, group).add_available(-counts)
            del worker._kept[group], worker._kept_runs[group]
            self.remove_from(worker, group)
        worker._kind.add_available(counts * _has_unreserved(worker))

    def note_run(self, run: Run, number: int) -> None:
        """Count a run that begins or ends, also among those of its group, if the group has places reserved."""
        worker, group = run.worker, run.job._options.group
        if not worker._is_exclusive:
            running, since = worker._under_way
            running += number
            worker._under_way = running, since + number * run.since if running else 0.0
        if group in worker._kept_runs:
            assert group is not None
            before = worker._kept[group] - worker._kept_runs[group]
            worker._kept_runs[group] += number
            self._note_left(worker, group, before, before - number)

    def _note_left(self, worker: WorkerRecord, group: Group, before: int, now: int) -> None:
        """Record how many of the places that are reserved for a group are free."""
        worker._kept_free += max(0, now) - max(0, before)
        if (now > 0) != (before > 0):
            kind = self._kind_of(worker, group)
            if now > 0:
                kind.keep(worker)
            else:
                kind.unkeep(worker)

    def free_places(self, worker: WorkerRecord, number: int) -> bool:
        """Enter a worker with several places wherever it has a free one; return whether it is free anywhere."""
        if not worker._has_room:
            return False
        self.places.add(worker, number)
        if has_unreserved_place(worker):
            worker._kind.park(worker, number)
        return True

    def take_out(self, worker: WorkerRecord) -> int | None:
        """Record that a worker is no longer free; return its number in the order, if it was free."""
        number = worker._kind.unpark(worker)
        free = self.places.free.pop(worker, None)
        return free if number is None else number

    def _note_places(self, kind: WorkerKind) -> None:
        """Record that a kind has a worker that is not exclusive."""
        self.have_places = True
        if not kind.has_places:
            kind.has_places = True
            self._give_up_order(kind)

    def _give_up_order(self, kind: WorkerKind) -> None:
        self.by_group[kind.group][kind.closed].widen(kind)
        self._look_for_only()

    def _look_for_only(self) -> None:
        family = next(iter(self._by_key.values())) if len(self._by_key) == 1 else None
        only = None if family is None or len(family.kinds) > 1 else family.kinds.get(OPEN)
        is_simple = only is not None and only.group is None and only.is_in_order and self._pick != "random"
        self.only = only if is_simple else None

    def of(self, worker: WorkerRecord) -> list[WorkerKind]:
        """The kinds that a worker belongs to."""
        return [worker._kind, *(self._kind_of(worker, group) for group in worker._kept)]

    def _kind_of(self, worker: WorkerRecord, group: Group | None) -> WorkerKind:
        return self._by_key[worker._tags, group].kinds[worker._closed]

    def number_of(self, worker: WorkerRecord) -> int | None:
        """The number of a free worker in the order, or None."""
        number = worker._kind.idle.get(worker)
        return self.places.free.get(worker) if number is None else number

    def open_to(self, worker: WorkerRecord, among: Mapping[Group, object] | None = None) -> list[WorkerKind]:
        """The kinds in which a worker with several places has a free one; with ``among``, only these groups' kinds."""
        if not worker._has_room:
            return []
        kinds = [worker._kind] if has_unreserved_place(worker) else []
        if worker._kept_free:
            kept, runs = worker._kept, worker._kept_runs
            groups = among if among is not None and len(among) < len(kept) else kept
            kinds += [self._kind_of(worker, group) for group in groups if group in kept and kept[group] > runs[group]]
        return kinds

    def add_available(self, worker: WorkerRecord, number: int) -> None:
        """Add to the number of available workers of each kind in which a worker has places."""
        if not worker._kept:
            worker._kind.add_available(number)
            return
        for kind in self.of(worker):
            if kind.group is not None or _has_unreserved(worker):
                kind.add_available(number)

    def available(self, terms: Terms) -> int:
        """How many available workers may run such jobs."""
        gate = terms.gate
        number = sum([fit.count_available() for fit in self.fits_for(terms.requires, None)])
        if gate is None:
            return number
        number += sum([fit.count_available() for fit in self.fits_for(terms.requires, gate)])
        # Workers that also have places for any job have been counted twice.
        shared = (worker for worker in gate.workers if worker._kept and _has_unreserved(worker))
        return number - sum(1 for worker in shared if is_relied_on(worker, terms))

    def everybody(self, requires: frozenset[str]) -> Fit:
        """The kinds that have these tags, where kinds differ only by tags."""
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

    def has_idle(self, requires: frozenset[str]) -> bool:
        """Whether a worker with these tags is idle that is reserved for no group."""
        return any(fit.has_idle(None) for fit in self.fits_for(requires, None))

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


def is_relied_on(worker: WorkerRecord, terms: Terms) -> bool:
    """Whether a worker is available for such jobs, now or after its current runs."""
    return worker._available and not worker._lent and may_serve(worker, terms)


def _has_unreserved(worker: WorkerRecord) -> bool:
    """Whether not all places of a worker that is not exclusive are reserved."""
    return worker._kept_places < worker._max_running


def has_place_for(worker: WorkerRecord, group: Group | None) -> bool:
    """Whether a worker has a free place that isn't reserved for another group."""
    own = worker._kept[group] - worker._kept_runs[group] if group in worker._kept else 0
    return len(worker._runs) + worker._kept_free - max(0, own) < worker._max_running


def has_free_place_for(worker: WorkerRecord, group: Group | None) -> bool:
    """Whether a worker that is not exclusive may start a job of this group, or of none, according to its places."""
    if not worker._has_room:
        return False
    return has_unreserved_place(worker) or (group in worker._kept and worker._kept[group] > worker._kept_runs[group])


def has_unreserved_place(worker: WorkerRecord) -> bool:
    """Whether a worker has a free place that isn't reserved."""
    return len(worker._runs) + worker._kept_free < worker._max_running


def has_place_to_reserve(worker: WorkerRecord) -> bool:
    """Whether a worker has a free place that is neither reserved nor lent: jobs that have lent places get them back."""
    lent = len(worker._lent)
    if lent and worker._kept:
        own: dict[Group, int] = {}
        for run in worker._lent:
            group = run.job._options.group
            if group in worker._kept:
                assert group is not None
                own[group] = own.get(group, 0) + 1
        for group, number in own.items():
            lent -= min(number, max(0, worker._kept[group] - worker._kept_runs[group]))  # these return to its places
    return len(worker._runs) + worker._kept_free + lent < worker._max_running
