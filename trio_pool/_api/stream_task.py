"""The task that takes the items of a stream, and what becomes of what they raise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._basics.exceptions import as_error, without
from .._basics.is_a import is_a
from .._basics.logs import report

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from .._runtime.engine import Engine
    from .stream_source import Items

_NAME = "<items of a stream>"


class FeedingTask:
    """The task in which a stream's items are taken, if there is need of one.

    The items may keep cancel scopes and nurseries open from one to the next, which have to be on
    a task of their own. A nursery is around that task: what they leave open when they end is broken off there, and
    ends nothing but the stream.

    Arguments:
      engine: the engine of the pool.
      items: closed at the end, in the task where the scopes are that they keep open.
      feed: takes the items until there are no more.
      ended: called when the task has ended.

    Attributes:
      has_begun: whether there is one.
      failure: why the items have failed, until a reader is told.
      reader: the task that has entered the block, for which it takes them.
    """

    # fmt: off
    __slots__ = (
        "_done", "_ended", "_engine", "_feed", "_items", "_news", "_scope", "_stray", "failure", "has_begun",
        "reader",
    )
    # fmt: on

    def __init__(
        self, engine: Engine, items: Items, feed: Callable[[], Awaitable[None]], ended: Callable[[], object]
    ) -> None:
        self._engine = engine
        self._items = items
        self._feed = feed
        self._ended = ended
        self._scope = trio.CancelScope(shield=True)
        self._done = trio.Event()
        # For the task when it waits for something to change.
        self._news = trio.Event()
        # The failure if it is a cancellation of the items that the pool has not asked for.
        self._stray: Exception | None = None
        self.has_begun: bool = False
        self.failure: Exception | None = None
        self.reader: trio.lowlevel.Task

    def start(self, context: Context) -> None:
        """Start it in a copy of this context: a reader that makes room may be in the context itself."""
        self.has_begun = True
        self._engine.start_task(self._run, _NAME, context.copy())

    def stop(self) -> None:
        """Cancel it."""
        self._scope.cancel()

    async def finish(self) -> None:
        """Cancel it and wait for its end. A checkpoint."""
        self._scope.cancel()
        await trio.lowlevel.checkpoint()
        if self.has_begun:
            await self._done.wait()

    def wake(self) -> None:
        """Let it go on, if it waits."""
        self._news.set()

    async def wait(self) -> None:
        """For the task itself: wait until something wakes it."""
        self._news = trio.Event()
        await self._news.wait()

    def check_asked_for(self, error: trio.Cancelled) -> None:
        """Check that the pool has asked for a cancellation that has struck the task while it waited for room."""
        if not self._scope.cancel_called:
            words = (
                "the items of a stream were cancelled while the pool waited for room for more: by a cancel scope "
                "that they keep open while they yield, as of a timeout or a nursery"
            )
            self._stray = RuntimeError(words)
            raise self._stray from error

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:  # noqa: ASYNC910  # the body of a task
        task, on_behalf = trio.lowlevel.current_task(), self._engine.waiting.on_behalf
        on_behalf[task] = self.reader
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._take_and_close, name=_NAME)
        except BaseException as error:  # Trio's complaint about what they have left open
            self._note(error)
        del on_behalf[task]
        self._done.set()
        self._ended()

    @trio.lowlevel.enable_ki_protection
    async def _take_and_close(self) -> None:  # noqa: ASYNC910  # the body of a task
        try:
            await self._feed()
        except BaseException as error:
            self._note(error)
            await self._close()  # here, so that what it raises has the other for its context
        else:
            await self._close()
        self._scope.cancel()  # what they have left open goes on no longer

    async def _close(self) -> None:  # noqa: ASYNC910  # there may be nothing to close
        try:
            await self._items.close()
        except BaseException as error:
            self._note(error, GeneratorExit)

    def _note(self, error: BaseException, *expected: type[BaseException]) -> None:
        """Tell apart, leaf by leaf, what the items have raised and what the pool itself has caused."""
        if self._scope.cancel_called:
            expected += (trio.Cancelled,)
        rest = without(expected, error)
        if rest is None:
            return
        told = as_error(rest, "taking an item")
        if not is_a(told, Exception):
            self._engine.crash(told)
            return
        if is_a(told, StopAsyncIteration):  # the readers would take it for the end
            told = RuntimeError("taking an item raised StopAsyncIteration")
            told.__cause__ = rest
        if self.failure is None or self.failure is self._stray:
            self.failure = told
            if told is not rest:
                self._stray = told
        else:
            report("the items of a stream failed again as they were closed", error=told)
