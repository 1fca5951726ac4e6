"""Lookups for instruments of several pools: the pool of a job or worker, and the outcome of an attempt."""

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
    """Return the engine of the pool of a job or a worker."""
    if isinstance(thing, Job):
        return cast("Engine", thing._host)
    return cast("Workers", thing._host)._engine


def outcome_of(job: Job[Any], attempt: Attempt) -> Literal["succeeded", "failed", "cut_short"]:
    """Return the outcome of one of the job's attempts. All instruments use this function."""
    error = attempt.error
    if error is None:
        return "succeeded"
    # The function may have failed with the error of another job, or with an error of this job from
    # after its end.
    is_cut = is_a(error, JobCancelledError) and error.job is job and error._tells_of_attempt
    return "cut_short" if is_cut else "failed"
