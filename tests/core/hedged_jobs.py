"""Hedged jobs of a core, their runners, and time that passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, job_on, make_job
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._policies.hedge import Hedge

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import JobRecord, WorkerRecord
    from trio_pool._policies.retry import Placement

ERROR = ValueError("no")


def submit(core: Core, now: float, *, after: float = 1.0, extra: int = 1, **options: Any) -> Job[Any]:
    """A hedged job has entered."""
    return submit_plain(core, now, hedge=Hedge(after, extra), **options)


def submit_plain(core: Core, now: float, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, now) is Admission.ENTERED
    return job


def fail(core: Core, worker: WorkerRecord, now: float, *, placement: Placement = "any") -> JobRecord | None:
    verdict = Verdict(Retry(0.0, placement, front=False, counts=True))
    return core.failed(worker, ERROR, verdict, now)


def runners(core: Core, job: Job[Any]) -> list[WorkerRecord]:
    """The workers that run the job, in the order in which they joined the pool."""
    return [worker for worker in core.roster.by_id.values() if job_on(worker) is job]


def pass_time(core: Core, until: float) -> None:
    """Whatever comes due is dealt with on time."""
    while core.scheduler.deadlines.soonest <= until:
        core.scheduler.advance(core.scheduler.deadlines.soonest)
