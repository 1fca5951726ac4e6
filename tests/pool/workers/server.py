"""Lifespans that connect to a server, which may be down or go down."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@attrs.define
class Server:
    """What lifespans connect to; notes when they try, and when they disconnect."""

    error: BaseException | None = None
    tries: list[float] = attrs.field(factory=list[float])
    left: list[float] = attrs.field(factory=list[float])
    # Set to make the open lifespans end by themselves.
    gone: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def connect(self, resource: str = "elastic") -> AsyncGenerator[str]:
        self.tries.append(trio.current_time())
        if self.error is not None:
            raise self.error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait, nursery)
            yield resource
            nursery.cancel_scope.cancel()
        self.left.append(trio.current_time())

    async def _wait(self, nursery: trio.Nursery) -> None:
        await self.gone.wait()
        nursery.cancel_scope.cancel()
