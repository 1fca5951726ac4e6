"""Core: how many of the running jobs wait for what has not come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._group import Group
    from ._job import Job
    from ._loans import Loan
    from ._waits import Wait
    from ._window import Window

    # What a wait can be for.
    Cause: TypeAlias = "Job[Any] | Group | Loan | Window[Any]"


class Standing:
    """Counts the jobs that wait, by event: no count looks at all waits.

    A wait is kept by one cause, the first found of those that it waits for, and is looked at again
    only when that has come. If any of a stream's jobs is enough, it is kept by the window that they are in.

    Attributes:
      causes_of: gives what a wait is for and has not come.
      watched: by each cause, the waits that are kept by it. Whoever changes one says so by `note`.
    """

    __slots__ = ("_changed", "_kept_by", "_waiters", "causes_of", "watched")

    causes_of: Callable[[Wait], Iterable[Cause]]

    def __init__(self) -> None:
        self.watched: dict[Cause, dict[Wait, None]] = {}
        self._kept_by: dict[Wait, tuple[Cause, ...]] = {}
        # By each job that waits, how many of its waits stand.
        self._waiters: dict[Job[Any], int] = {}
        # Those of the causes that have been noted since the last count.
        self._changed: dict[Cause, None] = {}

    def note(self, cause: Cause) -> None:
        """What a wait may be for has come, as far as that goes."""
        if cause in self.watched:
            self._changed[cause] = None

    def count(self) -> int:
        """How many running jobs wait for what has not come."""
        changed = self._changed
        while changed:
            cause, _ = changed.popitem()
            for wait in list(self.watched[cause]):
                self.look_at(wait)
        return len(self._waiters)

    def look_at(self, wait: Wait) -> None:
        """A wait has begun, or something about it has changed."""
        self.drop(wait)
        causes = tuple(self.causes_of(wait))
        if causes:
            self._kept_by[wait] = causes
            self._waiters[wait.waiter] = self._waiters.get(wait.waiter, 0) + 1
            for cause in causes:
                self.watched.setdefault(cause, {})[wait] = None

    def drop(self, wait: Wait) -> None:
        """A wait is over, or about to be."""
        causes = self._kept_by.pop(wait, ())
        for cause in causes:
            waits = self.watched[cause]
            del waits[wait]
            if not waits:
                del self.watched[cause]
                self._changed.pop(cause, None)
        if causes:
            self._waiters[wait.waiter] -= 1
            if not self._waiters[wait.waiter]:
                del self._waiters[wait.waiter]
