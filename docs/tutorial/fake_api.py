"""An API to practise on: it needs no network, and each of its tokens has its own way of being difficult."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass(frozen=True)
class Token:
    """How the API treats a token; "every nth" counts the calls made with it."""

    latency: float
    fails_every: int = 0
    hangs_every: int = 0
    quota: int = 1_000_000  # calls per second


TOKENS = {
    "gold": Token(latency=0.1),
    "silver": Token(latency=0.17),
    "copper": Token(latency=0.1, fails_every=3),
    "tin": Token(latency=0.1, quota=3),
    "lead": Token(latency=0.1, hangs_every=2),
}


@dataclass(frozen=True)
class Response:
    """What comes back: an HTTP status, and a body if it is 200."""

    status: int
    body: str = ""
    retry_after: float = 0.0


class Client:
    """A session with the API. Like a real connection, it serves one call at a time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._token = TOKENS[name]
        self._calls = 0
        self._in_use = False
        self._recent: list[float] = []

    async def get(self, path: str) -> Response:
        """Ask for a page."""
        if self._in_use:
            raise RuntimeError(f"{self.name} is in use by another call")
        self._in_use = True
        try:
            return await self._answer(path)
        finally:
            self._in_use = False

    async def _answer(self, path: str) -> Response:
        now = trio.current_time()
        self._recent = [at for at in self._recent if at > now - 1.0]
        if len(self._recent) >= self._token.quota:
            return Response(429, retry_after=round(self._recent[0] + 1.0 - now, 3))
        self._recent.append(now)
        self._calls += 1
        await trio.sleep(60.0 if self._is_time_to(self._token.hangs_every) else self._token.latency)
        if "missing" in path:
            return Response(404)
        if self._is_time_to(self._token.fails_every):
            return Response(500)
        return Response(200, f"the page {path}")

    def _is_time_to(self, every: int) -> bool:
        return every > 0 and self._calls % every == 0


@asynccontextmanager
async def connect(name: str) -> AsyncGenerator[Client]:
    """Log in with a token, and log out at the end."""
    print(f"{name} logs in")
    await trio.sleep(0.05)
    try:
        yield Client(name)
    finally:
        print(f"{name} logs out")
