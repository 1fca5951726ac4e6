"""Shell: jobs made from a stream of items, and their results as a stream."""

from __future__ import annotations

import abc
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio

from ._driver import is_in_a_job
from ._feeding import Feeder
from ._window import AsTheyEnd, InOrder, Window

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from ._job import Job
    from ._options import Options
    from ._submitting import Submitting

V = TypeVar("V")
X = TypeVar("X")


class Stream(abc.ABC, Generic[V, X]):
    """An async context manager to be iterated over inside its block.

    Leaving the block cancels the jobs that are left and waits for their ends.
    """

    __slots__ = ("__weakref__", "_engine", "_entered", "_feeder", "_fill", "_left", "_readers", "_window")

    def __init__(
        self,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        buffer: float | None,
        options: Options,
    ) -> None:
        self._engine = engine = pool._engine
        self._window = self._order()(engine.roster, engine.effects, buffer, engine.config.max_queue, self._look)
        self._feeder = Feeder(pool, fn, items, self._window, options, self._wake_readers)
        # What takes more items where a reader has made room for them.
        self._fill: Callable[[], object]
        self._entered = False
        self._left = False
        self._readers = trio.lowlevel.ParkingLot()

    @abc.abstractmethod
    def _order(self) -> type[Window]:
        """In which order the jobs are handed out."""

    @abc.abstractmethod
    def _given(self, job: Job[V]) -> X:
        """What the reader gets of a job whose turn has come."""

    def __aiter__(self) -> AsyncIterator[X]:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream of results can be entered only once")
        # Once the items are being taken, nothing may keep the block from being entered.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._fill = self._feeder.begin()
        self._entered = True
        await trio.lowlevel.cancel_shielded_checkpoint()
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        self._wake_readers()
        with trio.CancelScope(shield=True):
            await self._feeder.finish()
            taken = self._window.all()
            for job in taken:
                job.cancel()
            for job in taken:
                await self._engine.wait_for_end(job)
                self._engine.deal_with(job)
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> X:
        window = self._window
        has_waited = False
        while not (has_waited and window.ready):
            if self._left:
                raise trio.ClosedResourceError("the block of these results has been left")
            if window.ready:
                await trio.lowlevel.checkpoint()
            else:
                await self._wait_for_more()
                # Or it would see the end of a job that has been cancelled with it, and not its own.
                await trio.lowlevel.checkpoint_if_cancelled()
            has_waited = True
        job = window.ready.popleft()
        self._fill()
        return self._given(job)

    async def _wait_for_more(self) -> None:
        """Nothing can be handed out now: wait until that may have changed, or say that it won't."""
        if not self._entered:
            raise RuntimeError("enter the stream of results first: async with pool.map(...)")
        window = self._window
        if self._feeder.has_ended and not window.pending:
            await trio.lowlevel.checkpoint()
            error = self._feeder.take_error()
            raise StopAsyncIteration if error is None else error
        if is_in_a_job():
            with self._engine.waiting_for(self._awaited, for_any=True):
                if not window.ready:  # that the job begins to wait may have led to it
                    await self._park()
        else:
            await self._park()

    async def _park(self) -> None:
        self._window.readers += 1
        try:
            await self._readers.park()
        finally:
            self._window.readers -= 1

    def _awaited(self) -> Iterable[Job[Any]]:
        """The jobs of which one has to end before a reader goes on; none if others may come before that."""
        return self._window.awaited(self._feeder.may_bring_more)

    def _look(self) -> None:
        """Something may be handed out, or taken."""
        if self._window.ready:
            self._wake_readers()
        self._feeder.look()

    def _wake_readers(self) -> None:
        self._readers.unpark_all()


class Mapped(Stream[V, V]):
    """The results in the order of the items."""

    __slots__ = ()

    def _order(self) -> type[Window]:
        return InOrder

    def _given(self, job: Job[V]) -> V:
        return self._engine.result_of(job)


class Completed(Stream[V, "Job[V]"]):
    """The jobs in the order in which they end."""

    __slots__ = ()

    def _order(self) -> type[Window]:
        return AsTheyEnd

    def _given(self, job: Job[V]) -> Job[V]:
        self._engine.deal_with(job)
        return job
