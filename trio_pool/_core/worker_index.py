"""The index of the workers: which are in the pool, which are idle, and which may run a job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .._model.records import ANYONE, Terms
from .tag_index import TagIndex, WorkerKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from random import Random

    from .._model.pool_config import Pick
    from .._model.records import Group, JobRecord, WorkerRecord
    from .tag_index import Fit, Key


def terms_of(job: JobRecord) -> Terms:
    """Return the job's current terms."""
    options = job._options
    setback = job._setback
    if setback is None:
        return options.terms
    pinned = options.worker
    if pinned is None:
        if setback.placement == "other" and setback.failed_on:
            return Terms(options.requires, None, setback.failed_on, setback.last, options.terms.gate)
        # A worker that is about to leave takes no more jobs.
        last = setback.last
        if setback.placement == "same" and last is not None and not (last._is_leaving or last._has_left):
            pinned = last
    return options.terms if pinned is None else Terms(options.requires, pinned, gate=options.terms.gate)


class WorkerIndex:
    """All workers of the pool that have not left, by their tags and by the group that they are reserved for.

    Invariant: a worker is in its kind's ``idle`` exactly if it is available, runs nothing and found
    nothing to run.
    """

    __slots__ = (
        "_everybody",
        "_in_order",
        "_kept",
        "_kinds",
        "_only",
        "_pick",
        "_rng",
        "_sequence",
        "by_id",
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
        self._kinds: dict[Key, WorkerKind] = {}
        # The kinds by the group that they are reserved for; and kinds by their tags alone.
        self._kept: dict[Group | None, TagIndex] = {None: TagIndex(pick)}
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
            kind = WorkerKind((worker._tags, None))
            self._everybody.add(kind)
        kind.add_members(1)
        self._enter(worker, None)
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
        kind = worker._kind
        since = kind.unpark(worker)
        counts = worker._available and not worker._lent
        kind.add_available(-counts)
        self._quit(worker)
        self._enter(worker, group)
        kind = worker._kind
        kind.add_available(counts)
        if since is not None:
            in_order = since > next(reversed(kind.idle.values()), 0)
            kind.park(worker, since)
            if not in_order:
                kind.idle = dict(sorted(kind.idle.items(), key=lambda item: item[1]))
            self.fresh[worker] = None

    def _enter(self, worker: WorkerRecord, group: Group | None) -> None:
        key = (worker._tags, group)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = WorkerKind(key)
            if group not in self._kept:
                self._kept[group] = TagIndex(self._pick)
            self._kept[group].add(kind)
            self._look_for_only()
        kind.add_members(1)
        worker._kind = kind

    def _quit(self, worker: WorkerRecord) -> None:
        kind = worker._kind
        kind.add_members(-1)
        if not kind.members:
            del self._kinds[kind.key]
            kinds = self._kept[kind.group]
            kinds.remove(kind)
            if not kinds.by_tags and kind.group is not None:
                del self._kept[kind.group]
            self._look_for_only()

    def _look_for_only(self) -> None:
        only = next(iter(self._kinds.values())) if len(self._kinds) == 1 else None
        self._only = only if only is not None and only.group is None and self._pick != "random" else None

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

    def sort_idle(self, now: float) -> None:
        """Let the idle workers come in the order of their ids, as none has run anything yet."""
        idle = sorted(self.idle(), key=lambda worker: worker._id)
        for worker in idle:
            self.unpark(worker)
        for worker in idle:
            self.park(worker, now)

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
        found = [item for kind in list(self._kinds.values()) for item in list(kind.idle.items())]
        return [worker for worker, _ in sorted(found, key=lambda item: item[1])]

    def fresh_idle(self) -> list[WorkerRecord]:
        """The idle workers that are fresh, the longest idle first."""
        return sorted(filter(self.is_idle, self.fresh), key=lambda worker: worker._kind.idle[worker])

    def longest_idle(self, but: Collection[WorkerRecord]) -> WorkerRecord | None:
        """The longest idle worker that isn't reserved, except ``but``."""
        if self._pick == "longest_idle":
            return self.choose(ANYONE, but)
        idle = [item for kind in self._kept[None].by_tags.values() for item in kind.idle.items() if item[0] not in but]
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
        if not worker._kind.may_serve(terms):
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
        if terms.gate is not None and terms.gate.is_full:
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
            own = self._choose_of(self._kept[gate].fit(terms.requires), may_take)
            if own is not None:
                return own
        return self._choose_of(self._kept[None].fit(terms.requires), may_take)

    def _may_take(self, terms: Terms, but: Collection[WorkerRecord], worker: WorkerRecord) -> bool:
        return worker not in but and (not terms.failed or self.admits(terms, worker))

    def has_substitute(self, worker: WorkerRecord) -> bool:
        """Whether another worker with all the tags of this one is idle and isn't reserved."""
        return self._kept[None].fit(worker._tags).has_idle(worker)

    def kinds_for(self, terms: Terms) -> tuple[Fit, Fit | None]:
        """The kinds of workers that may run such jobs: the unreserved ones, and those reserved for the group."""
        kept = None if terms.gate is None else self._kept.get(terms.gate)
        return self._kept[None].fit(terms.requires), None if kept is None else kept.fit(terms.requires)

    def _choose_of(self, fit: Fit, may_take: Callable[[WorkerRecord], bool] | None) -> WorkerRecord | None:
        """The preferred one of the idle workers of these kinds that ``may_take`` accepts, or None."""
        if self._pick == "random":
            return fit.draw(self._rng, may_take)
        best = fit.first(may_take)
        return None if best is None else best[1]

    def _available(self, terms: Terms) -> int:
        """How many available workers may run such jobs."""
        everybodys, own = self.kinds_for(terms)
        return everybodys.count_available() + (0 if own is None else own.count_available())


def _is_relied_on(worker: WorkerRecord, terms: Terms) -> bool:
    return worker._available and not worker._lent and worker._kind.may_serve(terms)
