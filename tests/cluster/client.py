"""A program that submits jobs and waits for them, in the process of the test."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from tests.cluster.gate import BODY

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from types import ModuleType

    from streaq import Worker
    from streaq.task import Task, TaskResult

LONG = 120.0
"""Seconds after which what should have come is taken for lost."""

DIGEST = hashlib.sha256(BODY).hexdigest()


class Client:
    """Made by `connect`."""

    def __init__(self, submit: ModuleType, engine: Worker[Any]) -> None:
        self.engine = engine
        self._fetch_file = submit.Tasks(engine).fetch_file
        self._wait_for = submit.wait_for

    async def enqueue(self, *paths: str, digest: str = DIGEST) -> list[Task[Any, Any]]:
        return await self.enqueue_sources([(path, digest) for path in paths])

    async def enqueue_sources(self, sources: Sequence[tuple[str, str]]) -> list[Task[Any, Any]]:
        jobs = [self._fetch_file.enqueue(path, digest) for path, digest in sources]
        await self.engine.enqueue_many(jobs)
        return jobs

    async def wait_for(self, jobs: Sequence[Task[Any, Any]]) -> list[TaskResult[Any]]:
        """Wait for all of them at once; their results in the same order."""
        results: dict[str, TaskResult[Any]] = {}

        async def wait(job: Task[Any, Any]) -> None:
            results[job.id] = await self._wait_for(job)

        async with trio.open_nursery() as nursery:
            for job in jobs:
                nursery.start_soon(wait, job)
        return [results[job.id] for job in jobs]


@asynccontextmanager
async def connect(submit: ModuleType, broker: str, waiters: int = 16) -> AsyncGenerator[Client]:
    """The block has to end within `LONG` seconds."""
    engine = submit.connect_submitter(broker, waiters=waiters)
    with trio.fail_after(LONG):
        async with engine:
            yield Client(submit, engine)
