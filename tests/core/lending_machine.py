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
from trio_pool import JobState
from trio_pool._model.states import Cut, Hold

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

    from tests.core.commands import Typed
    from tests.core.plain_parts import PlainJob
    from tests.core.shell_machine import ShellWorker
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
        assert worker.running is None, "a worker was given back while it ran something"
        worker.waiting = False
        worker.running = run.job
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

    def may_lend(self) -> list[ShellWorker]:
        """The workers whose jobs may lend them."""
        return [worker for worker in self.able() if worker.running and worker.running._options.hedge is None]

    def may_claim(self) -> list[tuple[Job[Any], PlainJob]]:
        """The jobs that have lent their workers and have not asked to have them back."""
        return [pair for pair in self.lent() if pair[1].has_lent and pair[1] not in pair[1].has_lent.claims]

    @precondition(lambda self: self.may_lend())
    @rule(data=st.data())
    def lend(self, data: DataObject) -> None:
        self.lend_one(data.draw(st.sampled_from(self.may_lend())))

    def lend_one(self, worker: ShellWorker) -> None:
        self.end(
            worker,
            lambda: self.model.lend(worker.plain),
            lambda: self.core.lend(worker.record, self.now),
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
        worker = data.draw(st.sampled_from(self.may_lend()))
        (lender,) = [pair for pair in self.jobs if pair[0] is worker.running]
        self.lend_one(worker)
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
                assert (run.cut is not None) is plain_jobs[run.job].lent_cut
                assert run.cut in (None, Cut.CANCELLED, Cut.EVICTED)
        for job, lender in self.lent():
            assert job.state is JobState.RUNNING
            assert lender.has_lent is not None
            assert run_of(job).worker is records[lender.has_lent]

    @invariant()
    def nobody_waits_for_a_worker_of_his_own_that_runs_nothing(self) -> None:
        for worker in self.workers:
            assert not worker.record._claims or worker.running is not None

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
