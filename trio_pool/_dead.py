"""The dead letters: dead jobs, kept until somebody takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _validate
from ._job import Job
from ._portable import Handle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Unpack

    from ._options import JobOptions


class DeadLetters(Handle):
    """The dead jobs of a pool, oldest first, at most ``max_dead`` of them.

    A job that is taken out counts as dealt with; so does one whose error was raised to
    somebody, but it stays here. Iterating goes over those that are here when it begins.
    """

    __slots__ = ("_check_caller", "_dropped", "_dropped_open", "_jobs", "_limit", "_requeue")

    def __init__(
        self,
        limit: float,
        requeue: Callable[[Job[Any], JobOptions], Job[Any]],
        check_caller: Callable[[], None] = lambda: None,
    ) -> None:
        self._limit = limit
        self._requeue = requeue
        self._check_caller = check_caller
        self._jobs: dict[int, Job[Any]] = {}
        self._dropped = 0
        # How many of the dropped ones nobody has dealt with; who holds a handle may do so yet.
        self._dropped_open = 0

    @property
    def dropped(self) -> int:
        """How many dead jobs were dropped because there were more than ``max_dead``."""
        return self._dropped

    def pop(self, job: Job[Any] | None = None) -> Job[Any]:
        """Take a job out: the oldest, or the given one.

        Raises:
          KeyError: if there is none, or the given one isn't here.
          TypeError: if it is no job.
        """
        self._check_caller()
        if job is None:
            if not self._jobs:
                raise KeyError("there are no dead letters")
            job = next(iter(self._jobs.values()))
        self._check(job)
        del self._jobs[job._id]
        job._dealt_with = True
        return job

    def pop_all(self) -> list[Job[Any]]:
        """Take all jobs out, oldest first."""
        jobs = list(self)
        for job in jobs:
            self.pop(job)
        return jobs

    def requeue(self, job: Job[Any], **options: Unpack[JobOptions]) -> Job[Any]:
        """Take a job out and submit its function and arguments again, as a new job.

        It is always let in, however full the queue is. A job of a group is one of that group
        again, unless its block has been left or the group was cancelled.

        Arguments:
          job: one of the dead letters.
          **options: options of the new job, instead of those that the dead one had.

        Returns:
          Job: the new job.

        Raises:
          KeyError: if the job isn't here.
          TypeError: if it is no job.
          PoolClosedError: if the workers have been stopped.
          NoEligibleWorkerError: if no worker may take the new job.
        """
        self._check(job)
        fresh = self._requeue(job, options)
        if job in self:
            self.pop(job)
        else:  # the new one has died at once, and this was the oldest
            self._deal_with(job)
        return fresh

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job[Any]]:
        return iter(list(self._jobs.values()))

    def __contains__(self, job: object) -> bool:
        return isinstance(job, Job) and self._jobs.get(job._id) is job

    def __repr__(self) -> str:
        return f"<trio_pool.DeadLetters: {len(self)} kept, {self._dropped} dropped>"

    def _check(self, job: Job[Any]) -> None:
        _validate.instance("job", job, Job)
        if job not in self:
            raise KeyError(f"{job!r} is not among the dead letters")

    def _add(self, job: Job[Any]) -> None:
        self._jobs[job._id] = job
        if len(self._jobs) > self._limit:
            oldest = next(iter(self._jobs.values()))
            del self._jobs[oldest._id]
            self._dropped += 1
            if not oldest._dealt_with:
                self._dropped_open += 1

    def _deal_with(self, job: Job[Any]) -> None:
        if not job._dealt_with:
            job._dealt_with = True
            if job not in self:
                self._dropped_open -= 1

    def _open(self) -> list[Job[Any]]:
        """Those that nobody has dealt with."""
        return [job for job in self._jobs.values() if not job._dealt_with]
