"""What the tests of reopening have in common."""

from __future__ import annotations

from typing import Any

import trio

from trio_pool import Instrument, ResourceBroken, RetryPolicy, Worker

STEADY = RetryPolicy.fixed(10, max_attempts=None)


class Log(Instrument):
    """Notes what is told of workers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def worker_started(self, worker: Worker) -> None:
        self.told.append(("started", worker.name))

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.told.append(("reopening", error))

    def worker_stopped(self, worker: Worker) -> None:
        self.told.append(("stopped", worker.name))


async def breaks(resource: str) -> None:
    raise ResourceBroken


async def nap(resource: str, seconds: float = 5.0) -> float:
    await trio.sleep(seconds)
    return trio.current_time()
