"""Holds what the scheduler decides against what the plain model of it does, and carries that out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
from hypothesis.stateful import RuleBasedStateMachine

from tests.core.commands import (
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
    typed,
)
from tests.core.makers import begun, job_of, run_on
from tests.core.plain_accounts import PlainAccounts
from tests.core.plain_parts import Named, PlainJob, PlainWorker
from trio_pool import JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._model.records import JobRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.commands import Typed
    from tests.core.makers import Core
    from tests.core.plain_model import PlainPool
    from tests.core.plain_parts import PlainRun
    from trio_pool import Job
    from trio_pool._model.records import Group, Run, WorkerRecord


@attrs.define(eq=False, repr=False)
class ShellWorker(Named):
    """The test's stand-in for a worker's loops."""

    record: WorkerRecord
    plain: PlainWorker
    # Whether the channel is open on which the loops without a job wait; and the jobs that others run.
    listening: bool = False
    running: list[JobRecord] = attrs.field(factory=list[JobRecord])
    # The jobs whose attempts on it get Trio's cancellation.
    interrupted: list[JobRecord] = attrs.field(factory=list[JobRecord])

    def __repr__(self) -> str:
        return f"worker {self.record.id}"


class ShellRun(NamedTuple):
    """What a worker runs of a job, and what the model has of it."""

    worker: ShellWorker
    job: Job[Any]
    plain: PlainRun

    @property
    def run(self) -> Run:
        """The same, as the core has it."""
        return run_on(self.worker.record, self.job)

    def __repr__(self) -> str:
        return f"job {self.job.id} on {self.worker!r}"

    def _repr_pretty_(self, printer: Any, _: object) -> None:
        printer.text(repr(self))


class ShellMachine(RuleBasedStateMachine):
    """Does something to the core and to the model, and what the core decides."""

    core: Core
    plain: PlainPool

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.accounts = PlainAccounts()
        self.closed = False
        # Whether jobs go straight where they can, and whether there are instruments to tell.
        self.goes_straight = False
        self.is_quiet = False
        self.workers: list[ShellWorker] = []
        # Every job that was ever submitted, with the model's.
        self.jobs: list[tuple[Job[Any], PlainJob]] = []
        # What the core said, as far as it was more than a call's result.
        self.told: list[Tell] = []
        self.died: list[Job[Any]] = []
        self.let_go: list[Job[Any]] = []
        self.refused: list[Job[Any]] = []
        self.started: list[tuple[WorkerRecord, JobRecord]] = []
        self.interrupted: list[tuple[WorkerRecord, JobRecord]] = []
        self.recalled: list[WorkerRecord] = []
        self.quiet = 0
        self.staffed: list[Group] = []
        self.turned_away: list[Group] = []
        self.quiet_groups: list[Group] = []

    # Carrying out what the core decides.

    def records(self) -> dict[PlainWorker, WorkerRecord]:
        """The workers as the core knows them, by the model's."""
        return {worker.plain: worker.record for worker in self.workers}

    def shell_of(self, record: WorkerRecord) -> ShellWorker:
        (worker,) = [worker for worker in self.workers if worker.record is record]
        return worker

    def busy(self) -> list[ShellRun]:
        """What workers run."""
        plain_jobs: dict[JobRecord, tuple[Job[Any], PlainJob]] = {pair[0]: pair for pair in self.jobs}
        found = [(worker, *plain_jobs[job]) for worker in self.workers for job in worker.running]
        return [ShellRun(worker, job, worker.plain.run_of(plain)) for worker, job, plain in found]

    def carry_out(self) -> None:
        commands = self.core.commands
        while commands:
            command = typed(commands.popleft())
            match command:
                case Start(run=run):
                    self.start(run)
                case Interrupt(run=run):
                    self.shell_of(run.worker).interrupted.append(run.job)
                    self.interrupted.append((run.worker, run.job))
                case Recall(worker=record):
                    self.shell_of(record).listening = False
                    self.recalled.append(record)
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
                    self.told.append(command)
                case Changed() | Regain() | WaitsInVain() | Hire():
                    self.carry_out_more(command)
                case Reserved(group=group):
                    self.staffed.append(group)
                case TurnedAway(group=group):
                    self.turned_away.append(group)
                case GroupQuiet(group=group):
                    self.quiet_groups.append(group)
                case Moved():
                    raise AssertionError("no job is one of a stream")

    def carry_out_more(self, command: Typed) -> None:
        """What happens only where jobs watch, wait or lend, or where the pool is elastic."""
        raise AssertionError(command)

    def start(self, run: Run) -> None:
        worker = self.shell_of(run.worker)
        assert worker.listening, "a job was sent to a worker that doesn't wait for one"
        self.run(worker, run.job)

    def let_in(self, job: JobRecord, door: Door) -> Admission:
        """Submit a job as the pool does: straight if that can be, and else in the general way."""
        may_go_straight = self.goes_straight and not self.closed and door is not Door.IF_IDLE
        may_go_straight &= not job._options.is_lease
        done = may_go_straight and self.core.scheduler.submit_straight(job, self.now)
        if done is False:
            return self.core.scheduler.submit(job, door, self.now)
        if done is not True:
            self.start(done)
        return Admission.ENTERED

    def run(self, worker: ShellWorker, job: JobRecord) -> None:
        assert len(worker.running) < worker.record._max_running
        worker.running.append(job)
        begun(run_on(worker.record, job), self.now)
        self.started.append((worker.record, job))

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
        if dated and self.core.scheduler.deadlines.soonest > self.now:
            # The model looks at everything whenever time has passed, so also at how many could start by now.
            self.core.scheduler._settling.settle(self.now)
        answer = core()
        self.carry_out()
        self.accounts.look(self.core.scheduler.state, self.now)
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
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        plain_workers = {worker.record: worker.plain for worker in self.workers}
        assert [job._state for job in plain_jobs] == [plain.state for plain in plain_jobs.values()]
        assert Counter((plain_workers[record], plain_jobs[job]) for record, job in self.started) == Counter(
            model.started
        )
        assert {plain_jobs[job] for job in self.let_go} == set(model.let_go)
        assert [plain_jobs[job] for job in self.refused] == model.refused
        assert {(plain_workers[record], plain_jobs[job]) for record, job in self.interrupted} == set(model.interrupted)
        assert Counter(plain_workers[record] for record in self.recalled) == Counter(model.recalled)
        if self.is_quiet:
            assert not self.told
            return
        assert self.told_of_limits(told_before) == Counter(model.told)
        self.check_ended(told_before)

    def told_of_limits(self, start: int) -> Counter[tuple[str, PlainWorker, object]]:
        """What the core has told of what holds workers back, in the model's words."""
        plain_workers: dict[object, PlainWorker] = {worker.record: worker.plain for worker in self.workers}
        found: Counter[tuple[str, PlainWorker, object]] = Counter()
        for told in self.told[start:]:
            if told.event in ("worker_resting", "worker_quarantined", "worker_reopening"):
                record, detail = told.arguments
                found[told.event, plain_workers[record], "an error" if isinstance(detail, Exception) else detail] += 1
        return found

    def check_ended(self, start: int) -> None:
        """Each attempt that has ended is told of once, with the workers that took part."""
        told: list[tuple[Any, ...]] = [tell.arguments for tell in self.told[start:] if tell.event == "attempt_ended"]
        found = [(job, [(attempt.worker_id, attempt.worker_name), *attempt.hedges]) for job, attempt in told]
        jobs = {plain: job for job, plain in self.jobs}
        names = {plain: (record.id, record.name) for plain, record in self.records().items()}
        assert found == [(jobs[job], [names[worker] for worker in workers]) for job, workers in self.plain.ended]

    def end(
        self,
        running: ShellRun,
        plain: Callable[[], object],
        core: Callable[[], Run | None],
        *,
        goes_on: bool = False,
    ) -> None:
        """An attempt ends; the worker goes on with the job that it is given, or waits for one.

        Arguments:
          goes_on: whether the attempt does not end, but goes on without the worker.
        """

        worker = running.worker

        def end() -> None:
            if not goes_on:
                worker.interrupted = [job for job in worker.interrupted if job is not running.job]
            worker.running.remove(running.job)
            job = job_of(core())
            if job is not None:
                assert worker.listening
                self.run(worker, job)

        self.on_both(plain, end)
