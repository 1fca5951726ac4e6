"""Shell: jobs made from a stream of items, and their results as a stream."""

from __future__ import annotations

import abc
import inspect
from collections import deque
from collections.abc import AsyncIterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

from ._engine import logger
from ._errors import PoolClosedError
from ._job import has_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

    from ._base import BasePool
    from ._job import Job
    from ._options import Options

V = TypeVar("V")
X = TypeVar("X")

_END = object()


class Stream(abc.ABC, Generic[V, X]):
    """An async context manager to be iterated over inside its block.

    One task of the pool's takes the items and submits them, as long as fewer than
    ``buffer`` of them have been taken whose job has not been handed out. Leaving the block
    cancels the jobs that are left and waits for their ends.
    """

    def __init__(
        self,
        pool: BasePool,
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        buffer: int | None,
        options: Options,
    ) -> None:
        self._pool = pool
        self._engine = pool._engine
        self._fn = fn
        self._items = items
        self._buffer = buffer
        self._options = options
        # The jobs of the items that have been taken, as long as they aren't handed out.
        self._taken: dict[Job[V], None] = {}
        self._feeding = trio.CancelScope(shield=True)
        self._fed = trio.Event()
        self._entered = False
        self._left = False
        self._error: Exception | None = None
        # Who waits for something to change: the feeder for a place, others for a job.
        self._feeder_lot = trio.lowlevel.ParkingLot()
        self._reader_lot = trio.lowlevel.ParkingLot()

    @abc.abstractmethod
    def _submitted(self, job: Job[V]) -> None:
        """A job has been made from the next item."""

    @abc.abstractmethod
    async def _next(self) -> X:
        """Wait for the next result; `_NothingYet` if no job is there to wait for."""

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream of results can be entered only once")
        # Once the items are being taken, nothing may keep the block from being entered.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._entered = True
        self._engine.start_task(self._feed, "<items of a stream>")
        self._engine.streams.add(self)
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
        self._reader_lot.unpark_all()
        self._feeding.cancel()
        with trio.CancelScope(shield=True):
            await self._fed.wait()
            if self._error is not None:  # too late for the reader
                logger.error("the items of a stream failed unnoticed", exc_info=self._error)
            taken = list(self._taken)  # another task may be reading still
            for job in taken:
                job.cancel()
            for job in taken:
                await self._engine.wait_for(job, has_ended)
                self._engine.deal_with(job)
        self._taken.clear()
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    def __aiter__(self) -> AsyncIterator[X]:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> X:
        if not self._entered:
            raise RuntimeError("enter the stream of results first: async with pool.map(...)")
        while True:
            if self._left:
                raise trio.ClosedResourceError("the block of these results has been left")
            try:
                return await self._next()
            except _NothingYet:
                pass
            if self._fed.is_set():
                await trio.lowlevel.checkpoint()
                if self._error is not None:
                    error, self._error = self._error, None
                    raise error
                raise StopAsyncIteration
            await self._reader_lot.park()

    def _hand_out(self, job: Job[V]) -> None:
        """A job's turn has come, so there is a place for another."""
        self._taken.pop(job, None)
        self._feeder_lot.unpark_all()

    async def _feed(self) -> None:  # noqa: ASYNC910  # the body of a task
        """The task that takes the items. What they raise is for the reader."""
        with self._feeding:
            try:
                try:
                    await self._take_all()
                finally:
                    if inspect.isasyncgen(self._items):
                        await cast("Any", self._items).aclose()
            except Exception as error:
                self._error = error
            except trio.Cancelled:
                raise
            except BaseException as error:
                self._engine.crash(error)
        if self._feeding.cancelled_caught and not self._left:
            self._error = PoolClosedError("the pool ended before the items did")
        self._fed.set()
        self._reader_lot.unpark_all()
        self._engine.streams.discard(self)

    async def _take_all(self) -> None:
        following = _iterate(self._items)
        while True:
            while len(self._taken) >= self._limit():
                await self._feeder_lot.park()
            item = await following()
            if item is _END:
                return
            job = await self._pool._submit(self._fn, (item,), self._options)
            self._taken[job] = None
            self._submitted(job)
            self._reader_lot.unpark_all()

    def _limit(self) -> int:
        return self._buffer or 2 * max(1, len(self._engine.roster.seats))


class _NothingYet(Exception):
    """Nothing has been submitted that is still to be handed out."""


class Mapped(Stream[V, V]):
    """The results in the order of the items."""

    _turns: deque[Job[V]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._turns = deque()

    def _submitted(self, job: Job[V]) -> None:
        self._turns.append(job)

    async def _next(self) -> V:
        if not self._turns:
            raise _NothingYet
        job = self._turns.popleft()
        try:
            await self._engine.wait_for(job, has_ended)
        except BaseException:
            self._turns.appendleft(job)
            raise
        self._hand_out(job)
        return self._engine.result_of(job)


class Completed(Stream[V, "Job[V]"]):
    """The jobs in the order in which they end."""

    _finished: deque[Job[V]]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._finished = deque()

    def _submitted(self, job: Job[V]) -> None:
        if job.state.is_final:
            self._ended(job)
        else:
            self._engine.watch(job, self._note)

    def _note(self, job: Job[V]) -> None:
        if job.state.is_final:
            self._ended(job)

    def _ended(self, job: Job[V]) -> None:
        self._finished.append(job)
        self._reader_lot.unpark_all()

    async def _next(self) -> Job[V]:
        while not self._finished:
            if not self._taken or self._left:
                raise _NothingYet
            await self._reader_lot.park()
        await trio.lowlevel.checkpoint_if_cancelled()
        job = self._finished.popleft()
        self._hand_out(job)
        self._engine.deal_with(job)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return job


def _iterate(items: Iterable[Any] | AsyncIterable[Any]) -> Callable[[], Any]:
    """A function that waits for the next item, or `_END`."""
    if isinstance(items, AsyncIterable):
        return partial(anext, aiter(items), _END)
    iterator = iter(items)

    async def following() -> Any:
        return next(iterator, _END)  # noqa: ASYNC910  # submitting it is one

    return following
