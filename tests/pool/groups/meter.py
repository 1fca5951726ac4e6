"""A function that knows how many of its calls have been under way at once."""

from __future__ import annotations

from collections import Counter

import trio


class Meter:
    """A function that takes a second; knows how many of its calls have been under way at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.calls: Counter[str] = Counter()

    async def __call__(self, resource: str, name: str = "") -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        self.calls[resource] += 1
        try:
            await trio.sleep(1.0)
        finally:
            self.now -= 1
        return name
