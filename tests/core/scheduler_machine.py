"""Does whatever may happen to a scheduler, and to the plain model of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.core.machine_draws import (
    BUDGETS,
    ENDS,
    EVENTS,
    HEDGES,
    KEYS,
    LEASES,
    PLACES,
    RATES,
    REQUIRED,
    RETRIES,
    SETS_OF_RATES,
    TAG_SETS,
    TIMES,
    UNITS,
    WORKER_LIMITS,
    JobKind,
    verdict_of,
)
from tests.core.makers import make_core, make_job
from tests.core.plain_limits import PlainBudget, PlainRates
from tests.core.plain_model import PlainPool
from tests.core.plain_parts import PlainJob, PlainLimits, PlainVerdict
from tests.core.staff_machine import StaffMachine
from trio_pool import DeadReason, PerKey
from trio_pool._core.admission import Door

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject, SearchStrategy

    from tests.core.shell_machine import ShellRun, ShellWorker
    from trio_pool import Elastic, Job, RetryBudget
    from trio_pool._policies.rate_meters import RateLimits


class SchedulerMachine(StaffMachine):
    """Does everything to the core and to the model, and carries out what the core decides."""

    @initialize(
        max_queue=st.sampled_from([0, 1, 2, 3, math.inf]),
        max_running=st.sampled_from([math.inf, math.inf, 1, 2]),
        no_worker=st.sampled_from(["reject", "wait", "bury"]),
        lifo=st.booleans(),
        rate_limit=st.none() | st.none() | RATES | SETS_OF_RATES,
        units=st.sampled_from(sorted(UNITS)),
        retry_budget=st.none() | BUDGETS,
        workers=st.lists(TAG_SETS, max_size=4),
        limits=st.sampled_from(["none", "rates", "breakers", "breakers", "wear", "all"]),
        hedges=st.sampled_from(["none", "some", "many", "many"]),
        leases=st.sampled_from(["none", "some"]),
        keys=st.sampled_from(["none", "none", "bounded", "limited"]),
        places=st.sampled_from(["one", "several"]),
        data=st.data(),
        patient=st.booleans(),
        goes_straight=st.sampled_from([True, True, False]),
        is_quiet=st.booleans(),
    )
    def open(
        self,
        max_queue: float,
        max_running: float,
        no_worker: Any,
        lifo: bool,
        rate_limit: RateLimits,
        units: str,
        retry_budget: RetryBudget | None,
        workers: list[tuple[str, ...]],
        limits: str,
        hedges: str,
        leases: str,
        keys: str,
        places: str,
        data: DataObject,
        patient: bool,
        goes_straight: bool,
        is_quiet: bool,
    ) -> None:
        self.goes_straight, self.is_quiet = goes_straight, is_quiet
        elastic, hedges = data.draw(self.elastics), self.kind_of_hedges(hedges)
        self.keys = data.draw(KEYS[keys])
        bounds = PerKey(
            max_running=lambda key: self.keys[key].max_running,
            rate_limit=lambda key: self.keys[key].rates.limits,
            weight=lambda key: self.keys[key].weight,
        )
        self.core = make_core(
            max_queue=max_queue,
            max_running=max_running,
            no_worker=no_worker,
            rate_limit=rate_limit,
            per_key=bounds if self.keys else None,
            retry_budget=retry_budget,
            lifo=lifo,
            elastic=elastic,
            instruments=[] if is_quiet else [object()],
        )
        self.plain = self.make_plain(
            max_queue,
            max_running,
            no_worker,
            lifo,
            rates=PlainRates(rate_limit),
            budget=PlainBudget(retry_budget) if retry_budget else None,
        )
        # Whether the jobs that are left at the end are waited for, or cancelled.
        self.patient = patient
        self.limits = self.worker_limits[limits]
        self.places = PLACES[places if self.draws_places else "one"]
        self.hedges = HEDGES[hedges]
        self.uses = UNITS[units]
        self.leases = LEASES[leases]
        # Where nobody is idle, nothing can be started on one more worker.
        for tags in [*workers, (), (), ()] if hedges == "many" else workers:
            self.add(tags, data.draw(self.limits), data.draw(self.places))
            self.open_resource(self.workers[-1])
        self.begin(elastic, data)
        if hedges == "many":
            self.run_slowly(data, 1, data.draw(st.lists(EVENTS, min_size=1, max_size=6)))

    def kind_of_hedges(self, kind: str) -> str:
        """Which jobs of this run may run on several workers at once."""
        return kind

    make_plain: ClassVar[type[PlainPool]] = PlainPool
    worker_limits: ClassVar[dict[str, SearchStrategy[PlainLimits]]] = WORKER_LIMITS
    elastics: ClassVar[SearchStrategy[Elastic[None] | None]] = st.none()

    def begin(self, elastic: Elastic[None] | None, data: DataObject) -> None:
        """The workers are there with which the pool begins."""

    # Jobs.

    @rule(
        data=st.data(),
        priority=st.sampled_from([0, 0, 0, 1, -1]),
        requires=REQUIRED,
        pinned=st.sampled_from([False, False, False, True]),
        total_timeout=TIMES,
        attempt_timeout=TIMES,
        door=st.sampled_from([Door.QUEUE_UP, Door.QUEUE_UP, Door.QUEUE_UP, Door.ALWAYS, Door.AT_ONCE, Door.IF_IDLE]),
    )
    def submit(
        self,
        data: DataObject,
        priority: float,
        requires: tuple[str, ...],
        pinned: bool,
        total_timeout: float,
        attempt_timeout: float,
        door: Door,
    ) -> None:
        only = data.draw(st.sampled_from(self.workers)) if pinned and self.workers else None
        if self.closed:
            door = Door.ALWAYS  # as jobs of the pool submit
        self.submit_one(priority, requires, only, total_timeout, attempt_timeout, door, self.kind_of_job(data))

    @rule(jobs=st.integers(1, 3), data=st.data())
    def submit_for_anybody(self, jobs: int, data: DataObject) -> None:
        """Some work to do for all the rest to happen to."""
        for _ in range(jobs):
            self.submit_one(0, (), None, math.inf, math.inf, Door.ALWAYS, self.kind_of_job(data))

    def kind_of_job(self, data: DataObject) -> JobKind:
        """What the next job is besides what it is submitted with."""
        is_lease = data.draw(self.leases)
        key = data.draw(st.sampled_from(list(self.keys))) if self.keys else None
        hedge = None if is_lease else data.draw(self.hedges)
        return JobKind(hedge, data.draw(self.uses), is_lease, key, self.keys.get(key))

    def submit_one(
        self,
        priority: float,
        requires: tuple[str, ...],
        only: ShellWorker | None,
        total_timeout: float,
        attempt_timeout: float,
        door: Door,
        kind: JobKind,
    ) -> None:
        job = make_job(
            now=self.now,
            priority=priority,
            requires=requires,
            worker=only.record if only else None,
            total_timeout=total_timeout,
            attempt_timeout=attempt_timeout,
            **kind.of_core,
        )
        plain = PlainJob(
            priority,
            frozenset(requires),
            only.plain if only else None,
            self.now + total_timeout,
            attempt_timeout,
            **kind.of_model,
        )
        self.jobs.append((job, plain))
        self.on_both(
            lambda: self.plain.submit(plain, door),
            lambda: self.let_in(job, door),
        )

    @precondition(lambda self: self.plain.line)
    @rule(data=st.data())
    def a_submitter_gives_up(self, data: DataObject) -> None:
        job, plain = data.draw(st.sampled_from([pair for pair in self.jobs if pair[1] in self.plain.submitters()]))
        assert self.core.scheduler.waits_for_place(job)
        self.on_both(
            lambda: self.plain.withdraw(plain), lambda: self.core.scheduler.withdraw(job, self.now), dated=False
        )

    @precondition(lambda self: self.plain.live())
    @rule(data=st.data())
    def cancel(self, data: DataObject) -> None:
        self.cancel_one(*data.draw(st.sampled_from(self.live())))

    def cancel_one(self, job: Job[Any], plain: PlainJob) -> None:
        self.on_both(lambda: self.plain.cancel(plain), lambda: self.core.scheduler.cancel(job, self.now))

    @precondition(lambda self: self.closed)
    @rule()
    def cancel_all(self) -> None:
        self.on_both(self.plain.cancel_all, lambda: self.core.scheduler.cancel_all(self.now))
        # It is not looked then for what follows, as a pool that does this ends; but here it goes on.
        self.set_max_running(self.plain.max_running)

    # Attempts.

    def able(self) -> list[ShellRun]:
        """What runs and may end now."""
        return self.busy()

    def live(self) -> list[tuple[Job[Any], PlainJob]]:
        live = self.plain.live()
        return [pair for pair in self.jobs if pair[1] in live]

    @precondition(lambda self: self.able())
    @rule(data=st.data())
    def succeed(self, data: DataObject) -> None:
        self.succeed_on(data.draw(st.sampled_from(self.able())))

    def succeed_on(self, running: ShellRun) -> None:
        self.end(
            running,
            lambda: self.plain.succeeded(running.plain),
            lambda: self.core.scheduler.succeeded(running.run, "value", self.now),
        )

    def fail_with(self, running: ShellRun, verdict: PlainVerdict, error: Exception) -> None:
        if running.plain.job.is_lease:
            verdict = of_block(verdict)
        self.end(
            running,
            lambda: self.plain.failed(running.plain, verdict),
            lambda: self.core.scheduler.failed(running.run, error, verdict_of(verdict, error), self.now),
        )

    @precondition(lambda self: self.able())
    @rule(data=st.data(), verdict=RETRIES)
    def fail_and_go_on(self, data: DataObject, verdict: PlainVerdict) -> None:
        self.fail_with(data.draw(st.sampled_from(self.able())), verdict, ValueError("no"))

    @precondition(lambda self: self.able())
    @rule(data=st.data(), delay=st.sampled_from([0.0, 1.0]))
    def fail_plainly(self, data: DataObject, delay: float) -> None:
        """As most failures are: they tell against the worker and the budget, and nothing else."""
        verdict = PlainVerdict("retry", delay=delay, is_failure=True)
        self.fail_with(data.draw(st.sampled_from(self.able())), verdict, ValueError("no"))

    @rule(jobs=st.integers(0, 3), ends=st.lists(st.booleans(), min_size=1, max_size=8), data=st.data())
    def work_for_a_while(self, jobs: int, ends: list[bool], data: DataObject) -> None:
        """Attempts end one after another, and in between what holds all of them up: as most days are."""
        if jobs:
            self.submit_for_anybody(jobs, data)
        for success in ends:
            opening = self.reopening()
            if opening:
                self.open_resource(opening[0])
            if not self.able() and self.core.scheduler.deadlines.soonest < math.inf:
                self.time_passes_until_the_next_deadline(punctual=True)
            if self.able() and success:
                self.succeed_on(self.able()[0])
            elif self.able():
                self.fail_with(self.able()[0], PlainVerdict("retry", is_failure=True), ValueError("no"))

    @precondition(lambda self: self.able())
    @rule(data=st.data(), verdict=ENDS)
    def fail_for_good(self, data: DataObject, verdict: PlainVerdict) -> None:
        self.fail_with(data.draw(st.sampled_from(self.able())), verdict, ValueError("never"))

    @precondition(lambda self: self.hedges is HEDGES["many"])
    @rule(
        data=st.data(),
        jobs=st.integers(1, 2),
        events=st.lists(EVENTS, min_size=1, max_size=6),
    )
    def run_slowly(self, data: DataObject, jobs: int, events: list[str]) -> None:
        """Attempts start, and no value comes for a while."""
        self.submit_for_anybody(jobs, data)
        for event in events:
            racing = self.racing()
            if racing and event == "fail":
                self.fail_with(racing[0], PlainVerdict("retry", placement="other", is_failure=True), ValueError("no"))
            elif racing and event == "cancel":
                self.cancel_one(*pair_of(racing[-1]))
            elif self.core.scheduler.deadlines.soonest < math.inf:
                self.time_passes_until_the_next_deadline(punctual=True)

    def racing(self) -> list[ShellRun]:
        """What runs while the same attempt is under way on other workers too."""
        return [running for running in self.able() if len(running.plain.job.attempt.runs) > 1]

    @precondition(lambda self: self.racing())
    @rule(data=st.data(), success=st.booleans(), verdict=RETRIES | ENDS)
    def one_of_several_ends(self, data: DataObject, success: bool, verdict: PlainVerdict) -> None:
        running = data.draw(st.sampled_from(self.racing()))
        if success:
            self.succeed_on(running)
        else:
            self.fail_with(running, verdict, ValueError("no"))

    @precondition(lambda self: self.racing())
    @rule(data=st.data(), cut=st.booleans())
    def something_happens_to_one_of_several(self, data: DataObject, cut: bool) -> None:
        """It is to leave the pool, or its job is cancelled."""
        running = data.draw(st.sampled_from(self.racing()))
        if cut:
            self.dismiss(running.worker, cut=True)
        else:
            self.cancel_one(*pair_of(running))

    def overdue(self) -> list[ShellRun]:
        """What gets Trio's cancellation."""
        return [
            running
            for running in self.able()
            if running.job in running.worker.interrupted or running.plain.job.attempt.deadline <= self.now
        ]

    @precondition(lambda self: self.overdue())
    @rule(data=st.data(), verdict=RETRIES)
    def end_by_cancellation(self, data: DataObject, verdict: PlainVerdict) -> None:
        running = data.draw(st.sampled_from(self.overdue()))
        core, run, plain = self.core.scheduler, running.run, running.plain
        assert (run.cut is not None) is plain.cut
        error = TimeoutError()
        if not (plain.cut or plain.job.is_lease) and self.now >= plain.job.deadline:
            self.end(running, lambda: self.plain.timed_out(plain), lambda: core.timed_out(run, error, self.now))
        elif plain.cut or plain.job.cancelled:
            self.end(running, lambda: self.plain.cut_short(plain), lambda: core.cut_short(run, error, self.now))
        else:
            self.fail_with(running, verdict, error)


def of_block(verdict: PlainVerdict) -> PlainVerdict:
    """What an error of a block comes to: it is told to the caller, and nothing else is decided about it."""
    return PlainVerdict(DeadReason.NOT_RETRYABLE, broken=verdict.broken, is_failure=verdict.is_failure)


def pair_of(running: ShellRun) -> tuple[Job[Any], PlainJob]:
    """The job that a worker runs, with the model's."""
    return running.job, running.plain.job
