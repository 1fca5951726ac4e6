"""Does whatever may happen to a scheduler, and to the plain model of it."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.core.machine_draws import (
    BUDGETS,
    ENDS,
    EVENTS,
    HEDGES,
    RATES,
    REQUIRED,
    RETRIES,
    TAG_SETS,
    TIMES,
    WORKER_LIMITS,
    verdict_of,
)
from tests.core.makers import Core, make_core, make_guard, make_job
from tests.core.plain_limits import PlainBreaker, PlainBudget, PlainRate
from tests.core.plain_model import PlainPool
from tests.core.plain_parts import Named, PlainJob, PlainLimits, PlainVerdict, PlainWorker
from trio_pool import JobState, RateLimit, RetryBudget
from trio_pool._effects import (
    Admitted,
    Changed,
    Died,
    GroupQuiet,
    Hire,
    Interrupt,
    Moved,
    Quiet,
    Recall,
    Refused,
    Regain,
    Reserved,
    Start,
    Tell,
    TurnedAway,
    WaitsInVain,
)
from trio_pool._ledger import begun
from trio_pool._places import Admission, Door
from trio_pool._seat import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DataObject, SearchStrategy

    from trio_pool import Elastic, Job
    from trio_pool._effects import Effect
    from trio_pool._group import Group
    from trio_pool._limits import Hedge
    from trio_pool._seat import Seat


def is_anybody(_: PlainWorker) -> bool:
    return True


def is_opening(worker: PlainWorker) -> bool:
    return worker.phase in ("starting", "reopening") and not worker.lenders


def may_break(worker: PlainWorker) -> bool:
    # What is broken is opened anew only when those have it back who have lent it.
    if worker.phase == "reopening":
        return not worker.lenders
    return worker.elastic or worker.phase != "starting"


def may_stop(worker: PlainWorker) -> bool:
    # An elastic pool goes on trying to open those that it has ordered.
    gives_up = worker.phase == "starting" and not worker.elastic
    return worker.job is None and not worker.lenders and (worker.departing or gives_up)


def is_paused(worker: PlainWorker) -> bool:
    return worker.paused


def is_not_paused(worker: PlainWorker) -> bool:
    return not worker.paused


@attrs.define(eq=False, repr=False)
class ShellWorker(Named):
    """The test's stand-in for a worker's loop."""

    seat: Seat
    plain: PlainWorker
    # It waits on its channel; or it was handed a job, which it runs.
    waiting: bool = False
    running: Job[Any] | None = None
    # The jobs whose attempts on it get Trio's cancellation.
    interrupted: list[Job[Any]] = attrs.field(factory=list["Job[Any]"])

    def __repr__(self) -> str:
        return f"worker {self.seat.id}"


class SchedulerMachine(RuleBasedStateMachine):
    """Does everything to the core and to the model, and carries out what the core decides."""

    core: Core
    plain: PlainPool

    @initialize(
        max_queue=st.sampled_from([0, 1, 2, 3, math.inf]),
        max_running=st.sampled_from([math.inf, math.inf, 1, 2]),
        no_worker=st.sampled_from(["reject", "wait", "bury"]),
        lifo=st.booleans(),
        rate_limit=st.none() | st.none() | RATES,
        retry_budget=st.none() | BUDGETS,
        workers=st.lists(TAG_SETS, max_size=4),
        limits=st.sampled_from(["none", "rates", "breakers", "breakers", "wear", "all"]),
        hedges=st.sampled_from(["none", "some", "many", "many"]),
        data=st.data(),
        patient=st.booleans(),
    )
    def open(
        self,
        max_queue: float,
        max_running: float,
        no_worker: Any,
        lifo: bool,
        rate_limit: RateLimit | None,
        retry_budget: RetryBudget | None,
        workers: list[tuple[str, ...]],
        limits: str,
        hedges: str,
        data: DataObject,
        patient: bool,
    ) -> None:
        elastic = data.draw(self.elastics)
        self.core = make_core(
            max_queue=max_queue,
            max_running=max_running,
            no_worker=no_worker,
            rate_limit=rate_limit,
            retry_budget=retry_budget,
            lifo=lifo,
            elastic=elastic,
        )
        self.plain = self.make_plain(
            max_queue,
            max_running,
            no_worker,
            lifo,
            rate=PlainRate(rate_limit) if rate_limit else None,
            budget=PlainBudget(retry_budget) if retry_budget else None,
        )
        self.now = 0.0
        # Whether the jobs that are left at the end are waited for, or cancelled.
        self.patient = patient
        self.closed = False
        self.workers: list[ShellWorker] = []
        # Every job that was ever submitted, with the model's.
        self.jobs: list[tuple[Job[Any], PlainJob]] = []
        # What the core said, as far as it was more than a call's result.
        self.told: list[Tell] = []
        self.died: list[Job[Any]] = []
        self.let_go: list[Job[Any]] = []
        self.refused: list[Job[Any]] = []
        self.started: list[tuple[Seat, Job[Any]]] = []
        self.interrupted: list[tuple[Seat, Job[Any]]] = []
        self.recalled: list[Seat] = []
        self.quiet = 0
        self.staffed: list[Group] = []
        self.turned_away: list[Group] = []
        self.quiet_groups: list[Group] = []
        self.limits = self.worker_limits[limits]
        self.hedges = HEDGES[hedges]
        # Where nobody is idle, nothing can be started on one more worker.
        for tags in [*workers, (), (), ()] if hedges == "many" else workers:
            self.add(tags, data.draw(self.limits))
            self.open_resource(self.workers[-1])
        self.begin(elastic, data)
        if hedges == "many":
            self.run_slowly(data, 1, data.draw(st.lists(EVENTS, min_size=1, max_size=6)))

    make_plain: ClassVar[type[PlainPool]] = PlainPool
    worker_limits: ClassVar[dict[str, SearchStrategy[PlainLimits]]] = WORKER_LIMITS
    elastics: ClassVar[SearchStrategy[Elastic[None] | None]] = st.none()

    def begin(self, elastic: Elastic[None] | None, data: DataObject) -> None:
        """The workers are there with which the pool begins."""

    # Carrying out what the core decides.

    def seats(self) -> dict[PlainWorker, Seat]:
        """The workers as the core knows them, by the model's."""
        return {worker.plain: worker.seat for worker in self.workers}

    def shell_of(self, seat: Seat) -> ShellWorker:
        (worker,) = [worker for worker in self.workers if worker.seat is seat]
        return worker

    def carry_out(self) -> None:
        effects = self.core.effects
        while effects:
            effect = effects.popleft()
            match effect:
                case Start(seat=seat, job=job):
                    worker = self.shell_of(seat)
                    assert worker.waiting, "a job was sent to a worker that doesn't wait for one"
                    self.run(worker, job)
                case Interrupt(seat=seat, job=job):
                    self.shell_of(seat).interrupted.append(job)
                    self.interrupted.append((seat, job))
                case Recall(seat=seat):
                    worker = self.shell_of(seat)
                    assert worker.running is None
                    worker.waiting = False
                    self.recalled.append(seat)
                case Admitted(job=job):
                    self.let_go.append(job)
                case Refused(job=job):
                    self.refused.append(job)
                case Died(job=job):
                    assert job.state is JobState.DEAD
                    self.died.append(job)
                case Quiet():
                    self.quiet += 1
                case Tell():
                    self.told.append(effect)
                case Changed() | Regain() | WaitsInVain() | Hire():
                    self.carry_out_more(effect)
                case Reserved(group=group):
                    self.staffed.append(group)
                case TurnedAway(group=group):
                    self.turned_away.append(group)
                case GroupQuiet(group=group):
                    self.quiet_groups.append(group)
                case Moved():
                    raise AssertionError("no job is one of a stream")

    def carry_out_more(self, effect: Effect) -> None:
        """What happens only where jobs watch, wait or lend, or where the pool is elastic."""
        raise AssertionError(effect)

    def run(self, worker: ShellWorker, job: Job[Any]) -> None:
        assert worker.running is None
        assert worker.seat._current is job
        worker.waiting = False
        worker.running = job
        begun(worker.seat, self.now)
        self.started.append((worker.seat, job))

    def on_both(self, plain: Callable[[], object], core: Callable[[], object], *, dated: bool = True) -> object:
        """Do something to the model and to the core, and hold what they decide against each other.

        Arguments:
          dated: whether they are told the time, and so deal with what has come due.
        """
        if dated:
            self.plain.now = self.now
        self.forget_news()
        told_before = len(self.told)
        plain_answer = plain()
        answer = core()
        self.carry_out()
        self.check_news(told_before)
        if isinstance(answer, Admission):
            assert answer is plain_answer
        self.go_on()
        return answer

    def forget_news(self) -> None:
        """An event is about to happen."""
        self.plain.forget_news()
        for found in (self.let_go, self.refused, self.started, self.interrupted, self.recalled):
            found.clear()

    def go_on(self) -> None:
        """An event has happened, which may lead to others."""

    def check_news(self, told_before: int) -> None:
        """The same has happened in both; so many things had been told before."""
        model = self.plain
        plain_jobs = dict(self.jobs)
        plain_seats = {worker.seat: worker.plain for worker in self.workers}
        assert {plain_seats[seat]: plain_jobs[job] for seat, job in self.started} == dict(model.started)
        assert len(self.started) == len(model.started)
        assert {plain_jobs[job] for job in self.let_go} == set(model.let_go)
        assert [plain_jobs[job] for job in self.refused] == model.refused
        assert {(plain_seats[seat], plain_jobs[job]) for seat, job in self.interrupted} == set(model.interrupted)
        assert Counter(plain_seats[seat] for seat in self.recalled) == Counter(model.recalled)
        assert self.told_of_limits(told_before) == Counter(model.told)
        self.check_ended(told_before)

    def told_of_limits(self, start: int) -> Counter[tuple[str, PlainWorker, object]]:
        """What the core has told of what holds workers back, in the model's words."""
        plain_seats: dict[object, PlainWorker] = {worker.seat: worker.plain for worker in self.workers}
        found: Counter[tuple[str, PlainWorker, object]] = Counter()
        for told in self.told[start:]:
            if told.event in ("worker_resting", "worker_quarantined", "worker_reopening"):
                seat, detail = told.arguments
                found[told.event, plain_seats[seat], "an error" if isinstance(detail, Exception) else detail] += 1
        return found

    def check_ended(self, start: int) -> None:
        """Each attempt that has ended is told of once, with the workers that took part."""
        told: list[tuple[Any, ...]] = [tell.arguments for tell in self.told[start:] if tell.event == "attempt_ended"]
        found = [(job, [(attempt.worker_id, attempt.worker_name), *attempt.hedges]) for job, attempt in told]
        jobs = {plain: job for job, plain in self.jobs}
        names = {plain: (seat.id, seat.name) for plain, seat in self.seats().items()}
        assert found == [(jobs[job], [names[worker] for worker in workers]) for job, workers in self.plain.ended]

    def end(
        self,
        worker: ShellWorker,
        plain: Callable[[], object],
        core: Callable[[], Job[Any] | None],
        *,
        goes_on: bool = False,
    ) -> None:
        """An attempt ends; the worker goes on with the job that it is given, or waits for one.

        Arguments:
          goes_on: whether the attempt does not end, but goes on without the worker.
        """

        def end() -> None:
            if not goes_on:
                worker.interrupted = [job for job in worker.interrupted if job is not worker.running]
            worker.running = None
            worker.waiting = True  # for the core may send it something before it returns
            job = core()
            if job is not None:
                worker.waiting = False
                self.run(worker, job)
            elif worker.seat._departing or worker.seat._phase is not Phase.OPEN:
                worker.waiting = False

        self.on_both(plain, end)

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
        self.submit_one(priority, requires, only, total_timeout, attempt_timeout, door, data.draw(self.hedges))

    @rule(jobs=st.integers(1, 3), data=st.data())
    def submit_for_anybody(self, jobs: int, data: DataObject) -> None:
        """Some work to do for all the rest to happen to."""
        for _ in range(jobs):
            self.submit_one(0, (), None, math.inf, math.inf, Door.ALWAYS, data.draw(self.hedges))

    def submit_one(
        self,
        priority: float,
        requires: tuple[str, ...],
        only: ShellWorker | None,
        total_timeout: float,
        attempt_timeout: float,
        door: Door,
        hedge: Hedge | None,
    ) -> None:
        job = make_job(
            now=self.now,
            priority=priority,
            requires=requires,
            worker=only.seat if only else None,
            total_timeout=total_timeout,
            attempt_timeout=attempt_timeout,
            hedge=hedge,
        )
        plain = PlainJob(
            priority,
            frozenset(requires),
            only.plain if only else None,
            self.now + total_timeout,
            attempt_timeout,
            (hedge.after, hedge.extra) if hedge else None,
        )
        self.jobs.append((job, plain))
        self.on_both(
            lambda: self.plain.submit(plain, door),
            lambda: self.core.scheduler.submit(job, door, self.now),
        )

    @precondition(lambda self: self.plain.line)
    @rule(data=st.data())
    def a_submitter_gives_up(self, data: DataObject) -> None:
        job, plain = data.draw(st.sampled_from([pair for pair in self.jobs if pair[1] in self.plain.submitters()]))
        assert self.core.scheduler.waits_for_place(job)
        self.on_both(lambda: self.plain.withdraw(plain), lambda: self.core.scheduler.withdraw(job), dated=False)

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

    def busy(self) -> list[ShellWorker]:
        return [worker for worker in self.workers if worker.running is not None]

    def able(self) -> list[ShellWorker]:
        """Those of the busy ones whose attempts may end now."""
        return self.busy()

    def live(self) -> list[tuple[Job[Any], PlainJob]]:
        live = self.plain.live()
        return [pair for pair in self.jobs if pair[1] in live]

    @precondition(lambda self: self.able())
    @rule(data=st.data())
    def succeed(self, data: DataObject) -> None:
        self.succeed_on(data.draw(st.sampled_from(self.able())))

    def succeed_on(self, worker: ShellWorker) -> None:
        self.end(
            worker,
            lambda: self.plain.succeeded(worker.plain),
            lambda: self.core.scheduler.succeeded(worker.seat, "value", self.now),
        )

    def fail_with(self, worker: ShellWorker, verdict: PlainVerdict, error: Exception) -> None:
        self.end(
            worker,
            lambda: self.plain.failed(worker.plain, verdict),
            lambda: self.core.scheduler.failed(worker.seat, error, verdict_of(verdict, error), self.now),
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
                self.cancel_one(*self.pair_of(racing[-1]))
            elif self.core.scheduler.deadlines.soonest < math.inf:
                self.time_passes_until_the_next_deadline(punctual=True)

    def racing(self) -> list[ShellWorker]:
        """The workers whose attempt is under way on others too."""
        return [worker for worker in self.able() if worker.plain.job and len(worker.plain.job.attempt.runners) > 1]

    def pair_of(self, worker: ShellWorker) -> tuple[Job[Any], PlainJob]:
        """The job that the worker runs, with the model's."""
        (pair,) = [pair for pair in self.jobs if pair[0] is worker.running]
        return pair

    @precondition(lambda self: self.racing())
    @rule(data=st.data(), success=st.booleans(), verdict=RETRIES | ENDS)
    def one_of_several_ends(self, data: DataObject, success: bool, verdict: PlainVerdict) -> None:
        worker = data.draw(st.sampled_from(self.racing()))
        if success:
            self.succeed_on(worker)
        else:
            self.fail_with(worker, verdict, ValueError("no"))

    @precondition(lambda self: self.racing())
    @rule(data=st.data(), cut=st.booleans())
    def something_happens_to_one_of_several(self, data: DataObject, cut: bool) -> None:
        """It is to leave the pool, or its job is cancelled."""
        worker = data.draw(st.sampled_from(self.racing()))
        if cut:
            self.dismiss(worker, cut=True)
        else:
            self.cancel_one(*self.pair_of(worker))

    def overdue(self) -> list[ShellWorker]:
        """The workers whose attempt gets Trio's cancellation."""
        return [
            worker
            for worker in self.able()
            if worker.running in worker.interrupted or worker.plain.attempt_deadline <= self.now
        ]

    @precondition(lambda self: self.overdue())
    @rule(data=st.data(), verdict=RETRIES)
    def end_by_cancellation(self, data: DataObject, verdict: PlainVerdict) -> None:
        worker = data.draw(st.sampled_from(self.overdue()))
        scheduler, seat, plain = self.core.scheduler, worker.seat, worker.plain
        assert plain.job is not None
        assert (seat._cut is not None) is plain.cut
        error = TimeoutError()
        if not plain.cut and self.now >= plain.job.deadline:
            self.end(worker, lambda: self.plain.timed_out(plain), lambda: scheduler.timed_out(seat, error, self.now))
        elif plain.cut or plain.job.cancelled:
            self.end(worker, lambda: self.plain.cut_short(plain), lambda: scheduler.cut_short(seat, error, self.now))
        else:
            self.fail_with(worker, verdict, error)

    # Workers.

    def those(self, wanted: Callable[[PlainWorker], bool]) -> list[ShellWorker]:
        return [worker for worker in self.workers if worker.plain.phase != "gone" and wanted(worker.plain)]

    def add(self, tags: tuple[str, ...], limits: PlainLimits, *, elastic: bool = False, ordered: bool = False) -> None:
        guard = None if limits == PlainLimits() else make_guard(**attrs.asdict(limits, recurse=False))
        plain = PlainWorker(
            frozenset(tags),
            limits.max_jobs or math.inf,
            limits.max_age or math.inf,
            PlainRate(limits.rate_limit) if limits.rate_limit else None,
            PlainBreaker(limits.breaker) if limits.breaker else None,
            elastic=elastic,
        )
        worker = ShellWorker(self.core.make_seat(*tags, guard=guard), plain)
        worker.seat._elastic = elastic
        self.workers.append(worker)
        self.on_both(
            lambda: self.plain.join(worker.plain, ordered=ordered),
            lambda: self.core.scheduler.join(worker.seat, ordered=ordered),
            dated=False,
        )

    @precondition(lambda self: len(self.workers) < 7)
    @rule(tags=TAG_SETS, data=st.data())
    def add_worker(self, tags: tuple[str, ...], data: DataObject) -> None:
        self.add(tags, data.draw(self.limits))

    def open_resource(self, worker: ShellWorker) -> None:
        worker.waiting = not worker.plain.departing
        self.on_both(
            lambda: self.plain.opened(worker.plain),
            lambda: self.core.scheduler.opened(worker.seat, self.now),
        )

    @precondition(lambda self: self.those(is_opening))
    @rule(data=st.data())
    def opened(self, data: DataObject) -> None:
        opening = [worker for worker in self.those(is_opening) if worker.running is None]
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
        if worker.waiting:
            worker.waiting = False
        self.on_both(
            lambda: self.plain.broken(worker.plain),
            lambda: self.core.scheduler.reopen(worker.seat, OSError("gone"), self.now),
        )

    @precondition(lambda self: self.those(is_not_paused))
    @rule(data=st.data())
    def pause(self, data: DataObject) -> None:
        worker = data.draw(st.sampled_from(self.those(is_not_paused)))
        self.on_both(
            lambda: self.plain.pause(worker.plain),
            lambda: self.core.scheduler.pause(worker.seat, self.now),
        )

    @precondition(lambda self: self.those(is_paused))
    @rule(data=st.data())
    def resume(self, data: DataObject) -> None:
        worker = data.draw(st.sampled_from(self.those(is_paused)))
        self.on_both(
            lambda: self.plain.resume(worker.plain),
            lambda: self.core.scheduler.resume(worker.seat, self.now),
        )

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, 2.0]))
    def rest(self, data: DataObject, seconds: float) -> None:
        worker = data.draw(st.sampled_from(self.workers))
        until = self.now + seconds
        self.on_both(
            lambda: self.plain.rest(worker.plain, until),
            lambda: self.core.scheduler.rest(worker.seat, until, self.now),
        )

    @precondition(lambda self: self.those(is_anybody))
    @rule(data=st.data(), cut=st.booleans())
    def remove(self, data: DataObject, cut: bool) -> None:
        self.dismiss(data.draw(st.sampled_from(self.those(is_anybody))), cut=cut)

    def dismiss(self, worker: ShellWorker, *, cut: bool) -> None:
        self.on_both(
            lambda: self.plain.depart(worker.plain, cut=cut),
            lambda: self.core.scheduler.depart(worker.seat, self.now, cut=cut),
        )

    def leaving(self) -> list[ShellWorker]:
        """The workers that may stop: told to, or not able to start."""
        return self.those(may_stop)

    @precondition(lambda self: self.leaving())
    @rule(data=st.data())
    def stop(self, data: DataObject) -> None:
        self.stop_one(data.draw(st.sampled_from(self.leaving())))

    def stop_one(self, worker: ShellWorker) -> None:
        worker.waiting = False
        self.on_both(
            lambda: self.plain.left(worker.plain),
            lambda: self.core.scheduler.left(worker.seat, self.now),
        )

    # The pool.

    @precondition(lambda self: not self.closed)
    @rule(rarely=st.integers(0, 9))
    def close(self, rarely: int) -> None:
        if not rarely:
            self.closed = True
            turned_away = self.core.scheduler.close()
            plain_jobs = dict(self.jobs)
            assert [plain_jobs[job] for job in turned_away] == self.plain.submitters()
            self.plain.line.clear()

    @precondition(lambda self: self.closed)
    @rule()
    def drain(self) -> None:
        self.on_both(self.plain.drain, lambda: self.core.scheduler.drain(self.now))

    @rule(limit=st.sampled_from([1, 2, 3, math.inf]))
    def set_max_running(self, limit: float) -> None:
        self.on_both(
            lambda: self.plain.set_max_running(limit),
            lambda: self.core.scheduler.set_max_running(limit, self.now),
        )
        assert self.core.scheduler.max_running == limit

    @rule(limit=st.none() | RATES)
    def set_rate_limit(self, limit: RateLimit | None) -> None:
        self.on_both(
            lambda: self.plain.set_rate_limit(limit),
            lambda: self.core.scheduler.set_rate_limit(limit, self.now),
        )
        assert self.core.scheduler.rate_limit == limit

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
        return self.those(lambda worker: is_opening(worker) and worker.job is None and not worker.departing)
