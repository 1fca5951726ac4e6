"""The waits of running jobs, and the number of runs with a wait that has not been fulfilled."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

from .._model.group import GroupRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._model.key_record import KeyRecord
    from .._model.records import Group, JobRecord, Run

    # What a wait can be for.
    Cause: TypeAlias = "JobRecord | Group | Run | StreamJobs"
    # A function that returns jobs.
    Jobs: TypeAlias = Callable[[], Iterable[JobRecord]]


class StreamJobs(Protocol):
    """The jobs of a stream that have not been read."""

    unread: int


class Wait:
    """One wait of a running job.

    Arguments:
      run: the run of the waiting job.
      task: the task of the job that waits.
      awaited: a function that returns the awaited jobs; or the group that waits for workers; or the
          run itself, to get back its lent place.
      window: the window of these jobs, if they can't be read yet and one of them is enough; None if
          all have to end.
      outlasts: whether the wait goes on although its run has been cancelled.
      for_ends: whether the wait is for the ends of cancelled jobs, and must not be interrupted.

    Attributes:
      number: the number of the wait within the pool.
      stuck: if the wait would never end, the runs that would wait with it; then the wait is about
          to end.
      full_keys: the keys whose bounds these runs use up, so that jobs that they wait for can't start.
      lending_helps: whether the wait would end if these runs lent their workers.
      wake: wakes the waiting task; None while there is nothing to wake.
    """

    __slots__ = (
        "for_ends",
        "for_place",
        "full_keys",
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
        self.outlasts: bool = outlasts or for_ends or self.for_place  # both are shielded
        self.number: int = 0
        self.stuck: list[Run] = []
        self.full_keys: list[KeyRecord] = []
        self.lending_helps: bool = False
        self.wake: Callable[[], object] | None = None

    @property
    def is_ending(self) -> bool:
        """Whether the wait is about to end in any case, because it is stuck or cancelled."""
        return bool(self.stuck) or (not self.outlasts and self.run.is_cut)

    @property
    def can_be_told(self) -> bool:
        """Whether the waiting task can go on before the wait is fulfilled."""
        return self.run.job._cancelled if self.for_place else not self.for_ends


class Waits:
    """Counts the waiting runs. Events update the count, so that it never has to go through all waits.

    Each wait is registered with one cause, the first unfulfilled one, and is checked again only
    when this cause has come. If one of a stream's jobs is enough, the wait is registered with the
    window.

    Attributes:
      by_run: the waits of each waiting run.
      watched: the waits that are registered with each cause. Code that changes a cause calls
          `note`.
      readers: the waits for each stream's jobs.
      groups: the groups that have not got all their workers yet, in order.
    """

    __slots__ = ("_changed", "_kept_by", "_number", "_standing", "by_run", "groups", "readers", "watched")

    def __init__(self) -> None:
        self._number = 0
        self.by_run: dict[Run, dict[Wait, None]] = {}
        self.watched: dict[Cause, dict[Wait, None]] = {}
        self.readers: dict[StreamJobs, dict[Wait, None]] = {}
        self.groups: dict[Group, None] = {}
        self._kept_by: dict[Wait, tuple[Cause, ...]] = {}
        # For each waiting run, how many of its waits are unfulfilled.
        self._standing: dict[Run, int] = {}
        # The causes that have been noted since the last count.
        self._changed: dict[Cause, None] = {}

    def begin(self, wait: Wait) -> None:
        """Begin a wait of a running job."""
        self._number += 1
        wait.number = self._number
        self.by_run.setdefault(wait.run, {})[wait] = None
        if wait.window is not None:
            self.readers.setdefault(wait.window, {})[wait] = None
        self.look_at(wait)

    def end(self, wait: Wait) -> None:
        """End a wait."""
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
        """Check the readers of a stream again, since the jobs that they wait for have changed."""
        for wait in self.readers.get(window, ()):
            self.look_at(wait)

    def is_waiting(self, run: Run) -> bool:
        """Whether any task of a running job waits in this run."""
        return run in self.by_run

    def outlasted(self, run: Run) -> None:
        """Record that the remaining waits of a cancelled run go on."""
        for wait in self.by_run.get(run, ()):
            wait.outlasts = True
            self.look_at(wait)

    def cut(self, run: Run) -> None:
        """Check the waits of a cancelled run: those that are not shielded end."""
        for wait in self.by_run.get(run, ()):
            self.look_at(wait)

    def note(self, cause: Cause) -> None:
        """Record that the cause of some waits has come, if any waits are registered with it."""
        if cause in self.watched:
            self._changed[cause] = None

    def standing(self) -> int:
        """The number of runs with an unfulfilled wait."""
        changed = self._changed
        while changed:
            cause, _ = changed.popitem()
            for wait in list(self.watched[cause]):
                self.look_at(wait)
        return len(self._standing)

    def look_at(self, wait: Wait) -> None:
        """Register a wait that has begun or changed."""
        self._drop(wait)
        causes = tuple(self._causes_of(wait))
        if causes:
            self._kept_by[wait] = causes
            self._standing[wait.run] = self._standing.get(wait.run, 0) + 1
            for cause in causes:
                self.watched.setdefault(cause, {})[wait] = None

    def _causes_of(self, wait: Wait) -> Iterable[Cause]:
        """Return one unfulfilled cause of a wait; none if the wait will end."""
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
        """Unregister a wait from its cause."""
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
