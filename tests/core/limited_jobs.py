"""A rate limit, and jobs of a core that limits hold back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, make_job
from trio_pool import JobState, RateLimit, WorkerState
from trio_pool._core.admission import Admission, Door

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord

ONE_IN_TEN = RateLimit(1, per=10.0)
ERROR = ValueError("no")


def submit(core: Core, now: float, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, now) is Admission.ENTERED
    return job


def state_of(item: WorkerRecord | Job[Any]) -> WorkerState | JobState:
    """Its state now: type checkers hold an attribute that they have seen once to stay as it was."""
    return item.state
