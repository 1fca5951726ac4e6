"""The calls that submit jobs, with the types of what they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar, cast

import trio

from .streams import Completed, Mapped, open_stream
from .submitting import Submitting
from .threads import run_from_thread, submit_from_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from typing_extensions import TypeVarTuple, Unpack

    from .._model.handles import Job
    from .._model.job_options import JobOptions, StreamOptions

    Ts = TypeVarTuple("Ts")

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class ResourceCalls(Submitting, Generic[R]):
    """The calls where functions get a resource as their first argument."""

    __slots__ = ()

    @trio.lowlevel.enable_ki_protection
    async def submit(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """Queue a job; wait while the queue is full.

        A checkpoint. If it is cancelled, there is no job. If the job's ``total_timeout``
        passes while it waits for a place, the job is returned dead, in a tie with a cancellation too.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job.

        Returns:
          Job: the handle of the job.

        Raises:
          PoolClosedError: if the pool is closed, or gets closed in the meantime.
          NoEligibleWorkerError: if no worker may take it, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        job = self._make_job(fn, args, self._resolve(options, "submit") if options else self._defaults)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._lines_up(job):
            await self._engine.submitters.wait_for_place(job)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return job

    def submit_nowait(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        idle_only: bool = False,
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """Queue a job at once.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          idle_only: only if a worker that may take the job is idle.
          **options: options of the job.

        Returns:
          Job: the handle of the job.

        Raises:
          trio.WouldBlock: if there is no place in the queue, or no such idle worker.
          PoolClosedError: if the pool is closed.
          NoEligibleWorkerError: if no worker may take it, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return self._submit_nowait(fn, args, self._resolve(options, "submit_nowait"), idle_only)

    async def run(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """Submit a job and wait for its result.

        A checkpoint. If it is cancelled, so is the job, and the call returns only when the
        job's function no longer runs; if that returned a value all the same, so does this
        call, and if the job died, its error is raised.

        The caller's deadline, as `trio.current_effective_deadline` tells it at the call, decides whether a
        retry is waited for: where one could start only past it, the job is dead at once
        (`DeadReason.TIMED_OUT`), the last error its cause. It ends nothing else; the caller's cancellation does.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job.

        Returns:
          what ``fn`` returned.

        Raises:
          JobFailedError: if the job is dead.
          JobCancelledError: if somebody else cancelled it, or it was discarded.
          PoolClosedError: if the pool is closed, or gets closed before there is a place.
          NoEligibleWorkerError: if no worker may take it, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return cast("V", await self._run(fn, args, self._resolve(options, "run")))

    def map(
        self,
        fn: Callable[[R, T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]:
        """Run a job for each item and iterate over the results in the items' order.

        Use it as ``async with pool.map(fn, items) as results: async for result in
        results: ...``. A job that ends otherwise raises `JobFailedError` or
        `JobCancelledError` when its turn comes, not wrapped in a group; iterating may go on
        after that. Entering the block and each step of iterating is a checkpoint; if a step is
        cancelled, no result is lost.

        What the items raise is raised after the results of those before, and so is what a function
        given as an option raises or returns by mistake. A cancellation of the items that the pool has not
        asked for is raised as a `RuntimeError` with that as its cause.

        Leaving the block cancels the jobs that are left and waits, shielded, for their ends; what
        died among them counts as dealt with. A generator of items, async or not, is closed then.

        Arguments:
          fn: an async function of the resource and an item.
          items: an iterable or an async iterable; it may be endless.
          buffer: how many of the jobs may at a time be blocked, queued, running, or ended and about to be
              read; twice the workers and at most 1000 by default, ``inf`` for no bound. Those that back off
              and those that have to wait for their turn don't count, but there are at most 1000 more of
              them, or ``max_queue`` if that is less.
          **options: options of each job, as `StreamOptions`: each may be a function of the item, called as
              the item is taken, in the context of whoever entered the block.

        Raises:
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        return open_stream(self, Mapped, fn, items, buffer, options)

    def as_completed(
        self,
        fn: Callable[[R, T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Job[V]]]:
        """Run a job for each item and iterate over the ended jobs, in the order of ending.

        As `map`, but it yields each `Job` whatever its outcome; a dead one that has been
        yielded counts as dealt with.

        Arguments:
          fn: an async function of the resource and an item.
          items: an iterable or an async iterable; it may be endless.
          buffer: how many of the jobs may at a time be blocked, queued, running, or ended and about to be
              read; twice the workers and at most 1000 by default, ``inf`` for no bound. Those that back off
              and those that have to wait for their turn don't count, but there are at most 1000 more of
              them, or ``max_queue`` if that is less.
          **options: options of each job, as `StreamOptions`: each may be a function of the item, called as
              the item is taken, in the context of whoever entered the block.

        Raises:
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        return open_stream(self, Completed, fn, items, buffer, options)

    def run_from_thread(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """As `run`, from another thread of the process, which waits meanwhile.

        Any thread will do, one of `trio.to_thread.run_sync` or one that knows nothing of Trio. The
        job runs in a copy of the thread's context variables. In a thread of
        `trio.to_thread.run_sync` of the pool's own Trio run, the task that waits for the thread makes
        the call: if that task is cancelled, so is the job, and `trio.Cancelled` is raised here. After an exception that
        strikes the waiting thread, such as `KeyboardInterrupt`, the job is cancelled, and the
        exception goes on when the job's function no longer runs.

        Don't call it where an event loop runs, which it would hold up; see `submit_from_thread`.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job. ``total_timeout`` counts from when the pool's thread takes
              notice of the call.

        Returns:
          what ``fn`` returned.

        Raises:
          RuntimeError: if called in the pool's own thread.
          JobFailedError: if the job is dead.
          JobCancelledError: if somebody else cancelled it, or it was discarded.
          PoolClosedError: if the pool is closed, or gets closed before there is a place, or if its
              block or its Trio run has ended.
          NoEligibleWorkerError: if no worker may take it, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return cast("V", run_from_thread(self, fn, args, options))

    def submit_from_thread(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Future[V]:
        """Submit a job from another thread of the process, without waiting for anything.

        Where the queue is full, the job waits for its place as one by `submit` does, while the
        caller goes on. An event loop of asyncio's awaits the future with `asyncio.wrap_future`.

        ``cancel()`` of the future, which works until the job has ended, cancels the job. The future
        is cancelled from then on, whatever becomes of the job, and what waits for it with
        `concurrent.futures.wait` goes on when the job's function no longer runs. Callbacks run in the
        pool's thread, or in the one that cancels, and must not wait there; what they raise is logged
        by `concurrent.futures`.

        In a thread of `trio.to_thread.run_sync` of the pool's own Trio run, ``result()`` and
        ``exception()`` without a timeout are waited for by the task that waits for the thread: if that
        is cancelled, `trio.Cancelled` is raised there and the job goes on.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job. ``total_timeout`` counts from when the pool's thread takes
              notice of the call.

        Returns:
          concurrent.futures.Future: what ``fn`` returned, or one of the errors of `run`:
          `JobFailedError`, `JobCancelledError`, `PoolClosedError`, `NoEligibleWorkerError`. A dead
          job counts as dealt with once its error has been asked for. To ask in the pool's own
          thread before the job has ended is a `RuntimeError`, and in a job's thread of Trio's, where
          both would wait for ever, a `JobDeadlockError`.

        Raises:
          RuntimeError: if called in the pool's own thread.
          PoolClosedError: if the pool is closed, or its block or its Trio run has ended.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return submit_from_thread(self, fn, args, options)


class SlotCalls(Submitting):
    """The calls where functions get nothing but their own arguments."""

    __slots__ = ()

    @trio.lowlevel.enable_ki_protection
    async def submit(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """As `Pool.submit`."""
        job = self._make_job(fn, args, self._resolve(options, "submit") if options else self._defaults)
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._lines_up(job):
            await self._engine.submitters.wait_for_place(job)
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return job

    def submit_nowait(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        idle_only: bool = False,
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """As `Pool.submit_nowait`."""
        return self._submit_nowait(fn, args, self._resolve(options, "submit_nowait"), idle_only)

    async def run(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """As `Pool.run`."""
        return cast("V", await self._run(fn, args, self._resolve(options, "run")))

    def map(
        self,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]:
        """As `Pool.map`."""
        return open_stream(self, Mapped, fn, items, buffer, options)

    def as_completed(
        self,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Job[V]]]:
        """As `Pool.as_completed`."""
        return open_stream(self, Completed, fn, items, buffer, options)

    def run_from_thread(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """As `Pool.run_from_thread`."""
        return cast("V", run_from_thread(self, fn, args, options))

    def submit_from_thread(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Future[V]:
        """As `Pool.submit_from_thread`."""
        return submit_from_thread(self, fn, args, options)
