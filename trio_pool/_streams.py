"""Shell: jobs made from a stream of items, and their results as a stream."""

from __future__ import annotations

import abc
import inspect
from collections import deque
from collections.abc import AsyncIterable
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import trio

from ._engine import logger
from ._errors import PoolClosedError
from ._job import has_ended
from ._tracebacks import exc_info_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from types import TracebackType

    from typing_extensions import Self

    from ._job import Job
    from ._options import Options
    from ._submitting import Submitting

V = TypeVar("V")
X = TypeVar("X")

_END = object()


class Stream(abc.ABC, Generic[V, X]):
    """An async context manager to be iterated over inside its block.

    Items are taken and submitted as long as fewer than ``buffer`` of them have been taken
    whose job has not been handed out. Whoever enters the block and whoever takes a result does
    that on the way, since only that makes room; a task of the pool's takes over where it
    means waiting: for async items, and from where the queue has been found full. Leaving the
    block cancels the jobs that are left and waits for their ends.
    """

    def __init__(
        self,
        pool: Submitting,
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
        # Of whoever entered the block: what the jobs see.
        self._context = Context()
        self._iterator: Iterator[Any] | None = None
        # The jobs of the items that have been taken, as long as they aren't handed out.
        self._taken: dict[Job[V], None] = {}
        # The task that takes the items, once there is one; and that no more will be taken.
        self._feeding: trio.CancelScope | None = None
        self._fed = trio.Event()
        self._entered = False
        self._left = False
        self._error: Exception | None = None
        # Who waits for something to change: the feeder for room, others for a job.
        self._feeder_lot = trio.lowlevel.ParkingLot()
        self._reader_lot = trio.lowlevel.ParkingLot()

    @abc.abstractmethod
    def _submitted(self, job: Job[V]) -> None:
        """A job has been made from the next item."""

    @abc.abstractmethod
    async def __anext__(self) -> X:
        """Wait for the next result."""

    def __aiter__(self) -> AsyncIterator[X]:
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream of results can be entered only once")
        # Once the items are being taken, nothing may keep the block from being entered.
        await trio.lowlevel.checkpoint_if_cancelled()
        self._engine.check_open(inside=True)
        self._entered = True
        self._context = copy_context()
        if isinstance(self._items, AsyncIterable):
            self._start_feeding()
        else:
            self._fill()
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
        with trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            if self._feeding is not None:
                self._feeding.cancel()
                await self._fed.wait()
            if self._error is not None:  # too late for the reader
                logger.error("the items of a stream failed unnoticed", exc_info=exc_info_of(self._error))
            taken = list(self._taken)  # another task may be reading still
            for job in taken:
                job.cancel()
            for job in taken:
                await self._engine.wait_for_end(job)
                self._engine.deal_with(job)
        self._taken.clear()
        if error is None:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _wait_for_more(self) -> None:
        """Nothing can be handed out now: wait until that may have changed, or say that it won't."""
        if not self._entered:
            raise RuntimeError("enter the stream of results first: async with pool.map(...)")
        if self._left:
            raise trio.ClosedResourceError("the block of these results has been left")
        if self._fed.is_set():
            await trio.lowlevel.checkpoint()
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            raise StopAsyncIteration
        await self._reader_lot.park()

    def _hand_out(self, job: Job[V]) -> None:
        """A job's turn has come, so there is room for another."""
        self._taken.pop(job, None)
        if self._feeding is not None:
            self._feeder_lot.unpark_all()
        else:
            self._fill()

    def _limit(self) -> int:
        return self._buffer or 2 * (len(self._engine.roster.seats) or 1)

    # Taking the items. What they raise is for the reader.

    def _fill(self) -> None:
        """Take and submit items until there is no more room for them."""
        try:
            limit = self._limit()
            while len(self._taken) < limit and not (self._left or self._fed.is_set()):
                item = self._next_item()
                if item is _END:
                    self._fed.set()
                    return
                try:
                    job = self._pool._submit_nowait(self._fn, (item,), self._options, context=self._context)
                except trio.WouldBlock:
                    self._start_feeding(item)
                    return
                self._taken[job] = None
                self._submitted(job)
        except Exception as error:
            self._error = error
            self._fed.set()
        except BaseException as error:
            self._fed.set()
            self._engine.crash(error)

    @trio.lowlevel.disable_ki_protection
    def _next_item(self) -> Any:
        if self._iterator is None:
            self._iterator = iter(cast("Iterable[Any]", self._items))
        return next(self._iterator, _END)

    def _start_feeding(self, item: Any = _END) -> None:
        """Let a task take the items from here on; an ``item`` that has been taken comes first."""

        async def feed() -> None:  # noqa: ASYNC910  # the body of a task
            await self._feed(feeding, item)

        feeding = trio.CancelScope(shield=True)
        self._engine.start_task(feed, "<items of a stream>", self._context)
        self._engine.feeders.add(feeding)
        self._feeding = feeding

    async def _feed(self, feeding: trio.CancelScope, item: Any) -> None:  # noqa: ASYNC910  # as above
        with feeding:
            try:
                try:
                    await self._take_all(item)
                finally:
                    if inspect.isasyncgen(self._items):
                        await cast("Any", self._items).aclose()
            except Exception as error:
                self._error = error
            except trio.Cancelled:
                raise
            except BaseException as error:
                self._engine.crash(error)
        if feeding.cancelled_caught and not self._left:
            self._error = PoolClosedError("the pool ended before the items did")
        self._fed.set()
        self._reader_lot.unpark_all()
        self._engine.feeders.discard(feeding)

    async def _take_all(self, item: Any) -> None:
        items = aiter(self._items) if isinstance(self._items, AsyncIterable) else None
        while True:
            if item is _END:
                while len(self._taken) >= self._limit():
                    await self._feeder_lot.park()
                item = self._next_item() if items is None else await anext(items, _END)
                if item is _END:
                    return  # noqa: ASYNC910  # the feeder checks before it begins
            job = await self._pool._submit(self._fn, (item,), self._options)
            item = _END
            self._taken[job] = None
            self._submitted(job)
            self._reader_lot.unpark_all()


class Mapped(Stream[V, V]):
    """The results in the order of the items."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._turns: deque[Job[V]] = deque()

    def _submitted(self, job: Job[V]) -> None:
        self._turns.append(job)

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> V:
        turns = self._turns
        while self._left or not turns:
            await self._wait_for_more()
        job = turns.popleft()
        try:
            if job.state.is_final:
                await trio.lowlevel.checkpoint()
            else:
                await self._engine.wait_for(job, has_ended)
        except BaseException:
            turns.appendleft(job)
            raise
        self._hand_out(job)
        return self._engine.result_of(job)


class Completed(Stream[V, "Job[V]"]):
    """The jobs in the order in which they end."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._finished: deque[Job[V]] = deque()

    def _submitted(self, job: Job[V]) -> None:
        if job.state.is_final:
            self._ended(job)
        else:
            self._engine.watch(job, self._note)
            if self._feeding is not None and not self._may_bring_more():
                self._reader_lot.unpark_all()  # to see whether any of these can end

    def _note(self, job: Job[V]) -> None:
        if job.state.is_final:
            self._ended(job)

    def _ended(self, job: Job[V]) -> None:
        self._finished.append(job)
        self._reader_lot.unpark_all()

    def _may_bring_more(self) -> bool:
        """Whether another job may come, and end, without any of those that are there."""
        return self._feeding is not None and not self._fed.is_set() and len(self._taken) < self._limit()

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> Job[V]:
        while self._left or not self._finished:
            if self._taken and not self._left and not self._may_bring_more():
                with self._engine.waiting_for(lambda: self._taken, for_any=True):
                    if not self._finished:  # that the job begins to wait may have led to it
                        await self._reader_lot.park()
            else:
                await self._wait_for_more()
        await trio.lowlevel.checkpoint_if_cancelled()
        job = self._finished.popleft()
        self._hand_out(job)
        self._engine.deal_with(job)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return job
