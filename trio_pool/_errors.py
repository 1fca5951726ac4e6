"""What the library raises, one class for each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ._portable import Portable
from ._words import attempt_lines, counted, shortcomings, title

if TYPE_CHECKING:
    from ._job import Job


class PoolError(Portable, Exception):
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


class _ErrorOfJob(PoolError):
    """An error that tells of one job.

    What it says is put into words when somebody looks, as most of these errors are handled and never
    printed; and then it stays.
    """

    # For type checkers it is a job: that is what nearly everybody has who handles one of these.
    job: Job[Any] | Any
    _text: str | None = None

    def __init__(self, job: Job[Any]) -> None:
        super().__init__(job)
        self.job = job

    def _state(self) -> dict[str, Any]:
        text = str(self)
        return {**super()._state(), "args": (text,), "job": None, "_text": text}


class JobFailedError(_ErrorOfJob):
    """A job is dead: it failed, and no further attempt will be made.

    The ``__cause__`` is the error of the last attempt, or `JobTimeoutError` where the
    job's ``total_timeout`` ended it. Its notes, which a traceback shows below it, are a line
    for each kept attempt.

    Attributes:
      job: the dead `Job`, with its attempts and the reason of its death; None in a copy of the error, pickled or not.
    """

    _notes: list[str] | None = None

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
        if self._text is None:
            attempts = counted(self.job.attempt_count, "attempt")
            self._text = f"{title(self.job)} is dead after {attempts}: {shortcomings(self.job)}"
        return self._text

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_notes": list(self.__notes__)}


class JobCancelledError(_ErrorOfJob):
    """A job was cancelled or discarded, so there is no result to be had.

    As the error of an attempt: it was cut short, whatever became of the job after that.

    Attributes:
      job: the `Job` in question; None in a copy of the error, pickled or not.
    """

    def __init__(self, job: Job[Any]) -> None:
        super().__init__(job)
        # Whether it is the pool's word for how an attempt of the job ended, and not for how the job did.
        self._tells_of_attempt: bool = not job.state.is_final

    def __str__(self) -> str:
        if self._text is None:
            state, reason = self.job.state.name.lower(), self.job.reason
            how = "cut short" if self._tells_of_attempt else f"{state}: {reason}" if reason else state
            self._text = f"{title(self.job)} was {how}"
        return self._text


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


class AttemptTimeoutError(Portable, trio.TooSlowError):
    """An attempt took longer than its ``attempt_timeout`` and was cancelled.

    Recorded as the error of the attempt; never raised inside a job's function.
    """


class JobTimeoutError(Portable, trio.TooSlowError):
    """A job took longer than its ``total_timeout``, all its attempts and waits included.

    Recorded as the error of the attempt that it cut short, and the cause of the job's
    death; never raised inside a job's function.
    """
