"""Core: what is known of a group of jobs, and which workers it has for itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._effects import GroupQuiet
from ._job import JobState

if TYPE_CHECKING:
    from ._effects import Effects
    from ._job import Job
    from ._seat import Seat

RUNNING = JobState.RUNNING


class Group:
    """The scheduler's record of a group.

    Arguments:
      name: what it is called.
      max_running: how many of its attempts may be under way at once.
      reserve: how many workers it is to have for itself.
      must_succeed: whether all of it ends with its first dead job.
      effects: where to note whom to tell.

    Attributes:
      is_gate: whether its jobs can't simply stand among the others.
      opener: the job that holds or has lent a worker while it waits for those of the group;
          None if it is opened elsewhere.
      task: the task whose block it is.
      surplus: how many more workers are busy with its jobs than jobs of it run.
      seats: the workers that it has for itself.
      live: its jobs that have not ended.
      line: those whose submitters wait for a place in the queue; of a graph, the key.
      count: how many jobs are in each state; ended ones stay counted.
    """

    __slots__ = (
        "_effects",
        "attempts",
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
        "seats",
        "submitted",
        "surplus",
        "task",
    )

    def __init__(
        self, name: str | None, max_running: float, reserve: int, must_succeed: bool, effects: Effects
    ) -> None:
        self.name: str | None = name
        self.max_running: float = max_running
        self.reserve: int = reserve
        self.must_succeed: bool = must_succeed
        self._effects = effects
        self.is_gate: bool = max_running != math.inf or reserve > 0
        self.opener: Job[Any] | None = None
        self.task: object = None
        self.surplus: int = 0
        self.seats: dict[Seat, None] = {}
        self.live: dict[Job[Any], None] = {}
        self.line: dict[Job[Any], None] = {}
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
        return self.reserve - len(self.seats)

    @property
    def occupied(self) -> int:
        """How many of the workers that stay in the pool it can't have, since its opener has them."""
        seat = None if self.opener is None else self.opener._worker
        return int(seat is not None and not seat._departing)

    def note_queued(self) -> None:
        """One of its jobs has begun to wait for a worker."""
        self.queue_peak = max(self.queue_peak, self.count[JobState.QUEUED])

    def note(self, job: Job[Any], old: JobState | None, state: JobState) -> None:
        """One of its jobs has changed its state."""
        if old is None:
            self.submitted += 1
            self.live[job] = None
        else:
            self.count[old] -= 1
        self.count[state] += 1
        if state.is_final:
            del self.live[job]
            if not self.live:
                self._effects.append(GroupQuiet(self))
