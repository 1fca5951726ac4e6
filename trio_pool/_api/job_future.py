"""Futures of jobs that other threads have submitted."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from .._basics.text import own_text
from .._model.errors import PoolClosedError
from .._model.records import JobRecord
from .._model.states import JobState
from .._runtime.home import through_host
from .._runtime.outcomes import shortfall_of
from .._runtime.waiting import has_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextvars import Context

    from .._model.handles import Job
    from .._model.records import JobSpec
    from .._runtime.home import Home
    from .submitting import Submitting

V = TypeVar("V")


class JobFuture(Future[V]):
    """The future of a job, for a thread other than the pool's.

    The future is pending, and can be cancelled, until the job has ended. The public methods can be
    called in any thread. Methods with an underscore run in the pool's thread, which makes all
    changes to the job.

    A dead job counts as dealt with once the error has been read in any way. If a reader is certain
    to read the error, the job counts as soon as it dies: a thread that waits in ``result()``, or an
    asyncio event loop.
    """

    # The error given to the future; reading this doesn't count as dealing with it.
    _error: BaseException | None

    def __init__(self, submitting: Submitting, home: Home) -> None:
        super().__init__()
        self._submitting = submitting
        self._home = home
        # The job, once it has been created; owned by the pool's thread.
        self._job: Job[V] | None = None
        # The job if it is dead and the future has its error.
        self._dead: Job[V] | None = None
        self._settled = False
        # For tasks that wait on behalf of their threads: whether the job no longer waits for its
        # place, and whether the future is done.
        self._entered = trio.Event()
        self._done = trio.Event()
        # How many threads and event loops wait for the outcome without a timeout.
        self._lock = threading.Lock()
        self._waiting = 0

    def send(self, fn: Callable[..., Any], args: tuple[Any, ...], options: JobSpec, context: Context) -> None:
        """Submit the job in the pool's thread, in this context."""
        if not self._call_soon(lambda: context.run(self._enter, fn, args, options)):
            raise PoolClosedError("the pool's Trio run has ended")

    def cancel(self) -> bool:
        """Cancel the job unless it has ended, and return whether the future is cancelled."""
        cancelled = super().cancel()
        if cancelled:
            self._call_soon(self._abandon)
        return cancelled

    def stop(self) -> None:
        """Cancel the job, sent or not, unless it has ended, and wait until its function no longer runs."""
        if super().cancel() and self._call_soon(self._abandon):
            wait([self])

    def result(self, timeout: float | None = None) -> V:
        """Return the result like any future.

        In a Trio thread, a wait without a timeout can also raise `JobDeadlockError` or `trio.Cancelled`.
        """
        if self.done():
            return super().result()
        with self._asked(timeout):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the error like any future.

        In a Trio thread, a wait without a timeout can also raise `JobDeadlockError` or `trio.Cancelled`.
        """
        with self._asked(timeout):
            return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[Future[V]], object]) -> None:
        """Add the callback like any future, and record whether an event loop of asyncio waits."""
        if own_text(fn, "__module__").startswith("asyncio"):
            # `asyncio.wrap_future` adds this callback and passes the error on later, perhaps after
            # the end of the pool.
            self.expect_reader()
        super().add_done_callback(fn)

    def expect_reader(self) -> None:
        """Record that the error is certain to be read, perhaps after the end of the pool."""
        with self._lock:
            self._waiting += 1
        self._told()  # in case the job is dead already

    # The base class keeps the error in this attribute, and all readers use it, including asyncio.
    @property
    def _exception(self) -> BaseException | None:
        if self._error is not None:
            self._told()
        return self._error

    @_exception.setter
    def _exception(self, error: BaseException | None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._error = error

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "pending"
        return f"<{type(self).__name__} {state}: {self._job!r}>"

    def _told(self) -> None:
        """Record that a reader has or will get the error, so that the dead job counts as dealt with."""
        if self._dead is None or self._dead._dealt_with:
            return
        if self._home.is_here():
            self._deal_with()
        else:
            self._call_soon(self._deal_with)  # if the Trio run has ended, the pool has reported the death

    @contextmanager
    def _asked(self, timeout: float | None) -> Generator[None]:
        """Register a reader that waits for the outcome inside the block."""
        if not self.done() and self._home.is_here():
            raise RuntimeError("waiting for the future in the pool's own thread would keep its job from ending")
        for_good = timeout is None
        with self._lock:
            self._waiting += for_good
        try:
            if for_good and not self.done():
                through_host(self._home, self._wait)
            yield
        finally:
            with self._lock:
                self._waiting -= for_good

    def _call_soon(self, fn: Callable[[], object]) -> bool:
        """Call ``fn`` in the pool's thread; return False if its Trio run, and so every job, has ended."""
        try:
            self._home.call_soon(fn)
        except trio.RunFinishedError:
            return False
        return True

    # The methods below run in the pool's thread, where Trio protects them from Ctrl-C.

    def _enter(self, fn: Callable[..., Any], args: tuple[Any, ...], options: JobSpec) -> None:
        """Enqueue the job, or wait in line for a place in the queue."""
        if self.cancelled():
            self._settle()
            return
        engine = self._submitting._engine
        try:
            job = self._job = self._submitting._make_job(fn, args, options)
            is_in_line = self._submitting._lines_up(job)
        except Exception as error:
            self._settle(error)
            return
        if is_in_line:
            engine.submitters.call_when_placed(job, self._placed)
        else:
            self._placed(None)

    def _placed(self, error: Exception | None) -> None:
        """Continue after the job has entered the pool or has been refused."""
        self._entered.set()
        job = self._job
        assert job is not None
        if error is not None or has_ended(job):
            self._settle(error)
        else:
            self._submitting._engine.waiting.watch(job, self._watch)

    def _watch(self, job: JobRecord) -> None:
        if has_ended(job):
            assert job._watchers is not None
            del job._watchers[self._watch]
            self._settle()

    async def _wait(self) -> None:
        """Wait until the future is done, in the task that runs the thread."""
        await self._entered.wait()
        with self._submitting._engine.waiting.waiting_for(self._awaited):
            await self._done.wait()

    def _awaited(self) -> Iterable[Job[V]]:
        """The job, unless it has ended."""
        job = self._job
        return () if job is None or job._state is None or has_ended(job) else (job,)

    def _settle(self, error: Exception | None = None) -> None:
        """Set the outcome of the job, or the error that prevented the job, unless the future is already done."""
        if self._settled:
            return
        self._settled = True
        self._entered.set()
        self._done.set()
        # If the future has been cancelled before this, this call wakes those that wait for it.
        if not self.set_running_or_notify_cancel():
            return
        job = self._job
        try:
            if error is None:
                assert job is not None
                if job.state is JobState.SUCCEEDED:
                    self.set_result(cast("V", job._value))
                    return
                error = shortfall_of(job)
                self._dead = job
                with self._lock:
                    is_told = self._waiting > 0
                if is_told:  # at once, since the pool may end before the waiting thread runs
                    self._deal_with()
            self.set_exception(error)
        except BaseException as crash:
            # Raised by a callback; the future itself handles every Exception.
            self._submitting._engine.crash(crash)

    def _deal_with(self) -> None:
        assert self._dead is not None
        self._submitting._engine.deal_with(self._dead)

    def _abandon(self) -> None:
        """Cancel the job after the future has been cancelled."""
        self._entered.set()
        self._done.set()
        job = self._job
        engine = self._submitting._engine
        if job is None or engine.submitters.withdraw(job):
            self._settle()
        elif job._state is not None:
            engine.cancel_job(job)
