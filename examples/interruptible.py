"""Blocking functions in threads, for callers that can be cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


async def run_interruptible(function: Callable[[], T], interrupt: Callable[[], object]) -> T:
    """Call a blocking function in a thread, and interrupt it if the caller is cancelled.

    A thread can't be cancelled. But a database can be asked to end the statement that the thread waits for. The
    cancellation is raised when both are through, so no thread is left behind that still uses the connection. What the
    function has returned or raised by then is dropped.

    Arguments:
        function: blocks, and is called in a thread.
        interrupt: is called in another thread, and makes ``function`` return or raise soon. It must not raise.
    """
    result: outcome.Outcome[T] | None = None

    async def interrupt_if_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if result is None:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(interrupt)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt_if_cancelled)
        result = await trio.to_thread.run_sync(outcome.capture, function)
        nursery.cancel_scope.cancel()
    return result.unwrap()
