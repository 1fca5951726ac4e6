"""What instruments ask that tell of several pools: where a job or a worker is, how an attempt has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from .._basics.is_a import is_a
from .._model.errors import JobCancelledError
from .._model.handles import Job

if TYPE_CHECKING:
    from .._model.handles import Worker
    from .._model.states import Attempt
    from .._runtime.engine import Engine
    from .._runtime.workers import Workers


def engine_of(thing: Job[Any] | Worker) -> Engine:
    """What the pool of a job or a worker runs on."""
    if isinstance(thing, Job):
        return cast("Engine", thing._host)
    return cast("Workers", thing._host)._engine


def outcome_of(job: Job[Any], attempt: Attempt) -> Literal["succeeded", "failed", "cut_short"]:
    """How one of the job's attempts has ended: the one place where this is decided."""
    error = attempt.error
    if error is None:
        return "succeeded"
    # Another job's, or one of this job once it has ended, may be what the function itself has failed with.
    is_cut = is_a(error, JobCancelledError) and error.job is job and error._tells_of_attempt
    return "cut_short" if is_cut else "failed"
