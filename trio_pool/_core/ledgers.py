"""What keeps the levels of a pool's limits beyond the end of the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .._model.key_record import KeyRecord
    from .._model.records import Run, WorkerRecord


class Ledger(Protocol):
    """Keeps the levels of a pool's limits; the core tells it what happens, and it lowers levels."""

    def drew(self, run: Run) -> object:
        """A run draws from limits."""
        ...

    def met(self, key: KeyRecord) -> float | None:
        """Lower the levels of a key that may become known; return the time if that has changed any."""
        ...

    def hired(self, worker: WorkerRecord) -> object:
        """Lower the levels of a worker that has joined."""
        ...
