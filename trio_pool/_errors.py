"""What the library raises, one class for each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ._words import attempt_lines, counted, shortcomings

if TYPE_CHECKING:
    from ._job import Job


class PoolError(Exception):
    """The base of this library's own errors.

    Raised as itself only in the group that leaves the pool's block, to tell how many
    dead jobs had to be dropped because more than ``max_dead`` of them were waiting to be
    dealt with.
    """


class PoolClosedError(PoolError, trio.ClosedResourceError):
    """The pool takes no more of these calls: it has been closed, cancelled or left.

    The caller's doing: whoever submits has to stop before the pool does.
    """


class NoEligibleWorkerError(PoolError):
    """No worker of the pool may ever take this job.

    Its ``requires`` names tags that no worker has together, or its ``worker`` has left
    the pool, or the pool has no workers at all. Raised by the call that submits, when the
    pool was opened with ``no_worker="reject"``.
    """


class JobFailedError(PoolError):
    """A job is dead: it failed, and no further attempt will be made.

    The ``__cause__`` is the error of the last attempt, or `JobTimeoutError` where the
    job's ``total_timeout`` ended it. Its notes, which a traceback shows below it, are a line
    for each kept attempt.

    Attributes:
      job: the dead `Job`, with its attempts and the reason of its death.
    """

    # Made when somebody looks: most of these errors are handled, and never printed.
    _notes: list[str] | None = None

    def __init__(self, job: Job[Any]) -> None:
        super().__init__(job)
        self.job = job

    @property
    def __notes__(self) -> list[str]:
        if self._notes is None:
            self._notes = attempt_lines(self.job)
        return self._notes

    @__notes__.setter
    # It can be read and set like the attribute that Python 3.11 declares.
    def __notes__(self, notes: list[str]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._notes = notes

    def __str__(self) -> str:
        job = self.job
        assert job.dead_reason is not None
        attempts = counted(job.attempt_count, "attempt")
        name = " ".join(job.name.split())
        return f"job {job.id} ({name}) is dead after {attempts}: {shortcomings(job)}"


class JobCancelledError(PoolError):
    """A job was cancelled or discarded, so there is no result to be had.

    Attributes:
      job: the `Job` in question.
    """

    def __init__(self, job: Job[Any]) -> None:
        super().__init__(job)
        self.job = job

    def __str__(self) -> str:
        job = self.job
        how = job.state.name.lower() if job.state.is_final else "cut short"
        text = f"job {job.id} ({job.name}) was {how}"
        return f"{text}: {job.reason}" if job.reason else text


class JobNotFinishedError(PoolError):
    """The result of a job was asked for before the job had ended."""


class JobDeadlockError(PoolError):
    """Waiting would never end: what a job waits for can't end before that job does.

    Raised inside a job by what would have waited: ``wait``, ``run``, a group's block, a stream
    of results. Either jobs wait for each other in a circle, or every worker that could
    run what they wait for is held by one of them, or is lent by one and broken. The message
    names them, with their workers, and ``current_job().lend()`` where that is the remedy; in the last case
    it is another attempt.

    Raised also at the end of the block of `Job.lend`, if the job has been cancelled and the job on its
    worker waits for its end: it has no worker then, and must not use the resource any more.
    """


class GraphError(PoolError):
    """A graph of jobs can't be run: it has a cycle, a key that isn't there, or an edge that stands there twice.

    Raised by ``submit_graph`` before the first of its jobs is queued.
    """


class AttemptTimeoutError(trio.TooSlowError):
    """An attempt took longer than its ``attempt_timeout`` and was cancelled.

    Recorded as the error of the attempt; never raised inside a job's function.
    """


class JobTimeoutError(trio.TooSlowError):
    """A job took longer than its ``total_timeout``, all its attempts and waits included.

    Recorded as the error of the attempt that it cut short, and the cause of the job's
    death; never raised inside a job's function.
    """


# Tracebacks, logs and metrics call them what users import.
for _error in [*PoolError.__subclasses__(), PoolError, AttemptTimeoutError, JobTimeoutError]:
    _error.__module__ = "trio_pool"
