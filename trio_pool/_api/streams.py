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
from .stream_source import Items

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from typing_extensions import Self

    from .._core.stream_window import Outlet
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
        # The ends of a channel for the window and for the readers; and one more receiving end for the entries that are
        # left unread, since that of the readers may be closed before the last job has ended.
        outlet: Outlet
        outlet, self._results, self._rest = self._open_channel()
        self._window = self._order(engine.roster, engine.commands, buffer, engine.config.max_queue, outlet, self._look)
        self._feeder = self._make_feeder(pool, fn, Items(items), options)
        # Called by a reader that has made room; set when the block is entered.
        self._fill: Callable[[], object]
        self._entered = False

    def _open_channel(self) -> tuple[Outlet, Any, Any]:
        # Unbounded, so that sending never waits; the window limits the number of results.
        outlet, results = trio.open_memory_channel[Any](math.inf)
        return outlet, results, results.clone()

    def _make_feeder(self, pool: Submitting, fn: Callable[..., Any], items: Items, options: ItemSpec) -> Feeder:
        return Feeder(pool, fn, items, options, self._window)

    @abc.abstractmethod
    def _given(self, entry: Any) -> X:
        """Convert an entry that can be read, such as an ended job, to the value that a reader gets."""

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
            await self._end_jobs(self._jobs_left())
        with self._rest:
            for entry in self._unread():
                self._forget(entry)
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    def _jobs_left(self) -> list[Job[Any]]:
        """The jobs that have not ended."""
        return [*self._window.pending]

    async def _end_jobs(self, jobs: list[Job[Any]]) -> None:  # noqa: ASYNC910  # there may be none
        """Cancel jobs and wait for their ends."""
        for job in jobs:
            job.cancel()
        for job in jobs:
            await self._engine.waiting.wait_for_end(job)
            self._engine.deal_with(job)

    def _forget(self, entry: Any) -> None:
        """Drop an entry that will not be read."""
        self._engine.deal_with(entry)

    def _unread(self) -> Iterator[Any]:
        """The unread results, until there are no more."""
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                yield self._rest.receive_nowait()

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> X:
        self._engine.check_caller()
        if not self._entered:
            raise RuntimeError("enter the stream of results first: async with pool.map(...)")
        entry: Any = None
        self._tell("asked")
        with contextlib.suppress(trio.EndOfChannel):
            entry = await self._receive()
        if entry is None:
            self._tell("read")
            await trio.lowlevel.checkpoint()  # receive() is not a checkpoint at the end of the channel
            error = self._feeder.take_error()
            raise StopAsyncIteration if error is None else error
        return self._read(entry)  # noqa: ASYNC910  # receiving is a checkpoint

    def _read(self, entry: Any) -> X:
        """Return what a reader gets for an entry that it has received."""
        self._tell("read")
        self._note_read()
        return self._given(entry)

    def _note_read(self) -> None:
        """Make room for other entries after one has been read."""
        self._window.unread -= 1
        if self._engine.core.waits.readers:
            self._feeder.look_at_readers()  # also for other readers that may have waited for this job
        self._fill()

    async def _receive(self) -> Any:
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

    def _given(self, entry: Job[V]) -> V:
        return self._engine.result_of(entry)


class Completed(Stream[V, "Job[V]"]):
    """The jobs in the order in which they end."""

    __slots__ = ()

    _order = AsTheyEnd

    def _given(self, entry: Job[V]) -> Job[V]:
        self._engine.deal_with(entry)
        return entry


def open_stream(
    pool: Submitting,
    kind: Callable[..., Any],
    fn: Callable[..., Any],
    items: Iterable[Any] | AsyncIterable[Any],
    buffer: float | None,
    options: StreamOptions[Any],
) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Check the arguments and return the stream's block."""
    resolved = checked_options(pool, "map" if kind is Mapped else "as_completed", fn, items, buffer, options)
    return cast("AbstractAsyncContextManager[AsyncIterator[Any]]", kind(pool, fn, items, buffer, resolved))


def checked_options(
    pool: Submitting, call: str, fn: object, items: object, buffer: object, options: StreamOptions[Any]
) -> ItemSpec:
    """Check the arguments of ``map`` and the like, which ``call`` names; return the options."""
    pool._engine.check_caller()
    if not callable(fn):
        raise TypeError(not_callable(fn))
    if not (hasattr(items, "__iter__") or hasattr(items, "__aiter__")):
        raise TypeError(f"items must be an iterable or an async iterable, {validate.got(items)}")
    if buffer is not None:
        validate.size("buffer", buffer)
    given = cast("Mapping[str, object]", options)
    return ItemSpec(given, defaults=pool._defaults, crew=pool._engine.roster, call=call)
