"""The Trio task of a worker, with its scopes and its lifespan, and the loops inside."""

from __future__ import annotations

import contextlib
import enum
import math
import sys
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import trio

from .._basics.exceptions import CANCELLATIONS, as_error, without_cancellations
from .._basics.is_a import is_a
from .._basics.logs import report
from .._basics.text import one_line
from .._basics.tracebacks import clear_frames
from .._model.errors import JobCancelledError
from .._model.records import Run
from .._model.states import Hold
from .._policies import validate
from .._policies.retry import ResourceBroken
from .attempt_loop import AttemptLoop, Host
from .breakage import Breakage
from .checker import Checker
from .loans import Loans
from .reopening import Reopening

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from .._core.core import Core
    from .._core.retry_decision import Verdict
    from .._model.handles import Worker
    from .._policies.retry import RetryPolicy


class Stage(enum.Enum):
    """The progress of a session. If a session ends while serving, its lifespan has ended by itself."""

    OPENING = enum.auto()
    SERVING = enum.auto()
    LEAVING = enum.auto()


class PoolOfWorker(Host, Protocol):
    """The calls that a worker needs from its pool."""

    rng: Random
    reopening: RetryPolicy

    def judge(self, run: Run, error: Exception) -> Verdict | None: ...
    def start_in(self, nursery: trio.Nursery, task: Callable[[], Awaitable[None]], name: str) -> None: ...
    def tell_of_session(self, worker: Worker, step: str) -> None: ...
    def blame(self, worker: Worker, error: Exception) -> None: ...
    def note_opened(self, worker: Worker, failure: BaseException | None) -> None: ...
    def note_stopped(self, worker: Worker) -> None: ...
    @property
    def hurries(self) -> bool: ...


class WorkerTask:
    """The Trio half of a worker: the task of its lifespan, the loops inside, and the channel from which they receive.

    Arguments:
      worker: the worker.
      host: its pool.
      core: the pool's core.
      lifespan: opens the worker's resource, or None.
      leading: the arguments before a job's own: the resource, once it is open, or none.
      insists: whether to retry if the resource can't be opened the first time.

    Attributes:
      runs: the channel to the loops. For each run that is sent, a loop is free or has been started.
      free_loops: how many loops receive, or are about to, in addition to those needed for the runs in the channel.
      held: the runs that the callers of their jobs execute; until they are given back, the worker
          stays in its lifespan.
    """

    __slots__ = (
        "_insists",
        "_loops",
        "_opened_at",
        "_receiver",
        "_stage",
        "_vacated",
        "begun",
        "breakage",
        "checker",
        "core",
        "failure",
        "farewell",
        "free_loops",
        "gave_up",
        "held",
        "host",
        "is_recalled",
        "leading",
        "lifespan",
        "loans",
        "opened",
        "removers",
        "reopening",
        "runs",
        "served",
        "session",
        "stopped",
        "worker",
    )

    runs: trio.MemorySendChannel[Run]
    _receiver: trio.MemoryReceiveChannel[Run]

    def __init__(
        self,
        worker: Worker,
        host: PoolOfWorker,
        core: Core,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None,
        leading: tuple[Any, ...],
        *,
        insists: bool,
    ) -> None:
        self.worker = worker
        self.host = host
        self.core = core
        self.lifespan = lifespan
        self.leading = leading
        self._insists = insists

        # Covers the lifespan, including entering and leaving it, and the delay before it is
        # reentered.
        self.session = trio.CancelScope()
        self._stage = Stage.OPENING
        self._opened_at = 0.0
        self.reopening = Reopening(worker.name, host.reopening, host.rng, may_give_up=not worker._elastic)
        self.breakage = Breakage(worker, core, self.judge)
        self.loans = Loans(core, host, self.send)
        check = None if worker._limits is None else worker._limits.check
        self.checker = None if check is None else Checker(worker, check, core, host)
        # The loops, inside the lifespan: as many as have been needed at once, for the runs that have a
        # place and those that have lent theirs. A loop that becomes idle ends if there are already as
        # many idle loops as the worker has places.
        self._loops: trio.Nursery | None = None
        self.free_loops = 0
        self.held: dict[Run, None] = {}
        # Whether no more runs will come, because the worker is about to leave or reopen.
        self.is_recalled = False
        # Whether the task has begun; and, except during a session, whether that is over.
        self.begun = trio.Event()
        self.served = trio.Event()
        self.served.set()
        self.opened = trio.Event()
        self.stopped = trio.Event()
        # The error if the resource could not be opened the first time; and if it could not be opened again.
        self.failure: BaseException | None = None
        self.gave_up: Exception | None = None
        # How many calls of remove() wait for the worker's end, and the exception from leaving the
        # lifespan, which these calls raise.
        self.removers = 0
        self.farewell: Exception | None = None

    def send(self, run: Run) -> None:
        """Send a run to a loop, a new one if none is free; or to the caller of its job, if that executes it."""
        if run.job._options.is_lease:
            self.held[run] = None
            run.job._extras.executor.take(run)
            return
        if self.free_loops:
            self.free_loops -= 1
        else:
            self._start_loop()
        self.runs.send_nowait(run)

    def give_back(self, run: Run) -> None:
        """Get back a run that its caller has executed."""
        del self.held[run]
        if self.is_recalled and not self.held:
            self._vacated.set()

    def interrupt(self, run: Run) -> None:
        """Cancel a run."""
        if not self.breakage.cancel(run) and run.loop is not None:  # otherwise it is still in the channel
            run.loop.interrupt()

    def recall(self) -> None:
        """Stop sending runs, since the worker is about to leave or to reopen its resource."""
        if self._stage is not Stage.OPENING:
            self.is_recalled = True
            self.runs.close()
            if not self.held:
                self._vacated.set()
            if self.checker is not None:
                self.checker.cancel()
        elif self.worker._is_leaving:
            self.session.cancel()

    def start_check(self) -> None:
        """Start a health check. The worker is available, so it is not about to leave or to reopen."""
        assert self._stage is Stage.SERVING
        assert self.checker is not None
        assert self._loops is not None
        run = partial(self.checker.run, self.leading)
        self.host.start_in(self._loops, run, f"<{one_line(self.worker.name)}, checking>")

    def _start_loop(self) -> None:
        assert self._loops is not None
        loop = AttemptLoop(self, self._receiver)
        self.host.start_in(self._loops, loop.serve, f"<{one_line(self.worker.name)}, serving>")

    def give_up(self, run: Run) -> Run | None:
        """Release a run that has not begun, for other workers; return the next run."""
        return self.core.cut_short(run, JobCancelledError(run.job), trio.current_time(), begun=False)

    def strand(self, run: Run | None = None) -> None:
        """Release the runs that have not begun, since the lifespan has cancelled a loop and may take time to end.

        Arguments:
          run: the run that the loop has received and not begun, if any.
        """
        if not self.session.cancel_called:
            self.breakage.take_out_of_use()
        if run is not None:
            self.give_up(run)
        with contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                self.give_up(self._receiver.receive_nowait())
        self.host.carry_out()

    def hurry(self) -> None:
        """Make the worker leave at once if it is entering or leaving its lifespan, since everything is ending."""
        if self._stage is not Stage.SERVING or self.breakage.has_begun:
            self.core.depart(self.worker, trio.current_time())
            self.host.carry_out()
            self.abandon()

    def abandon(self) -> None:
        """Cancel the worker's session, even while it leaves the lifespan."""
        self.session.cancel()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run the worker's Trio task. It is shielded, since the pool itself ends its workers."""
        self.begun.set()
        with trio.CancelScope(shield=True):
            await self._live()
        self.core.left(self.worker, trio.current_time(), self.gave_up)
        self.opened.set()
        self.stopped.set()
        self.host.note_opened(self.worker, self.failure)
        self.host.note_stopped(self.worker)
        self.host.carry_out()

    async def _live(self) -> None:  # noqa: ASYNC910  # the worker may have to leave before it begins
        """Enter the lifespan, serve and leave it, repeatedly, until the worker has to leave."""
        while not self.worker._is_leaving:
            error = await self._serve_once()
            if Hold.STARTING in self.worker._holds and not self._insists:
                self.failure = error
                return
            if error is not None and not is_a(error, Exception):
                self._break_down(None)
                self.host.crash(error)
                return
            if self._stage is Stage.OPENING and error is None:
                return  # recalled
            if self._stage is not Stage.LEAVING:
                last = self._next_try(error)
                if last is not None and self._gives_up(error, last):
                    return
                self._break_down(error)
                await self._back_off()
            else:
                self.reopening.left()
                if error is not None:
                    self.host.blame(self.worker, error)

    def _next_try(self, error: Exception | None) -> BaseException | None:
        """Plan the next try after a session has failed; return the error if there is none, otherwise None."""
        if self._stage is Stage.OPENING:
            assert error is not None
            return self.reopening.failed(error)
        lasted = trio.current_time() - self._opened_at
        return self.reopening.broke(ResourceBroken() if error is None else error, lasted)

    def _gives_up(self, error: Exception | None, last: BaseException) -> bool:
        """Leave the pool, since the resource is not opened again because of the ``last`` error."""
        if self._stage is not Stage.OPENING:
            self._break_down(error)
        if not is_a(last, Exception):
            self.host.crash(last)
            return True
        if self.worker._is_leaving:
            return False
        self.gave_up = last
        report("%s can't be reopened, and leaves the pool", one_line(self.worker.name), error=last)
        clear_frames(last, strangers=CANCELLATIONS)
        return True

    async def _serve_once(self) -> BaseException | None:
        """Run one session, from entering the lifespan to leaving it; return the exception it raised."""
        self._stage = Stage.OPENING
        giver = "factory" if self.worker._elastic else "lifespan"
        raised: BaseException | None = None
        with trio.CancelScope() as self.session:
            try:
                if self.lifespan is None:
                    await self._serve()
                else:
                    self.host.tell_of_session(self.worker, "entering")
                    manager = validate.context_manager(giver, self.lifespan(self.worker._resource))
                    async with manager as value:
                        self.leading = (value,)
                        if self.worker._elastic:
                            self.worker._resource = value
                        await self._serve()
            except BaseException as error:
                raised = error
        if self.lifespan is not None:
            self.host.tell_of_session(self.worker, "left")
        if raised is None:
            return None  # noqa: ASYNC910  # a lifespan may end without waiting
        if self.session.cancel_called:
            return without_cancellations(raised)  # noqa: ASYNC910
        return as_error(raised, f"the {giver} of {self.worker.name}")  # noqa: ASYNC910

    async def _serve(self) -> None:
        """Serve runs in the loops until the worker has to leave or reopen."""
        self._stage = Stage.SERVING
        self.served = trio.Event()
        self._opened_at = trio.current_time()
        self.breakage.opened()
        self.is_recalled = False
        # Set when no more runs will come and callers have given back the runs that they execute.
        self._vacated = trio.Event()
        # The channel has no bound: it holds only runs that have a place, and the number of places may change.
        self.runs, self._receiver = trio.open_memory_channel[Run](math.inf)
        with self.runs, self._receiver:
            self.core.opened(self.worker, trio.current_time())
            self.opened.set()
            self.host.note_opened(self.worker, None)
            if self.worker._is_leaving:
                self.recall()
            try:
                async with trio.open_nursery() as self._loops:
                    self._start_loop()
                    self.free_loops = 1
                    self.host.carry_out()
                    await self._wait_until_vacated()
            except BaseExceptionGroup as group:
                # Usually cancellations, since the loops handle the failures of jobs.
                raise min(group.exceptions, key=lambda error: is_a(error, trio.Cancelled)) from None
            finally:
                self.served.set()
            self._stage = Stage.LEAVING
        self.host.tell_of_session(self.worker, "leaving")
        if self.host.hurries:
            self.session.cancel()

    async def _wait_until_vacated(self) -> None:
        """Wait until no more runs will come and callers execute none.

        If the lifespan ends by itself meanwhile, this detects it, whatever the loops are doing.
        """
        try:
            await self._vacated.wait()
        except BaseException:  # a cancellation by the lifespan or, while that is being left, by the pool
            self.strand()
            for run in tuple(self.held):
                run.loop.lose()
            with trio.CancelScope(shield=True):
                await self._vacated.wait()
            raise

    async def _back_off(self) -> None:  # noqa: ASYNC910  # no wait if the worker leaves
        if not self.worker._is_leaving:
            self._stage = Stage.OPENING  # so that recall() cancels the session, which is the pause
            with trio.CancelScope() as self.session:
                await self.reopening.wait()

    def _break_down(self, error: Exception | None) -> None:
        """Take the resource out of use for a reason other than a job's ResourceBroken."""
        if self._stage is not Stage.OPENING:
            self.breakage.ended(error)
        elif error is not None:
            self.core.reopen(self.worker, error, trio.current_time())
        self.host.carry_out()

    def judge(self, run: Run, error: Exception, now: float) -> Run | None:
        """Decide about the job of a failed attempt; return the next run."""
        verdict = self.host.judge(run, error)
        if verdict is None:
            return self.core.cut_short(run, JobCancelledError(run.job), now)
        return self.core.failed(run, error, verdict, now)
