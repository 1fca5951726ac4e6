"""Functions of jobs on workers with several places, and who is where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_pool import Resource, Worker, current_job

if TYPE_CHECKING:
    from trio_pool import Job, Pool


@attrs.define(eq=False)
class Gauge:
    """A job's function that counts how many run at once on each resource."""

    now: dict[object, int] = attrs.Factory(dict[object, int])
    peak: dict[object, int] = attrs.Factory(dict[object, int])

    async def __call__(self, resource: object, seconds: float = 1.0) -> object:
        self.now[resource] = self.now.get(resource, 0) + 1
        self.peak[resource] = max(self.peak.get(resource, 0), self.now[resource])
        try:
            await trio.sleep(seconds)
        finally:
            self.now[resource] -= 1
        return resource


def crew(**places: float) -> list[Resource[str]]:
    """Resources by their names, with so many places each."""
    return [Resource(name, name=name, max_running=number) for name, number in places.items()]


def my_worker() -> Worker:
    """The worker of the job that calls."""
    worker = current_job().worker
    assert worker is not None
    return worker


def running(pool: Pool[Any]) -> list[int]:
    """How many attempts run on each worker."""
    return [worker.running for worker in pool.statistics().workers]


def names(workers: tuple[Worker, ...]) -> list[str]:
    """What the workers are called."""
    return [worker.name for worker in workers]


def where(job: Job[Any]) -> str:
    """The name of the worker that runs it."""
    assert job.worker is not None
    return job.worker.name
