"""Health checks that note when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.pool.workers.server import Server
from trio_pool import HealthCheck, Pool, open_pool

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


@attrs.define
class Ping:
    """Notes when it is called with what; takes time, and may fail."""

    seconds: float = 0.0
    error: BaseException | None = None
    shielded: bool = False
    called: list[tuple[str, float]] = attrs.field(factory=list[tuple[str, float]])

    async def __call__(self, resource: str) -> str:
        self.called.append((resource, trio.current_time()))
        with trio.CancelScope(shield=self.shielded):
            await trio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        return "pong"

    @property
    def times(self) -> list[float]:
        return [at for _, at in self.called]


def checked(ping: Any, server: Server | None = None, **options: Any) -> AbstractAsyncContextManager[Pool[str]]:
    """A pool of one worker that is checked after ten idle seconds."""
    check = HealthCheck(ping, every=10, timeout=5)
    lifespan = (server or Server()).connect
    opening: Any = open_pool
    pool: AbstractAsyncContextManager[Pool[str]]
    pool = opening(["a"], **({"lifespan": lifespan, "check": check, "on_dead": "keep"} | options))
    return pool
