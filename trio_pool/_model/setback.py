"""What a job that has failed remembers, whatever its workers are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from .._policies.retry import Placement

W = TypeVar("W")


class Setback(Generic[W]):
    """What a job that has failed remembers for its further attempts.

    Attributes:
      counted: failures that count against ``max_attempts``.
      delay: the seconds before the attempt that comes next, or was last.
      placement: where that is to be.
      front: whether it goes before the jobs that wait.
      failed_on: the workers that it has failed on in this round of the bounce.
      last: the worker that it failed on last.
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
        """It has failed on this worker; ``alone`` holds that and no other."""
        if self.placement == "other" and worker in self.failed_on:
            self.failed_on = frozenset()  # a new round has begun
        # Most jobs fail on one worker at most: they share a set.
        self.failed_on = self.failed_on | {worker} if self.failed_on else alone
        self.last = worker
