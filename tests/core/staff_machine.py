"""Does to workers, and to the pool as a whole, whatever may happen to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.core.machine_draws import RATES, SETS_OF_RATES, TAG_SETS, USES
from tests.core.makers import make_limits
from tests.core.plain_limits import PlainBreaker, PlainRates
from tests.core.plain_parts import PlainJob, PlainLimits, PlainWorker
from tests.core.shell_machine import ShellMachine, ShellWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hypothesis.strategies import DataObject, SearchStrategy

    from trio_pool._model.records import JobRecord
    from trio_pool._policies.rate_meter import Amount
    from trio_pool._policies.rate_meters import RateLimits


def is_anybody(_: PlainWorker) -> bool:
    return True


def has_breaker(worker: PlainWorker) -> bool:
    return worker.breaker is not None


def is_opening(worker: PlainWorker) -> bool:
    return worker.phase in ("starting", "reopening") and not worker.lenders


def may_break(worker: PlainWorker) -> bool:
    # What is broken is reopened only when those have it back who have lent it, and nothing runs on it.
    if worker.phase == "reopening":
        return not (worker.lenders or worker.runs)
    return worker.elastic or worker.phase != "starting"


def may_stop(worker: PlainWorker) -> bool:
    # An elastic pool goes on trying to open those that it has ordered.
    gives_up = worker.phase == "starting" and not worker.elastic
    return not (worker.runs or worker.lenders) and (worker.departing or gives_up)


def is_paused(worker: PlainWorker) -> bool:
    return worker.paused


def is_not_paused(worker: PlainWorker) -> bool:
    return not worker.paused


class StaffMachine(ShellMachine):
    """Does everything to workers, and lets time pass."""

    # Whether workers may have several places.
    draws_places = True

    # What limits workers have in this run, and how many places.
    limits: SearchStrategy[PlainLimits]
    places: SearchStrategy[float]

    # Workers.

    def those(self, wanted: Callable[[PlainWorker], bool]) -> list[ShellWorker]:
        return [worker for worker in self.workers if worker.plain.phase != "gone" and wanted(worker.plain)]

    def add(
        self,
        tags: tuple[str, ...],
        limits: PlainLimits,
        places: float = 1,
        *,
        elastic: bool = False,
        ordered: bool = False,
    ) -> None:
        kept = None if limits == PlainLimits() else make_limits(**attrs.asdict(limits, recurse=False))
        plain = PlainWorker(
            frozenset(tags),
            limits.max_jobs or math.inf,
            limits.max_age or math.inf,
            rates=PlainRates(limits.rate_limit),
            breaker=PlainBreaker(limits.breaker) if limits.breaker else None,
            elastic=elastic,
            places=places,
        )
        worker = ShellWorker(self.core.make_worker(*tags, limits=kept, places=places), plain)
        worker.record._elastic = elastic
        self.workers.append(worker)
        self.on_both(
            lambda: self.plain.join(worker.plain, ordered=ordered),
            lambda: self.core.scheduler.join(worker.record, self.now, ordered=ordered),
            dated=False,
        )

    @precondition(lambda self: len(self.workers) < 7)
    @rule(tags=TAG_SETS, data=st.data())
    def add_worker(self, tags: tuple[str, ...], data: DataObject) -> None:
        self.add(tags, data.draw(self.limits), data.draw(self.places))

    def open_resource(self, worker: ShellWorker) -> None:
        worker.listening = not worker.plain.departing
        self.on_both(
            lambda: self.plain.opened(worker.plain),
            lambda: self.core.scheduler.opened(worker.record, self.now),
        )

    @precondition(lambda self: self.those(is_opening))
    @rule(data=st.data())
    def opened(self, data: DataObject) -> None:
        opening = [worker for worker in self.those(is_opening) if not worker.running]
        if opening:
            self.open_resource(data.draw(st.sampled_from(opening)))

    def fragile(self) -> list[ShellWorker]:
        """The workers whose resource may break by itself."""
        return self.those(may_break)

    @precondition(lambda self: self.fragile())
    @rule(data=st.data())
    def break_down(self, data: DataObject) -> None:
        """A lifespan ends by itself, perhaps while a job runs, or can't be entered once more."""
        worker = data.draw(st.sampled_from(self.fragile()))
        worker.listening = False
        self.on_both(
            lambda: self.plain.broken(worker.plain),
            lambda: self.core.scheduler.reopen(worker.record, OSError("gone"), self.now),
        )

    @precondition(lambda self: self.those(is_not_paused))
    @rule(data=st.data())
    def pause(self, data: DataObject) -> None:
        self.pause_one(data.draw(st.sampled_from(self.those(is_not_paused))))

    def pause_one(self, worker: ShellWorker) -> None:
        self.on_both(
            lambda: self.plain.pause(worker.plain),
            lambda: self.core.scheduler.pause(worker.record, self.now),
        )

    @precondition(lambda self: self.those(is_paused))
    @rule(data=st.data())
    def resume(self, data: DataObject) -> None:
        self.resume_one(data.draw(st.sampled_from(self.those(is_paused))))

    def resume_one(self, worker: ShellWorker) -> None:
        self.on_both(
            lambda: self.plain.resume(worker.plain),
            lambda: self.core.scheduler.resume(worker.record, self.now),
        )

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, 2.0]))
    def rest(self, data: DataObject, seconds: float) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        until = self.now + seconds
        self.on_both(
            lambda: self.plain.rest(worker.plain, until),
            lambda: self.core.scheduler.rest(worker.record, until, self.now),
        )

    @precondition(lambda self: self.those(has_breaker))
    @rule(data=st.data())
    def reset_breaker(self, data: DataObject) -> None:
        worker = data.draw(st.sampled_from(self.those(has_breaker)))
        self.on_both(
            lambda: self.plain.reset_breaker(worker.plain),
            lambda: self.core.scheduler.reset_breaker(worker.record, self.now),
        )

    @precondition(lambda self: self.those(is_anybody))
    @rule(data=st.data(), cut=st.booleans())
    def remove(self, data: DataObject, cut: bool) -> None:
        self.dismiss(data.draw(st.sampled_from(self.those(is_anybody))), cut=cut)

    def dismiss(self, worker: ShellWorker, *, cut: bool) -> None:
        self.on_both(
            lambda: self.plain.depart(worker.plain, cut=cut),
            lambda: self.core.scheduler.depart(worker.record, self.now, cut=cut),
        )

    def leaving(self) -> list[ShellWorker]:
        """The workers that may stop: told to, or not able to start."""
        return self.those(may_stop)

    @precondition(lambda self: self.leaving())
    @rule(data=st.data())
    def stop(self, data: DataObject) -> None:
        self.stop_one(data.draw(st.sampled_from(self.leaving())))

    def stop_one(self, worker: ShellWorker) -> None:
        worker.listening = False
        self.on_both(
            lambda: self.plain.left(worker.plain),
            lambda: self.core.scheduler.left(worker.record, self.now),
        )

    @precondition(lambda self: self.draws_places and self.those(is_anybody))
    @rule(data=st.data(), places=st.sampled_from([1, 2, 2, 3, math.inf]))
    def set_places(self, data: DataObject, places: float) -> None:
        self.mind_deadlines()  # what starts on account of them begins before the places change
        worker = data.draw(st.sampled_from(self.those(is_anybody)))
        self.on_both(
            lambda: self.plain.set_places(worker.plain, places),
            lambda: self.core.scheduler.set_places(worker.record, places, self.now),
        )

    # The pool.

    @precondition(lambda self: not self.closed)
    @rule(rarely=st.integers(0, 9))
    def close(self, rarely: int) -> None:
        if not rarely:
            self.closed = True
            turned_away = self.core.scheduler.close(self.now)
            plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
            assert [plain_jobs[job] for job in turned_away] == self.plain.submitters()
            self.plain.line.clear()

    @precondition(lambda self: self.closed)
    @rule()
    def drain(self) -> None:
        self.on_both(self.plain.drain, lambda: self.core.scheduler.drain(self.now))

    @rule(paused=st.booleans())
    def pause_or_resume_the_pool(self, paused: bool) -> None:
        if paused and not self.plain.is_paused:
            self.on_both(self.plain.pause_pool, lambda: self.core.scheduler.pause_pool(self.now))
        else:
            self.on_both(self.plain.resume_pool, lambda: self.core.scheduler.resume_pool(self.now))

    @rule(seconds=st.sampled_from([0.0, 1.0, 1.0, 2.0]))
    def rest_pool(self, seconds: float) -> None:
        until = self.now + seconds
        self.on_both(
            lambda: self.plain.rest_pool(until),
            lambda: self.core.scheduler.rest_pool(until, self.now),
        )

    @rule(limit=st.sampled_from([1, 2, 3, math.inf]))
    def set_max_running(self, limit: float) -> None:
        self.on_both(
            lambda: self.plain.set_max_running(limit),
            lambda: self.core.scheduler.set_max_running(limit, self.now),
        )
        assert self.core.scheduler.max_running == limit

    @rule(limits=st.none() | RATES | SETS_OF_RATES)
    def set_rate_limit(self, limits: RateLimits) -> None:
        self.mind_deadlines()  # what starts on account of them begins before the limits change
        self.on_both(
            lambda: self.plain.set_rate_limit(limits),
            lambda: self.core.scheduler.set_rate_limit(limits, self.now),
        )
        assert self.core.scheduler.rate_limit == limits

    def limited(self) -> list[ShellWorker]:
        """The workers that came with limits."""
        return [worker for worker in self.those(is_anybody) if worker.record._limits is not None]

    @precondition(lambda self: self.limited())
    @rule(data=st.data(), limits=st.none() | RATES | SETS_OF_RATES)
    def set_rate_limit_of_a_worker(self, data: DataObject, limits: RateLimits) -> None:
        self.mind_deadlines()
        worker = data.draw(st.sampled_from(self.limited()))
        self.on_both(
            lambda: self.plain.set_rate_limit(limits, worker.plain),
            lambda: self.core.scheduler.set_rate_limit(limits, self.now, worker.record),
        )

    @precondition(lambda self: self.busy())
    @rule(data=st.data(), uses=USES)
    def a_run_says_what_it_has_used(self, data: DataObject, uses: Mapping[str, Amount]) -> None:
        running = data.draw(st.sampled_from(self.busy()))
        self.on_both(
            lambda: self.plain.set_used(running.plain, uses),
            lambda: self.core.scheduler.set_used(running.run, uses, self.now),
        )

    @rule(seconds=st.sampled_from([0.5, 1.0, 1.0, 3.0]), punctual=st.booleans())
    def time_passes(self, seconds: float, punctual: bool) -> None:
        """Whoever minds the deadlines may come late; then another event comes first."""
        self.now += seconds
        if punctual:
            self.mind_deadlines()

    @precondition(lambda self: self.core.scheduler.deadlines.soonest < math.inf)
    @rule(punctual=st.booleans())
    def time_passes_until_the_next_deadline(self, punctual: bool) -> None:
        self.now = max(self.now, self.core.scheduler.deadlines.soonest)
        if punctual:
            self.mind_deadlines()

    @rule()
    def mind_deadlines(self) -> None:
        self.on_both(self.plain.advance, lambda: self.core.scheduler.advance(self.now))
        # What started on account of it may be hedged at once, but it must not go on within one event.
        assert self.core.scheduler.deadlines.soonest > self.now or self.plain.has_hedges_due()

    def reopening(self) -> list[ShellWorker]:
        """The workers whose resource is next to be opened."""
        return self.those(lambda worker: is_opening(worker) and not (worker.runs or worker.departing))
