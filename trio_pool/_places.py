"""Core: the places in the queue, and who waits for one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._dependencies import Dependencies
    from ._job import Job
    from ._ledger import Ledger
    from ._queue import ReadyQueue
    from ._roster import Terms


class Admission(enum.Enum):
    """What comes of submitting a job."""

    ENTERED = enum.auto()
    WAITING = enum.auto()
    FULL = enum.auto()
    NO_WORKER = enum.auto()


class Door(enum.Enum):
    """How a job wants to enter."""

    ALWAYS = enum.auto()
    QUEUE_UP = enum.auto()
    AT_ONCE = enum.auto()
    IF_IDLE = enum.auto()


class Places:
    """Submitters wait for a place in the queue, first come first served.

    A job that an idle worker may take needs no place, so the jobs are also kept by who may
    take them.

    Invariant: between two events nobody waits while there is a place.
    """

    __slots__ = ("_dependencies", "_ledger", "_limit", "by_taker", "line")

    def __init__(self, ledger: Ledger, limit: float, by_taker: ReadyQueue, dependencies: Dependencies) -> None:
        self._ledger = ledger
        self._dependencies = dependencies
        self._limit = limit
        self.by_taker: ReadyQueue = by_taker
        self.line: dict[Job[Any], None] = {}

    def is_free(self) -> bool:
        """Whether one more job that never started is within the bound."""
        return self._ledger.unstarted < self._limit

    def line_up(self, job: Job[Any], terms: Terms | None) -> None:
        """A submitter has to wait; without terms, as long as the job is blocked."""
        self.line[job] = None
        if terms is not None:
            self.by_taker.push(job, terms)

    def leave(self, job: Job[Any]) -> None:
        """A submitter waits no longer."""
        del self.line[job]
        if job._lane is not None:  # or somebody took it from there
            self.by_taker.remove(job)
        elif job in self._dependencies.missing:
            self._dependencies.drop(job)

    def step_in(self, job: Job[Any]) -> None:
        """A submitter waits no longer, but the job goes on being blocked."""
        del self.line[job]

    def withdraw(self, job: Job[Any]) -> None:
        """A submitter waits no longer, and its job is not to enter."""
        self.leave(job)
        job._cancelled = True

    def first(self) -> Job[Any] | None:
        """The job of the submitter that has waited longest, or None."""
        return next(iter(self.line), None)

    def all(self) -> list[Job[Any]]:
        """The jobs of those who wait, first come first."""
        return list(self.line)

    def __len__(self) -> int:
        return len(self.line)
