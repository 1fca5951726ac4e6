"""The tasks that serve a worker: one attempt after another, each in its scopes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, cast

import trio

from .._basics.exceptions import as_error, without_cancellations
from .._basics.is_a import is_a
from .._core.retry_decision import Die, Verdict
from .._model.errors import AttemptTimeoutError, JobCancelledError, JobTimeoutError
from .._model.states import DeadReason
from .job_runner import Failure, tidy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.commands import Commands
    from .._core.core import Core
    from .._model.records import Run
    from .breakage import Breakage
    from .clock import Clock
    from .loans import Loans


class Host(Protocol):
    """The calls that a worker's tasks need from their pool."""

    commands: Commands
    timers: Clock
    perform: Callable[[Run, tuple[Any, ...]], Awaitable[Any]]

    def crash(self, error: BaseException, /) -> None: ...
    def carry_out(self) -> None: ...


class Owner(Protocol):
    """The calls that a loop needs from its worker's Trio half."""

    core: Core
    worker: Any
    leading: tuple[Any, ...]
    session: trio.CancelScope
    free_loops: int
    is_recalled: bool
    breakage: Breakage
    loans: Loans

    @property
    def host(self) -> Host: ...
    @property
    def lifespan(self) -> object: ...
    def give_up(self, run: Run) -> Run | None: ...
    def strand(self, run: Run | None = None) -> None: ...
    def judge(self, run: Run, error: Exception, now: float) -> Run | None: ...


class AttemptLoop:
    """One of the tasks that serve a worker, inside its lifespan.

    The loop receives runs from the worker's channel, and gets each following run directly from the
    core. It ends when the channel is closed, or when the worker has more loops than needed.

    Arguments:
      owner: the Trio half of the worker.
      runs: the receiving end of the worker's channel, which its loops share.

    Attributes:
      task: the loop's Trio task, while it serves.
      returned: set once the job of the loop's run has got its lent place back, or never will.
    """

    __slots__ = ("_interrupted", "_owner", "_runs", "_scope", "returned", "task")

    def __init__(self, owner: Owner, runs: trio.MemoryReceiveChannel[Run]) -> None:
        self._owner = owner
        self._runs = runs
        self.task: trio.lowlevel.Task | None = None
        self.returned: trio.Event = trio.Event()
        # Attempts share a scope until it fires; then it is replaced.
        self._scope = trio.CancelScope()
        self._interrupted = False

    def has(self, nursery: trio.Nursery | None) -> bool:
        """Whether the task itself, or a nursery of it, is part of the attempt: always true for a loop."""
        return True

    def interrupt(self) -> None:
        """Cancel the running attempt."""
        self._interrupted = True
        self._scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def serve(self) -> None:
        """Run one attempt after another until there are no more runs. The body of a task."""
        owner, receive = self._owner, self._runs.receive
        core, host, worker = owner.core, owner.host, owner.worker
        commands, deadlines, timers = host.commands, core.deadlines, host.timers
        clock = trio.lowlevel.current_clock()
        self.task = trio.lowlevel.current_task()
        has_lifespan = owner.lifespan is not None
        run: Run | None = None
        is_counted = True  # counted as free, until the first run has been received
        while True:
            raised: BaseException | None = None
            settled = True
            try:
                # One scope serves all attempts until it fires, since a new scope costs more than a
                # checkpoint. After an attempt, its deadline stays in place, as the next attempt
                # usually sets it anyway. If the deadline passes in between, even while waiting for
                # a run, the only effect is a new scope.
                with trio.CancelScope() as scope:
                    self._scope = scope
                    self._interrupted = fired = False
                    armed = math.inf
                    while not fired:
                        if run is None:
                            if not is_counted:
                                if owner.free_loops >= worker._max_running:
                                    return  # enough others are free
                                owner.free_loops += 1
                                is_counted = True
                            try:
                                # After the last run no cancellation may come in between, so this
                                # must not wait.
                                run = self._runs.receive_nowait() if owner.is_recalled else await receive()
                            except trio.EndOfChannel:
                                return
                            is_counted = False
                        if run.cut is not None:  # cancelled before it began
                            run = owner.give_up(run)
                            host.carry_out()
                            continue
                        deadline = run.deadline
                        if deadline != armed:
                            # The scope may have fired since, if its deadline has passed.
                            if clock.current_time() >= armed and scope.cancel_called:
                                break
                            scope.deadline = armed = deadline
                        if has_lifespan and trio.current_effective_deadline() == -math.inf and not scope.cancel_called:
                            # The lifespan is ending: the attempt has not begun and must not begin.
                            owner.strand(run)
                            await trio.lowlevel.checkpoint_if_cancelled()  # which raises
                        run.loop = self
                        settled = False
                        value = await host.perform(run, owner.leading + run.job._args)
                        if run.is_lent:  # the block of lend() may still be open
                            await owner.loans.take_back(run)
                        now = clock.current_time()
                        if type(value) is not Failure:
                            run = core.succeeded(run, value, now)
                            settled = True
                            # The next job may have to wait for a limit, which has no other effect.
                            if commands or deadlines.soonest < timers.until:
                                host.carry_out()
                        elif issubclass(type(value.error), Exception):  # as `is_a` does
                            run = self._fail(run, cast("Exception", value.error), now, is_final=value.is_bad_call)
                            settled = True
                            host.carry_out()
                        else:
                            raised = value.error
                            fired = True
                        value = None  # so that an idle worker keeps nothing alive
                        # Checked last, since the decision about a failure may have cancelled the
                        # job.
                        if now >= deadline or self._interrupted:
                            fired = True
            except BaseException as error:
                if settled:  # a cancellation by the lifespan: nothing else encloses the loop
                    owner.strand()
                    raise
                raised = error  # a Ctrl-C that arrived right after the function had ended
            if raised is not None:
                assert run is not None
                run = await self._end(run, raised)

    async def _end(self, run: Run, raised: BaseException) -> Run | None:
        """End an attempt that was cancelled or raised something other than an `Exception`; return the next run.

        Only a cancellation by a scope around the attempt counts as one. Such a cancellation comes
        from the attempt's own scope, because of a timeout or a cancelled job, or from the lifespan.
        Everything else that the function has raised at that moment is its error.
        """
        owner, core, job, now = self._owner, self._owner.core, run.job, trio.current_time()
        is_own = self._scope.cancel_called
        is_around = trio.current_effective_deadline() == -math.inf
        is_lifespan_over = is_around and not owner.session.cancel_called
        is_stray = False
        rest = without_cancellations(raised)
        if not (is_own or is_around):
            rest = as_error(raised, "the job's function")
            is_stray = rest is not raised
        if is_lifespan_over:
            owner.breakage.take_out_of_use()
        if rest is not None and not is_a(rest, Exception):
            owner.host.crash(rest)
            following = core.cut_short(run, JobCancelledError(job), now)
        elif rest is not None:
            following = self._fail(run, rest, now, is_final=is_stray)
        elif is_lifespan_over and not is_own:
            following = None
            owner.breakage.fail(run)
        elif run.cut is None and now >= job._deadline:
            timeout = JobTimeoutError(f"the job took longer than {job._options.total_timeout:g} s")
            following = core.timed_out(run, timeout, now)
        elif run.is_cut:
            following = core.cut_short(run, JobCancelledError(job), now)
        else:
            limit = job._options.attempt_timeout
            late = AttemptTimeoutError(f"the attempt took longer than {limit:g} s")
            following = owner.judge(run, late, now)
        owner.host.carry_out()
        if is_lifespan_over:  # then no run follows
            owner.strand()
            await trio.lowlevel.checkpoint_if_cancelled()
        return following  # noqa: ASYNC910  # a checkpoint where it matters

    def _fail(self, run: Run, error: Exception, now: float, *, is_final: bool = False) -> Run | None:
        """End an attempt that failed with the function's own error; ``is_final`` if a retry would be pointless."""
        tidy(error)
        if is_final:
            verdict = Verdict(Die(DeadReason.NOT_RETRYABLE, str(error), error))
            return self._owner.core.failed(run, error, verdict, now)
        return self._owner.judge(run, error, now)
