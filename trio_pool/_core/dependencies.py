"""Which jobs wait for which others to succeed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._model.records import JobRecord
    from .deadlines import Deadlines


class Dependencies:
    """The blocked jobs, and what blocks them. Their total timeouts are in the heap of deadlines.

    Attributes:
      dependents: by each job that others wait for, those.
      missing: by each blocked job, what it waits for.
    """

    __slots__ = ("_deadlines", "dependents", "missing")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self.dependents: dict[JobRecord, dict[JobRecord, None]] = {}
        self.missing: dict[JobRecord, dict[JobRecord, None]] = {}

    def block(self, job: JobRecord, after: Iterable[JobRecord]) -> None:
        """Let a job wait for others that have not ended."""
        self._deadlines.add_blocked(job)
        self.missing[job] = dict.fromkeys(after)
        for other in self.missing[job]:
            self.dependents.setdefault(other, {})[job] = None

    def meet(self, job: JobRecord, other: JobRecord) -> bool:
        """One that a job waits for has succeeded; returns whether it was the last."""
        missing = self.missing[job]
        del missing[other]
        if missing:
            return False
        del self.missing[job]
        self._deadlines.drop_blocked(job)
        return True

    def drop(self, job: JobRecord) -> None:
        """A job waits no longer, though not everything has succeeded."""
        self._deadlines.drop_blocked(job)
        for other in self.missing.pop(job):
            dependents = self.dependents.get(other)
            if dependents is not None:  # else it is just being settled
                del dependents[job]
                if not dependents:
                    del self.dependents[other]

    def settle(self, ended: JobRecord) -> Iterable[JobRecord]:
        """A job has ended; returns those that wait for it."""
        return self.dependents.pop(ended, ())

    def clear(self) -> None:
        """Nobody waits any more. The tickets and the deadlines are left to the caller."""
        self.dependents.clear()
        self.missing.clear()
