"""The names of the OpenTelemetry attributes, and the conversion of their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._basics.text import said

if TYPE_CHECKING:
    from .._model.handles import Job
    from .._model.states import DeadReason

POOL_NAME = "trio_pool.pool.name"
POOL_STATE = "trio_pool.pool.state"
PLACE_CAUSE = "trio_pool.place.cause"
WORKER_ID = "trio_pool.worker.id"
WORKER_NAME = "trio_pool.worker.name"
WORKER_STATE = "trio_pool.worker.state"
JOB_ID = "trio_pool.job.id"
JOB_NAME = "trio_pool.job.name"
JOB_KEY = "trio_pool.job.key"
JOB_FUNCTION = "trio_pool.job.function"
JOB_GROUP = "trio_pool.job.group"
JOB_PRIORITY = "trio_pool.job.priority"
JOB_STATE = "trio_pool.job.state"
JOB_OUTCOME = "trio_pool.job.outcome"
JOB_DEAD_REASON = "trio_pool.job.dead_reason"
JOB_REASON = "trio_pool.job.reason"
JOB_ATTEMPTS = "trio_pool.job.attempts"
ATTEMPT_NUMBER = "trio_pool.attempt.number"
ATTEMPT_OUTCOME = "trio_pool.attempt.outcome"
ATTEMPT_USED = "trio_pool.attempt.used."
"""the beginning of the name, followed by a unit"""
ATTEMPT_DELAY = "trio_pool.attempt.delay"
PROGRESS_DONE = "trio_pool.progress.done"
PROGRESS_TOTAL = "trio_pool.progress.total"
PROGRESS_NOTE = "trio_pool.progress.note"
ERROR_TYPE = "error.type"


_MOST_OF_KEY = 128
_INTEGERS = range(-(2**63), 2**63)


def key_of(job: Job[Any]) -> str | int | None:
    """The job's key as an attribute's value, if it is a str, shortened, or an int that fits; otherwise None."""
    key = job.key
    if isinstance(key, str):
        return exportable(said(key, _MOST_OF_KEY))
    return int.__int__(key) if isinstance(key, int) and int.__int__(key) in _INTEGERS else None


def exportable(text: str) -> str:
    """Escape what UTF-8 can't encode: one such name would prevent the exporter from sending the rest."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def value_of(reason: DeadReason) -> str:
    """Return the reason of a job's death as an attribute's value."""
    return reason.name.lower()
