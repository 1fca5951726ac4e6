"""The calls that submit jobs whose functions get a resource, with the types of these functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

from .lease import Lease
from .streams import Completed, Mapped, open_stream
from .submitting import NO_TAGS, Submitting
from .threads import run_from_thread, submit_from_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Hashable, Iterable, Mapping
    from concurrent.futures import Future
    from contextlib import AbstractAsyncContextManager

    from typing_extensions import TypeVarTuple, Unpack

    from .._model.handles import Job, Worker
    from .._model.job_options import JobOptions, StreamOptions

    Ts = TypeVarTuple("Ts")

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class ResourceCalls(Submitting, Generic[R]):
    """The calls whose functions get a resource as their first argument."""

    __slots__ = ()

    @trio.lowlevel.enable_ki_protection
    async def submit(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """Queue a job; wait while the queue is full.

        A checkpoint. If the call is cancelled, there is no job. If the job's ``total_timeout``
        passes while it waits for a place, the call returns the job, which is dead, even if the call
        is cancelled at the same time.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job; see `JobOptions`.

        Returns:
          Job: the handle of the job.

        Raises:
          PoolClosedError: if the pool is closed, or is closed in the meantime.
          NoEligibleWorkerError: if no worker can run the job, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        job = self._make_job(fn, args, self._resolve(options, "submit") if options else self._defaults)
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._goes_straight(job) and self._lines_up(job):
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
        """Queue a job without waiting.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          idle_only: queue the job only if an eligible worker has a free place for it.
          **options: options of the job; see `JobOptions`.

        Returns:
          Job: the handle of the job.

        Raises:
          trio.WouldBlock: if there is no place in the queue, or no such worker.
          PoolClosedError: if the pool is closed.
          NoEligibleWorkerError: if no worker can run the job, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        resolved = self._resolve(options, "submit_nowait") if options else self._defaults
        return self._submit_nowait(fn, args, resolved, idle_only)

    async def run(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """Submit a job and wait for its result.

        A checkpoint. If the call is cancelled, the job is cancelled too, and the call returns only
        when the job's function no longer runs. If the function returned a value anyway, the call
        returns it; if the job died, the call raises its error.

        The caller's deadline, `trio.current_effective_deadline` at the time of the call, limits
        retries. If a retry could start only after it, the job is dead at once
        (`DeadReason.TIMED_OUT`), with the last error as its cause. The deadline has no other effect
        on the job; the caller's cancellation does.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job; see `JobOptions`.

        Returns:
          the return value of ``fn``.

        Raises:
          JobFailedError: if the job is dead.
          JobCancelledError: if the job was cancelled by another caller, or was discarded.
          PoolClosedError: if the pool is closed, or is closed before there is a place.
          NoEligibleWorkerError: if no worker can run the job, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return cast("V", await self._run(fn, args, self._resolve(options, "run")))

    def acquire(
        self,
        *,
        timeout: float | None = None,
        requires: Iterable[str] = NO_TAGS,
        worker: Worker | None = None,
        priority: float = 0,
        key: Hashable = None,
        uses: Mapping[str, float] | None = None,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Lease[R]:
        """Borrow a resource for the caller's own use: ``async with pool.acquire() as resource: ...``.

        The block is the body of a job: it waits in the same queue and under the same limits, and takes a place of
        a worker until its end. It is never retried, and no timeout applies to the block. What the block raises
        comes out unchanged and counts as the failure of the job, which then counts as dealt with. After a
        `ResourceBroken` the worker also reopens its resource. `current_job` stays what it was; the block's own job
        is the ``job`` of the `Lease`. Waits for jobs of the pool inside the block are waits of that job.

        Entering the block is a checkpoint. If entering is cancelled, no place is taken. Leaving the block is no
        checkpoint, unless the job has lent its worker or the worker's lifespan is ending by itself.

        Arguments:
          timeout: seconds to wait for a place at most, no bound by default; with 0, only a place that is free at
              once is taken.
          requires, worker, priority, key, uses, name, metadata: as for jobs; the name is ``acquire`` by default.

        Returns:
          an async context manager that yields what the functions of jobs get as their first argument.

        Raises:
          JobTimeoutError: on entering, if ``timeout`` has passed.
          PoolClosedError: on entering, if the pool is closed, or is closed in the meantime.
          NoEligibleWorkerError: on entering, if no worker can run the job, with ``no_worker="reject"``.
          JobFailedError: on entering, if the last worker that might have run the job has left.
          JobDeadlockError: on entering, inside a job or another such block, if the wait would never end.
          JobCancelledError: on entering or leaving, if the job was cancelled: by `Job.cancel`, with the pool or
              its group, or by ``remove(cancel=True)`` of its worker. If the caller is cancelled as well,
              `trio.Cancelled` comes out instead.
          ResourceBroken: on leaving, if the block was cancelled because the worker's lifespan ended by itself.
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        placing: dict[str, Any] = {"requires": requires, "worker": worker, "priority": priority}
        own = self._lease_options(timeout, key=key, uses=uses, name=name, metadata=metadata, **placing)
        return Lease(self, own)

    def map(
        self,
        fn: Callable[[R, T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]:
        """Run a job for each item and iterate over the results in the items' order.

        Use it as ``async with pool.map(fn, items) as results: async for result in results: ...``.
        If a job has no result, its step of the iteration raises `JobFailedError` or
        `JobCancelledError`, not wrapped in a group. The iteration can go on after that. Entering
        the block and each step of the iteration are checkpoints. If a step is cancelled, no result
        is lost.

        An exception from the items is raised after the results of the items before. So is an
        exception from a function given as an option, or the error for its invalid result. If the
        items are cancelled by something other than the pool, a `RuntimeError` is raised, with the
        cancellation as its cause.

        Leaving the block cancels the remaining jobs and waits, shielded, for their ends. Dead jobs
        among them count as dealt with. If the items are a generator, async or not, it is then
        closed.

        Arguments:
          fn: an async function of the resource and an item.
          items: an iterable or an async iterable; it can be endless.
          buffer: how many of the jobs may be blocked, queued, running, or ended and ready to be
              read, at the same time. By default twice the number of workers and at most 1000;
              ``inf`` for no bound. Jobs that back off and ended jobs that wait for their turn don't
              count. There can be at most 1000 of these, or ``max_queue`` if that is less.
          **options: options of each job, as `StreamOptions`: each can be a function of the item,
              called when the item is taken, in the context of the task that entered the block.

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
        """Run a job for each item and iterate over the ended jobs, in the order of their ends.

        Like `map`, but yields each `Job`, whatever its outcome. A dead job that has been yielded
        counts as dealt with.

        Arguments:
          fn: an async function of the resource and an item.
          items: an iterable or an async iterable; it can be endless.
          buffer: how many of the jobs may be blocked, queued, running, or ended and ready to be
              read, at the same time. By default twice the number of workers and at most 1000;
              ``inf`` for no bound. Jobs that back off and ended jobs that wait for their turn don't
              count. There can be at most 1000 of these, or ``max_queue`` if that is less.
          **options: options of each job, as `StreamOptions`: each can be a function of the item,
              called when the item is taken, in the context of the task that entered the block.

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
        """Submit a job from another thread of the process and wait for its result, like `run`.

        Any other thread can make the call: a thread of `trio.to_thread.run_sync`, or one that
        doesn't use Trio. The job runs in a copy of the thread's context variables.

        In a thread of `trio.to_thread.run_sync` of the pool's own Trio run, the task that waits for
        the thread makes the call. If that task is cancelled, the job is cancelled too, and
        `trio.Cancelled` is raised here. If another exception such as `KeyboardInterrupt` interrupts
        the waiting thread, the job is cancelled. The exception propagates when the job's function
        no longer runs.

        Don't call it in the thread of an event loop, which it would block; see
        `submit_from_thread`.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job; see `JobOptions`. ``total_timeout`` counts from the time when the pool's
              thread receives the call.

        Returns:
          the return value of ``fn``.

        Raises:
          RuntimeError: if called in the pool's own thread.
          JobFailedError: if the job is dead.
          JobCancelledError: if the job was cancelled by another caller, or was discarded.
          PoolClosedError: if the pool is closed, or is closed before there is a place, or if its
              block or its Trio run has ended.
          NoEligibleWorkerError: if no worker can run the job, with ``no_worker="reject"``.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return cast("V", run_from_thread(self, fn, args, options))

    def submit_from_thread(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Future[V]:
        """Submit a job from another thread of the process, without waiting.

        If the queue is full, the job waits for a place like a job of `submit`, while the caller
        goes on. An asyncio event loop can await the future with `asyncio.wrap_future`.

        ``cancel()`` of the future works until the job has ended, and cancels the job. From then on
        the future is cancelled, whatever the job's outcome. `concurrent.futures.wait` on the future
        returns when the job's function no longer runs. Callbacks run in the pool's thread, or in
        the thread that cancels, and must not wait there. `concurrent.futures` logs the exceptions
        of callbacks.

        In a thread of `trio.to_thread.run_sync` of the pool's own Trio run, calls of ``result()``
        and ``exception()`` without a timeout wait in the task that waits for the thread. If that
        task is cancelled, `trio.Cancelled` is raised in the thread, and the job goes on.

        Arguments:
          fn: an async function; its first argument is the resource.
          *args: its other arguments.
          **options: options of the job; see `JobOptions`. ``total_timeout`` counts from the time when the pool's
              thread receives the call.

        Returns:
          concurrent.futures.Future: the return value of ``fn``, or one of the errors of `run`:
              `JobFailedError`, `JobCancelledError`, `PoolClosedError`, `NoEligibleWorkerError`. A
              dead job counts as dealt with once its error has been read. Reading the outcome in the
              pool's own thread before the job has ended raises `RuntimeError`. In the Trio thread
              of a job, where the thread and the job would wait for each other forever, it raises
              `JobDeadlockError`.

        Raises:
          RuntimeError: if called in the pool's own thread.
          PoolClosedError: if the pool is closed, or its block or its Trio run has ended.
          ValueError, TypeError: if an option is out of its range or of the wrong type.
        """
        return submit_from_thread(self, fn, args, options)
