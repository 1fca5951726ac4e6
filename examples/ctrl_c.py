"""Ctrl-C for the examples: the work is stopped in good order, and there is a table all the same."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


async def run_until_interrupted(work: Callable[[], Awaitable[None]]) -> bool:
    """Do the work, but stop it at Ctrl-C.

    Returns:
        Whether it was stopped.
    """
    # A KeyboardInterrupt could surface anywhere. A cancellation ends the work in good order wherever it is, and
    # the receiver is still there for those who press the keys again meanwhile.
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_at_each, interrupts, scope)
                await work()
            nursery.cancel_scope.cancel()
    return scope.cancelled_caught


async def cancel_at_each(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()
