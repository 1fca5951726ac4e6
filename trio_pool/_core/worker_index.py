"""The index of the workers: which are in the pool, which are idle, and which may run a job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._model.records import ANYONE, Terms
from .tag_index import OPEN, Family, TagIndex, WorkerKind, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from random import Random

    from .._model.pool_config import Pick
    from .._model.records import Group, JobRecord, WorkerRecord
    from .tag_index import Fit, Key, Units


def terms_of(job: JobRecord) -> Terms:
    """Return the job's current terms."""
    options = job._options
    setback = job._setback
    if setback is None:
        return options.terms
    pinned = options.worker
    if pinned is None:
        if setback.placement == "other" and setback.failed_on:
            return Terms(options.requires, None, setback.failed_on, setback.last, *options.terms[4:])
        # A worker that is about to leave takes no more jobs.
        last = setback.last
        if setback.placement == "same" and last is not None and not (last._is_leaving or last._has_left):
            pinned = last
    return options.terms if pinned is None else options.terms._replace(pinned=pinned)


class WorkerIndex:
    """All workers of the pool that have not left, by their tags and by the group that they are reserved for.

    Invariant: a worker is in its kind's ``idle`` exactly if it is available, runs nothing and found
    nothing to run.
    """

    __slots__ = (
        "_everybody",
        "_families",
        "_in_order",
        "_kept",
        "_only",
        "_pick",
        "_rng",
        "_sequence",
        "by_id",
        "closed_units",
        "coming",
        "fresh",
        "idle_count",
        "leaving",
        "on_parked",
        "on_unparked",
    )

    def __init__(self, pick: Pick, rng: Random) -> None:
        self._pick: Pick = pick
        self._rng = rng
        self.by_id: dict[int, WorkerRecord] = {}
        # How many workers are about to leave.
        self.leaving: int = 0
        # How many workers can't start anything now, but may later without any action by the
        # program.
        self.coming: int = 0
        self._families: dict[Key, Family] = {}
        # The kinds by the group that they are reserved for and by their closed units; and kinds by
        # their tags alone.
        self._kept: dict[Group | None, dict[Units, TagIndex]] = {None: {OPEN: TagIndex(pick)}}
        # The units whose limits in the whole pool allow no start now.
        self.closed_units: set[str] = set()
        self._everybody = TagIndex(pick)
        # Idle workers that have not been checked against the waiting jobs.
        self.fresh: dict[WorkerRecord, None] = {}
        self._sequence = 0
        # The sum over the kinds, since every job needs it.
        self.idle_count: int = 0
        # Called when a worker becomes idle, and when it no longer is.
        self.on_parked: Callable[[WorkerRecord, float], object] | None = None
        self.on_unparked: Callable[[WorkerRecord], object] | None = None
        self._only: WorkerKind | None = None
        self._in_order: Callable[[dict[WorkerRecord, int]], Iterator[WorkerRecord]] = (
            reversed if pick == "last_used" else iter
        )

    def join(self, worker: WorkerRecord) -> None:
        """Add a worker, which isn't available yet."""
        self.by_id[worker._id] = worker
        kind = self._everybody.by_tags.get(worker._tags)
        if kind is None:
            kind = WorkerKind(Family((worker._tags, None)))
            self._everybody.add(kind)
        kind.add_members(1)
        self._enter(worker, None, OPEN)
        self.count_coming(worker)

    def leave(self, worker: WorkerRecord) -> bool:
        """Remove a worker that is no longer available; return whether it was the last with its tags."""
        del self.by_id[worker._id]
        self.leaving -= worker._is_leaving
        self.coming -= worker._coming
        kind = self._everybody.by_tags[worker._tags]
        kind.add_members(-1)
        if not kind.members:
            self._everybody.remove(kind)
        self._quit(worker)
        self.fresh.pop(worker, None)
        return not kind.members

    @property
    def staying(self) -> int:
        """How many workers are not about to leave."""
        return len(self.by_id) - self.leaving

    def reserve(self, worker: WorkerRecord, group: Group | None) -> None:
        """Reserve a worker for a group from now on, or for none."""
        self._move(worker, group, worker._kind.closed)

    def set_closed(self, worker: WorkerRecord, closed: Units) -> None:
        """Record the units whose limits on a worker allow no start now."""
        self._move(worker, worker._kind.group, closed)

    def _move(self, worker: WorkerRecord, group: Group | None, closed: Units) -> None:
        """Move a worker to another kind."""
        kind = worker._kind
        since = kind.unpark(worker)
        counts = worker._available and not worker._lent
        kind.add_available(-counts)
        kind.add_members(-1)
        self._enter(worker, group, closed)
        self._tidy(kind)
        kind = worker._kind
        kind.add_available(counts)
        if since is not None:
            in_order = since > next(reversed(kind.idle.values()), 0)
            kind.park(worker, since)
            if not in_order:
                kind.idle = dict(sorted(kind.idle.items(), key=lambda item: item[1]))
            self.fresh[worker] = None

    def _enter(self, worker: WorkerRecord, group: Group | None, closed: Units) -> None:
        key = (worker._tags, group)
        family = self._families.get(key)
        if family is None:
            family = self._families[key] = Family(key)
        kind = family.kinds.get(closed)
        if kind is None:
            kind = family.kinds[closed] = WorkerKind(family, closed)
            kept = self._kept.setdefault(group, {})
            if closed not in kept:
                kept[closed] = TagIndex(self._pick)
            kept[closed].add(kind)
            self._look_for_only()
        kind.add_members(1)
        worker._kind = kind

    def _quit(self, worker: WorkerRecord) -> None:
        worker._kind.add_members(-1)
        self._tidy(worker._kind)

    def _tidy(self, kind: WorkerKind) -> None:
        """Drop the family of a kind if it has no workers any more."""
        family = kind.family
        if kind.members or family.has_members():
            return
        del self._families[family.key]
        kept = self._kept[kind.group]
        for each in family.kinds.values():
            kinds = kept[each.closed]
            kinds.remove(each)
            if not kinds.by_tags and (kind.group is not None or each.closed):
                del kept[each.closed]
        if not kept:
            del self._kept[kind.group]
        self._look_for_only()

    def _look_for_only(self) -> None:
        only = None
        if len(self._families) == 1 and self._pick != "random":
            (family,) = self._families.values()
            if family.key[1] is None and len(family.kinds) == 1:
                only = family.kinds.get(OPEN)
        self._only = only

    def set_available(self, worker: WorkerRecord, available: bool) -> None:
        """Record whether a worker is available."""
        worker._available = available
        if not worker._lent:
            worker._kind.add_available(1 if available else -1)
        if not available:
            self.unpark(worker)

    def count_as_available(self, worker: WorkerRecord, counts: bool) -> None:
        """Record whether an available worker counts as such: not while it is lent."""
        if worker._available:
            worker._kind.add_available(1 if counts else -1)
        if counts and self.is_idle(worker):
            self.fresh[worker] = None

    def count_coming(self, worker: WorkerRecord) -> None:
        """Update the counts after the holds of a worker have changed."""
        coming = worker._may_become_available
        if coming is not worker._coming:
            worker._coming = coming
            self.coming += 1 if coming else -1

    def park(self, worker: WorkerRecord, now: float, *, is_fresh: bool = True) -> None:
        """Record that an available worker is idle; it is fresh unless it has just looked for a job itself."""
        self._sequence = number = self._sequence + 1
        kind = worker._kind
        kind.idle[worker] = number
        if kind.wide:
            kind.park(worker, number)
        self.idle_count += 1
        if is_fresh:
            self.fresh[worker] = None
        if self.on_parked is not None:
            self.on_parked(worker, now)

    def unpark(self, worker: WorkerRecord) -> None:
        """Record that a worker is no longer idle, if it was."""
        kind = worker._kind
        if worker not in kind.idle:
            return
        if kind.wide:
            kind.unpark(worker)
        else:
            del kind.idle[worker]
        self.idle_count -= 1
        if self.on_unparked is not None:
            self.on_unparked(worker)

    def take_idle(self) -> WorkerRecord:
        """Choose one of the idle workers, none of which is reserved, for a job without terms; it is no longer idle."""
        only = self._only
        if only is None or only.wide:
            worker = self.choose(ANYONE)
            assert worker is not None
            self.unpark(worker)
            return worker
        worker = next(self._in_order(only.idle))
        del only.idle[worker]
        self.idle_count -= 1
        if self.on_unparked is not None:
            self.on_unparked(worker)
        return worker

    def is_idle(self, worker: WorkerRecord) -> bool:
        """Whether a worker is idle."""
        return worker in worker._kind.idle

    def idle(self) -> list[WorkerRecord]:
        """The idle workers, the longest idle first."""
        # Copied first, since another thread may call this.
        kinds = [kind for family in list(self._families.values()) for kind in list(family.kinds.values())]
        found = [item for kind in kinds for item in list(kind.idle.items())]
        return [worker for worker, _ in sorted(found, key=lambda item: item[1])]

    def fresh_idle(self) -> list[WorkerRecord]:
        """The idle workers that are fresh, the longest idle first."""
        return sorted(filter(self.is_idle, self.fresh), key=lambda worker: worker._kind.idle[worker])

    def longest_idle(self, but: Collection[WorkerRecord]) -> WorkerRecord | None:
        """The longest idle worker that isn't reserved, except ``but``."""
        if self._pick == "longest_idle":
            return self.choose(ANYONE, but)
        kinds = [kind for index in self._kept[None].values() for kind in index.by_tags.values()]
        idle = [item for kind in kinds for item in kind.idle.items() if item[0] not in but]
        return min(idle, key=lambda item: item[1], default=(None, 0))[0]

    def has_any(self, terms: Terms) -> bool:
        """Whether some worker of the pool may run such a job, now or ever."""
        if terms is ANYONE:
            return bool(self.by_id)
        pinned = terms.pinned
        if pinned is not None:
            return pinned._id in self.by_id and terms.requires <= pinned._tags
        return bool(self._everybody.fit(terms.requires).kinds)

    def count(self, terms: Terms) -> int:
        """How many workers of the pool may run such a job, now or ever."""
        if terms.pinned is not None:
            return int(self.has_any(terms))
        return self._everybody.fit(terms.requires).count()

    def fitting(self, terms: Terms) -> list[WorkerRecord]:
        """The workers of the pool that may run such a job, now or ever."""
        pinned = terms.pinned
        if pinned is not None:
            return [pinned] if self.has_any(terms) else []
        return [worker for worker in self.by_id.values() if terms.requires <= worker._tags]

    def admits(self, terms: Terms, worker: WorkerRecord) -> bool:
        """Whether an available worker may run such a job now."""
        if not worker._kind.is_open_to(terms):
            return False
        if terms.pinned is not None:
            return worker is terms.pinned
        if not terms.failed:
            return True
        available = self._available(terms)
        failed = sum(1 for other in terms.failed if _is_relied_on(other, terms))
        if failed < available:
            return worker not in terms.failed
        # The job failed on all available workers: a new round begins. The last one is left out if
        # others are available; it counts itself only while it is not lent.
        return worker is not terms.last or available == (0 if worker._lent else 1)

    def is_avoided(self, terms: Terms, worker: WorkerRecord) -> bool:
        """Whether an eligible worker won't get such a job, whatever its own state, as long as others are available."""
        if worker not in terms.failed or not worker._kind.may_serve(terms):
            return False
        others = self._available(terms) - _is_relied_on(worker, terms)
        failed = sum(1 for other in terms.failed if other is not worker and _is_relied_on(other, terms))
        return others > failed or (worker is terms.last and others > 0)

    def choose(self, terms: Terms, but: Collection[WorkerRecord] = ()) -> WorkerRecord | None:
        """The idle worker for such a job, except ``but``, or None."""
        if not self.idle_count:
            return None
        if terms is ANYONE and self._only is not None and not but:
            # The short path for the most common pools, with the same result.
            return next(self._in_order(self._only.idle))
        if self.is_closed(terms):
            return None
        if terms.pinned is not None:
            worker = terms.pinned
            free = worker in worker._kind.idle and worker not in but and self.admits(terms, worker)
            return worker if free else None
        gate = terms.gate
        may_take = partial(self._may_take, terms, but) if terms.failed or but else None
        if gate is not None and gate in self._kept:
            # The reserved workers of the group go first, since the others are available to all
            # jobs.
            own = self._choose_of(self._fits(gate, terms, is_open=True), may_take)
            if own is not None:
                return own
        return self._choose_of(self._fits(None, terms, is_open=True), may_take)

    def is_closed(self, terms: Terms) -> bool:
        """Whether such jobs may not start now, on whatever worker."""
        if terms.gate is not None and terms.gate.is_full:
            return True
        return bool(terms.units) and not self.closed_units.isdisjoint(terms.units)

    def _fits(self, group: Group | None, terms: Terms, *, is_open: bool) -> list[Fit]:
        """The kinds reserved for a group that may run such jobs, ever or now."""
        units = terms.units if is_open else OPEN
        return [
            index.fit(terms.requires)
            for closed, index in self._kept.get(group, {}).items()
            if not units or closed.isdisjoint(units)
        ]

    def _may_take(self, terms: Terms, but: Collection[WorkerRecord], worker: WorkerRecord) -> bool:
        return worker not in but and (not terms.failed or self.admits(terms, worker))

    def has_substitute(self, worker: WorkerRecord) -> bool:
        """Whether another worker with all the tags of this one is idle and isn't reserved."""
        return any(index.fit(worker._tags).has_idle(worker) for index in self._kept[None].values())

    def is_wide(self, terms: Terms) -> bool:
        """Whether too many kinds of unreserved workers may run such jobs to search them one by one."""
        return any(fit.is_wide for fit in self._fits(None, terms, is_open=False))

    def kinds_for(self, terms: Terms, *, reserved: bool) -> list[WorkerKind]:
        """The kinds of workers that may ever run such jobs: the unreserved ones, or those reserved for the group."""
        fits = self._fits(terms.gate if reserved else None, terms, is_open=False)
        return [kind for fit in fits for kind in fit.kinds]

    def _choose_of(self, fits: list[Fit], may_take: Callable[[WorkerRecord], bool] | None) -> WorkerRecord | None:
        """The preferred one of the idle workers of these kinds that ``may_take`` accepts, or None."""
        if self._pick == "random":
            return draw(fits, self._rng, may_take)
        if len(fits) == 1:
            best = fits[0].first(may_take)
        else:
            best = min([found for fit in fits if (found := fit.first(may_take)) is not None], default=None)
        return None if best is None else best[1]

    def _available(self, terms: Terms) -> int:
        """How many available workers may run such jobs."""
        fits = self._fits(None, terms, is_open=False)
        if terms.gate is not None:
            fits += self._fits(terms.gate, terms, is_open=False)
        return sum([fit.count_available() for fit in fits])


def _is_relied_on(worker: WorkerRecord, terms: Terms) -> bool:
    return worker._available and not worker._lent and worker._kind.may_serve(terms)
