"""Lets jobs lend their workers, whatever else happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.core.commands import Regain
from tests.core.group_machine import GroupMachine
from tests.core.machine_draws import WORKER_LIMITS
from tests.core.makers import run_of
from tests.core.plain_loans import PlainLendingPool
from tests.core.scheduler_machine import pair_of
from trio_pool import JobState
from trio_pool._model.states import Cut, Hold

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from tests.core.commands import Typed
    from tests.core.plain_parts import PlainJob, PlainRun
    from tests.core.shell_machine import ShellRun
    from trio_pool import Job
    from trio_pool._model.records import JobRecord, WorkerRecord


class LendingMachine(GroupMachine):
    """Lends workers and takes them back."""

    make_plain = PlainLendingPool
    # A breaker's probe that lends its worker is another matter.
    worker_limits: ClassVar = {
        kind: limits.map(lambda limits: attrs.evolve(limits, breaker=None)) for kind, limits in WORKER_LIMITS.items()
    }

    @property
    def model(self) -> PlainLendingPool:
        """The model, as what it is."""
        assert isinstance(self.plain, PlainLendingPool)
        return self.plain

    def __init__(self) -> None:
        super().__init__()
        self.regained: list[tuple[WorkerRecord, JobRecord]] = []

    def carry_out_more(self, command: Typed) -> None:
        if not isinstance(command, Regain):
            super().carry_out_more(command)
            return
        run = command.run
        worker = self.shell_of(run.worker)
        assert len(worker.running) < run.worker._max_running, "a place was given back while there was none"
        worker.running.append(run.job)
        self.regained.append((run.worker, run.job))

    def forget_news(self) -> None:
        super().forget_news()
        self.model.regained.clear()
        self.regained.clear()

    def check_news(self, told_before: int) -> None:
        """The same; and those jobs get their workers back that get them in the model."""
        super().check_news(told_before)
        plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
        plain_workers = {worker.record: worker.plain for worker in self.workers}
        assert [(plain_workers[record], plain_jobs[job]) for record, job in self.regained] == self.model.regained

    # Lending.

    def lent(self) -> list[tuple[Job[Any], PlainJob]]:
        """The jobs that have lent their workers."""
        return [pair for pair in self.jobs if pair[1].has_lent is not None]

    def may_lend(self) -> list[ShellRun]:
        """What runs of jobs that may lend their places."""
        return [running for running in self.able() if running.job._options.hedge is None]

    def may_claim(self) -> list[tuple[Job[Any], PlainJob]]:
        """The jobs that have lent their workers and have not asked to have them back."""
        return [pair for pair in self.lent() if pair[1].has_lent and pair[1] not in pair[1].has_lent.claims]

    @precondition(lambda self: self.may_lend())
    @rule(data=st.data())
    def lend(self, data: DataObject) -> None:
        self.lend_one(data.draw(st.sampled_from(self.may_lend())))

    def lend_one(self, running: ShellRun) -> None:
        self.end(
            running,
            lambda: self.model.lend(running.plain),
            lambda: self.core.scheduler.lend(running.run, self.now),
            goes_on=True,
        )

    @precondition(lambda self: self.may_claim())
    @rule(data=st.data())
    def claim(self, data: DataObject) -> None:
        self.claim_one(*data.draw(st.sampled_from(self.may_claim())))

    def claim_one(self, job: Job[Any], plain: PlainJob) -> None:
        self.on_both(lambda: self.model.claim(plain), lambda: self.core.scheduler.claim(run_of(job), self.now))

    @precondition(lambda self: self.may_lend())
    @rule(data=st.data(), jobs=st.integers(1, 2), claims=st.booleans())
    def lend_to_others(self, data: DataObject, jobs: int, claims: bool) -> None:
        """The usual: a job lends its worker to others, and wants it back while one of them runs there."""
        running = data.draw(st.sampled_from(self.may_lend()))
        lender = pair_of(running)
        self.lend_one(running)
        self.submit_for_anybody(jobs, data)
        if claims and lender in self.may_claim():
            self.claim_one(*lender)

    # What holds after every step.

    @invariant()
    def each_loan_is_what_the_model_says(self) -> None:
        records = self.records()
        for worker in self.workers:
            record, plain = worker.record, worker.plain
            plain_jobs: dict[JobRecord, PlainJob] = {**dict(self.jobs)}
            assert [plain_jobs[run.job] for run in record._lent] == plain.lenders
            assert [plain_jobs[run.job] for run in record._claims] == plain.claims
            for run in record._lent:
                assert run.is_lent
                assert run.deadline == plain_jobs[run.job].attempt.deadline
                assert (run.cut is not None) is _is_cut(plain_jobs[run.job].loan)
                assert run.cut in (None, Cut.CANCELLED, Cut.EVICTED)
        for job, lender in self.lent():
            assert job.state is JobState.RUNNING
            assert lender.has_lent is not None
            assert run_of(job).worker is records[lender.has_lent]

    @invariant()
    def nobody_waits_for_a_worker_of_his_own_that_has_a_place_for_him(self) -> None:
        for worker in self.workers:
            assert all(worker.plain.free_places(job.group) <= 0 for job in worker.plain.claims)

    @invariant()
    def a_lent_worker_stays(self) -> None:
        for worker in self.workers:
            if worker.record._lent:
                assert worker.record._holds.keys().isdisjoint({Hold.STARTING, Hold.STOPPED})

    def something_happens(self) -> bool:
        """The next of all that happens by itself; who has lent a worker wants it back at last."""
        if not self.able() and self.may_claim():
            self.claim_one(*self.may_claim()[0])
            return True
        return super().something_happens()

    def everything_stops(self) -> None:
        """What runs still, once all is cancelled, ends, when it has its worker back."""
        for pair in self.may_claim():
            self.claim_one(*pair)
        while self.busy():
            super().everything_stops()


def _is_cut(run: PlainRun | None) -> bool:
    return run is not None and run.cut
