"""The results of a stream of items, as async iterators."""

from __future__ import annotations

import abc
import contextlib
import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

from .._basics.attributes import OnlyAsync
from .._core.stream_window import AsTheyEnd, InOrder, StreamWindow
from .._model.job_options import ItemSpec
from .._policies import validate
from .._runtime.bad_calls import not_callable
from .._runtime.job_context import is_in_a_job
from .._runtime.notify import notify
from .stream_items import Feeder

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from typing_extensions import Self

    from .._model.handles import Job
    from .._model.job_options import StreamOptions
    from .submitting import Submitting

V = TypeVar("V")
X = TypeVar("X")


class Stream(OnlyAsync, abc.ABC, Generic[V, X]):
    """An async context manager that is iterated over inside its block.

    Leaving the block cancels the remaining jobs and waits for their ends.
    """

    _order: type[StreamWindow[Any]]
    """the window's class, which determines the order of the results"""

    __slots__ = ("__weakref__", "_engine", "_entered", "_feeder", "_fill", "_rest", "_results", "_window")

    def __init__(
        self,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        buffer: float | None,
        options: ItemSpec,
    ) -> None:
        self._engine = engine = pool._engine
        # Unbounded, so that sending never waits; the window limits the number of results.
        outlet: trio.MemorySendChannel[Job[Any]]
        self._results: trio.MemoryReceiveChannel[Job[Any]]
        outlet, self._results = trio.open_memory_channel(math.inf)
        # Receives the unread results. The readers' end may be closed before the last job has ended.
        self._rest = self._results.clone()
        self._window = self._order(engine.roster, engine.commands, buffer, engine.config.max_queue, outlet, self._look)
        self._feeder = Feeder(pool, fn, items, options, self._window)
        # Called by a reader that has made room; set when the block is entered.
        self._fill: Callable[[], object]
        self._entered = False

    @abc.abstractmethod
    def _given(self, job: Job[V]) -> X:
        """Convert an ended job to the value that a reader gets."""

    def __aiter__(self) -> AsyncIterator[X]:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        self._engine.check_caller()
        if self._entered:
            raise RuntimeError("a stream of results can be entered only once")
        # After items are taken, entering the block must not be interrupted anymore.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._tell("entered")
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
        self._tell("left")
        self._results.close()
        with trio.CancelScope(shield=True):
            await self._feeder.finish()
            left = [*self._window.pending]
            for job in left:
                job.cancel()
            for job in left:
                await self._engine.waiting.wait_for_end(job)
        with self._rest:
            for job in self._unread():
                self._engine.deal_with(job)
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    def _unread(self) -> Iterator[Job[Any]]:
        """The unread results, until there are no more."""
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                yield self._rest.receive_nowait()

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> X:
        self._engine.check_caller()
        if not self._entered:
            raise RuntimeError("enter the stream of results first: async with pool.map(...)")
        job: Job[Any] | None = None
        self._tell("asked")
        with contextlib.suppress(trio.EndOfChannel):
            job = await self._receive()
        if job is None:
            self._tell("read")
            await trio.lowlevel.checkpoint()  # receive() is no checkpoint at the end of the channel
            error = self._feeder.take_error()
            raise StopAsyncIteration if error is None else error
        self._tell("read")
        self._window.unread -= 1
        if self._engine.core.waits.readers:
            self._feeder.look_at_readers()  # also for other readers that may have waited for this job
        self._fill()
        return self._given(job)  # noqa: ASYNC910  # receiving is a checkpoint

    async def _receive(self) -> Job[Any]:
        try:
            if self._window.unread or not is_in_a_job():
                return await self._results.receive()
            with self._engine.waiting.waiting_for(self._feeder.awaited, window=self._window):
                return await self._results.receive()
        except trio.ClosedResourceError:
            raise trio.ClosedResourceError("the block of these results has been left") from None

    def _tell(self, step: str) -> None:
        if self._engine.instruments:
            notify(self._engine.instruments, "_stream", self._window, step)

    def _look(self) -> None:
        """Check whether there is room for more jobs."""
        self._feeder.look()


class Mapped(Stream[V, V]):
    """The results in the order of the items."""

    __slots__ = ()

    _order = InOrder

    def _given(self, job: Job[V]) -> V:
        return self._engine.result_of(job)


class Completed(Stream[V, "Job[V]"]):
    """The jobs in the order in which they end."""

    __slots__ = ()

    _order = AsTheyEnd

    def _given(self, job: Job[V]) -> Job[V]:
        self._engine.deal_with(job)
        return job


def open_stream(
    pool: Submitting,
    kind: Callable[..., Any],
    fn: Callable[..., Any],
    items: Iterable[Any] | AsyncIterable[Any],
    buffer: float | None,
    options: StreamOptions[Any],
) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Check the arguments and return the stream's block."""
    pool._engine.check_caller()
    name = "map" if kind is Mapped else "as_completed"
    if not callable(fn):
        raise TypeError(not_callable(fn))
    if not (hasattr(items, "__iter__") or hasattr(items, "__aiter__")):
        raise TypeError(f"items must be an iterable or an async iterable, {validate.got(items)}")
    if buffer is not None:
        validate.size("buffer", buffer)
    given = cast("Mapping[str, object]", options)
    resolved = ItemSpec(given, defaults=pool._defaults, crew=pool._engine.roster, call=name)
    return cast("AbstractAsyncContextManager[AsyncIterator[Any]]", kind(pool, fn, items, buffer, resolved))
