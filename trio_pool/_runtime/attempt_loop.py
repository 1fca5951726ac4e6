"""The tasks that serve a worker: one attempt after another, each in their scopes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import trio

from .._basics.exceptions import as_error, without_cancellations
from .._basics.is_a import is_a
from .._core.lifecycle import begun
from .._core.retry_decision import Die, Verdict
from .._model.errors import AttemptTimeoutError, JobCancelledError, JobTimeoutError
from .._model.states import DeadReason, Phase
from .job_runner import Failure, run_job, tidy

if TYPE_CHECKING:
    from .._core.commands import Commands
    from .._core.core import Core
    from .._model.handles import Worker
    from .._model.records import JobRecord
    from .._model.states import Cut
    from .clock import Clock
    from .workerless_attempt import WorkerlessAttempt


class Host(Protocol):
    """What a worker's tasks ask of their pool."""

    commands: Commands
    timers: Clock

    def crash(self, error: BaseException) -> None: ...
    def carry_out(self) -> None: ...


class Owner(Protocol):
    """What a shift asks of the worker that it serves: its Trio half."""

    worker: Worker
    core: Core
    leading: tuple[Any, ...]
    inbox: JobRecord | None
    session: trio.CancelScope
    shift: AttemptLoop

    @property
    def host(self) -> Host: ...
    @property
    def lifespan(self) -> object: ...
    def is_own_shift_free(self) -> bool: ...
    def hand_over(self, job: JobRecord | None) -> None: ...
    def strand(self) -> None: ...
    async def take_back(self, job: JobRecord) -> object: ...
    def take_out_of_use(self) -> object: ...
    def fail_with_lifespan(self, job: JobRecord) -> None: ...
    def cut_of(self, job: JobRecord) -> Cut | None: ...
    def judge(self, job: JobRecord, error: Exception, now: float) -> JobRecord | None: ...


class AttemptLoop:
    """One of the tasks that serve a worker.

    A worker has one of its own, in which its lifespan is entered and left. When a job lends the
    worker, that task is still in the job's function; then another one stands in for it. Of
    all of them one is on duty: the one that is given the worker's next job. The others
    are in the functions of jobs that have lent the worker; or it is the worker's own, and it waits
    for the others to be done.

    Attributes:
      task: its Trio task, while it serves.
      ends: what is told how the attempt under way ends: the core, unless its job goes on without the worker.
    """

    __slots__ = ("_interrupted", "_is_own", "_owner", "_scope", "_waiting", "ends", "task")

    def __init__(self, owner: Owner, *, is_own: bool) -> None:
        self._owner = owner
        self._is_own = is_own
        self.task: trio.lowlevel.Task | None = None
        self.ends: Core | WorkerlessAttempt = owner.core
        # The attempts run in one scope after another; it is replaced when it has fired.
        self._scope = trio.CancelScope()
        self._interrupted = False
        # The task while it waits for a job or for something else to change.
        self._waiting: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        """Let it look again, if it waits."""
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def interrupt(self) -> None:
        """Cancel the attempt under way."""
        self._interrupted = True
        self._scope.cancel()

    async def wait(self) -> None:
        """Wait until something wakes it."""
        self._waiting = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _is_over(self, stopping: bool) -> bool:
        """Whether there is nothing more to do for it, nor will be; ``stopping`` if the worker is to leave or reopen."""
        is_on_duty = self._owner.shift is self
        if self._is_own:  # the lifespan is not left while a job has lent the worker
            return is_on_duty and stopping and not self._owner.worker._loans
        return stopping or not is_on_duty

    @trio.lowlevel.enable_ki_protection
    async def stand_in(self) -> None:  # noqa: ASYNC910  # the body of a task
        """Serve while the worker is lent."""
        try:
            await self.serve()
        except trio.Cancelled:
            # By the lifespan, which is around this: nobody else does. What goes wrong there
            # will come out, but not here.
            self._owner.strand()
            raise

    async def serve(self) -> None:
        """Run one attempt after another until told to leave or to reopen."""
        owner, stands_in = self._owner, not self._is_own
        worker = owner.worker
        core, host = owner.core, owner.host
        commands, deadlines, timers = host.commands, core.deadlines, host.timers
        clock, task = trio.lowlevel.current_clock(), trio.lowlevel.current_task()
        self.task = task
        has_lifespan = owner.lifespan is not None
        job: JobRecord | None = None
        while True:
            raised: BaseException | None = None
            settled = True
            try:
                # One scope serves for all attempts until it fires: setting one up costs
                # more than a checkpoint. Its deadline is left alone after an attempt, as
                # the next is likely to set it anyway; if it passes meanwhile, while
                # waiting for a job even, all there is to it is a new scope.
                with trio.CancelScope() as scope:
                    self._scope = scope
                    self._interrupted = fired = False
                    armed = math.inf
                    while not fired:
                        if stands_in and owner.shift is self and owner.is_own_shift_free():
                            owner.hand_over(job)
                            return
                        if job is None:
                            # Something may have handed it a job since it asked.
                            if owner.inbox is None or owner.shift is not self:
                                stopping = worker._departing or worker._phase is Phase.REOPENING
                                if (stopping or stands_in) and self._is_over(stopping):
                                    return
                                self._waiting = task
                                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
                                continue
                            job, owner.inbox = owner.inbox, None
                        if worker._cut is not None:  # cancelled before it began
                            fired = True
                            error = JobCancelledError(job)
                            job = core.cut_short(worker, error, trio.current_time(), begun=False)
                            host.carry_out()
                            continue
                        deadline = worker._attempt_deadline
                        if deadline != armed:
                            # It may have fired since, if the time for that has passed.
                            if clock.current_time() >= armed and scope.cancel_called:
                                break
                            scope.deadline = armed = deadline
                        if has_lifespan and trio.current_effective_deadline() == -math.inf and not scope.cancel_called:
                            # The lifespan is ending: the job has not begun, and is not to.
                            owner.inbox = job
                            await trio.lowlevel.checkpoint_if_cancelled()
                        settled = False
                        if worker._draws:
                            begun(worker, clock.current_time())
                        value = await run_job(job, owner.leading + job._args)
                        if worker._loans:  # it may have left it open
                            await owner.take_back(job)
                        now = clock.current_time()
                        if type(value) is not Failure:
                            job = self.ends.succeeded(worker, value, now)
                            settled = True
                            # The next job may have to wait for a limit, which is no effect.
                            if commands or deadlines.soonest < timers.until:
                                host.carry_out()
                        elif is_a(value.error, Exception):
                            job = self._fail(job, value.error, now, is_final=value.is_bad_call)
                            settled = True
                            host.carry_out()
                        else:
                            raised = value.error
                        value = None  # an idle worker keeps nothing alive
                        # Only now, since who decides about a failure may have cancelled the job.
                        fired = now >= deadline or self._interrupted or raised is not None
            except BaseException as error:
                if settled:
                    raise
                raised = error  # a Ctrl-C that has struck just where the function had ended
            if raised is not None:
                assert job is not None
                job = await self._settle(job, raised)

    async def _settle(self, job: JobRecord, raised: BaseException) -> JobRecord | None:
        """The attempt was ended by a cancellation, or by what is not an `Exception`.

        Only a cancellation that a scope around the attempt has asked for is one: the attempt's own,
        for a timeout or since somebody cancels it, or one of the lifespan. It goes where it belongs;
        what else the function has raised in that moment is its error.
        """
        owner, now = self._owner, trio.current_time()
        worker = owner.worker
        ends = self.ends
        is_own = self._scope.cancel_called
        is_around = trio.current_effective_deadline() == -math.inf
        is_lifespan_over = is_around and not owner.session.cancel_called
        is_stray = False
        rest = without_cancellations(raised)
        if not (is_own or is_around):
            rest = as_error(raised, "the job's function")
            is_stray = rest is not raised
        if is_lifespan_over:
            owner.take_out_of_use()
        if rest is not None and not is_a(rest, Exception):
            owner.host.crash(rest)
            following = ends.cut_short(worker, JobCancelledError(job), now)
        elif rest is not None:
            following = self._fail(job, rest, now, is_final=is_stray)
        elif is_lifespan_over and not is_own:
            following = None
            owner.fail_with_lifespan(job)
        elif owner.cut_of(job) is None and now >= job._deadline:
            timeout = JobTimeoutError(f"the job took longer than {job._options.total_timeout:g} s")
            following = ends.timed_out(worker, timeout, now)
        elif job._cancelled or owner.cut_of(job) is not None:
            following = ends.cut_short(worker, JobCancelledError(job), now)
        else:
            limit = job._options.attempt_timeout
            late = AttemptTimeoutError(f"the attempt took longer than {limit:g} s")
            following = owner.judge(job, late, now)
        owner.host.carry_out()
        if is_lifespan_over:  # so there is none that follows
            await trio.lowlevel.checkpoint_if_cancelled()
        return following  # noqa: ASYNC910  # it is one where it has to be

    def _fail(self, job: JobRecord, error: Exception, now: float, *, is_final: bool = False) -> JobRecord | None:
        """The attempt has ended with an error of the function's own; ``is_final`` if trying again is no use."""
        tidy(error)
        if is_final:
            verdict = Verdict(Die(DeadReason.NOT_RETRYABLE, str(error), error))
            return self.ends.failed(self._owner.worker, error, verdict, now)
        return self._owner.judge(job, error, now)
