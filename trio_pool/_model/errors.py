"""The exceptions that the library raises, one class for each condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .._basics.pickling import Portable
from .._policies.error_rule import NotOfTheFunction
from .text import attempt_lines, counted, shortcomings, title

if TYPE_CHECKING:
    from .handles import Job
    from .records import JobRecord


class PoolError(Portable, Exception):
    """The base of this library's own errors.

    Raised directly only in the exception group that leaves the pool's block. The error then reports
    how many dead jobs were dropped because more than ``max_dead`` of them had not been dealt with.
    """


class PoolClosedError(PoolError, trio.ClosedResourceError):
    """The pool accepts no more of these calls: it has been closed, cancelled or left.

    The caller's mistake: submitters must stop before the pool does.
    """


class NoEligibleWorkerError(PoolError):
    """No worker of the pool can ever run this job.

    Either no worker has all the tags of its ``requires``, or its ``worker`` has left the pool, or
    the pool has no workers at all. Raised by the submitting call if the pool was opened with
    ``no_worker="reject"``.
    """


class _ErrorOfJob(PoolError):
    """An error about one job.

    The message is built when it is first read and then kept, since most of these errors are handled
    and never printed.
    """

    # Any for type checkers, since nearly all code that handles one of these errors has a job here.
    job: Job[Any] | Any
    _text: str | None = None

    def __init__(self, job: JobRecord) -> None:
        super().__init__(job)
        self.job = job

    def _state(self) -> dict[str, Any]:
        text = str(self)
        return {**super()._state(), "args": (text,), "job": None, "_text": text}


class JobFailedError(_ErrorOfJob):
    """A job is dead: it failed, and there will be no further attempt.

    The ``__cause__`` is the error of the last attempt, or `JobTimeoutError` if the job's
    ``total_timeout`` ended it. The notes, which a traceback shows below the message, have one line
    for each kept attempt.

    Attributes:
      job: the dead `Job`, with its attempts and the reason of its death; None in a copy of the
          error, pickled or not.
    """

    _notes: list[str] | None = None

    @property
    def __notes__(self) -> list[str]:
        if self._notes is None:
            self._notes = attempt_lines(self.job)
        return self._notes

    @__notes__.setter
    # Readable and writable like the attribute that Python 3.11 declares.
    def __notes__(self, notes: list[str]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        self._notes = notes

    def __str__(self) -> str:
        if self._text is None:
            attempts = counted(self.job.attempt_count, "attempt")
            self._text = f"{title(self.job)} is dead after {attempts}: {shortcomings(self.job)}"
        return self._text

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "_notes": list(self.__notes__)}

    @classmethod
    def _of_words(cls, text: str, notes: list[str]) -> JobFailedError:
        """Make the error for a job of another process from its text and notes."""
        error = cls.__new__(cls, text)
        error.__setstate__({"args": (text,), "job": None, "_text": text, "_notes": notes})
        return error


class JobCancelledError(_ErrorOfJob):
    """A job was cancelled or discarded, so it has no result.

    As the error of an attempt: the attempt was cut short, whatever happened to the job afterward.

    Attributes:
      job: the cancelled or discarded `Job`; None in a copy of the error, pickled or not.
    """

    def __init__(self, job: JobRecord) -> None:
        super().__init__(job)
        # Whether the error reports how an attempt of the job ended, and not how the job ended.
        self._tells_of_attempt: bool = not job.state.is_final

    def __str__(self) -> str:
        if self._text is None:
            state, reason = self.job.state.name.lower(), self.job.reason
            how = "cut short" if self._tells_of_attempt else f"{state}: {reason}" if reason else state
            self._text = f"{title(self.job)} was {how}"
        return self._text


class JobNotFinishedError(PoolError):
    """The result of a job was read before the job had ended."""


class JobDeadlockError(PoolError):
    """Waiting would never end: the job that waits and what it waits for block each other.

    Raised inside a job by the call that would have waited: ``wait``, ``run``, a group's block, a
    stream of results. There are three cases. Jobs may wait for each other in a circle. Every worker
    that could run the awaited jobs may be held by one of the waiting jobs. Or a job may have lent
    such a worker, and the worker is broken.

    The message names the jobs and their workers. The message also suggests ``current_job().lend()``
    where that helps; in the third case the remedy is another attempt.

    Also raised at the end of the block of `Job.lend`, if the job has been cancelled and the job on
    its worker waits for the job's end. The job then has no worker, and must not use the resource
    anymore.
    """


class GraphError(PoolError):
    """A graph of jobs can't be run: it has a cycle, an unknown key, or a duplicate edge.

    Raised by ``submit_graph`` before the first job of the graph is queued.
    """


class AttemptTimeoutError(Portable, NotOfTheFunction, trio.TooSlowError):
    """An attempt took longer than its ``attempt_timeout`` and was cancelled.

    Recorded as the error of the attempt; never raised inside a job's function.
    """


class JobTimeoutError(Portable, trio.TooSlowError):
    """A job took longer than its ``total_timeout``, including all attempts and waits.

    Recorded as the error of the attempt that it cut short, and as the cause of the job's death.
    Never raised inside a job's function.
    """
