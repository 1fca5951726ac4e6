"""What is known of a group of jobs, and which workers it has for itself."""

from __future__ import annotations

import math
from typing import Any, Generic, TypeVar

from .states import JobState

J = TypeVar("J")
W = TypeVar("W")

RUNNING = JobState.RUNNING


class GroupRecord(Generic[J, W]):
    """The record of a group, whatever its jobs and its workers are.

    Arguments:
      name: what it is called.
      max_running: how many of its attempts may be under way at once.
      reserve: how many workers it is to have for itself.
      must_succeed: whether all of it ends with its first dead job.

    Attributes:
      is_gate: whether its jobs can't simply stand among the others.
      opener: the run of a job that fills a place, or has lent it, while it waits for those of the group;
          None if it is opened elsewhere.
      task: the task whose block it is.
      awaited: how many jobs wait for its end.
      surplus: how many more workers are busy with its jobs than jobs of it run.
      workers: the workers that it has for itself.
      live: its jobs that have not ended.
      line: those whose submitters wait for a place in the queue; of a graph, the key.
      count: how many jobs are in each state; ended ones stay counted.
    """

    __slots__ = (
        "attempts",
        "awaited",
        "count",
        "failures",
        "is_gate",
        "line",
        "live",
        "max_running",
        "must_succeed",
        "name",
        "opener",
        "queue_peak",
        "reserve",
        "retries",
        "submitted",
        "surplus",
        "task",
        "workers",
    )

    def __init__(self, name: str | None, max_running: float, reserve: int, must_succeed: bool) -> None:
        self.name: str | None = name
        self.max_running: float = max_running
        self.reserve: int = reserve
        self.must_succeed: bool = must_succeed
        self.is_gate: bool = max_running != math.inf or reserve > 0
        self.opener: Any = None
        self.task: object = None
        self.awaited: int = 0
        self.surplus: int = 0
        self.workers: dict[W, None] = {}
        self.live: dict[J, None] = {}
        self.line: dict[J, None] = {}
        self.count: dict[JobState, int] = dict.fromkeys(JobState, 0)
        self.submitted: int = 0
        self.attempts: int = 0
        self.failures: int = 0
        self.retries: int = 0
        self.queue_peak: int = 0

    @property
    def is_full(self) -> bool:
        """Whether none of its jobs may start now."""
        return self.room <= 0

    @property
    def room(self) -> float:
        """How many more of its attempts may be under way."""
        return self.max_running - self.count[RUNNING] - self.surplus

    @property
    def lacks(self) -> int:
        """How many workers of its own it waits for."""
        return self.reserve - len(self.workers)

    def note_queued(self) -> None:
        """One of its jobs has begun to wait for a worker."""
        self.queue_peak = max(self.queue_peak, self.count[JobState.QUEUED])

    def note(self, job: J, old: JobState | None, state: JobState) -> bool:
        """One of its jobs has changed its state; returns whether it was the last that had not ended."""
        if old is None:
            self.submitted += 1
            self.live[job] = None
        else:
            self.count[old] -= 1
        self.count[state] += 1
        if not state.is_final:
            return False
        del self.live[job]
        return not self.live
