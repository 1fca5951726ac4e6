"""Futures that stand for jobs in other threads than the pool's own."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from .._basics.text import own_text
from .._model.errors import PoolClosedError
from .._model.records import JobRecord, has_ended
from .._model.states import JobState
from .._runtime.engine import shortfall_of
from .._runtime.home import through_host

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from contextvars import Context

    from .._model.handles import Job
    from .._model.records import JobSpec
    from .._runtime.home import Home
    from .submitting import Submitting

V = TypeVar("V")


class JobFuture(Future[V]):
    """What another thread has of a job.

    It is pending until the job has ended, and can be cancelled as long. Its methods are for any
    thread, those with an underscore for the pool's own, where all that happens to the job does.

    A death counts as dealt with once the error has been read, in whatever way, or as soon as it comes where
    somebody waits for it who will read it for certain: a thread in ``result()``, or an event loop of asyncio's.
    """

    # What the future was given, which tells nobody.
    _error: BaseException | None

    def __init__(self, submitting: Submitting, home: Home) -> None:
        super().__init__()
        self._submitting = submitting
        self._home = home
        # Once it is one; owned by the pool's thread.
        self._job: Job[V] | None = None
        # The same if the job is dead and this has its error.
        self._dead: Job[V] | None = None
        self._settled = False
        # For tasks that wait on behalf of their threads: whether it no longer waits for its place, and is done.
        self._entered = trio.Event()
        self._done = trio.Event()
        # How many threads and event loops will wait for the outcome as long as it takes.
        self._lock = threading.Lock()
        self._waiting = 0

    def send(self, fn: Callable[..., Any], args: tuple[Any, ...], options: JobSpec, context: Context) -> None:
        """Have the job submitted in the pool's thread, in this context."""
        if not self._call_soon(lambda: context.run(self._enter, fn, args, options)):
            raise PoolClosedError("the pool's Trio run has ended")

    def cancel(self) -> bool:
        """Cancel the job unless it has ended; returns whether the future is cancelled."""
        cancelled = super().cancel()
        if cancelled:
            self._call_soon(self._abandon)
        return cancelled

    def stop(self) -> None:
        """Cancel the job, sent or not, unless it has ended, and wait until its function no longer runs."""
        if super().cancel() and self._call_soon(self._abandon):
            wait([self])

    def result(self, timeout: float | None = None) -> V:
        """As that of any future, but for what may come of waiting as long as it takes in a thread of Trio's."""
        with self._asked(timeout):
            return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The same."""
        with self._asked(timeout):
            return super().exception(timeout)

    def add_done_callback(self, fn: Callable[[Future[V]], object]) -> None:
        """As that of any future."""
        if own_text(fn, "__module__").startswith("asyncio"):
            # By it `asyncio.wrap_future` has what awaits this told, but not at once: the pool may end before.
            with self._lock:
                self._waiting += 1
            self._told()  # if it is dead already
        super().add_done_callback(fn)

    # The base class keeps the error by this name, and all who ever read it, asyncio among them, do so by it.
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
        """Somebody has the error, or will have it, and with it the death of the job is dealt with."""
        if self._dead is None or self._dead._dealt_with:
            return
        if self._home.is_here():
            self._deal_with()
        else:
            self._call_soon(self._deal_with)  # or the end of the pool has told of it

    @contextmanager
    def _asked(self, timeout: float | None) -> Generator[None]:
        """Somebody asks for the outcome, and waits for it in this block."""
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
        """Call ``fn`` in the pool's thread; returns False if its Trio run has ended, and with it all jobs."""
        try:
            self._home.call_soon(fn)
        except trio.RunFinishedError:
            return False
        return True

    # From here on it is the pool's thread, and nothing strikes it: Trio protects what it calls.

    def _enter(self, fn: Callable[..., Any], args: tuple[Any, ...], options: JobSpec) -> None:
        """Let the job in, or in line for a place."""
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
        """The job is in the pool, or has been turned away."""
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
        """Wait until it is done, in the task that has a thread ask."""
        await self._entered.wait()
        with self._submitting._engine.waiting.waiting_for(self._awaited):
            await self._done.wait()

    def _awaited(self) -> Iterable[Job[V]]:
        """The job, as long as it has not ended."""
        job = self._job
        return () if job is None or job._state is None or has_ended(job) else (job,)

    def _settle(self, error: Exception | None = None) -> None:
        """Say what has become of the job, or that it never came to be one, unless it has been said."""
        if self._settled:
            return
        self._settled = True
        self._entered.set()
        self._done.set()
        # It may be cancelled at any moment before this: then those who wait for that go on now.
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
                if is_told:  # now, since the pool may end before that thread runs
                    self._deal_with()
            self.set_exception(error)
        except BaseException as crash:
            # From a callback: of those that are an Exception, the future takes care itself.
            self._submitting._engine.crash(crash)

    def _deal_with(self) -> None:
        assert self._dead is not None
        self._submitting._engine.deal_with(self._dead)

    def _abandon(self) -> None:
        """The future has been cancelled."""
        self._entered.set()
        self._done.set()
        job = self._job
        engine = self._submitting._engine
        if job is None or engine.submitters.withdraw(job):
            self._settle()
        elif job._state is not None:
            engine.cancel_job(job)
