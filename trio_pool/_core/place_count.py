"""How many places workers have in total."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._model.records import WorkerRecord


class PlaceCount:
    """Counts the places of workers, some of which may have no bound."""

    __slots__ = ("_places", "_unbounded")

    def __init__(self) -> None:
        self._places = 0
        self._unbounded = 0

    def add(self, worker: WorkerRecord, sign: int) -> None:
        """Add the places of a worker, or with a ``sign`` of -1 subtract them."""
        if worker._max_running == math.inf:
            self._unbounded += sign
        else:
            self._places += sign * int(worker._max_running)

    @property
    def total(self) -> float:
        """How many places there are; may be infinite."""
        return math.inf if self._unbounded else self._places
