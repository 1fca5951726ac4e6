"""Shell: one worker loop per resource, its scopes and its lifespan."""

from __future__ import annotations

import enum
import logging
import math
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, cast

import trio

from ._driver import Failure, NotAsyncError, enclosing_jobs, hide_loop_from_tracebacks, run_job, tidy
from ._errors import AttemptTimeoutError, JobCancelledError, JobTimeoutError
from ._job import DeadReason
from ._retry import ResourceBroken, RetryPolicy
from ._seat import Phase, Seat
from ._tracebacks import in_words
from ._verdict import Die, Verdict
from ._words import doings, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._effects import Effects
    from ._job import Job
    from ._scheduler import Scheduler
    from ._statistics import WorkerStatistics
    from ._timers import Timers

logger = logging.getLogger("trio_pool")

# How long to wait before a broken resource is opened once more.
_REOPENING = RetryPolicy(max_attempts=None, base_delay=0.1, max_delay=30.0, jitter="equal")


class Stage(enum.Enum):
    """How far a session has got. One that ends while serving was ended by its lifespan."""

    OPENING = enum.auto()
    SERVING = enum.auto()
    LEAVING = enum.auto()


class WorkerHost(Protocol):
    """What a worker asks of its pool."""

    effects: Effects
    timers: Timers

    def reopening_delay(self, policy: RetryPolicy, failed: int, error: Exception) -> float: ...
    def judge(self, job: Job[Any], error: Exception) -> Verdict | None: ...
    def crash(self, error: BaseException) -> None: ...
    def carry_out(self) -> None: ...
    def blame(self, worker: Worker, error: Exception) -> None: ...
    def worker_statistics(self, worker: Worker) -> WorkerStatistics: ...
    def pause_worker(self, worker: Worker) -> None: ...
    def resume_worker(self, worker: Worker) -> None: ...
    def rest_worker(self, worker: Worker, seconds: float) -> None: ...
    async def remove_worker(self, worker: Worker, *, cancel: bool) -> None: ...


class Worker(Seat):
    """The loop that serves one resource, one attempt at a time.

    Made by the pool only: by `open_pool` and by ``pool.add``.

    Attributes:
      id: a number of its own within the pool, counted from 1.
      name: the name given by `Resource`, or one made from the number.
      resource: the resource as it was given, before its lifespan was entered; in an elastic pool
          what was opened last, None before that.
      tags: what jobs may require.
    """

    __slots__ = (
        "__weakref__",
        "_core",
        "_failure",
        "_farewell",
        "_host",
        "_inbox",
        "_insists",
        "_interrupted",
        "_leading",
        "_lifespan",
        "_opened",
        "_removers",
        "_scope",
        "_session",
        "_stage",
        "_stopped",
        "_waiting",
        "resource",
    )

    def __init__(
        self,
        roster: object,
        number: int,
        name: str,
        tags: frozenset[str],
        resource: Any,
        host: WorkerHost,
        core: Scheduler,
        lifespan: Callable[[Any], AbstractAsyncContextManager[Any]] | None,
        leading: tuple[Any, ...],
        *,
        insists: bool,
    ) -> None:
        super().__init__(roster, number, name, tags)
        self.resource: Any = resource
        self._host = host
        self._core = core
        self._lifespan = lifespan
        # What goes before a job's own arguments: the resource, once it is open, or nothing.
        self._leading = leading
        # Whether it goes on trying if its resource can't be opened at the beginning.
        self._insists = insists

        # From before the lifespan is entered until after it is left; replaced each time.
        self._session = trio.CancelScope()
        self._stage = Stage.OPENING
        # The attempts run in one scope after another; it is replaced when it has fired.
        self._scope = trio.CancelScope()
        self._interrupted = False
        # The job that it was handed and has not taken up; and the task while it waits for one
        # or for something else to change. A memory channel would do, if it cost nothing.
        self._inbox: Job[Any] | None = None
        self._waiting: trio.lowlevel.Task | None = None
        self._opened = trio.Event()
        self._stopped = trio.Event()
        # Why it could not be opened.
        self._failure: BaseException | None = None
        # How many calls of remove() wait for its end, and what leaving raised for them.
        self._removers = 0
        self._farewell: Exception | None = None

    @property
    def job(self) -> Job[Any] | None:
        """The job that it runs, or None."""
        return self._current

    def statistics(self) -> WorkerStatistics:
        """What the worker has done so far."""
        return self._host.worker_statistics(self)

    def pause(self) -> None:
        """Take no more jobs until `resume`; the attempt under way finishes."""
        self._host.pause_worker(self)

    def resume(self) -> None:
        """Undo `pause`. Neither a rest nor a quarantine is ended by it."""
        self._host.resume_worker(self)

    def rest(self, seconds: float) -> None:
        """Take no more jobs for a while; the attempt under way finishes.

        Of two rests the later end holds.

        Arguments:
          seconds: how long, from now on; finite, zero or more.
        """
        self._host.rest_worker(self, seconds)

    async def remove(self, *, cancel: bool = False) -> None:
        """Take the worker out of the pool, and wait until it has left its lifespan.

        A checkpoint. If it is cancelled, the worker leaves all the same.

        Arguments:
          cancel: cancel the attempt under way, and queue its job again in front of the
              others, instead of letting it finish.

        Raises:
          RuntimeError: if called by a job that runs on this worker.
          Exception: whatever leaving the lifespan raises.
        """
        if any(job is self._current for job in enclosing_jobs()):
            raise RuntimeError(f"{self.name} can't be removed by the job that runs on it")
        await self._host.remove_worker(self, cancel=cancel)

    def __repr__(self) -> str:
        try:
            now = trio.current_time()
        except RuntimeError:  # there is no clock outside of Trio
            now = None
        return f"<trio_pool.Worker {self.id} {one_line(self.name)}, {doings(self, now)}>"

    # The rest is for the pool.

    def _deliver(self, job: Job[Any]) -> None:
        """Hand over a job to the worker, which has none."""
        self._inbox = job
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def _interrupt(self) -> None:
        """Cancel the attempt under way."""
        self._interrupted = True
        self._scope.cancel()

    def _recall(self) -> None:
        """Make the worker leave, which waits for a job or opens its resource."""
        if self._stage is Stage.OPENING:
            self._session.cancel()
        if self._waiting is not None:
            trio.lowlevel.reschedule(self._waiting)
            self._waiting = None

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._waiting = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _abandon(self) -> None:
        """Cancel whatever it is at, even leaving its lifespan."""
        self._session.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """The worker's Trio task. It is shielded, since the pool ends its workers itself."""
        with trio.CancelScope(shield=True):
            await self._live()
        self._core.left(self, trio.current_time())
        self._opened.set()
        self._stopped.set()
        self._host.carry_out()

    async def _live(self) -> None:  # noqa: ASYNC910  # it may be told to leave before it begins
        """Enter the lifespan, serve and leave it, again and again until told to leave."""
        failed = 0
        while not self._departing:
            error = await self._serve_once()
            if self._phase is Phase.STARTING and not self._insists:
                self._failure = error
                return
            if error is not None and not isinstance(error, Exception):
                self._break_down(None)
                self._host.crash(error)
                return
            if self._stage is Stage.OPENING and error is None:
                return  # recalled
            if self._stage is not Stage.LEAVING:
                failed += 1
                if failed == 1 and self._phase is Phase.STARTING:  # nobody else waits for it
                    logger.warning("%s can't be opened, and is tried again", self.name, exc_info=error)
                self._break_down(error)
                await self._back_off(failed, error or ResourceBroken())
            else:
                failed = 0
                if error is not None:
                    self._host.blame(self, error)

    async def _serve_once(self) -> BaseException | None:
        """One session, from entering the lifespan to leaving it; returns what it raised."""
        self._stage = Stage.OPENING
        try:
            with trio.CancelScope() as self._session:
                if self._lifespan is None:
                    await self._serve()
                else:
                    manager = _checked(self._lifespan(self.resource), "factory" if self._elastic else "lifespan")
                    async with manager as value:
                        self._leading = (value,)
                        if self._elastic:
                            self.resource = value
                        await self._serve()
        except BaseException as error:
            return error  # noqa: ASYNC910  # a lifespan may fail without waiting
        return None

    async def _back_off(self, failed: int, error: Exception) -> None:  # noqa: ASYNC910  # nor if it leaves
        if not self._departing:
            delay = self._host.reopening_delay(_REOPENING, failed, error)
            with trio.move_on_after(delay):
                self._waiting = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # only a recall can come now

    def _break_down(self, error: Exception | None) -> None:
        """The resource can't be used, and not because a job has said so."""
        now = trio.current_time()
        if error is None:
            error = ResourceBroken(f"the lifespan of {self.name} ended by itself")
        job = self._current
        self._core.reopen(self, error, now)
        if job is not None:
            self._settle_stranded(job, error, now)
        self._host.carry_out()

    def _settle_stranded(self, job: Job[Any], error: Exception, now: float) -> None:
        begun, self._inbox = self._inbox is None, None
        if begun and self._cut is None and not job._cancelled:
            broken = ResourceBroken(f"the lifespan of {self.name} broke: {in_words(error)}")
            broken.__cause__ = error
            self._judge(job, broken, now)
        else:
            self._core.cut_short(self, JobCancelledError(job), now)

    async def _serve(self) -> None:
        """Run one attempt after another until told to leave or to reopen."""
        self._stage = Stage.SERVING
        core, host = self._core, self._host
        effects, deadlines, timers = host.effects, core.deadlines, host.timers
        clock, task = trio.lowlevel.current_clock(), trio.lowlevel.current_task()
        core.opened(self, trio.current_time())
        self._opened.set()
        host.carry_out()
        job: Job[Any] | None = None
        while True:
            settled = True
            interruption: BaseException | None = None
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
                        if job is None:
                            # Something may have handed it a job since it asked.
                            if self._inbox is None:
                                if self._departing or self._phase is Phase.REOPENING:
                                    self._stage = Stage.LEAVING
                                    return
                                self._waiting = task
                                await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
                                continue
                            job, self._inbox = self._inbox, None
                        if self._cut is not None:  # cancelled before it began
                            fired = True
                            error = JobCancelledError(job)
                            job = core.cut_short(self, error, trio.current_time())
                            host.carry_out()
                            continue
                        deadline = self._attempt_deadline
                        if deadline != armed:
                            # It may have fired since, if the time for that has passed.
                            if clock.current_time() >= armed and scope.cancel_called:
                                break
                            scope.deadline = armed = deadline
                        settled = False
                        value = await run_job(job, self._leading + job._args)
                        now = clock.current_time()
                        fired = now >= deadline or self._interrupted
                        if type(value) is Failure:
                            job = self._fail(job, value.error, now)
                            settled = True
                            host.carry_out()
                        else:
                            job = core.succeeded(self, value, now)
                            settled = True
                            # The next job may have to wait for a limit, which is no effect.
                            if effects or deadlines.soonest < timers.until:
                                host.carry_out()
            except BaseException as error:
                if settled:
                    raise
                interruption = error
            if not settled:
                assert job is not None
                job = self._settle(job, interruption)

    def _fail(self, job: Job[Any], error: Exception, now: float) -> Job[Any] | None:
        """The attempt has ended with an error of the function's own."""
        tidy(error)
        if isinstance(error, NotAsyncError):
            verdict = Verdict(Die(DeadReason.NOT_RETRYABLE, str(error), error))
            return self._core.failed(self, error, verdict, now)
        return self._judge(job, error, now)

    def _judge(self, job: Job[Any], error: Exception, now: float) -> Job[Any] | None:
        """The attempt has failed: let it be decided what comes of that."""
        verdict = self._host.judge(job, error)
        if verdict is None:
            return self._core.cut_short(self, JobCancelledError(job), now)
        return self._core.failed(self, error, verdict, now)

    def _settle(self, job: Job[Any], error: BaseException | None) -> Job[Any] | None:
        """The attempt was ended by its scope, or by what is not an `Exception`."""
        core, now = self._core, trio.current_time()
        if isinstance(error, Exception):
            following = self._fail(job, error, now)
        elif isinstance(error, trio.Cancelled):
            # None of the pool's: the lifespan, around this, must have cancelled it.
            raise error
        elif error is not None:
            self._host.crash(error)
            following = core.cut_short(self, JobCancelledError(job), now)
        elif self._cut is None and now >= job._deadline:
            timeout = JobTimeoutError(f"the job took longer than {job._options.total_timeout:g} s")
            following = core.timed_out(self, timeout, now)
        elif job._cancelled or self._cut is not None:
            following = core.cut_short(self, JobCancelledError(job), now)
        else:
            limit = job._options.attempt_timeout
            late = AttemptTimeoutError(f"the attempt took longer than {limit:g} s")
            following = self._judge(job, late, now)
        self._host.carry_out()
        return following


def _checked(manager: object, giver: str) -> AbstractAsyncContextManager[Any]:
    if isinstance(manager, AbstractAsyncContextManager):
        return cast("AbstractAsyncContextManager[Any]", manager)
    raise TypeError(f"{giver} must return an async context manager, returned {manager!r}")


hide_loop_from_tracebacks(Worker._serve.__code__)
