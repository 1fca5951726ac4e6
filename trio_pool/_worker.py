"""Shell: one worker loop per resource, its scopes and its lifespan."""

from __future__ import annotations

import enum
import logging
import sys
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import trio

from . import _validate
from ._apart import Apart
from ._error_rule import as_error, without_cancellations
from ._error_words import in_words
from ._errors import JobCancelledError
from ._reporting import report
from ._retry import ResourceBroken, RetryPolicy
from ._seat import Phase, Seat
from ._shift import Shift
from ._shown import one_line, shown
from ._words import doings

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._effects import Effects
    from ._job import Job
    from ._loans import Loan
    from ._roster import Roster
    from ._scheduler import Scheduler
    from ._statistics import WorkerStatistics
    from ._timers import Timers
    from ._verdict import Verdict
    from ._wait import Wait

# How long to wait before a broken resource is opened once more.
_REOPENING = RetryPolicy.endless()


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
    def judge(self, worker: Worker, job: Job[Any], error: Exception) -> Verdict | None: ...
    def crash(self, error: BaseException) -> None: ...
    def carry_out(self) -> None: ...
    def start_in(self, nursery: trio.Nursery, task: Callable[[], Awaitable[None]], name: str) -> None: ...
    def blame(self, worker: Worker, error: Exception) -> None: ...
    @property
    def hurries(self) -> bool: ...
    def current_time(self) -> float: ...
    def worker_statistics(self, worker: Worker) -> WorkerStatistics: ...
    def pause_worker(self, worker: Worker) -> None: ...
    def resume_worker(self, worker: Worker) -> None: ...
    def rest_worker(self, worker: Worker, seconds: float) -> None: ...
    async def remove_worker(self, worker: Worker, *, cancel: bool) -> None: ...


class Worker(Seat):
    """The loop that serves one resource, one attempt at a time.

    Made by the pool only: by `open_pool` and by ``pool.add``.
    """

    __slots__ = (
        "__weakref__",
        "_broken",
        "_core",
        "_doomed",
        "_failure",
        "_farewell",
        "_host",
        "_inbox",
        "_insists",
        "_leading",
        "_lent",
        "_lifespan",
        "_opened",
        "_own_shift",
        "_removers",
        "_resource",
        "_session",
        "_shift",
        "_stage",
        "_stand_ins",
        "_stopped",
    )

    def __init__(
        self,
        roster: Roster,
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
        self._resource = resource
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
        # What its attempts fail with since the lifespan is ending by itself.
        self._broken: ResourceBroken | None = None
        # The job whose function that has ended: its attempt fails once it is known why the lifespan did.
        self._doomed: Job[Any] | None = None
        # What serves it: the shift of its own task, and the one that is on duty.
        self._own_shift = self._shift = Shift(self, is_own=True)
        # The job that it was handed and that the shift on duty has not taken up. A memory
        # channel would do, if it cost nothing.
        self._inbox: Job[Any] | None = None
        # Of each job that lends it, the shift that runs it, and what tells that it has it back.
        self._lent: dict[Job[Any], tuple[Shift, trio.Event]] = {}
        # Where others stand in, inside the lifespan.
        self._stand_ins: trio.Nursery | None = None
        self._opened = trio.Event()
        self._stopped = trio.Event()
        # Why it could not be opened.
        self._failure: BaseException | None = None
        # How many calls of remove() wait for its end, and what leaving raised for them.
        self._removers = 0
        self._farewell: Exception | None = None

    @property
    def resource(self) -> Any:
        """The resource as it was given, before its lifespan was entered.

        In an elastic pool what was opened last, None before that.
        """
        return self._resource

    @property
    def jobs(self) -> tuple[Job[Any], ...]:
        """The jobs that it runs now, in the order of their start; one that has lent it is not among them."""
        job = self._current
        return () if job is None else (job,)

    @property
    def job(self) -> Job[Any] | None:
        """The first of `jobs`, or None."""
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
          cancel: cancel the attempt under way, and queue its job again in front of
              those of its priority, instead of letting it finish.

        Raises:
          RuntimeError: if called by a job that runs on this worker.
          Exception: whatever leaving the lifespan raises.
        """
        await self._host.remove_worker(self, cancel=cancel)

    def __repr__(self) -> str:
        return f"<trio_pool.Worker {self.id} {one_line(self.name)}, {doings(self, self._host.current_time())}>"

    # The rest is for the pool.

    def _deliver(self, job: Job[Any]) -> None:
        """Hand over a job to the worker, which has none."""
        self._inbox = job
        self._shift.wake()

    def _interrupt(self, job: Job[Any]) -> None:
        """Cancel the attempt of a job that runs on it or has lent it."""
        if job is self._doomed:
            self._doomed = None
            self._core.cut_short(self, JobCancelledError(job), trio.current_time())
        else:
            self._shift_of(job).interrupt()

    def _recall(self) -> None:
        """Make the worker leave, which waits for a job or opens its resource."""
        if self._stage is Stage.OPENING:
            self._session.cancel()
        self._shift.wake()

    def _shift_of(self, job: Job[Any]) -> Shift:
        """What runs a job that runs on it or has lent it."""
        return self._lent[job][0] if job in self._lent else self._shift

    # Its jobs may lend it.

    def _lend(self, job: Job[Any]) -> None:
        """Let others have the worker, which runs this job; somebody stands in for its task."""
        self._lent[job] = (self._shift, trio.Event())
        following = self._core.lend(self, trio.current_time())
        if self._is_own_shift_free():
            self._shift = self._own_shift
            self._shift.wake()
        else:
            self._shift = Shift(self, is_own=False)
            assert self._stand_ins is not None
            self._host.start_in(self._stand_ins, self._shift.stand_in, f"<{one_line(self.name)}, standing in>")
        if following is not None:
            self._deliver(following)
        self._host.carry_out()

    async def _take_back(self, job: Job[Any]) -> Wait | None:
        """Wait until a job that has lent the worker has it back. Can't be cancelled.

        Returns:
          the wait, if it would have been for ever and the job goes on without the worker.
        """
        loan = self._loans.get(job)
        if loan is None or loan.is_forfeited:
            return None  # noqa: ASYNC910
        _, returned = self._lent[job]
        self._core.claim(self, job, trio.current_time(), trio.lowlevel.current_task())
        if loan.wait is not None:
            loan.wait.wake = partial(self._forfeit, loan)
        self._host.carry_out()
        with trio.CancelScope(shield=True):
            await returned.wait()
        return loan.wait if job in self._loans else None

    def _forfeit(self, loan: Loan) -> None:
        """A job that wants the worker back will never have it: it goes on without it."""
        self._core.forfeit(loan)
        shift, returned = self._lent[loan.job]
        shift.ends = Apart(self._core, loan, partial(self._end_apart, loan.job))
        returned.set()

    def _end_apart(self, job: Job[Any]) -> None:
        """The attempt of such a job is over."""
        shift, _ = self._lent.pop(job)
        shift.ends = self._core

    def _regain(self, job: Job[Any]) -> None:
        """A job has got the worker back."""
        off_duty = self._shift
        self._shift, returned = self._lent.pop(job)
        returned.set()
        off_duty.wake()

    def _is_own_shift_free(self) -> bool:
        """Whether its own task is neither on duty nor in a job's function."""
        own = self._own_shift
        return self._shift is not own and all(shift is not own for shift, _ in self._lent.values())

    def _hand_over(self, job: Job[Any] | None) -> None:
        """Who stood in is no longer needed: its own task goes on, with this job if there is one."""
        self._shift = self._own_shift
        if job is not None:
            self._inbox = job
        self._shift.wake()

    def _strand(self) -> None:
        """A task that serves it is being cancelled by the lifespan, which may take its time to end."""
        if not self._session.cancel_called:
            self._take_out_of_use()
        self._give_up_unbegun()
        self._host.carry_out()

    def _hurry(self) -> None:
        """Everything is to end: if it is entering its lifespan, or leaving it, it has to leave at once."""
        if self._stage is not Stage.SERVING or self._broken is not None:
            self._core.depart(self, trio.current_time())
            self._host.carry_out()
            self._abandon()

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
                    words = "%s can't be opened, and is tried again"
                    report(words, one_line(self.name), error=error, level=logging.WARNING)
                self._break_down(error)
                await self._back_off(failed, ResourceBroken() if error is None else error)
            else:
                failed = 0
                if error is not None:
                    self._host.blame(self, error)

    async def _serve_once(self) -> BaseException | None:
        """One session, from entering the lifespan to leaving it; returns what it raised."""
        self._stage = Stage.OPENING
        giver = "factory" if self._elastic else "lifespan"
        raised: BaseException | None = None
        with trio.CancelScope() as self._session:
            try:
                if self._lifespan is None:
                    await self._serve()
                else:
                    manager = _checked(self._lifespan(self._resource), giver)
                    async with manager as value:
                        self._leading = (value,)
                        if self._elastic:
                            self._resource = value
                        await self._serve()
            except BaseException as error:
                raised = error
        if raised is None:
            return None  # noqa: ASYNC910  # a lifespan may end without waiting
        if self._session.cancel_called:
            return without_cancellations(raised)  # noqa: ASYNC910
        return as_error(raised, f"the {giver} of {self.name}")  # noqa: ASYNC910

    async def _serve(self) -> None:
        """Run one attempt after another until told to leave or to reopen."""
        self._stage = Stage.SERVING
        self._broken = None
        self._shift = self._own_shift  # who stood in may have been the last, if the lifespan broke
        self._core.opened(self, trio.current_time())
        self._opened.set()
        self._host.carry_out()
        try:
            async with trio.open_nursery() as self._stand_ins:
                try:
                    await self._own_shift.serve()
                except trio.Cancelled:
                    self._strand()
                    raise
        except BaseExceptionGroup as group:
            # Cancellations, as a rule: how jobs fail is seen to where they run.
            raise min(group.exceptions, key=lambda error: isinstance(error, trio.Cancelled)) from None
        self._stage = Stage.LEAVING
        if self._host.hurries:
            self._session.cancel()

    async def _back_off(self, failed: int, error: Exception) -> None:  # noqa: ASYNC910  # nor if it leaves
        if not self._departing:
            delay = self._host.reopening_delay(_REOPENING, failed, error)
            with trio.move_on_after(delay):
                await self._shift.wait()  # only a recall can come now

    def _break_down(self, error: Exception | None) -> None:
        """The resource can't be used, and not because a job has said so."""
        now = trio.current_time()
        if self._stage is not Stage.OPENING:
            broken = self._take_out_of_use()
            if error is not None:  # its attempts have failed with that already: now it is known why
                broken.reason = f"the lifespan of {one_line(self.name)} broke: {in_words(error)}"
                broken.args = (broken.reason,)
                broken.__cause__ = error
            if self._doomed is not None:
                job, self._doomed = self._doomed, None
                self._judge(job, broken, now)
        elif error is not None:
            self._core.reopen(self, error, now)
        self._host.carry_out()

    def _give_up_unbegun(self) -> None:
        """A job that it has been handed and that has not begun is for others."""
        if self._inbox is not None:
            job, self._inbox = self._inbox, None
            self._core.cut_short(self, JobCancelledError(job), trio.current_time(), begun=False)

    def _fail_with_lifespan(self, job: Job[Any]) -> None:
        """The lifespan is ending, and with it a job's function has: its attempt fails."""
        broken = self._take_out_of_use()
        if self._loans:  # the lifespan does not end before those have had the worker back
            self._judge(job, broken, trio.current_time())
        else:
            self._doomed = job

    def _take_out_of_use(self) -> ResourceBroken:
        """Its lifespan is ending: it is given no more jobs. Returns what the attempts on it fail with."""
        if self._broken is None:
            self._broken = ResourceBroken(f"the lifespan of {one_line(self.name)} ended by itself")
        if self._phase is Phase.OPEN:  # or that has to be opened anew is known already
            self._core.reopen(self, self._broken, trio.current_time())
        return self._broken

    def _judge(self, job: Job[Any], error: Exception, now: float) -> Job[Any] | None:
        """The attempt has failed: let it be decided what comes of that."""
        verdict = self._host.judge(self, job, error)
        ends = self._shift_of(job).ends
        if verdict is None:
            return ends.cut_short(self, JobCancelledError(job), now)
        return ends.failed(self, error, verdict, now)


def _checked(manager: object, giver: str) -> AbstractAsyncContextManager[Any]:
    if isinstance(manager, AbstractAsyncContextManager):
        return cast("AbstractAsyncContextManager[Any]", manager)
    _validate.answer(giver, manager)
    raise TypeError(f"{giver} must return an async context manager, returned {shown(manager)}")
