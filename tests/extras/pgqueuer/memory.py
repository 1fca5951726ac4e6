"""A queue of a pool on PgQueuer's own tables in memory."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import trio
from pgqueuer.adapters.inmemory import InMemoryDriver, InMemoryQueries

from trio_pool import open_pool
from trio_pool.pgqueuer import PoolQueue
from trio_pool.pgqueuer._history import OVERSTAYED, History

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from trio_pool import Pool


class Tables(InMemoryQueries):
    """Their delays take no time.

    Attributes:
      returned: the seconds and the reasons of all jobs that went back.
      crashes: how often a process has died with a job, by its identifier; the test says so.
      error: what is raised when the worker asks for jobs.
      is_held: whether it gets none.
    """

    def __init__(self) -> None:
        super().__init__(InMemoryDriver())
        self.returned: list[tuple[float, str]] = []
        self.crashes: dict[int, int] = {}
        self.overstays: dict[int, int] = {}
        self.error: Exception | None = None
        self.is_held = False

    def stop(self) -> None:
        """Nothing waits here."""

    def let_go(self, job: int) -> None:
        """Nothing is counted here."""

    async def dequeue(self, *args: Any, **options: Any) -> Any:
        if self.error is not None:
            raise self.error
        if self.is_held:
            return []
        return await super().dequeue(*args, **options)

    async def retry_job(self, job: Any, delay: timedelta, traceback_record: Any) -> None:
        reason = traceback_record.additional_context["reason"]
        self.returned.append((delay.total_seconds(), reason))
        if reason.startswith(OVERSTAYED):
            self.overstays[job.id] = self.overstays.get(job.id, 0) + 1
        await super().retry_job(job, timedelta(0), traceback_record)

    def history_of(self, job: int) -> History:
        return History(self.crashes.get(job, 0), self.overstays.get(job, 0))

    def jobs(self, *states: str) -> list[tuple[str, bytes | None]]:
        """The entrypoints and payloads of the jobs in these states."""
        return [(job["entrypoint"], job["payload"]) for job in list(self._jobs.values()) if job["status"] in states]

    def ends(self) -> list[str]:
        """How jobs have ended, as the log says."""
        return [row["status"] for row in list(self._log) if row["status"] not in ("queued", "picked")]


class MemoryQueue(PoolQueue):
    """A queue whose tables are in memory. Jobs are submitted before it is consumed."""

    def __init__(self, **options: Any) -> None:
        super().__init__("postgresql://nowhere", **options)
        self.tables = Tables()
        untyped: Any = self
        untyped._submitter = self

    def _open_queries(self, jobs: int) -> Any:
        return self.tables

    def cancel(self, job: int) -> None:
        """Do what PgQueuer does when it hears that a job has been cancelled."""
        consumption: Any = self._consumption
        consumption._loop.call_soon_threadsafe(consumption._manager.job_context[job].cancellation.cancel)

    def enqueue(self, name: str, payload: bytes, priority: int, delay: float) -> int:
        [job] = asyncio.run(self.tables.enqueue(name, payload, priority))
        return int(job)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that other threads do."""
    while not condition():  # noqa: ASYNC110  # they know of no event of Trio's
        await trio.sleep(0.001)


async def processed(queue: MemoryQueue) -> None:
    await until(lambda: not queue.tables.jobs("queued", "picked"))


@asynccontextmanager
async def consuming(queue: MemoryQueue, **options: Any) -> AsyncGenerator[Pool[str]]:
    """A pool that does the jobs; the block waits until all have been processed."""
    async with open_pool(["a", "b"], **options) as pool, queue.consume(pool, grace=0):
        yield pool
        await processed(queue)
