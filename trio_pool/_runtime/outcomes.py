"""The exceptions of jobs without a result, and those that leave the block of a pool or a group."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import trio

from .._basics.exceptions import leaves, without_cancellations
from .._basics.is_a import is_a
from .._model.errors import JobCancelledError, JobFailedError, JobTimeoutError
from .._model.states import DeadReason, JobState

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.handles import Job


def without_own_cancellation(scope: trio.CancelScope, error: BaseException | None) -> BaseException | None:
    """Remove the cancellation by the block's own scope, which has been left, from the body's ``error``.

    A cancellation by a scope around the block is kept.
    """
    if error is None or not scope.cancel_called or trio.current_effective_deadline() == -math.inf:
        return error
    return without_cancellations(error)


def come_out(name: str, error: BaseException | None, errors: Sequence[BaseException]) -> None:
    """Raise the outcome of the block of ``name``: the body's ``error`` unchanged, or all errors in a group."""
    if error is None and not errors:
        return
    if error is not None and not errors:
        raise error
    every = list(errors)
    if error is not None and not _is_told(error, errors):
        every.insert(0, error)
    # The context would be the body's exception, which the group already contains or reports.
    raise BaseExceptionGroup(f"{name} ended with errors", every) from None


def _is_told(error: BaseException, errors: Sequence[BaseException]) -> bool:
    """Whether the body's error consists only of dead jobs that the group reports anyway."""
    deaths = [each.job for each in errors if is_a(each, JobFailedError)]
    return all(is_a(leaf, JobFailedError) and leaf.job in deaths for leaf in leaves(error))


def shortfall_of(job: Job[Any]) -> JobFailedError | JobCancelledError:
    """Return the error that explains why an ended job has no result."""
    return failure_of(job) if job.state is JobState.DEAD else JobCancelledError(job)


def failure_of(job: Job[Any]) -> JobFailedError:
    """Return the error of a dead job, with its cause."""
    error = JobFailedError(job)
    cause = job._error
    # If the job ended before its own deadline, the caller's deadline has ended it. That is not a
    # timeout of the job.
    is_over = job._finished_at is not None and job._finished_at >= job._deadline
    if is_over and job.dead_reason is DeadReason.TIMED_OUT and not is_a(cause, JobTimeoutError):
        timeout = JobTimeoutError(job.reason)
        timeout.__cause__ = cause
        cause = timeout
    error.__cause__ = cause
    return error
