"""Groups of a core with workers set aside for them, and their jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, make_core, make_job
from trio_pool import JobState
from trio_pool._core.admission import Admission, Door

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.pool_config import NoWorker
    from trio_pool._model.records import Group, WorkerRecord

ERROR = ValueError("no")


def submit(core: Core, group: Group | None = None, *, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, group=group, **options)
    assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return job


def workers_of(group: Group) -> list[WorkerRecord]:
    return list(group.workers)


def state_of(job: Job[Any]) -> JobState:
    """Its state now: type checkers hold an attribute that they have seen once to stay as it was."""
    return job.state


def core_with_group(
    *, number: int = 2, reserve: int = 1, no_worker: NoWorker = "reject"
) -> tuple[Core, list[WorkerRecord], Group]:
    """A core with idle workers, the first of which are set aside for a group."""
    core = make_core(no_worker=no_worker)
    workers = [core.add_worker() for _ in range(number)]
    return core, workers, core.open_group(reserve=reserve)
