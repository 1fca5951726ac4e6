"""The waits of running jobs for others, and how many of their runs wait for what has not come."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from .._model.group import GroupRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._model.records import Group, JobRecord, Run

    # What a wait can be for.
    Cause: TypeAlias = "JobRecord | Group | Run | StreamJobs"
    # Gives jobs.
    Jobs: TypeAlias = Callable[[], Iterable[JobRecord]]


class StreamJobs(Protocol):
    """The jobs of a stream that have not been read."""

    unread: int


class Wait:
    """One wait of a running job.

    Arguments:
      run: the run of the job that waits.
      task: the one of its tasks that does.
      awaited: what gives the jobs that it waits for; or the group that waits for workers of its own; or the
          run itself, which is to have the place back that it has lent.
      window: where those jobs are if they can't be read yet, and one of them is enough; None if all have to end.
      outlasts: whether it goes on though its run has been cancelled.
      for_ends: whether it is for the ends of jobs that have been cancelled, come what may.

    Attributes:
      number: which wait of the pool it is.
      stuck: if it turns out that it would be for ever, the runs that would wait with it;
          then it is about to end.
      lending_helps: whether it would not be for ever had these lent their workers.
      wake: lets whoever waits see that; None while there is nothing to wake.
    """

    __slots__ = (
        "for_ends",
        "for_place",
        "group",
        "jobs",
        "lending_helps",
        "number",
        "outlasts",
        "run",
        "stuck",
        "task",
        "wake",
        "window",
    )

    def __init__(
        self,
        run: Run,
        task: object,
        awaited: Jobs | Group | Run,
        *,
        window: StreamJobs | None = None,
        for_ends: bool = False,
        outlasts: bool = False,
    ) -> None:
        self.run: Run = run
        self.task: object = task
        self.for_place: bool = awaited is run
        self.group: Group | None = None
        self.jobs: Jobs = tuple
        if isinstance(awaited, GroupRecord):
            self.group = awaited
        elif not self.for_place:
            self.jobs = cast("Jobs", awaited)
        self.window: StreamJobs | None = window
        self.for_ends: bool = for_ends
        self.outlasts: bool = outlasts or for_ends or self.for_place  # these are shielded
        self.number: int = 0
        self.stuck: list[Run] = []
        self.lending_helps: bool = False
        self.wake: Callable[[], object] | None = None

    @property
    def is_ending(self) -> bool:
        """Whether it is about to end whatever becomes of what it is for: it is told, or cancelled."""
        return bool(self.stuck) or (not self.outlasts and self.run.is_cut)

    @property
    def can_be_told(self) -> bool:
        """Whether whoever waits can go on before it is over."""
        return self.run.job._cancelled if self.for_place else not self.for_ends


class Waits:
    """Counts the runs that wait, by event: no count looks at all waits.

    A wait is kept by one cause, the first found of those that it waits for, and is looked at again
    only when that has come. If any of a stream's jobs is enough, it is kept by the window that they are in.

    Attributes:
      by_run: by each run that waits, its waits.
      watched: by each cause, the waits that are kept by it. Whoever changes one says so by `note`.
      readers: by each stream, the waits for jobs of it.
      groups: the groups that have not had all the workers that they want, the first to come first.
    """

    __slots__ = ("_changed", "_kept_by", "_number", "_standing", "by_run", "groups", "readers", "watched")

    def __init__(self) -> None:
        self._number = 0
        self.by_run: dict[Run, dict[Wait, None]] = {}
        self.watched: dict[Cause, dict[Wait, None]] = {}
        self.readers: dict[StreamJobs, dict[Wait, None]] = {}
        self.groups: dict[Group, None] = {}
        self._kept_by: dict[Wait, tuple[Cause, ...]] = {}
        # By each run that waits, how many of its waits stand.
        self._standing: dict[Run, int] = {}
        # Those of the causes that have been noted since the last count.
        self._changed: dict[Cause, None] = {}

    def begin(self, wait: Wait) -> None:
        """A running job begins to wait."""
        self._number += 1
        wait.number = self._number
        self.by_run.setdefault(wait.run, {})[wait] = None
        if wait.window is not None:
            self.readers.setdefault(wait.window, {})[wait] = None
        self.look_at(wait)

    def end(self, wait: Wait) -> None:
        """It waits no longer."""
        self._drop(wait)
        waits = self.by_run[wait.run]
        del waits[wait]
        if not waits:
            del self.by_run[wait.run]
        if wait.window is not None:
            readers = self.readers[wait.window]
            del readers[wait]
            if not readers:
                del self.readers[wait.window]

    def look_at_readers(self, window: StreamJobs) -> None:
        """What those wait for who read from a stream is no longer what it was."""
        for wait in self.readers.get(window, ()):
            self.look_at(wait)

    def is_waiting(self, run: Run) -> bool:
        """Whether any part of a running job waits, in this run."""
        return run in self.by_run

    def outlasted(self, run: Run) -> None:
        """What a run that has been cancelled waits for still, it goes on waiting for."""
        for wait in self.by_run.get(run, ()):
            wait.outlasts = True
            self.look_at(wait)

    def cut(self, run: Run) -> None:
        """A run has been cancelled: that ends those of its waits that are not shielded."""
        for wait in self.by_run.get(run, ()):
            self.look_at(wait)

    def note(self, cause: Cause) -> None:
        """What a wait may be for has come, as far as that goes."""
        if cause in self.watched:
            self._changed[cause] = None

    def standing(self) -> int:
        """How many runs wait for what has not come."""
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
            self._standing[wait.run] = self._standing.get(wait.run, 0) + 1
            for cause in causes:
                self.watched.setdefault(cause, {})[wait] = None

    def _causes_of(self, wait: Wait) -> Iterable[Cause]:
        """One of those that a wait is for and that have not come, or the window of those; none if it will end."""
        if wait.is_ending:
            return ()
        if wait.for_place:
            return (wait.run,)
        if wait.group is not None:
            return (wait.group,) if wait.group in self.groups else ()
        if wait.window is not None:
            return (wait.window,) if wait.jobs() and not wait.window.unread else ()
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
            self._standing[wait.run] -= 1
            if not self._standing[wait.run]:
                del self._standing[wait.run]
