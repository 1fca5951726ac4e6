"""The jobs of a stream from their creation until they are read, and whether there is room for more."""

from __future__ import annotations

import abc
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .._model.states import JobState
from .commands import MOVED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .._model.records import JobRecord
    from .commands import Commands
    from .worker_index import WorkerIndex

DELAYED = JobState.DELAYED  # read for every job, and slow to access through the enum

C = TypeVar("C", bound="Collection[Any]")

MOST_BY_DEFAULT = 1000
MOST_ASIDE = 1000


class Outlet(Protocol):
    """The receiver of the jobs that can be read: the sending end of a channel."""

    def send_nowait(self, job: Any, /) -> None: ...
    def close(self) -> None: ...


class StreamWindow(abc.ABC, Generic[C]):
    """Which jobs of a stream count, which are set aside, and which can be read.

    Jobs that back off are set aside, and so are ended jobs that wait for their turn: they give neither
    a worker anything to do nor the reader anything to read. All other jobs count.

    The window holds *entries*. Usually these are the jobs themselves. But if jobs are kept back after
    their ends, for example until their results are on disk, other objects represent the jobs in the
    window. Entries that are kept back are set aside too.

    Arguments:
      roster: the pool's workers.
      commands: receives the notifications.
      buffer: how many jobs may count; None for twice the number of the workers' places.
      max_queue: how many jobs may wait to start in the pool.
      outlet: receives the jobs that can be read, in order; closed after the last one.
      look: called when there may be room for more jobs.

    Attributes:
      pending: the entries that can't be read yet.
      unread: how many jobs can be read and have not been.
      ended: receives the jobs that end, if they are kept back; None if they can be read at once.
      dump: called with the result during the attempt, and returns what is kept as the result; None
          to keep the result.
      is_wanted: whether something waits for room.
      held_by: the job that holds up other jobs that have ended, once that is known.
    """

    __slots__ = (
        "_add",
        "_buffer",
        "_commands",
        "_delayed",
        "_early",
        "_is_closed",
        "_is_told",
        "_kept_back",
        "_look",
        "_most_aside",
        "_outlet",
        "_roster",
        "dump",
        "ended",
        "held_by",
        "is_wanted",
        "unread",
    )

    pending: C

    def __init__(
        self,
        roster: WorkerIndex,
        commands: Commands,
        buffer: float | None,
        max_queue: float,
        outlet: Outlet,
        look: Callable[[], object],
    ) -> None:
        self._roster = roster
        self._commands = commands
        self._buffer = buffer
        self._most_aside = min(MOST_ASIDE, max_queue)
        self._look = look
        # How many jobs back off, how many entries are kept back, and how many wait for their turn.
        self._delayed = 0
        self._kept_back = 0
        self._early = 0
        # Whether the command to look for room is already queued.
        self._is_told = False
        self._outlet = outlet
        self._is_closed = False
        self.unread: int = 0
        self.is_wanted: bool = False
        self.held_by: Any = None
        self.ended: list[Any] | None = None
        self.dump: Callable[[Any], Any] | None = None
        # Adds an entry to ``pending``.
        self._add: Callable[[Any], object]

    def room(self, *, if_held: bool = False) -> float:
        """Return how many more jobs may be taken; zero or less for none.

        Arguments:
          if_held: calculate the room as if the jobs that have ended too early were to go on
              waiting for their turn.
        """
        limit = self._buffer
        if limit is None:
            roster = self._roster
            limit = 2 * roster.places.total or 2
            if limit > MOST_BY_DEFAULT:
                limit = MOST_BY_DEFAULT
        aside = self._delayed + self._kept_back
        if self._early and (if_held or self.held_by is not None):
            aside += self._early
        return limit - self.unread - len(self.pending) + (min(aside, self._most_aside) if aside else 0)

    def take(self, entry: Any) -> None:
        """Add the entry of the next item, such as its job, which is about to be submitted."""
        self._add(entry)
        entry._window = self

    def end(self, job: JobRecord, old: JobState | None) -> None:
        """Record that one of the jobs has ended."""
        job._window = None
        if old is DELAYED:
            self._delayed -= 1
        if self.ended is not None:
            self._kept_back += 1
            self.ended.append(job)
            self._note_news()
            return
        self._end(job)
        if self._early and self.is_wanted:
            self._note_news()

    def keep_back(self) -> None:
        """Record that an entry without a job, or whose job has ended, is kept back."""
        self._kept_back += 1

    def run_again(self) -> None:
        """Record that an entry that was kept back gets a job."""
        self._kept_back -= 1

    def release(self, entry: Any) -> None:
        """Let an entry that was kept back be read."""
        self._kept_back -= 1
        entry._window = None
        self._end(entry)

    def move(self, old: JobState | None, state: JobState) -> None:
        """Record a change of a job's state other than to running or a final state."""
        if state is DELAYED:
            self._delayed += 1
            if self.is_wanted:
                self._note_news()
        elif old is DELAYED:
            self._delayed -= 1

    def _note_news(self) -> None:
        if not self._is_told:
            self._is_told = True
            self._commands.append((MOVED, self))

    def tell(self) -> None:
        """Call ``look``."""
        self._is_told = False
        self._look()

    def close(self) -> None:
        """Record that no more jobs will be taken."""
        self._is_closed = True
        self._close_if_last()

    def cut_off(self) -> None:
        """Let nothing be read beyond what can be read now."""
        self._outlet.close()

    def _hand_out(self, entry: Any) -> None:
        self.unread += 1
        self._outlet.send_nowait(entry)

    def _close_if_last(self) -> None:
        if self._is_closed and not self.pending:
            self._outlet.close()

    # The methods that depend on the order of the results.

    @property
    @abc.abstractmethod
    def next(self) -> Any:
        """The entry that must be read before all others, or None if any may be read first."""

    @abc.abstractmethod
    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The jobs of which one must end before any can be read; ``more``: whether more jobs may come and end first."""

    @abc.abstractmethod
    def drop(self, entry: Any) -> None:
        """Remove the last entry that was taken, since its job will not enter the pool."""

    @abc.abstractmethod
    def _end(self, entry: Any) -> None: ...


class InOrder(StreamWindow["deque[Any]"]):
    """A window whose jobs are read in the order in which they were taken."""

    __slots__ = ("pending",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pending: deque[Any] = deque()
        self._add = self.pending.append

    @property
    def next(self) -> Any:
        """The first entry that was taken and can't be read."""
        return self.pending[0] if self.pending else None

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The first job, whatever is taken after it."""
        return (self.pending[0],) if self.pending else ()

    def drop(self, entry: Any) -> None:
        """Remove the last entry, whose job waited for a place."""
        entry._window = None
        self.pending.pop()

    def _end(self, entry: Any) -> None:
        pending = self.pending
        if pending[0] is not entry:
            self._early += 1
            return
        self.held_by = None
        self._hand_out(pending.popleft())
        while self._early and pending[0]._window is None:
            self._early -= 1
            self._hand_out(pending.popleft())
        self._close_if_last()


class AsTheyEnd(StreamWindow["dict[Any, None]"]):
    """A window whose jobs are read in the order in which they end."""

    __slots__ = ("pending",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pending: dict[Any, None] = {}
        self._add = self.pending.setdefault

    @property
    def next(self) -> JobRecord | None:
        """None, since any job may be read first."""
        return None

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """All jobs, unless more jobs may come and end first."""
        return () if more else self.pending

    def drop(self, entry: Any) -> None:
        """Remove an entry whose job waited for a place."""
        entry._window = None
        del self.pending[entry]

    def _end(self, entry: Any) -> None:
        del self.pending[entry]
        self._hand_out(entry)
        self._close_if_last()
