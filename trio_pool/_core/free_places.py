"""Which workers with several places are free, for readers that catch up only from time to time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._model.records import WorkerRecord


class FreePlaces:
    """The free workers with several places, and the order of their latest changes.

    A `Fit` of workers with places reserved for a group reads this only when it searches, and then only what has changed
    since its last search.

    Attributes:
      free: the free workers, each with the number that it has in `WorkerKind.idle`.
      last: grows with each change.
    """

    __slots__ = ("_changes", "free", "last")

    def __init__(self) -> None:
        self.free: dict[WorkerRecord, int] = {}
        self.last: int = 0
        self._changes: dict[WorkerRecord, int] = {}  # the last change of each worker, in order

    def add(self, worker: WorkerRecord, number: int) -> None:
        """Record that a worker is free, or that the number of its free places has changed."""
        self.free[worker] = number
        self.last += 1
        self._changes.pop(worker, None)
        self._changes[worker] = self.last

    def leave(self, worker: WorkerRecord) -> None:
        """Forget a worker that isn't free."""
        self._changes.pop(worker, None)

    def since(self, seen: int, most: int) -> list[WorkerRecord] | None:
        """The workers that have changed since ``last`` was ``seen``; None if they are more than ``most``."""
        found: list[WorkerRecord] = []
        for worker, change in reversed(self._changes.items()):
            if change <= seen:
                break
            if len(found) >= most:
                return None
            found.append(worker)
        return found
