"""The places in the queue, and the line of submitters that wait for one."""

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
    """The result of submitting a job."""

    ENTERED = enum.auto()
    WAITING = enum.auto()
    FULL = enum.auto()
    NO_WORKER = enum.auto()


class Door(enum.Enum):
    """The conditions under which a job may enter."""

    ALWAYS = enum.auto()
    QUEUE_UP = enum.auto()
    AT_ONCE = enum.auto()
    IF_IDLE = enum.auto()


class Party:
    """A graph whose submitter waits, with those of its jobs that have neither entered the pool nor ended yet.

    Attributes:
      key: the job that represents the graph in the line, whatever happens to the job itself.
      jobs: the jobs, in an order in which they may run.
    """

    __slots__ = ("jobs", "key")

    def __init__(self, key: JobRecord, jobs: Sequence[JobRecord]) -> None:
        self.key: JobRecord = key
        self.jobs: dict[JobRecord, None] = dict.fromkeys(jobs)


class WaitingLine:
    """Submitters in line for a place in the queue, first come, first served; a graph also waits for only one place.

    A job that an idle worker may run needs no place. Therefore the jobs are also indexed by their terms.

    Invariant: between two events, no submitter waits while a place is free.

    Attributes:
      limit: how many jobs that have never started the queue may hold.
      line: the waiting submitters, by their job or by the key of their graph.
      by_taker: the waiting jobs, by their terms.
    """

    __slots__ = ("_dependencies", "_lifecycle", "_parties", "by_taker", "limit", "line")

    def __init__(self, lifecycle: Lifecycle, limit: float, by_taker: ReadyQueue, dependencies: Dependencies) -> None:
        self._lifecycle = lifecycle
        self._dependencies = dependencies
        self.limit: float = limit
        self.by_taker: ReadyQueue = by_taker
        self.line: dict[JobRecord, Party | None] = {}
        # Maps each job of a waiting graph to the graph.
        self._parties: dict[JobRecord, Party] = {}

    def is_free(self) -> bool:
        """Whether the queue has a place for one more job that has never started."""
        return self._lifecycle.unstarted < self.limit

    def line_up(self, job: JobRecord, terms: Terms | None) -> None:
        """Add a submitter to the line; ``terms`` is None while the job is blocked."""
        self._append(job, None)
        if terms is not None:
            self.by_taker.push(job, terms)

    def line_up_graph(self, key: JobRecord, jobs: Sequence[JobRecord]) -> None:
        """Add a submitter with a graph to the line; jobs that depend on others are blocked already."""
        party = Party(key, jobs)
        self._append(key, party)
        for job in jobs:
            self._parties[job] = party
            if job not in self._dependencies.missing:
                self.by_taker.push(job, job._options.terms)

    def leave(self, job: JobRecord) -> JobRecord | None:
        """Remove a job from the line; return the key of its submitter if the submitter has no jobs left."""
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
        """Remove a job and all other jobs of its submitter from the line, to let them enter.

        Returns:
          the submitter's key and the jobs; those that depend on others stay blocked.
        """
        party = self._parties.get(job)
        key, jobs = (job, [job]) if party is None else (party.key, list(party.jobs))
        self._take_out(key)
        for each in jobs:
            self._parties.pop(each, None)
            if each._lane is not None:  # otherwise it is blocked, or has been removed from there
                self.by_taker.remove(each)
        return key, jobs

    def withdraw(self, key: JobRecord) -> None:
        """Remove a submitter and all its jobs from the line."""
        for job in self._jobs_of(key):
            self.leave(job)
            job._cancelled = True

    def first(self) -> JobRecord | None:
        """Return a job of the submitter that has waited longest, or None."""
        key = next(iter(self.line), None)
        return None if key is None else self._jobs_of(key)[0]

    def has(self, job: JobRecord) -> bool:
        """Whether the job waits for a place."""
        return job in self._parties or self.line.get(job, False) is None

    def all_of(self, group: Group) -> list[JobRecord]:
        """The waiting jobs of a group's submitters, in order."""
        return [job for key in group.line for job in self._jobs_of(key)]

    def blocked(self) -> list[JobRecord]:
        """The waiting jobs that also depend on others."""
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
