"""The task that takes the items of a stream, and the handling of their exceptions."""

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
    """The task that takes a stream's items, if a task is needed.

    The items can keep cancel scopes and nurseries open from one item to the next. These must belong
    to a task of their own, which a nursery surrounds. If the items end and leave scopes or nurseries
    open, that nursery cancels them, which ends only the stream.

    Arguments:
      engine: the engine of the pool.
      items: the items, closed at the end, in the task that owns their open scopes.
      feed: takes the items until there are no more.
      ended: called when the task has ended.

    Attributes:
      has_begun: whether the task has been started.
      failure: the error of the items, until a reader gets it.
      reader: the task that has entered the block, on whose behalf the items are taken.
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
        # Set when the waiting task should check for changes.
        self._news = trio.Event()
        # The failure, if it is a cancellation of the items that the pool didn't cause.
        self._stray: Exception | None = None
        self.has_begun: bool = False
        self.failure: Exception | None = None
        self.reader: trio.lowlevel.Task

    def start(self, context: Context) -> None:
        """Start the task in a copy of ``context``, since a reader that makes room may run in the context itself."""
        self.has_begun = True
        self._engine.start_task(self._run, _NAME, context.copy())

    def stop(self) -> None:
        """Cancel the task."""
        self._scope.cancel()

    async def finish(self) -> None:
        """Cancel the task and wait for its end. A checkpoint."""
        self._scope.cancel()
        await trio.lowlevel.checkpoint()
        if self.has_begun:
            await self._done.wait()

    def wake(self) -> None:
        """Wake the task, if it waits."""
        self._news.set()

    async def wait(self) -> None:
        """Wait until `wake` is called; for the task itself."""
        self._news = trio.Event()
        await self._news.wait()

    def check_asked_for(self, error: trio.Cancelled) -> None:
        """Check that the pool caused a cancellation that has hit the task while it waited for room."""
        if not self._scope.cancel_called:
            words = (
                "the items of a stream were cancelled while the pool waited for room for more: by a cancel scope "
                "that they keep open while they yield, such as that of a timeout or a nursery"
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
        except BaseException as error:  # for example Trio's error about scopes left open by the items
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
            await self._close()  # here, so that an exception from closing has the first one as its context
        else:
            await self._close()
        self._scope.cancel()  # cancels tasks that the items have left running

    async def _close(self) -> None:  # noqa: ASYNC910  # nothing may need closing
        try:
            await self._items.close()
        except BaseException as error:
            self._note(error, GeneratorExit)

    def _note(self, error: BaseException, *expected: type[BaseException]) -> None:
        """Store the errors of the items, without the leaves that the pool itself has caused."""
        if self._scope.cancel_called:
            expected += (trio.Cancelled,)
        rest = without(expected, error)
        if rest is None:
            return
        told = as_error(rest, "taking an item")
        if not is_a(told, Exception):
            self._engine.crash(told)
            return
        if is_a(told, StopAsyncIteration):  # the readers would mistake it for the end of the iteration
            told = RuntimeError("taking an item raised StopAsyncIteration")
            told.__cause__ = rest
        if self.failure is None or self.failure is self._stray:
            self.failure = told
            if told is not rest:
                self._stray = told
        else:
            report("the items of a stream failed again as they were closed", error=told)
