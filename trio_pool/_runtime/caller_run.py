"""Executing a job's run in the task of the job's caller, in place of a worker's loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from .._basics.exceptions import as_error, without_cancellations
from .._basics.is_a import is_a
from .._model.errors import JobCancelledError, JobTimeoutError
from .._model.job_extra import JobExtra
from .._model.states import Cut, JobState
from .._policies.retry import ResourceBroken
from .job_context import is_in_a_job, own_jobs
from .job_runner import run_job
from .outcomes import shortfall_of
from .waiting import has_ended

if TYPE_CHECKING:
    from .._core.waits import Wait
    from .._model.handles import Job
    from .._model.records import Group, Run
    from .engine import Engine


class CallerRun:
    """Lets a job's caller execute the job's run itself, between `begin` and `end`.

    The core schedules the job like any other. The job's worker passes the run to this object instead of
    to a loop, and stays in its lifespan until the run is given back.

    Arguments:
      engine: the engine of the pool.
      job: the job, whose options say that it is a lease.

    Attributes:
      task: the task that waits for the run and executes it, as in `AttemptLoop`.
      returned: as in `AttemptLoop`.
      run: the run, from when the worker passes it on until it is given back.
      scope: covers the execution, once it has begun.
      is_lost: whether the lifespan of the run's worker has begun to end by itself.
      left_open: the error if its block was still open when a block around it was left; then the run has ended.
    """

    __slots__ = ("_engine", "_job", "_outer", "_outside", "is_lost", "left_open", "returned", "run", "scope", "task")

    def __init__(self, engine: Engine, job: Job[Any]) -> None:
        self._engine = engine
        self._job = job
        # The wait of the job around the execution; that job can't end before this one.
        self._outer: Wait | None = None
        # The nurseries around the execution: it can end before their tasks do.
        self._outside: tuple[trio.Nursery, ...] = ()
        self.task = trio.lowlevel.current_task()
        self.returned: trio.Event  # set when the job lends its place
        self.run: Run | None = None
        self.scope: trio.CancelScope | None = None
        self.is_lost = False
        self.left_open: RuntimeError | None = None
        job._extra = extra = JobExtra()
        extra.executor = self

    # The calls of the worker.

    def take(self, run: Run) -> None:
        """Get the job's run from its worker."""
        self.run = run
        run.loop = self
        job = self._job
        for watch in tuple(job._watchers or ()):
            watch(job)
        if not job._watchers:
            job._watchers = None  # so that nothing has to be notified of its end

    def interrupt(self) -> None:
        """Cancel the execution. If it has not begun, `begin` finds that the run has been cut short."""
        if self.scope is not None:
            self.scope.cancel()

    def has(self, nursery: trio.Nursery | None) -> bool:
        """Whether a nursery of the task, or for None the task itself, is part of the execution."""
        return nursery not in self._outside

    def lose(self) -> None:
        """Cancel the execution, since the lifespan is ending by itself."""
        self.is_lost = True
        self.interrupt()

    # The calls of the caller.

    async def begin(self) -> Run:
        """Wait until the job runs, and begin to execute it.

        A checkpoint. If the wait is cancelled, so is the job.

        Raises:
          JobTimeoutError: if the job's deadline has passed.
          JobDeadlockError: if the wait would never end.
          JobFailedError, JobCancelledError: if the job has ended otherwise.
        """
        job, waiting = self._job, self._engine.waiting
        try:
            while True:
                await waiting.wait_for(job, _runs_or_has_ended)
                run = self.run
                if run is None:
                    raise self._shortfall()
                perform = run.worker._task.host.perform
                if perform is not run_job:  # in a test with faults
                    await perform(run, ())
                if run.cut is None and not self.is_lost:
                    break
                self._hand_back(run)
        except BaseException:
            self._engine.cancel_job(job, "with its caller")
            if self.run is not None:
                self._hand_back(self.run)
            raise
        if is_in_a_job():
            self._outer = waiting.begin_for(job)
        if run.draws is not None:
            run.draws.begin(trio.current_time())
        self._outside = tuple(self.task.child_nurseries)
        self.scope = trio.CancelScope()
        self.scope.__enter__()
        return run

    def check_task(self) -> None:
        """Check that the caller is the task that has begun the execution, unless the execution has ended."""
        task = self.task
        if trio.lowlevel.current_task() is not task and task.parent_nursery and task in task.parent_nursery.child_tasks:
            raise RuntimeError(_WRONG_TASK)

    async def end(self, raised: BaseException | None) -> BaseException | None:
        """End the execution, and give the run back.

        A checkpoint only if the job has lent its place, or if the lifespan is ending by itself.

        Arguments:
          raised: the exception that has ended the execution, or None.

        Returns:
          the exception that comes out, or None.
        """
        run, scope = self.run, self.scope
        assert run is not None
        assert scope is not None
        wrong_use: RuntimeError | None = None
        if trio.lowlevel.current_task() is not self.task:
            wrong_use = RuntimeError(_WRONG_TASK)
        else:
            try:
                # The exception is not passed, since a scope would split an exception group.
                scope.__exit__(None, None, None)
            except RuntimeError as error:  # at the wrong moment
                wrong_use = error
        task = run.worker._task
        if run.is_lent:  # the block of lend() may still be open
            await task.loans.take_back(run)
        self.run = None
        task.give_back(run)
        outcome: BaseException | None = None
        if raised is None:
            self._go_on(run, self._engine.core.succeeded(run, None, trio.current_time()))
        else:
            outcome = await self._decide(run, scope, raised)
        if self._outer is not None:
            self._engine.core.waits.end(self._outer)
        return outcome if wrong_use is None else wrong_use  # noqa: ASYNC910

    async def _decide(self, run: Run, scope: trio.CancelScope, raised: BaseException) -> BaseException | None:
        """End a run whose execution has raised an exception; return the exception that comes out."""
        job, core, now = self._job, self._engine.core, trio.current_time()
        is_around = trio.current_effective_deadline() == -math.inf
        is_own = scope.cancel_called
        rest = without_cancellations(raised)
        if not (is_own or is_around):
            rest = as_error(raised, "the block of acquire()")
        outcome = raised if is_around or not is_own else rest
        if rest is not None and is_a(rest, Exception):
            if is_around and run.cut is None:
                run.cut = Cut.CANCELLED
            self._go_on(run, run.worker._task.judge(run, rest, now))
        elif rest is None and self.is_lost and not (is_around or run.is_cut):
            outcome = await self._fail_with_lifespan(run)
        else:
            self._go_on(run, core.cut_short(run, JobCancelledError(job), now))
            if outcome is None:
                outcome = JobCancelledError(job)
        return outcome  # noqa: ASYNC910

    async def _fail_with_lifespan(self, run: Run) -> BaseException:
        """End a run whose worker's lifespan ends by itself, once it has ended and the reason is known."""
        job, breakage = self._job, run.worker._task.breakage
        broken = breakage.take_out_of_use()
        breakage.fail(run)
        self._engine.carry_out()
        try:
            await self._engine.waiting.wait_for(job, has_ended)
        except BaseException:
            self._engine.cancel_job(job, "with its caller")
            raise
        if job.state is not JobState.DEAD:
            return JobCancelledError(job)
        outcome = ResourceBroken(broken.reason)  # a copy, since other runs fail with the original
        outcome.__cause__ = broken.__cause__
        return outcome

    def _hand_back(self, run: Run) -> None:
        """Give back a run whose execution has not begun."""
        self.run = None
        self.is_lost = False
        task = run.worker._task
        task.give_back(run)
        self._go_on(run, task.give_up(run))

    def _go_on(self, run: Run, following: Run | None) -> None:
        """Send the next run of the worker to a loop."""
        if following is not None:
            run.worker._task.send(following)
        self._engine.carry_out()

    def _shortfall(self) -> Exception:
        """The error for a job that has ended before it could be executed."""
        job = self._job
        if job.state is JobState.CANCELLED and not job._cancelled:
            return JobTimeoutError(f"acquire() got no place within {job._deadline - job._submitted_at:g} s")
        return shortfall_of(job)


async def end_open_blocks(engine: Engine, left: str, group: Group | None = None) -> RuntimeError | None:
    """End the blocks of ``acquire`` that the calling task has not left, since it would wait for their ends forever.

    Arguments:
      engine: the engine of the pool whose block, or a group's, is being left.
      left: the function that returns that block.
      group: the group, if only the blocks of its leases must have been left.

    Returns:
      the error that reports such blocks, or None if there are none.
    """
    error: RuntimeError | None = None
    for job in list(own_jobs()):
        executor = None if job._extra is None else job._extra.executor
        if job._host is not engine or not isinstance(executor, CallerRun) or executor.run is None:
            continue
        if executor.task is trio.lowlevel.current_task() and (group is None or job._options.group is group):
            error = RuntimeError(f"the block of acquire() must be left before the block of {left}() around it")
            executor.left_open = error
            await executor.end(error)
    return error  # noqa: ASYNC910


_WRONG_TASK = "the block of acquire() must be left in the task that has entered it"


def _runs_or_has_ended(job: Any) -> bool:
    return job._run is not None or job._finished_at is not None
