"""Workers that their jobs have lent to others, as plainly as the rest of the model.

1. A job that lends its worker goes on running, but neither in a place of the worker nor in any count of
   what runs at once. The worker takes jobs like any other with a free place.
2. A job gets a place back of the worker that it has lent: at once where one is free that is kept for no other
   group, else when one falls free, before all that is queued; of several the first to ask is the first to have it. A
   pause, a rest, a limit or a broken resource does not matter, nor that the worker is to leave.
3. While a place of a worker is lent, it is set aside for nobody, its resource is not reopened, and no job
   avoids another worker because it could have this one (the bounce).
4. What cuts the attempts on a worker short that is to leave cuts those that have lent it, too.
"""

from __future__ import annotations

import attrs

from tests.core.plain_groups import PlainGroupedPool
from tests.core.plain_parts import PlainJob, PlainRun, PlainWorker


@attrs.define(eq=False)
class PlainLendingPool(PlainGroupedPool):
    """The pool, with jobs that lend their workers."""

    # The jobs that have got their workers back since this was last cleared.
    regained: list[tuple[PlainWorker, PlainJob]] = attrs.field(factory=list[tuple[PlainWorker, PlainJob]])

    # Looking.

    def under_way(self, jobs: list[PlainJob]) -> int:
        """How many attempts of running jobs there are, but of those that have lent their workers."""
        return super().under_way([job for job in jobs if job.has_lent is None])

    # What everything is made of.

    def _may_become_available(self, worker: PlainWorker) -> bool:
        # A broken one waits for those that have lent it.
        return not (worker.phase == "reopening" and worker.lenders) and super()._may_become_available(worker)

    def _cancel_running(self, job: PlainJob) -> None:
        super()._cancel_running(job)
        if job.loan is not None:
            self._cut(job.loan)

    def _evictable(self, worker: PlainWorker) -> list[PlainRun]:
        return [*worker.runs, *(job.loan for job in worker.lenders if job.loan is not None)]

    def _follow_up(self) -> None:
        super()._follow_up()
        for worker in self.workers:
            self._give_back_free(worker)

    def _give_back_free(self, worker: PlainWorker) -> bool:
        """Give the free places of a worker back that others want back; returns whether there are any."""
        given = False
        for job in list(worker.claims):
            if worker.free_places(job.group) > 0:
                self._give_back(worker, job)
                given = True
        return given

    def _give_back(self, worker: PlainWorker, job: PlainJob) -> None:
        worker.claims.remove(job)
        worker.lenders.remove(job)
        run, job.loan = job.loan, None
        assert run is not None
        worker.runs.append(run)
        job.attempt.runs.append(run)
        self.regained.append((worker, job))
        self._touch(worker)

    def _go_on(self, worker: PlainWorker) -> None:
        PlainGroupedPool._follow_up(self)
        if self._give_back_free(worker):
            self._settle()
        else:
            super()._go_on(worker)

    # What happens.

    def lend(self, run: PlainRun) -> None:
        """The job of a run lends its place."""
        self.advance()
        job, worker = run.job, run.worker
        assert job.loan is None
        self._note_full(job)
        worker.runs.remove(run)
        worker.lenders.append(job)
        job.loan = run
        job.attempt.runs.remove(run)
        self._go_on(worker)

    def claim(self, job: PlainJob, task: int = 0) -> None:
        """A task of a job wants back the worker that it has lent."""
        self.advance()
        worker = job.has_lent
        assert worker is not None
        worker.claims.append(job)
        if not self._give_back_free(worker):
            self._wait_for_worker(job, task)
        self._settle()

    def _wait_for_worker(self, job: PlainJob, task: int) -> None:
        """A task of a job waits for the worker that it has lent."""
