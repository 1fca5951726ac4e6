"""The interfaces, as the records see them, of the parts of the core that own the records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from .states import JobState


class Crew(Protocol):
    """The workers of a pool; identifies the pool to which a worker belongs."""

    def count_coming(self, worker: Any) -> None: ...
    def note_run(self, run: Any, number: int) -> None: ...


class Watcher(Protocol):
    """The stream to which a job belongs."""

    unread: int
    dump: Callable[[Any], Any] | None

    def end(self, job: Any, old: JobState | None) -> None: ...
    def move(self, old: JobState | None, state: JobState) -> None: ...
