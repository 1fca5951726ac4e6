"""Blocks that tests let end in some way, and a lifespan that can break."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_pool import Lease


class Opened:
    """A lifespan that counts, and that can break."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = 0
        self.breaks = trio.Event()

    @asynccontextmanager
    async def lifespan(self, resource: str) -> AsyncGenerator[str]:
        """Open it: the first time as a1, and so on."""
        self.count += 1
        self.breaks = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break_down, self.breaks)
                yield f"{resource}{self.count}"
                nursery.cancel_scope.cancel()
        finally:
            self.closed += 1

    async def _break_down(self, breaks: trio.Event) -> None:
        await breaks.wait()
        raise OSError("unplugged")


class Rude(BaseException):
    """Not an `Exception`."""


async def stay(lease: Lease[Any], *calls: Callable[[], object]) -> None:
    """Call these in the block, and stay there until it is cancelled."""
    async with lease:
        for call in calls:
            call()
        await trio.sleep_forever()


async def linger(lease: Lease[Any], *calls: Callable[[], object]) -> None:
    """The same, and take three seconds to go."""
    async with lease:
        for call in calls:
            call()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)


async def fail(lease: Lease[Any], error: BaseException, *calls: Callable[[], object]) -> None:
    """Call these in the block, and raise an error there."""
    async with lease:
        for call in calls:
            call()
        raise error


async def fail_when_cancelled(lease: Lease[Any], call: Callable[[], object]) -> None:
    """One task of the block answers the cancellation with a ValueError, the other goes."""

    async def sulk() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ValueError("no") from None

    async with lease, trio.open_nursery() as nursery:
        nursery.start_soon(sulk)
        nursery.start_soon(trio.sleep_forever)
        await trio.lowlevel.checkpoint()
        call()


def no_place() -> None:
    """Called in a block that must not begin."""
    raise AssertionError("there is no place")
