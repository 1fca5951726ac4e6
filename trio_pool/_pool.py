"""Shell: the pools as users see them, with the types of what they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

from . import _validate
from ._base import BasePool, not_callable
from ._resource import Resource
from ._streams import Completed, Mapped

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from typing_extensions import TypeVarTuple, Unpack

    from ._job import Job
    from ._limits import CircuitBreaker, RateLimit
    from ._options import JobOptions
    from ._worker import Worker

    Ts = TypeVarTuple("Ts")

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class _Submitting(BasePool):
    """The untyped ends of the calls that the two kinds of pools have in common."""

    def _map(
        self,
        kind: Callable[..., Any],
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        buffer: int | None,
        options: JobOptions,
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        name = "map" if kind is Mapped else "as_completed"
        if not callable(fn):
            raise TypeError(not_callable(fn))
        if not (hasattr(items, "__iter__") or hasattr(items, "__aiter__")):
            raise TypeError(f"items must be an iterable or an async iterable, got {items!r}")
        if buffer is not None:
            _validate.count("buffer", buffer, least=1)
        resolved = self._resolve(options, name)
        return cast("AbstractAsyncContextManager[AsyncIterator[Any]]", kind(self, fn, items, buffer, resolved))


class Pool(_Submitting, Generic[R]):
    """Workers that each hold a resource, and the jobs that they run with it.

    Made by `open_pool`. ``R`` is what jobs get as their first argument: the resource, or
    what its lifespan yields.

    Options of a job, as the keyword arguments of everything that submits one: ``retry``,
    ``attempt_timeout``, ``total_timeout``, ``priority``, ``requires``, ``worker``,
    ``name``, ``metadata``, ``hedge``; see `JobOptions`.
    """

    @trio.lowlevel.enable_ki_protection
    async def submit(
        self,
        fn: Callable[[R, Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """Queue a job; wait while the queue is full.

        A checkpoint. If it is cancelled, there is no job. If the job's ``total_timeout``
        passes while it waits for a place, the job is returned dead.

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
            await self._engine.wait_for_place(job)
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
        buffer: int | None = None,
        **options: Unpack[JobOptions],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]:
        """Run a job for each item and iterate over the results in the items' order.

        Use it as ``async with pool.map(fn, items) as results: async for result in
        results: ...``. A job that ends otherwise raises `JobFailedError` or
        `JobCancelledError` when its turn comes, not wrapped in a group; iterating may go on
        after that. What the items raise is raised after the results of those before.
        Leaving the block cancels the jobs that are left and waits for their ends; what
        died among them counts as dealt with. An async generator is closed then.

        Arguments:
          fn: an async function of the resource and an item.
          items: an iterable or an async iterable; it may be endless.
          buffer: how many items are taken ahead of the results; twice the workers by default.
          **options: options of each job.

        Raises:
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        return self._map(Mapped, fn, items, buffer, options)

    def as_completed(
        self,
        fn: Callable[[R, T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: int | None = None,
        **options: Unpack[JobOptions],
    ) -> AbstractAsyncContextManager[AsyncIterator[Job[V]]]:
        """Run a job for each item and iterate over the ended jobs, in the order of ending.

        As `map`, but it yields each `Job` whatever its outcome; a dead one that has been
        yielded counts as dealt with.

        Arguments:
          fn: an async function of the resource and an item.
          items: an iterable or an async iterable; it may be endless.
          buffer: how many items are taken ahead of the results; twice the workers by default.
          **options: options of each job.

        Raises:
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        return self._map(Completed, fn, items, buffer, options)

    async def add(
        self,
        resource: Any,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        rate_limit: RateLimit | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
    ) -> Worker:
        """Add a worker; wait until its lifespan has been entered.

        A checkpoint. If it is cancelled, there is no new worker.

        Arguments:
          resource: any object, or a `Resource`, which then says all.
          name, tags, rate_limit, breaker, max_jobs, max_age: as for `Resource`.

        Returns:
          Worker: the new worker.

        Raises:
          PoolClosedError: if the workers have been stopped.
          Exception: whatever entering the lifespan raises; there is no new worker then.
        """
        if not isinstance(resource, Resource):
            described: Resource[Any] = Resource(
                resource,
                name=name,
                tags=cast("frozenset[str]", tags),
                rate_limit=rate_limit,
                breaker=breaker,
                max_jobs=max_jobs,
                max_age=max_age,
            )
        elif tags or any(given is not None for given in (name, rate_limit, breaker, max_jobs, max_age)):
            raise ValueError("a Resource has its own name, tags and limits; give them there")
        else:
            described = cast("Any", resource)
        return await self._staff.add(described, (described.value,))


class SlotPool(_Submitting):
    """Workers without resources: the functions get nothing but their own arguments.

    Made by ``open_pool(n)``. All calls are those of `Pool`.
    """

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
            await self._engine.wait_for_place(job)
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
        buffer: int | None = None,
        **options: Unpack[JobOptions],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]:
        """As `Pool.map`."""
        return self._map(Mapped, fn, items, buffer, options)

    def as_completed(
        self,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: int | None = None,
        **options: Unpack[JobOptions],
    ) -> AbstractAsyncContextManager[AsyncIterator[Job[V]]]:
        """As `Pool.as_completed`."""
        return self._map(Completed, fn, items, buffer, options)

    async def add(
        self,
        *,
        name: str | None = None,
        tags: Iterable[str] = (),
        rate_limit: RateLimit | None = None,
        breaker: CircuitBreaker | None = None,
        max_jobs: float | None = None,
        max_age: float | None = None,
    ) -> Worker:
        """Add a slot. A checkpoint; the arguments are those of `Pool.add`."""
        slot = Resource(
            None,
            name=name,
            tags=cast("frozenset[str]", tags),
            rate_limit=rate_limit,
            breaker=breaker,
            max_jobs=max_jobs,
            max_age=max_age,
        )
        return await self._staff.add(slot, ())
