"""One worker loop per resource, its scopes and its lifespan."""

from __future__ import annotations

import enum
import logging
import sys
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import trio

from .._basics.error_text import in_words
from .._basics.exceptions import as_error, without_cancellations
from .._basics.is_a import is_a
from .._basics.logs import report
from .._basics.text import one_line, shown
from .._model.errors import JobCancelledError
from .._model.states import Phase
from .._policies import validate
from .._policies.retry import ResourceBroken, RetryPolicy
from .attempt_loop import AttemptLoop, Host
from .workerless_attempt import WorkerlessAttempt

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.core import Core
    from .._core.retry_decision import Verdict
    from .._core.waits import Wait
    from .._model.handles import Job, Worker
    from .._model.records import JobRecord, Loan
    from .._model.states import Cut

# How long to wait before a broken resource is opened once more.
_REOPENING = RetryPolicy.endless()


class Stage(enum.Enum):
    """How far a session has got. One that ends while serving was ended by its lifespan."""

    OPENING = enum.auto()
    SERVING = enum.auto()
    LEAVING = enum.auto()


class PoolOfWorker(Host, Protocol):
    """What a worker asks of its pool."""

    def reopening_delay(self, policy: RetryPolicy, failed: int, error: Exception) -> float: ...
    def judge(self, worker: Worker, job: Job[Any], error: Exception) -> Verdict | None: ...
    def start_in(self, nursery: trio.Nursery, task: Callable[[], Awaitable[None]], name: str) -> None: ...
    def blame(self, worker: Worker, error: Exception) -> None: ...
    @property
    def hurries(self) -> bool: ...


class WorkerTask:
    """The Trio half of a worker: its tasks, its scopes, and what they hand to each other.

    Arguments:
      worker: the worker.
      host: its pool.
      core: what decides.
      lifespan: what opens the worker's resource, or None.
      leading: what goes before a job's own arguments: the resource, once it is open, or nothing.
      insists: whether it goes on trying if its resource can't be opened at the beginning.
    """

    __slots__ = (
        "_broken",
        "_doomed",
        "_insists",
        "_lent",
        "_own_shift",
        "_stage",
        "_stand_ins",
        "_untold",
        "core",
        "failure",
        "farewell",
        "host",
        "inbox",
        "leading",
        "lifespan",
        "opened",
        "removers",
        "session",
        "shift",
        "stopped",
        "worker",
    )

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

        # From before the lifespan is entered until after it is left; replaced each time.
        self.session = trio.CancelScope()
        self._stage = Stage.OPENING
        # What its attempts fail with since the lifespan is ending by itself.
        self._broken: ResourceBroken | None = None
        # Whether the instruments have yet to be told of that: once it is known why.
        self._untold = False
        # The job whose function that has ended: its attempt fails once it is known why the lifespan did.
        self._doomed: JobRecord | None = None
        # What serves it: the shift of its own task, and the one that is on duty.
        self._own_shift = self.shift = AttemptLoop(self, is_own=True)
        # The job that it was handed and that the shift on duty has not taken up. A memory
        # channel would do, if it cost nothing.
        self.inbox: JobRecord | None = None
        # Of each job that lends it, the shift that runs it, and what tells that it has it back.
        self._lent: dict[JobRecord, tuple[AttemptLoop, trio.Event]] = {}
        # Where others stand in, inside the lifespan.
        self._stand_ins: trio.Nursery | None = None
        self.opened = trio.Event()
        self.stopped = trio.Event()
        # Why it could not be opened.
        self.failure: BaseException | None = None
        # How many calls of remove() wait for its end, and what leaving raised for them.
        self.removers = 0
        self.farewell: Exception | None = None

    def deliver(self, job: JobRecord) -> None:
        """Hand over a job to the worker, which has none."""
        self.inbox = job
        self.shift.wake()

    def interrupt(self, job: JobRecord) -> None:
        """Cancel the attempt of a job that runs on it or has lent it."""
        if job is self._doomed:
            self._doomed = None
            self.core.cut_short(self.worker, JobCancelledError(job), trio.current_time())
        else:
            self.shift_of(job).interrupt()

    def recall(self) -> None:
        """Make the worker leave, which waits for a job or opens its resource."""
        if self._stage is Stage.OPENING:
            self.session.cancel()
        self.shift.wake()

    def shift_of(self, job: JobRecord) -> AttemptLoop:
        """What runs a job that runs on it or has lent it."""
        return self._lent[job][0] if job in self._lent else self.shift

    def cut_of(self, job: JobRecord) -> Cut | None:
        """Why the attempt of a job that runs on it or has lent it has been cut short, timeouts aside."""
        return self.worker._loans[job].cut if job in self.worker._loans else self.worker._cut

    # Its jobs may lend it.

    def lend(self, job: JobRecord) -> None:
        """Let others have the worker, which runs this job; somebody stands in for its task."""
        self._lent[job] = (self.shift, trio.Event())
        following = self.core.lend(self.worker, trio.current_time())
        if self.is_own_shift_free():
            self.shift = self._own_shift
            self.shift.wake()
        else:
            self.shift = AttemptLoop(self, is_own=False)
            assert self._stand_ins is not None
            self.host.start_in(self._stand_ins, self.shift.stand_in, f"<{one_line(self.worker.name)}, standing in>")
        if following is not None:
            self.deliver(following)
        self.host.carry_out()

    async def take_back(self, job: JobRecord) -> Wait | None:
        """Wait until a job that has lent the worker has it back. Can't be cancelled.

        Returns:
          the wait, if it would have been for ever and the job goes on without the worker.
        """
        loan = self.worker._loans.get(job)
        if loan is None or loan.is_forfeited:
            return None  # noqa: ASYNC910
        _, returned = self._lent[job]
        self.core.claim(self.worker, job, trio.current_time(), trio.lowlevel.current_task())
        if loan.wait is not None:
            loan.wait.wake = partial(self._forfeit, loan)
        self.host.carry_out()
        with trio.CancelScope(shield=True):
            await returned.wait()
        return loan.wait if job in self.worker._loans else None

    def _forfeit(self, loan: Loan) -> None:
        """A job that wants the worker back will never have it: it goes on without it."""
        self.core.forfeit(loan)
        shift, returned = self._lent[loan.job]
        shift.ends = WorkerlessAttempt(self.core, loan, partial(self._end_apart, loan.job))
        returned.set()

    def _end_apart(self, job: JobRecord) -> None:
        """The attempt of such a job is over."""
        shift, _ = self._lent.pop(job)
        shift.ends = self.core

    def regain(self, job: JobRecord) -> None:
        """A job has got the worker back."""
        off_duty = self.shift
        self.shift, returned = self._lent.pop(job)
        returned.set()
        off_duty.wake()

    def is_own_shift_free(self) -> bool:
        """Whether its own task is neither on duty nor in a job's function."""
        own = self._own_shift
        return self.shift is not own and all(shift is not own for shift, _ in self._lent.values())

    def hand_over(self, job: JobRecord | None) -> None:
        """Who stood in is no longer needed: its own task goes on, with this job if there is one."""
        self.shift = self._own_shift
        if job is not None:
            self.inbox = job
        self.shift.wake()

    def strand(self) -> None:
        """A task that serves it is being cancelled by the lifespan, which may take its time to end."""
        if not self.session.cancel_called:
            self.take_out_of_use()
        self._give_up_unbegun()
        self.host.carry_out()

    def hurry(self) -> None:
        """Everything is to end: if it is entering its lifespan, or leaving it, it has to leave at once."""
        if self._stage is not Stage.SERVING or self._broken is not None:
            self.core.depart(self.worker, trio.current_time())
            self.host.carry_out()
            self.abandon()

    def abandon(self) -> None:
        """Cancel whatever it is at, even leaving its lifespan."""
        self.session.cancel()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """The worker's Trio task. It is shielded, since the pool ends its workers itself."""
        with trio.CancelScope(shield=True):
            await self._live()
        self.core.left(self.worker, trio.current_time())
        self.opened.set()
        self.stopped.set()
        self.host.carry_out()

    async def _live(self) -> None:  # noqa: ASYNC910  # it may be told to leave before it begins
        """Enter the lifespan, serve and leave it, again and again until told to leave."""
        failed = 0
        is_reported = False
        while not self.worker._departing:
            error = await self._serve_once()
            if self.worker._phase is Phase.STARTING and not self._insists:
                self.failure = error
                return
            if error is not None and not is_a(error, Exception):
                self._break_down(None)
                self.host.crash(error)
                return
            if self._stage is Stage.OPENING and error is None:
                return  # recalled
            if self._stage is not Stage.LEAVING:
                failed += 1
                if self._stage is Stage.OPENING and not is_reported:  # nobody else may be told
                    words = "%s can't be opened, and is tried again"
                    report(words, one_line(self.worker.name), error=error, level=logging.WARNING)
                is_reported = self._stage is Stage.OPENING
                self._break_down(error)
                await self._back_off(failed, ResourceBroken() if error is None else error)
            else:
                failed = 0
                is_reported = False
                if error is not None:
                    self.host.blame(self.worker, error)

    async def _serve_once(self) -> BaseException | None:
        """One session, from entering the lifespan to leaving it; returns what it raised."""
        self._stage = Stage.OPENING
        giver = "factory" if self.worker._elastic else "lifespan"
        raised: BaseException | None = None
        with trio.CancelScope() as self.session:
            try:
                if self.lifespan is None:
                    await self._serve()
                else:
                    manager = _checked(self.lifespan(self.worker._resource), giver)
                    async with manager as value:
                        self.leading = (value,)
                        if self.worker._elastic:
                            self.worker._resource = value
                        await self._serve()
            except BaseException as error:
                raised = error
        if raised is None:
            return None  # noqa: ASYNC910  # a lifespan may end without waiting
        if self.session.cancel_called:
            return without_cancellations(raised)  # noqa: ASYNC910
        return as_error(raised, f"the {giver} of {self.worker.name}")  # noqa: ASYNC910

    async def _serve(self) -> None:
        """Run one attempt after another until told to leave or to reopen."""
        self._stage = Stage.SERVING
        self._broken = None
        self.shift = self._own_shift  # who stood in may have been the last, if the lifespan broke
        self.core.opened(self.worker, trio.current_time())
        self.opened.set()
        self.host.carry_out()
        try:
            async with trio.open_nursery() as self._stand_ins:
                try:
                    await self._own_shift.serve()
                except trio.Cancelled:
                    self.strand()
                    raise
        except BaseExceptionGroup as group:
            # Cancellations, as a rule: how jobs fail is seen to where they run.
            raise min(group.exceptions, key=lambda error: is_a(error, trio.Cancelled)) from None
        self._stage = Stage.LEAVING
        if self.host.hurries:
            self.session.cancel()

    async def _back_off(self, failed: int, error: Exception) -> None:  # noqa: ASYNC910  # nor if it leaves
        if not self.worker._departing:
            delay = self.host.reopening_delay(_REOPENING, failed, error)
            with trio.move_on_after(delay):
                await self.shift.wait()  # only a recall can come now

    def _break_down(self, error: Exception | None) -> None:
        """The resource can't be used, and not because a job has said so."""
        now = trio.current_time()
        if self._stage is not Stage.OPENING:
            broken = self.take_out_of_use()
            if error is not None:  # its attempts have failed with that already: now it is known why
                broken.reason = f"the lifespan of {one_line(self.worker.name)} broke: {in_words(error)}"
                broken.args = (broken.reason,)
                broken.__cause__ = error
                if self._doomed is None:  # no attempt fails with it
                    report("the lifespan of %s broke", one_line(self.worker.name), error=error, level=logging.WARNING)
            if self._untold:
                self._untold = False
                self.core.tell_reopening(self.worker, broken)
            if self._doomed is not None:
                job, self._doomed = self._doomed, None
                self.judge(job, broken, now)
        elif error is not None:
            self.core.reopen(self.worker, error, now)
        self.host.carry_out()

    def _give_up_unbegun(self) -> None:
        """A job that it has been handed and that has not begun is for others."""
        if self.inbox is not None:
            job, self.inbox = self.inbox, None
            self.core.cut_short(self.worker, JobCancelledError(job), trio.current_time(), begun=False)

    def fail_with_lifespan(self, job: JobRecord) -> None:
        """The lifespan is ending, and with it a job's function has: its attempt fails."""
        broken = self.take_out_of_use()
        if self.worker._loans:  # the lifespan does not end before those have had the worker back
            self.judge(job, broken, trio.current_time())
        else:
            self._doomed = job

    def take_out_of_use(self) -> ResourceBroken:
        """Its lifespan is ending: it is given no more jobs. Returns what the attempts on it fail with."""
        if self._broken is None:
            self._broken = ResourceBroken(f"the lifespan of {one_line(self.worker.name)} ended by itself")
        if self.worker._phase is Phase.OPEN:  # or that has to be opened anew is known already
            self._untold = True
            self.core.reopen(self.worker, self._broken, trio.current_time(), tell=False)
        return self._broken

    def judge(self, job: JobRecord, error: Exception, now: float) -> JobRecord | None:
        """The attempt has failed: let it be decided what comes of that."""
        verdict = self.host.judge(self.worker, cast("Job[Any]", job), error)
        ends = self.shift_of(job).ends
        if verdict is None:
            return ends.cut_short(self.worker, JobCancelledError(job), now)
        return ends.failed(self.worker, error, verdict, now)


def _checked(manager: object, giver: str) -> AbstractAsyncContextManager[Any]:
    if isinstance(manager, AbstractAsyncContextManager):
        return cast("AbstractAsyncContextManager[Any]", manager)
    validate.answer(giver, manager)
    raise TypeError(f"{giver} must return an async context manager, returned {shown(manager)}")
