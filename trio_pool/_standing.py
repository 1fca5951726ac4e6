"""Core: how many of the running jobs wait for what has not come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ._job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ._group import Group
    from ._loans import Loan
    from ._waits import Wait

    # What a wait can be for.
    Cause: TypeAlias = "Job[Any] | Group | Loan"


class Standing:
    """Counts the jobs that wait, by event: no count looks at all waits.

    A wait is kept by one cause, the first found of those that it waits for, and is looked at again
    only when that has come; it is kept by all of them if any is enough.

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
        self._changed: list[Cause] = []

    def note(self, cause: Cause) -> None:
        """What a wait may be for has come, as far as that goes."""
        if cause in self.watched:
            self._changed.append(cause)

    def count(self) -> int:
        """How many running jobs wait for what has not come."""
        changed = self._changed
        while changed:
            cause = changed.pop()
            for wait in list(self.watched.get(cause, ())):
                if not wait.for_any:
                    self.look_at(wait)
                elif isinstance(cause, Job) and cause.state.is_final:  # and has not only started
                    self.drop(wait)
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
        if causes:
            self._waiters[wait.waiter] -= 1
            if not self._waiters[wait.waiter]:
                del self._waiters[wait.waiter]
