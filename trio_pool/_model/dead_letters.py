"""The dead letters: dead jobs, kept until the program removes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._basics.pickling import Handle
from .._policies import validate
from .handles import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Unpack

    from .job_options import JobOptions


class DeadLetters(Handle):
    """The dead jobs of a pool, oldest first, at most ``max_dead`` of them.

    A job that is removed counts as dealt with. A job whose error was raised to a caller counts as
    dealt with too, but stays in the collection. An iteration covers the jobs that are in the
    collection when it begins.
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
        # How many dropped jobs have not been dealt with. A program that has a handle can still deal
        # with such a job.
        self._dropped_open = 0

    @property
    def dropped(self) -> int:
        """How many dead jobs were dropped because there were more than ``max_dead``."""
        return self._dropped

    def pop(self, job: Job[Any] | None = None) -> Job[Any]:
        """Remove and return a job: the oldest, or the given one.

        Raises:
          KeyError: if there is no job, or the given one isn't among the dead letters.
          TypeError: if ``job`` is not a job.
        """
        self._check_caller()
        if job is None:
            if not self._jobs:
                raise KeyError("there are no dead letters")
            job = next(iter(self._jobs.values()))
        self._check(job)
        del self._jobs[job._id]
        _note_dealt_with(job)
        return job

    def pop_all(self) -> list[Job[Any]]:
        """Remove all jobs and return them, oldest first."""
        jobs = list(self)
        for job in jobs:
            self.pop(job)
        return jobs

    def requeue(self, job: Job[Any], **options: Unpack[JobOptions]) -> Job[Any]:
        """Remove a job and submit its function and arguments again, as a new job.

        The new job is always accepted, even if the queue is full. If the dead job belongs to a
        group, the new job does too, unless the group's block has been left or the group was
        cancelled. Its `Job.metadata` is a copy of what the dead job has now.

        Arguments:
          job: one of the dead letters.
          **options: options of the new job, instead of those of the dead one.

        Returns:
          Job: the new job.

        Raises:
          KeyError: if the job isn't among the dead letters.
          TypeError: if ``job`` is not a job.
          PoolClosedError: if the workers have been stopped.
          NoEligibleWorkerError: if no worker can run the new job.
        """
        self._check(job)
        fresh = self._requeue(job, options)
        if job in self:
            self.pop(job)
        else:  # the new job has died at once and pushed out this one, the oldest
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
        validate.instance("job", job, Job)
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
            _note_dealt_with(job)
            if job not in self:
                self._dropped_open -= 1

    def _open(self) -> list[Job[Any]]:
        """The jobs that have not been dealt with."""
        return [job for job in self._jobs.values() if not job._dealt_with]


def _note_dealt_with(job: Job[Any]) -> None:
    assert job._shortfall is not None
    job._shortfall.is_dealt_with = True
