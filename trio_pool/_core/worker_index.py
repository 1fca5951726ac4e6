"""The index of workers: which are in the pool, which are idle, and which may run a job."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from .._model.records import ANYONE, Terms
from .._model.time_account import FIRST_READING, IDLE
from .closed_gates import ClosedGates
from .kinds import Kinds, has_free_place_for, is_relied_on, may_serve
from .place_count import PlaceCount
from .random_pick import draw
from .tag_index import rank_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from random import Random

    from .._model.pool_config import Pick
    from .._model.records import Group, WorkerRecord
    from .._model.time_account import Reading
    from .tag_index import Fit, Gates


class WorkerIndex:
    """All workers of the pool that have not left, by their tags and by the group that they are reserved for.

    Invariant: a worker is in its kind's ``idle`` if, and only if, it is available, runs nothing and
    has found nothing to run.
    """

    # fmt: off
    __slots__ = (
        "_in_order", "_numbers", "_pick", "_rng", "_sequence", "by_id", "closed", "coming", "fresh", "idle_count",
        "kinds", "leaving", "limited_units", "note_run", "note_time", "on_parked", "on_unparked", "places", "reading",
        "touched",
    )
    # fmt: on

    def __init__(self, pick: Pick, rng: Random) -> None:
        self._pick: Pick = pick
        self._rng = rng
        self.by_id: dict[int, WorkerRecord] = {}
        # The places of the workers that are not about to leave.
        self.places: PlaceCount = PlaceCount()
        # How many workers are about to leave.
        self.leaving: int = 0
        # How many workers can't start anything now, but may do so later without any action of
        # the program.
        self.coming: int = 0
        self.kinds: Kinds = Kinds(pick)
        self.note_run: Final = self.kinds.note_run
        # The units and shared limits that allow no start now.
        self.closed: ClosedGates = ClosedGates()
        # The units that have, or have had, a limit anywhere.
        self.limited_units: set[str] = set()
        # Idle workers that have not been checked against the waiting jobs.
        self.fresh: dict[WorkerRecord, None] = {}
        # For the accounts of time: the last reading of the pool's clocks, the workers whose accounts must be updated
        # before the event ends, and the function that updates one.
        self.reading: Reading = FIRST_READING
        self.touched: dict[WorkerRecord, None] = {}
        self.note_time: Callable[[WorkerRecord, float], object]
        self._sequence = 0
        # The earlier numbers in the order of workers that are being checked, or that have reopened since.
        self._numbers: dict[WorkerRecord, int] = {}
        # The number of idle workers of all kinds, stored since every job needs it.
        self.idle_count: int = 0
        # Called when a worker becomes idle, and when it no longer is.
        self.on_parked: Callable[[WorkerRecord, float], object] | None = None
        self.on_unparked: Callable[[WorkerRecord], object] | None = None
        self._in_order: Callable[[dict[WorkerRecord, int]], Iterator[WorkerRecord]] = (
            reversed if pick == "last_used" else iter
        )

    def join(self, worker: WorkerRecord) -> None:
        """Add a worker, which isn't available yet."""
        self.by_id[worker._id] = worker
        self.closed.join(worker._closed)
        self.places.add(worker, 1)
        self.kinds.join(worker)
        self.count_coming(worker)

    def leave(self, worker: WorkerRecord) -> bool:
        """Remove a worker that is no longer available; return whether it was the last with its tags."""
        del self.by_id[worker._id]
        self.closed.leave(worker._closed)
        if not worker._is_leaving:
            self.places.add(worker, -1)
        self.leaving -= worker._is_leaving
        self.coming -= worker._coming
        self.fresh.pop(worker, None)
        self._numbers.pop(worker, None)
        return self.kinds.leave(worker)

    def set_places(self, worker: WorkerRecord, limit: float) -> None:
        """Change the number of a worker's places."""
        if limit == worker._max_running:
            return  # the order of exclusive workers must stay as it is
        if worker._id not in self.by_id:
            worker._max_running = limit
            return
        group = worker._kind.group
        if group is not None:
            self.reserve(worker, None)
        counts = not worker._is_leaving
        self.places.add(worker, -counts)
        available = worker._available and not worker._lent
        self.kinds.add_available(worker, -available)
        self._change(worker, partial(self.kinds.set_places, worker, limit))
        self.kinds.add_available(worker, available)
        self.places.add(worker, counts)
        if group is not None:
            self.change_kept(worker, group, 1)  # the group keeps the one place that it had

    def _change(self, worker: WorkerRecord, change: Callable[[], None]) -> None:
        """Change the places of a worker, or their reservations, without changing its position in the order."""
        self.touched[worker] = None
        number = self._take_out(worker)
        change()
        if number is not None and self._put_in(worker, number):
            self.fresh[worker] = None

    def _put_in(self, worker: WorkerRecord, number: int) -> bool:
        """Enter a worker wherever it is free, with its number in the order; return whether it is free."""
        if worker._is_exclusive:
            self.kinds.put_back(worker, worker._kind, number)
        elif not self.kinds.free_places(worker, number):
            return False
        self.idle_count += 1
        return True

    def _take_out(self, worker: WorkerRecord) -> int | None:
        """Undo `_put_in`; return the worker's number in the order, if it was free."""
        number = self.kinds.take_out(worker)
        self.idle_count -= number is not None
        return number

    def reserve(self, worker: WorkerRecord, group: Group | None) -> None:
        """Reserve a worker for a group from now on, or for none."""
        self.touched[worker] = None
        kind = worker._kind
        since = kind.unpark(worker)
        counts = worker._available and not worker._lent
        kind.add_available(-counts)
        self.kinds.quit(kind)
        self.kinds.enter(worker, group)
        kind = worker._kind
        kind.add_available(counts)
        if since is not None:
            self.kinds.put_back(worker, kind, since)
            self.fresh[worker] = None

    def set_closed(self, worker: WorkerRecord, closed: Gates) -> None:
        """Record the units whose limits on a worker allow no start now, and the limits that it shares."""
        self.touched[worker] = None
        if worker._id not in self.by_id:
            worker._closed = closed
            return
        self.closed.change(worker._closed, closed)
        if self.kinds.set_closed(worker, closed):
            self.fresh[worker] = None

    def set_available(self, worker: WorkerRecord, available: bool) -> None:
        """Record whether a worker is available."""
        worker._available = available
        if not worker._lent:
            self.kinds.add_available(worker, 1 if available else -1)
        if not available:
            self.unpark(worker)

    def count_as_available(self, worker: WorkerRecord, counts: bool) -> None:
        """Record whether an available worker counts as available: it doesn't while it is lent."""
        if worker._available:
            self.kinds.add_available(worker, 1 if counts else -1)

    def look_at(self, worker: WorkerRecord) -> None:
        """Mark a worker as fresh again, if it is idle."""
        if self.is_idle(worker):
            self.fresh[worker] = None

    def change_kept(self, worker: WorkerRecord, group: Group, number: int) -> None:
        """Reserve more or fewer places of a worker with several places for a group."""
        self._change(worker, partial(self.kinds.change_kept, worker, group, number))

    def count_coming(self, worker: WorkerRecord) -> None:
        """Update the counts after the holds of a worker have changed."""
        coming = worker._may_become_available
        if coming is not worker._coming:
            worker._coming = coming
            self.coming += 1 if coming else -1

    def park(self, worker: WorkerRecord, now: float, *, is_fresh: bool = True) -> None:
        """Record that an available worker is free; it is fresh unless it has just looked for a job itself."""
        if worker in self._numbers:
            self._park_as_before(worker, now)
            return
        self._sequence = number = self._sequence + 1
        kind = worker._kind
        account = worker._account
        if account.free or account.cause != IDLE or kind.group is not None or not worker._is_exclusive:
            self.note_time(worker, now)
        else:
            account.free, account.at, account.reading = 1, now, self.reading
        if not worker._is_exclusive:
            self._take_out(worker)  # it may have been free already
            self._put_in(worker, number)
        else:
            kind.idle[worker] = number
            if kind.wide:
                kind.park(worker, number)
            self.idle_count += 1
        if is_fresh:
            self.fresh[worker] = None
        if self.on_parked is not None and not worker._runs:
            self.on_parked(worker, now)

    def keep_number(self, worker: WorkerRecord) -> None:
        """Keep an idle worker's position for when it is idle again, since it runs nothing in the meantime."""
        number = self.kinds.number_of(worker)
        if number is not None:
            self._numbers[worker] = number

    def _park_as_before(self, worker: WorkerRecord, now: float) -> None:
        self._put_in(worker, self._numbers.pop(worker))
        self.fresh[worker] = None
        if self.on_parked is not None:
            self.on_parked(worker, now)

    def unpark(self, worker: WorkerRecord) -> None:
        """Record that a worker is no longer idle, if it was."""
        kind = worker._kind
        if not worker._is_exclusive:
            if self._take_out(worker) is None:
                return
        elif worker not in kind.idle:
            return
        else:
            if kind.wide:
                kind.unpark(worker)
                if not kind.idle:
                    self.kinds.note_empty(kind)
            else:
                del kind.idle[worker]
            self.idle_count -= 1
        if self.on_unparked is not None:
            self.on_unparked(worker)

    def sort_idle(self, now: float) -> None:
        """Sort the idle workers by their ids, since none has run anything yet."""
        idle = sorted(self.idle(), key=lambda worker: worker._id)
        for worker in idle:
            self.unpark(worker)
        for worker in idle:
            self.park(worker, now)

    def take_idle(self) -> WorkerRecord:
        """Choose an idle worker for a job without terms, and mark it as busy; none of the idle workers is reserved."""
        only = self.kinds.only
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
        """Whether a worker is free, for any job or for those of a group."""
        return worker in worker._kind.idle or worker in self.kinds.places.free

    def idle(self) -> list[WorkerRecord]:
        """The free workers, the longest without a start or an end first."""
        # Copied first, since another thread may call this. A worker may be free in several ways.
        found = dict([item for kind in self.kinds.all() for item in list(kind.idle.items())])
        found |= self.kinds.places.free.copy()
        return sorted(found, key=found.__getitem__)

    def fresh_idle(self) -> list[WorkerRecord]:
        """The free workers that are fresh, in the order of `longest_idle`."""
        found = ((number, worker) for worker in self.fresh if (number := self.kinds.number_of(worker)) is not None)
        ranks = {worker: rank_of(worker, number, "longest_idle") for number, worker in found}
        return sorted(ranks, key=ranks.__getitem__)

    def longest_idle(self, but: Collection[WorkerRecord]) -> WorkerRecord | None:
        """The worker to reserve next, except ``but``: of those that run the least, the longest idle one."""
        if self._pick == "longest_idle":
            return self._choose_of(self.kinds.fits_for(ANYONE.requires, None), lambda worker: worker not in but)
        idle = [item for kind in self.kinds.unreserved() for item in kind.idle.items() if item[0] not in but]
        return min(idle, key=lambda item: rank_of(item[0], item[1], "longest_idle"), default=(None, 0))[0]

    def has_any(self, terms: Terms) -> bool:
        """Whether some worker of the pool may run such a job, now or ever."""
        pinned = terms.pinned
        if pinned is None and not terms.requires:
            return bool(self.by_id)
        if pinned is not None:
            return pinned._id in self.by_id and terms.requires <= pinned._tags
        return bool(self.kinds.everybody(terms.requires).kinds)

    def count(self, terms: Terms) -> int:
        """How many workers of the pool may run such a job, now or ever."""
        if terms.pinned is not None:
            return int(self.has_any(terms))
        return self.kinds.everybody(terms.requires).count()

    def fitting(self, terms: Terms) -> list[WorkerRecord]:
        """The workers of the pool that may run such a job, now or ever."""
        pinned = terms.pinned
        if pinned is not None:
            return [pinned] if self.has_any(terms) else []
        return [worker for worker in self.by_id.values() if terms.requires <= worker._tags]

    def admits(self, terms: Terms, worker: WorkerRecord) -> bool:
        """Whether an available worker may run such a job now."""
        if worker._closed and not worker._closed.isdisjoint(self.closed.to(terms.units)):
            return False
        if not worker._kept:
            if not worker._kind.may_serve(terms):
                return False
        elif not (terms.requires <= worker._tags and has_free_place_for(worker, terms.gate)):
            return False
        if terms.pinned is not None:
            return worker is terms.pinned
        if not terms.failed:
            return True
        available = self.kinds.available(terms)
        failed = sum(1 for other in terms.failed if is_relied_on(other, terms))
        if failed < available:
            return worker not in terms.failed
        # The job has failed on all available workers: a new round begins. The last worker is left out
        # if others are available. It counts as available itself only while it is not lent.
        return worker is not terms.last or available == (0 if worker._lent else 1)

    def is_avoided(self, terms: Terms, worker: WorkerRecord) -> bool:
        """Whether such a job avoids an eligible worker, whatever its own state, as long as others are available."""
        if worker not in terms.failed or not may_serve(worker, terms):
            return False
        others = self.kinds.available(terms) - is_relied_on(worker, terms)
        failed = sum(1 for other in terms.failed if other is not worker and is_relied_on(other, terms))
        return others > failed or (worker is terms.last and others > 0)

    def choose(self, terms: Terms, but: Collection[WorkerRecord] = ()) -> WorkerRecord | None:
        """The idle worker for such a job, except ``but``, or None."""
        if not self.idle_count:
            return None
        if terms is ANYONE and self.kinds.only is not None and not but:
            # A shorter path for the most common pools, with the same result.
            return next(self._in_order(self.kinds.only.idle))
        if (terms.gate is not None or terms.units) and self.is_closed(terms):
            return None
        if self.kinds.only is not None and not (but or terms.requires or terms.pinned or terms.failed or terms.units):
            return next(self._in_order(self.kinds.only.idle))  # for a group without workers of its own
        if terms.pinned is not None:
            worker = terms.pinned
            free = self.is_idle(worker) and worker not in but and self.admits(terms, worker)
            return worker if free else None
        may_take = partial(self._may_take, terms, but) if terms.failed or but else None
        requires, gate = terms.requires, terms.gate
        gates = self.closed.to(terms.units) if self.closed.shares else terms.units
        # The reserved places of the group go first, since the others are available to all jobs.
        own: WorkerRecord | None = None
        if gate is not None and gate in self.kinds.by_group:
            # The holds of a worker with several places are not recorded for each group.
            is_free = partial(self._is_idle_and, may_take) if self._pick == "random" else may_take
            own = self._choose_of(self.kinds.fits_for(requires, gate, gates), is_free)
        return self._choose_of(self.kinds.fits_for(requires, None, gates), may_take) if own is None else own

    def is_closed(self, terms: Terms) -> bool:
        """Whether such jobs may not start now on any worker."""
        if terms.gate is not None and terms.gate.is_full:
            return True
        return bool(terms.units) and not self.closed.units.isdisjoint(terms.units)

    def _may_take(self, terms: Terms, but: Collection[WorkerRecord], worker: WorkerRecord) -> bool:
        return worker not in but and (not terms.failed or self.admits(terms, worker))

    def _is_idle_and(self, may_take: Callable[[WorkerRecord], bool] | None, worker: WorkerRecord) -> bool:
        return self.is_idle(worker) and (may_take is None or may_take(worker))

    def has_substitute(self, worker: WorkerRecord) -> bool:
        """Whether another worker with all the tags of this one is idle and isn't reserved."""
        return any(fit.has_idle(worker) for fit in self.kinds.fits_for(worker._tags, None))

    def _choose_of(self, fits: list[Fit], may_take: Callable[[WorkerRecord], bool] | None) -> WorkerRecord | None:
        """The preferred one of the idle workers of these kinds that ``may_take`` accepts, or None."""
        if self._pick == "random":
            return draw(fits, self._rng, may_take)
        if len(fits) == 1:
            best = fits[0].first(may_take)
        else:
            best = min([found for fit in fits if (found := fit.first(may_take)) is not None], default=None)
        return None if best is None else best[1]
