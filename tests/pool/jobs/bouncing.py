"""Functions that tell where they run or fail there, and a policy that tries them elsewhere."""

from __future__ import annotations

import trio

from trio_pool import RetryPolicy

BOUNCE = RetryPolicy.immediate(placement="other", max_attempts=None, front=False)


async def nap(resource: str, seconds: float = 1) -> str:
    await trio.sleep(seconds)
    return resource


class Failing:
    """Fails on the resources given, one call after another, and notes where it was called."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.places: list[str] = []

    async def __call__(self, resource: str) -> str:
        self.places.append(resource)
        await trio.lowlevel.checkpoint()
        if len(self.places) <= self.times:
            raise ValueError("no luck")
        return resource
