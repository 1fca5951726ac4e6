"""The workers that have left since their resources could not be opened again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from .terms import terms_of

if TYPE_CHECKING:
    from .._model.records import JobRecord, WorkerRecord


class GivenUp:
    """Finds the error that has left a job without any worker."""

    __slots__ = ("_by_tags", "_by_worker")

    def __init__(self) -> None:
        # The latest error for each set of tags, the last one last. So there are not as many as
        # workers that were ever given up.
        self._by_tags: dict[frozenset[str], Exception] = {}
        self._by_worker: WeakKeyDictionary[WorkerRecord, Exception] = WeakKeyDictionary()

    def joined(self, worker: WorkerRecord) -> None:
        """Forget the errors of lost workers that a new worker replaces."""
        for tags in [tags for tags in self._by_tags if tags <= worker._tags]:
            del self._by_tags[tags]

    def note(self, worker: WorkerRecord, error: Exception) -> None:
        """Record that a worker leaves because of an error."""
        worker._last_error = self._by_worker[worker] = error
        self._by_tags.pop(worker._tags, None)
        self._by_tags[worker._tags] = error

    def cause_for(self, job: JobRecord) -> Exception | None:
        """Return the error of the last worker that could have run a job, if it was given up."""
        terms = terms_of(job)
        if terms.pinned is not None:
            return self._by_worker.get(terms.pinned)
        return next((error for tags, error in reversed(self._by_tags.items()) if terms.requires <= tags), None)
