"""The waits of running jobs for others, and how many of these jobs wait for what has not come."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sized

    from .._model.records import Group, JobRecord, Loan

    # What a wait can be for.
    Cause: TypeAlias = "JobRecord | Group | Loan | StreamJobs"


class StreamJobs(Protocol):
    """The jobs of a stream that have not been read."""

    @property
    def ready(self) -> Sized: ...


class Wait:
    """One wait of a running job.

    Attributes:
      waiter: the job that waits.
      task: the one of its tasks that does.
      jobs: gives the jobs that it waits for.
      window: those are its jobs that can't be read yet, and one of them is enough; None if all have to end.
      group: the group that waits for workers of its own here, or None.
      loan: the loan whose end it waits for, to have the worker back, or None.
      outlasts: whether it goes on though its job has been cancelled.
      for_ends: whether it is for the ends of jobs that have been cancelled, come what may.
      number: which wait of the pool it is.
      stuck: if it turns out that it would be for ever, the running jobs that would do so with
          it; then it is about to end.
      lending_helps: whether it would not be for ever had these lent their workers.
      wake: lets whoever waits see that; None while there is nothing to wake.
    """

    __slots__ = (
        "for_ends",
        "group",
        "jobs",
        "lending_helps",
        "loan",
        "number",
        "outlasts",
        "stuck",
        "task",
        "waiter",
        "wake",
        "window",
    )

    def __init__(
        self,
        waiter: JobRecord,
        jobs: Callable[[], Iterable[JobRecord]],
        *,
        window: StreamJobs | None = None,
        for_ends: bool = False,
        outlasts: bool = False,
        group: Group | None = None,
        loan: Loan | None = None,
        task: object = None,
    ) -> None:
        self.task: object = task
        self.for_ends: bool = for_ends
        self.outlasts: bool = outlasts or for_ends or loan is not None  # these are shielded
        self.loan: Loan | None = loan
        self.waiter: JobRecord = waiter
        self.jobs: Callable[[], Iterable[JobRecord]] = jobs
        self.window: StreamJobs | None = window
        self.group: Group | None = group
        self.number: int = 0
        self.stuck: list[JobRecord] = []
        self.lending_helps: bool = False
        self.wake: Callable[[], object] | None = None

    @property
    def can_be_told(self) -> bool:
        """Whether whoever waits can go on before it is over."""
        return not self.for_ends if self.loan is None else self.waiter._cancelled


class Waits:
    """Counts the jobs that wait, by event: no count looks at all waits.

    A wait is kept by one cause, the first found of those that it waits for, and is looked at again
    only when that has come. If any of a stream's jobs is enough, it is kept by the window that they are in.

    Attributes:
      by_waiter: the waits of each job.
      watched: by each cause, the waits that are kept by it. Whoever changes one says so by `note`.
      groups: the groups that have not had all the workers that they want, the first to come first.
    """

    __slots__ = ("_changed", "_kept_by", "_number", "_standing", "by_waiter", "groups", "watched")

    def __init__(self) -> None:
        self._number = 0
        self.by_waiter: dict[JobRecord, dict[Wait, None]] = {}
        self.watched: dict[Cause, dict[Wait, None]] = {}
        self.groups: dict[Group, None] = {}
        self._kept_by: dict[Wait, tuple[Cause, ...]] = {}
        # By each job that waits, how many of its waits stand.
        self._standing: dict[JobRecord, int] = {}
        # Those of the causes that have been noted since the last count.
        self._changed: dict[Cause, None] = {}

    def begin(self, wait: Wait) -> None:
        """A running job begins to wait."""
        self._number += 1
        wait.number = self._number
        self.by_waiter.setdefault(wait.waiter, {})[wait] = None
        self.look_at(wait)

    def end(self, wait: Wait) -> None:
        """It waits no longer."""
        self._drop(wait)
        waits = self.by_waiter[wait.waiter]
        del waits[wait]
        if not waits:
            del self.by_waiter[wait.waiter]

    def is_waiting(self, job: JobRecord) -> bool:
        """Whether any part of a running job waits."""
        return job in self.by_waiter

    def outlasted(self, job: JobRecord) -> None:
        """What a cancelled job waits for still, it goes on waiting for."""
        for wait in self.by_waiter.get(job, ()):
            wait.outlasts = True
            self.look_at(wait)

    def cancelled(self, job: JobRecord) -> None:
        """A running job has been cancelled: that ends those of its waits that are not shielded."""
        for wait in self.by_waiter.get(job, ()):
            self.look_at(wait)

    def note(self, cause: Cause) -> None:
        """What a wait may be for has come, as far as that goes."""
        if cause in self.watched:
            self._changed[cause] = None

    def standing(self) -> int:
        """How many running jobs wait for what has not come."""
        changed = self._changed
        while changed:
            cause, _ = changed.popitem()
            for wait in list(self.watched[cause]):
                self.look_at(wait)
        return len(self._standing)

    def look_at(self, wait: Wait) -> None:
        """A wait has begun, or something about it has changed."""
        self._drop(wait)
        causes = tuple(self._causes_of(wait))
        if causes:
            self._kept_by[wait] = causes
            self._standing[wait.waiter] = self._standing.get(wait.waiter, 0) + 1
            for cause in causes:
                self.watched.setdefault(cause, {})[wait] = None

    def _causes_of(self, wait: Wait) -> Iterable[Cause]:
        """One of those that a wait is for and that have not come, or the window of those; none if it will end."""
        if wait.stuck or (wait.waiter._cancelled and not wait.outlasts):
            return ()
        if wait.loan is not None:
            return (wait.loan,)
        if wait.group is not None:
            return (wait.group,) if wait.group in self.groups else ()
        if wait.window is not None:
            return (wait.window,) if wait.jobs() and not wait.window.ready else ()
        return islice((other for other in wait.jobs() if not other.state.is_final), 1)

    def _drop(self, wait: Wait) -> None:
        """A wait is kept by nothing any more."""
        causes = self._kept_by.pop(wait, ())
        for cause in causes:
            waits = self.watched[cause]
            del waits[wait]
            if not waits:
                del self.watched[cause]
                self._changed.pop(cause, None)
        if causes:
            self._standing[wait.waiter] -= 1
            if not self._standing[wait.waiter]:
                del self._standing[wait.waiter]
