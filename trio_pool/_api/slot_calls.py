"""The calls that submit jobs whose functions get no resource, with the types of these functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

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

T = TypeVar("T")
V = TypeVar("V")


class SlotCalls(Submitting):
    """The calls whose functions get only their own arguments."""

    __slots__ = ()

    @trio.lowlevel.enable_ki_protection
    async def submit(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Job[V]:
        """Queue a job; wait while the queue is full. Like `Pool.submit`."""
        job = self._make_job(fn, args, self._resolve(options, "submit") if options else self._defaults)
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._goes_straight(job) and self._lines_up(job):
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
        """Queue a job without waiting. Like `Pool.submit_nowait`."""
        resolved = self._resolve(options, "submit_nowait") if options else self._defaults
        return self._submit_nowait(fn, args, resolved, idle_only)

    async def run(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """Submit a job and wait for its result. Like `Pool.run`."""
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
    ) -> Lease[None]:
        """Borrow a slot for the caller's own use; the block gets None. Like `Pool.acquire`."""
        placing: dict[str, Any] = {"requires": requires, "worker": worker, "priority": priority}
        own = self._lease_options(timeout, key=key, uses=uses, name=name, metadata=metadata, **placing)
        return Lease(self, own)

    def map(
        self,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]:
        """Run a job for each item and iterate over the results. Like `Pool.map`."""
        return open_stream(self, Mapped, fn, items, buffer, options)

    def as_completed(
        self,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Job[V]]]:
        """Run a job for each item and iterate over the ended jobs. Like `Pool.as_completed`."""
        return open_stream(self, Completed, fn, items, buffer, options)

    def run_from_thread(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> V:
        """Submit a job from another thread and wait for its result. Like `Pool.run_from_thread`."""
        return cast("V", run_from_thread(self, fn, args, options))

    def submit_from_thread(
        self,
        fn: Callable[[Unpack[Ts]], Awaitable[V]],
        *args: Unpack[Ts],
        **options: Unpack[JobOptions],
    ) -> Future[V]:
        """Submit a job from another thread without waiting. Like `Pool.submit_from_thread`."""
        return submit_from_thread(self, fn, args, options)
