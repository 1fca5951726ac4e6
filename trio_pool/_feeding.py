"""Shell: taking the items of a stream, and what becomes of what they raise."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import trio

from ._engine import logger
from ._error_rule import has_cancellation, leaves, without
from ._errors import PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._job import Job
    from ._options import Options
    from ._submitting import Submitting
    from ._window import Window

END = object()

# To take from one of these runs no code of the program.
CONTAINERS = frozenset({list, tuple, range, dict, set, frozenset, deque, str, bytes})

BATCH = 100  # items that may be taken without letting others run


class Feeder:
    """Makes jobs of a stream's items, as long as there is room for more.

    From Python's own containers whoever makes room takes the items on the way, and a task only where
    jobs make room that back off or have to wait for their turn. All other items are taken by
    a task: they may keep cancel scopes and nurseries open from one to the next, which have to be on a task
    of their own. It has a nursery around it, so that what they leave open there ends the stream and not the pool.

    Arguments:
      pool: what submits the jobs.
      fn: their function.
      items: what to take them from.
      window: where they are counted.
      options: their options.
      tell_readers: called when it may bring no more jobs, so that the readers have to look again.

    Attributes:
      has_ended: whether what is in the window is all there will be, and the error, if any, is known.
    """

    __slots__ = (
        "_context",
        "_done",
        "_engine",
        "_failure",
        "_fn",
        "_has_task",
        "_is_bringing",
        "_is_plain",
        "_items",
        "_iterator",
        "_options",
        "_over",
        "_parked",
        "_placing",
        "_pool",
        "_refusal",
        "_scope",
        "_stray",
        "_tell_readers",
        "_window",
        "has_ended",
    )

    def __init__(
        self,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        window: Window,
        options: Options,
        tell_readers: Callable[[], object],
    ) -> None:
        self._pool = pool
        self._engine = pool._engine
        self._fn = fn
        self._items: Any = items
        self._window = window
        self._options = options
        self._tell_readers = tell_readers
        self._is_plain = type(items) in CONTAINERS
        # Of whoever entered the block: what the jobs see.
        self._context = Context()
        self._iterator: Any = None
        # The scope around the task that takes items, if there is one; the task itself while it waits for room.
        self._scope = trio.CancelScope(shield=True)
        self._has_task = False
        self._done = trio.Event()
        self._parked: trio.lowlevel.Task | None = None
        # The last job while it waits for a place in the queue: nothing is taken meanwhile.
        self._placing: Job[Any] | None = None
        self._is_bringing = False
        # No more are taken.
        self._over = False
        # What the readers are told in the end: that the items failed, that they were cancelled by
        # somebody else than the pool, or that the pool takes no more jobs.
        self._failure: BaseException | None = None
        self._stray: BaseException | None = None
        self._refusal: PoolClosedError | None = None
        self.has_ended: bool = False

    # What the stream asks for.

    def begin(self) -> Callable[[], object]:
        """The block has been entered; returns what a reader has to call who has made room."""
        self._engine.check_open(inside=True)
        self._context = copy_context()
        self._engine.feeders[self] = None
        if not self._is_plain:
            self._start()
            return self.look
        self._iterator = iter(self._items)
        self._take_plain()
        # As if whoever has entered the block did it.
        return partial(self._context.run, self._take_plain)

    def look(self) -> None:
        """There may be room for more."""
        if self._window.is_wanted and self._window.room_if_held > 0:
            self._rouse()

    @property
    def may_bring_more(self) -> bool:
        """Whether another job may come without any of those ending that are there."""
        if self._over:
            return False
        return self._is_bringing or (self._placing is None and self._window.room > 0)

    def take_error(self) -> BaseException | None:
        """Why no more jobs come, for the one reader that asks first; None if the items have been exhausted."""
        error = self._failure or self._refusal
        self._failure = self._refusal = None
        return error

    def stop(self) -> None:
        """The pool ends."""
        if not self._over:
            self._end(PoolClosedError("the pool ended before the items did"))
        self._scope.cancel()

    async def finish(self) -> None:
        """The block is being left, and whoever leaves it can't be cancelled."""
        self._over = True
        self._window.is_wanted = False
        job = self._placing
        if job is not None and self._engine.withdraw(job):
            self._placing = None
            self._window.drop(job)
        self._scope.cancel()
        if self._has_task:
            await self._done.wait()
        else:
            await trio.lowlevel.checkpoint()
        del self._engine.feeders[self]
        if self._failure is not None:  # too late for the reader
            logger.error("the items of a stream failed unnoticed", exc_info=self._failure)

    # Taking the items.

    def _take_plain(self) -> None:
        """Take what there is room for from a container."""
        window = self._window
        number = window.room
        if number > BATCH:
            number = BATCH
        try:
            while number > 0 and not (self._over or self._placing):
                number -= 1
                item = next(self._iterator, END)
                if item is END:
                    self._end()
                else:
                    self._submit(item)
        except Exception as error:
            self._failure = error
            self._end()
        else:
            window.is_wanted = not (self._over or self._placing)

    def _submit(self, item: Any) -> None:
        """Make a job of an item that has been taken."""
        window, pool = self._window, self._pool
        job = pool._make_job(self._fn, (item,), self._options)
        try:
            if pool._lines_up(job):
                self._placing = job
                self._engine.call_when_placed(job, self._placed)
        except PoolClosedError as error:
            self._end(error)
            return
        window.take(job)
        if window.readers and window.is_news(self.may_bring_more):
            self._tell_readers()

    def _placed(self, error: Exception | None) -> None:
        """A job that waited for a place in the queue has got it, or never will."""
        job, self._placing = self._placing, None
        if error is not None:
            assert job is not None
            self._window.drop(job)
            if not isinstance(error, PoolClosedError):
                self._failure = error
            self._end(error if isinstance(error, PoolClosedError) else None)
        self._rouse()

    def _end(self, refusal: PoolClosedError | None = None) -> None:
        """No more items are taken, perhaps as the pool takes no more jobs."""
        self._over = True
        self._window.is_wanted = False
        self._refusal = self._refusal or refusal
        self.has_ended = self._is_plain
        self._tell_readers()

    # The task.

    def _start(self) -> None:
        self._has_task = True
        self._engine.start_task(self._run, "<items of a stream>", self._context)

    def _rouse(self) -> None:
        """Let the task look, and start it if it is needed for the first time."""
        self._window.is_wanted = False
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None
        elif not (self._has_task or self._over):
            self._start()

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:  # noqa: ASYNC910  # the body of a task
        """Watch over the task that takes the items."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._feed, name="<items of a stream>")
        except BaseException as error:  # what they have left open is broken off
            self._note(error)
        self._over = True
        if self._failure is None and self._stray is not None:
            self._failure = RuntimeError(
                "taking the items was cancelled, but not by the pool: a cancel scope or a nursery that they keep open while "
                "they yield was cancelled or its time passed, or they raised an old Cancelled again"
            )
            self._failure.__cause__ = self._stray
        self._window.is_wanted = False
        self.has_ended = True
        self._done.set()
        self._tell_readers()

    @trio.lowlevel.enable_ki_protection
    async def _feed(self) -> None:  # noqa: ASYNC910  # the body of a task
        try:
            await (self._take_plain_ones() if self._is_plain else self._take_all())
        except BaseException as error:
            self._note(error)
            await self._close()  # here, so that what it raises has the other one for its context
        else:
            await self._close()
        self._scope.cancel()  # what the items have left open goes on no longer

    async def _take_plain_ones(self) -> None:
        while not self._over:
            self._take_plain()
            await self._wait_for_room()

    async def _take_all(self) -> None:
        at_once = 0
        self._iterator = self._begin()
        while True:
            at_once += 1
            if self._is_held_up or at_once > BATCH:
                at_once = 0
                await self._wait_for_room()
            if self._over:
                return  # noqa: ASYNC910  # there has been no item to take
            self._is_bringing = True
            item = await self._next()
            self._is_bringing = False
            if item is END:
                self._end()
                return
            self._submit(item)

    @property
    def _is_held_up(self) -> bool:
        return not self._over and (self._placing is not None or self._window.room <= 0)

    async def _wait_for_room(self) -> None:
        if not self._is_held_up:
            await trio.lowlevel.checkpoint()
        window = self._window
        while self._is_held_up:
            first = window.next
            if self._placing is None and window.room_if_held > 0 and first is not None:
                # Jobs that end at one instant do so in any order: this one may be about to.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                if first is window.next:
                    window.held_by = first
                continue
            self._parked = trio.lowlevel.current_task()
            window.is_wanted = self._placing is None
            await trio.lowlevel.wait_task_rescheduled(self._abandon)

    def _abandon(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None
        self._window.is_wanted = False
        return trio.lowlevel.Abort.SUCCEEDED

    # Code of the program, in which Ctrl-C may strike as ever.

    @trio.lowlevel.disable_ki_protection
    def _begin(self) -> Any:
        return aiter(self._items) if isinstance(self._items, AsyncIterable) else iter(self._items)

    @trio.lowlevel.disable_ki_protection
    async def _next(self) -> Any:
        if not isinstance(self._items, AsyncIterable):
            return next(self._iterator, END)
        try:
            return await anext(cast("Any", self._iterator))
        except StopAsyncIteration:
            return END

    @trio.lowlevel.disable_ki_protection
    async def _aclose(self) -> None:
        for each in (self._iterator, self._items):
            if inspect.isasyncgen(each):
                await each.aclose()

    async def _close(self) -> None:
        """Close an async generator of items where its cancel scopes are, in its task."""
        try:
            await self._aclose()
        except BaseException as error:
            self._note(error, GeneratorExit)

    def _note(self, error: BaseException, *expected: type[BaseException]) -> None:
        """Tell apart what was raised, leaf by leaf: what the pool has asked for is nobody's business."""
        if self._scope.cancel_called:
            expected += (trio.Cancelled,)
        rest = without(expected, error)
        if rest is None:
            return
        if any(not isinstance(leaf, (Exception, trio.Cancelled)) for leaf in leaves(rest)):
            self._engine.crash(cast("BaseException", without((trio.Cancelled,), rest)))
        elif has_cancellation(rest):
            self._stray = rest
        elif self._failure is not None:
            logger.error("the items of a stream failed again as they were closed", exc_info=rest)
        elif isinstance(rest, StopAsyncIteration):
            # The reader would take it for the end.
            self._failure = RuntimeError("the items raised StopAsyncIteration")
            self._failure.__cause__ = rest
        else:
            self._failure = rest
