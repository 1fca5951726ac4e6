"""Stands for a web service, so that the recipe needs no network: what answers in its place, and a session with it."""

from __future__ import annotations

from collections import Counter

import httpx
import trio

QUOTAS = {"amber": 40, "basil": 5, "cedar": 40}
"""How many calls the service takes with each key, before it asks for a pause of a second."""

_calls: Counter[str] = Counter()
_pauses: dict[str, float] = {}


async def _answer(request: httpx.Request) -> httpx.Response:
    key = request.headers["Authorization"]
    await trio.sleep(0.05)
    if trio.current_time() < _pauses.get(key, 0.0):  # it says for how long, or it doesn't
        return httpx.Response(429, headers={"Retry-After": "1"} if _calls[key] % 2 else {})
    _calls[key] += 1
    if _calls[key] % QUOTAS[key] == 0:
        _pauses[key] = trio.current_time() + 1.0
    if key == "cedar" and _calls[key] % 3 == 0:
        return httpx.Response(503)
    if key == "cedar" and _calls[key] % 7 == 0:
        await trio.sleep_forever()
    if request.url.path == "/missing":
        return httpx.Response(404)
    return httpx.Response(200, text=f"the page {request.url.path}")


def connect(key: str) -> httpx.AsyncClient:
    """A session that uses one key."""
    return httpx.AsyncClient(
        base_url="https://service.example",
        headers={"Authorization": key},
        transport=httpx.MockTransport(_answer),
    )
