"""The places in the queue, and who waits for one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._model.records import Group, JobRecord, Terms
    from .dependencies import Dependencies
    from .lifecycle import Lifecycle
    from .ready_queue import ReadyQueue


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


class Party:
    """A graph for which a submitter waits: what of it has neither entered nor ended yet.

    Attributes:
      key: the job that stands for it in the line, whatever becomes of that job itself.
      jobs: in an order in which they may run.
    """

    __slots__ = ("jobs", "key")

    def __init__(self, key: JobRecord, jobs: Sequence[JobRecord]) -> None:
        self.key: JobRecord = key
        self.jobs: dict[JobRecord, None] = dict.fromkeys(jobs)


class WaitingLine:
    """Submitters wait for a place in the queue, first come first served; a graph waits for one, too.

    A job that an idle worker may take needs no place, so the jobs are also kept by who may
    take them.

    Invariant: between two events nobody waits while there is a place.

    Attributes:
      line: those who wait, each by its job, or by the key of its graph.
    """

    __slots__ = ("_dependencies", "_lifecycle", "_limit", "_parties", "by_taker", "line")

    def __init__(self, lifecycle: Lifecycle, limit: float, by_taker: ReadyQueue, dependencies: Dependencies) -> None:
        self._lifecycle = lifecycle
        self._dependencies = dependencies
        self._limit = limit
        self.by_taker: ReadyQueue = by_taker
        self.line: dict[JobRecord, Party | None] = {}
        # By each job of a graph that waits, the graph.
        self._parties: dict[JobRecord, Party] = {}

    def is_free(self) -> bool:
        """Whether one more job that never started is within the bound."""
        return self._lifecycle.unstarted < self._limit

    def line_up(self, job: JobRecord, terms: Terms | None) -> None:
        """A submitter has to wait; without terms, as long as the job is blocked."""
        self._append(job, None)
        if terms is not None:
            self.by_taker.push(job, terms)

    def line_up_graph(self, key: JobRecord, jobs: Sequence[JobRecord]) -> None:
        """A submitter has to wait with a graph; those of its jobs that wait for others are blocked already."""
        party = Party(key, jobs)
        self._append(key, party)
        for job in jobs:
            self._parties[job] = party
            if job not in self._dependencies.missing:
                self.by_taker.push(job, job._options.terms)

    def leave(self, job: JobRecord) -> JobRecord | None:
        """A job no longer waits for a place, nor for others; returns the key of a submitter that has nothing left."""
        if job._lane is not None:
            self.by_taker.remove(job)
        else:
            self._dependencies.drop(job)
        party = self._parties.pop(job, None)
        if party is None:
            self._take_out(job)
            return job
        del party.jobs[job]
        if party.jobs:
            return None
        self._take_out(party.key)
        return party.key

    def let_in(self, job: JobRecord) -> tuple[JobRecord, list[JobRecord]]:
        """A job enters, and with it all that its submitter waits with.

        Returns:
          the submitter's key and the jobs, of which those that wait for others go on doing so.
        """
        party = self._parties.get(job)
        key, jobs = (job, [job]) if party is None else (party.key, list(party.jobs))
        self._take_out(key)
        for each in jobs:
            self._parties.pop(each, None)
            if each._lane is not None:  # or it is blocked, or somebody took it from there
                self.by_taker.remove(each)
        return key, jobs

    def withdraw(self, key: JobRecord) -> None:
        """A submitter waits no longer, and nothing that it waits with is to enter."""
        for job in self._jobs_of(key):
            self.leave(job)
            job._cancelled = True

    def first(self) -> JobRecord | None:
        """A job of the submitter that has waited longest, or None."""
        key = next(iter(self.line), None)
        return None if key is None else self._jobs_of(key)[0]

    def has(self, job: JobRecord) -> bool:
        """Whether the job waits for a place."""
        return job in self._parties or self.line.get(job, False) is None

    def all_of(self, group: Group) -> list[JobRecord]:
        """The jobs of those who wait with jobs of a group, first come first."""
        return [job for key in group.line for job in self._jobs_of(key)]

    def blocked(self) -> list[JobRecord]:
        """Those of them that wait for others as well."""
        if not self.line or not self._dependencies.missing:
            return []
        return [job for key in self.line for job in self._jobs_of(key) if job._lane is None]

    def _append(self, key: JobRecord, party: Party | None) -> None:
        self.line[key] = party
        if (group := key._options.group) is not None:
            group.line[key] = None

    def _take_out(self, key: JobRecord) -> None:
        del self.line[key]
        if (group := key._options.group) is not None:
            del group.line[key]

    def _jobs_of(self, key: JobRecord) -> list[JobRecord]:
        party = self.line[key]
        return [key] if party is None else list(party.jobs)

    def __len__(self) -> int:
        return len(self.line)
