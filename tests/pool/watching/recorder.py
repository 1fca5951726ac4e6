"""An instrument that notes what it is told, and the jobs that it is told of."""

from __future__ import annotations

from typing import Any

import trio

from trio_pool import Attempt, Instrument, Job, Resource, Worker, current_job

EVENTS = [
    "pool_opened",
    "pool_closed",
    "pool_paused",
    "pool_resumed",
    "pool_resting",
    "job_submitted",
    "attempt_started",
    "attempt_ended",
    "job_delayed",
    "job_progress",
    "job_finished",
    "group_opened",
    "group_closed",
    "worker_started",
    "worker_paused",
    "worker_resumed",
    "worker_resting",
    "worker_quarantined",
    "worker_reopening",
    "worker_stopped",
]


class Recorder(Instrument):
    """Notes everything that it is told, in a few words."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def note(self, *words: object) -> None:
        self.log.append(" ".join(str(word) for word in words))

    def pool_opened(self, pool: Any) -> None:
        self.note("pool opened", pool.name)

    def pool_closed(self, pool: Any) -> None:
        self.note("pool closed", pool.name)

    def pool_paused(self, pool: Any) -> None:
        self.note("pool paused", pool.name)

    def pool_resumed(self, pool: Any) -> None:
        self.note("pool resumed", pool.name)

    def pool_resting(self, pool: Any, until: float) -> None:
        self.note("pool resting", pool.name, until)

    def job_submitted(self, job: Job[Any]) -> None:
        self.note("submitted", job.name)

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        self.note("started", job.name, "on", worker.name)

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        outcome = "well" if attempt.error is None else type(attempt.error).__name__
        self.note("ended", job.name, attempt.number, outcome)

    def job_delayed(self, job: Job[Any], until: float) -> None:
        self.note("delayed", job.name, until)

    def job_progress(self, job: Job[Any]) -> None:
        assert job.progress is not None
        self.note("progress", job.name, job.progress.done)

    def group_opened(self, group: Any) -> None:
        self.note("group opened", group.name)

    def group_closed(self, group: Any) -> None:
        self.note("group closed", group.name)

    def job_finished(self, job: Job[Any]) -> None:
        self.note("finished", job.name, job.state.name)

    def worker_started(self, worker: Worker) -> None:
        self.note(worker.name, "started")

    def worker_paused(self, worker: Worker) -> None:
        self.note(worker.name, "paused")

    def worker_resumed(self, worker: Worker) -> None:
        self.note(worker.name, "resumed")

    def worker_resting(self, worker: Worker, until: float) -> None:
        self.note(worker.name, "resting", until)

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.note(worker.name, "reopening", type(error).__name__)

    def worker_stopped(self, worker: Worker) -> None:
        self.note(worker.name, "stopped")

    def of_jobs(self) -> list[str]:
        return [
            line for line in self.log if line.split()[0] in {"submitted", "started", "ended", "delayed", "finished"}
        ]

    def of_workers(self) -> list[str]:
        return [
            line
            for line in self.log
            if line not in self.of_jobs() and not line.startswith(("pool", "group", "progress"))
        ]


async def echo(resource: str) -> str:
    return resource


async def nap(resource: str, seconds: float) -> None:
    await trio.sleep(seconds)


async def report(resource: str) -> None:
    current_job().report(1, 2, "halfway")


async def fail(resource: str) -> None:
    raise ValueError("no luck")


A = [Resource("a", name="A")]
