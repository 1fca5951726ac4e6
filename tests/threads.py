"""Threads that know nothing of Trio, for the tests of those that call a pool."""

from __future__ import annotations

import threading
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")


class PlainThread:
    """A thread that calls ``fn``, and what comes of it.

    It has the context variables of ``context``, none unless they are given.
    """

    def __init__(self, fn: Callable[..., V], *args: Any, context: Context | None = None) -> None:
        token = trio.lowlevel.current_trio_token()
        self._ended = trio.Event()
        self._outcome: outcome.Outcome[Any]

        def call() -> None:
            self._outcome = outcome.capture((context or Context()).run, fn, *args)
            token.run_sync_soon(self._ended.set)

        self._thread = threading.Thread(target=call)
        self._thread.start()

    async def wait(self) -> Any:
        """Wait for the thread's end; returns or raises what ``fn`` did."""
        with trio.CancelScope(shield=True):
            await self._ended.wait()
        return self.join()

    def join(self) -> Any:
        """The same without letting Trio do anything meanwhile."""
        self._thread.join()
        return self._outcome.unwrap()


async def in_plain_thread(fn: Callable[..., V], *args: Any, context: Context | None = None) -> V:
    """Call ``fn`` in a thread that Trio knows nothing of, and wait for what comes of it."""
    result: V = await PlainThread(fn, *args, context=context).wait()
    return result


async def in_trios_thread(fn: Callable[..., V], *args: Any) -> V:
    """Call ``fn`` in one of Trio's own threads."""
    return await trio.to_thread.run_sync(fn, *args)
