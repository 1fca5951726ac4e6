"""The retry state of a failed job, generic in the type of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .._policies.retry import Placement

W = TypeVar("W")


class Setback(Generic[W]):
    """The retry state of a failed job, used for its further attempts.

    Attributes:
      counted: failures that count against ``max_attempts``.
      delay: the seconds before the next attempt, or before the last one if it has started.
      placement: where the next attempt runs.
      front: whether the job goes before the waiting jobs.
      failed_on: the workers that the job has failed on in this round of the bounce.
      last: the worker that the job failed on last.
    """

    __slots__ = ("counted", "delay", "failed_on", "front", "last", "placement")

    def __init__(
        self,
        counted: int = 0,
        delay: float = 0.0,
        placement: Placement = "any",
        front: bool = False,
        failed_on: frozenset[W] = frozenset(),
        last: W | None = None,
    ) -> None:
        self.counted = counted
        self.delay = delay
        self.placement = placement
        self.front = front
        self.failed_on: frozenset[W] = failed_on
        self.last: W | None = last

    def note(self, worker: W, alone: frozenset[W]) -> None:
        """Record a failure on this worker; ``alone`` is the set of only that worker."""
        if self.placement == "other" and worker in self.failed_on:
            self.failed_on = frozenset()  # start a new round
        # Most jobs fail on at most one worker, so they share that worker's set.
        self.failed_on = self.failed_on | {worker} if self.failed_on else alone
        self.last = worker
