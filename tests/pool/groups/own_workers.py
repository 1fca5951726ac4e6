"""Which workers a group has for itself, and resources by whose names they are told."""

from __future__ import annotations

from typing import Any

from trio_pool import Job, JobGroup, Resource, Worker


def own(group: JobGroup[Any]) -> list[str]:
    """The names of the workers that the group has for itself."""
    return sorted(worker.name for worker in group.statistics().workers)


def worker_of(job: Job[Any]) -> Worker:
    """The worker that runs it."""
    assert job.worker is not None
    return job.worker


def named(*names: str) -> list[Resource[str]]:
    """Resources that are called like their workers."""
    return [Resource(name, name=name) for name in names]
