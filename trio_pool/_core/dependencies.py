"""The dependencies between jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._model.history import Why
    from .._model.records import JobRecord
    from .deadlines import Deadlines


class Dependencies:
    """The blocked jobs and their dependencies. The total timeouts of blocked jobs are in the heap of deadlines.

    Attributes:
      dependents: for each job that others wait for, those others.
      missing: for each blocked job, the jobs that it waits for.
    """

    __slots__ = ("_deadlines", "dependents", "missing")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self.dependents: dict[JobRecord, dict[JobRecord, None]] = {}
        self.missing: dict[JobRecord, dict[JobRecord, None]] = {}

    def block(self, job: JobRecord, after: Iterable[JobRecord]) -> None:
        """Block a job until other jobs, which have not ended, have succeeded."""
        self._deadlines.add_blocked(job)
        self.missing[job] = dict.fromkeys(after)
        for other in self.missing[job]:
            self.dependents.setdefault(other, {})[job] = None

    def why_blocked(self, job: JobRecord) -> Why:
        """Why a job is blocked, for its history; empty if it isn't."""
        missing = self.missing.get(job)
        if missing is None:
            return ()
        first, more = next(iter(missing)), len(missing) - 1
        # In words, since the job may live much longer than the others.
        words = "waits for job {} ({}) and {} more" if more else "waits for job {} ({})"
        return (words, first.id, first.name, more)

    def meet(self, job: JobRecord, other: JobRecord) -> bool:
        """Record that a dependency of a job has succeeded; return whether it was the last one."""
        missing = self.missing[job]
        del missing[other]
        if missing:
            return False
        del self.missing[job]
        self._deadlines.drop_blocked(job)
        return True

    def drop(self, job: JobRecord) -> None:
        """Unblock a job before all its dependencies have succeeded."""
        self._deadlines.drop_blocked(job)
        for other in self.missing.pop(job):
            dependents = self.dependents.get(other)
            if dependents is not None:  # otherwise the other job is just being settled
                del dependents[job]
                if not dependents:
                    del self.dependents[other]

    def settle(self, ended: JobRecord) -> Iterable[JobRecord]:
        """Remove an ended job; return the jobs that wait for it."""
        return self.dependents.pop(ended, ())

    def clear(self) -> None:
        """Remove everything. The caller handles the tickets and the deadlines."""
        self.dependents.clear()
        self.missing.clear()
