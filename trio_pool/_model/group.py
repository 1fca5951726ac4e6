"""The record of a group of jobs and its reserved workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .states import JobState

if TYPE_CHECKING:
    from .._policies.rate_meter import Amount

J = TypeVar("J")
W = TypeVar("W")

RUNNING = JobState.RUNNING


class GroupRecord(Generic[J, W]):
    """The record of a group, generic in the types of its jobs and workers.

    Arguments:
      name: the group's name.
      max_running: how many of the group's attempts may run at once.
      reserve: how many places to reserve for the group.
      must_succeed: whether the first dead job of the group ends the whole group.

    Attributes:
      handle: the group that users hold.
      is_gate: whether the group's jobs are queued apart from others, because the group limits its jobs or
          reserves places.
      opener: the run of a job that occupies a place, or has lent it, while the job waits for the
          group's jobs; None if the group was opened elsewhere.
      task: the task that runs the group's block.
      awaited: how many jobs wait for the group's end.
      surplus: how many more workers are busy with the group's jobs than there are running jobs in the group.
      workers: the workers with reserved places, and how many.
      reserved: how many places are reserved for the group.
      held: how many of its jobs wait because as many run as ``max_running`` allows.
      live: the jobs that have not ended.
      line: the jobs whose submitters wait for a place in the queue; for a graph, the key.
      count: how many jobs are in each state, including ended ones.
      used: what the group's jobs have used in total, by units.
    """

    __slots__ = (
        "awaited",
        "count",
        "failures",
        "handle",
        "held",
        "is_gate",
        "line",
        "live",
        "max_running",
        "must_succeed",
        "name",
        "opener",
        "queue_peak",
        "reserve",
        "reserved",
        "retries",
        "surplus",
        "task",
        "used",
        "workers",
    )

    def __init__(self, name: str | None, max_running: float, reserve: int, must_succeed: bool) -> None:
        self.handle: Any = None
        self.name: str | None = name
        self.max_running: float = max_running
        self.reserve: int = reserve
        self.must_succeed: bool = must_succeed
        self.is_gate: bool = max_running != math.inf or reserve > 0
        self.opener: Any = None
        self.task: object = None
        self.awaited: int = 0
        self.surplus: int = 0
        self.workers: dict[W, int] = {}
        self.reserved: int = 0
        self.held: int = 0
        self.live: dict[J, None] = {}
        self.line: dict[J, None] = {}
        self.count: dict[JobState, int] = dict.fromkeys(JobState, 0)
        self.failures: int = 0
        self.retries: int = 0
        self.queue_peak: int = 0
        self.used: dict[str, Amount] = {}

    @property
    def is_full(self) -> bool:
        """Whether none of the group's jobs may start now."""
        return self.room <= 0

    @property
    def room(self) -> float:
        """How many more of the group's attempts may run."""
        return self.max_running - self.count[RUNNING] - self.surplus

    def change_of_held(self) -> int:
        """Count again how many of its jobs wait because of its bound; return by how much the number has changed."""
        is_full = self.max_running <= self.count[RUNNING] + self.surplus
        before, self.held = self.held, self.count[JobState.QUEUED] if is_full else 0
        return self.held - before

    @property
    def lacks(self) -> int:
        """How many more reserved places the group waits for."""
        return self.reserve - self.reserved

    def note_queued(self) -> None:
        """Update the peak after a job of the group has begun to wait for a worker."""
        self.queue_peak = max(self.queue_peak, self.count[JobState.QUEUED])

    def note(self, job: J, old: JobState | None, state: JobState) -> bool:
        """Record a job's change of state, and return whether it was the last live job."""
        if old is None:
            self.live[job] = None
        else:
            self.count[old] -= 1
        self.count[state] += 1
        if not state.is_final:
            return False
        del self.live[job]
        return not self.live
