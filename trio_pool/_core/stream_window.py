"""The jobs of a stream from being taken to being handed out, and whether there is room for more."""

from __future__ import annotations

import abc
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from .._model.states import FINAL, JobState
from .commands import MOVED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from .._model.records import JobRecord
    from .commands import Commands
    from .worker_index import WorkerIndex

DELAYED = JobState.DELAYED  # looked up with every job, and slow through the enum

C = TypeVar("C", bound="Collection[JobRecord]")

MOST_BY_DEFAULT = 1000
MOST_ASIDE = 1000


class Outlet(Protocol):
    """Where jobs go that can be handed out: the sending end of a channel."""

    def send_nowait(self, job: Any, /) -> None: ...
    def close(self) -> None: ...


class StreamWindow(abc.ABC, Generic[C]):
    """Which jobs of a stream count, which are set aside, and which can be handed out.

    Those that back off are set aside, and so are ended ones that have to wait for their turn: neither
    gives a worker anything to do, nor the reader anything to read. All others count.

    Arguments:
      buffer: how many jobs may count; None for twice the workers.
      max_queue: how many jobs may wait to start in the pool.
      outlet: gets the jobs that can be handed out, in their order; closed behind the last one.
      look: lets those look who wait for room.

    Attributes:
      pending: the jobs that can't be handed out yet.
      unread: how many of those that can have not been read.
      is_wanted: whether somebody waits for room.
      held_by: the job that keeps others from being handed out which have ended, once that is known.
    """

    __slots__ = (
        "_add",
        "_buffer",
        "_commands",
        "_delayed",
        "_early",
        "_is_closed",
        "_is_told",
        "_look",
        "_most_aside",
        "_outlet",
        "_roster",
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
        # How many back off, and how many have ended and have to wait for their turn.
        self._delayed = 0
        self._early = 0
        # Whether those who wait are about to look already.
        self._is_told = False
        self._outlet = outlet
        self._is_closed = False
        self.unread: int = 0
        self.is_wanted: bool = False
        self.held_by: JobRecord | None = None
        # What adds a job to the pending ones.
        self._add: Callable[[JobRecord], object]

    def room(self, *, if_held: bool = False) -> float:
        """How many more jobs may be taken; zero or less for none.

        Arguments:
          if_held: how many it would be if those that have ended too early had to go on waiting for their turn.
        """
        limit = self._buffer
        if limit is None:
            roster = self._roster
            limit = 2 * (len(roster.by_id) - roster.leaving) or 2
            if limit > MOST_BY_DEFAULT:
                limit = MOST_BY_DEFAULT
        aside = self._delayed
        if self._early and (if_held or self.held_by is not None):
            aside += self._early
        return limit - self.unread - len(self.pending) + (min(aside, self._most_aside) if aside else 0)

    def take(self, job: JobRecord) -> None:
        """A job has been made of the next item, and is about to be submitted."""
        self._add(job)
        job._window = self

    def end(self, job: JobRecord, old: JobState | None) -> None:
        """One of its jobs has ended."""
        job._window = None
        if old is DELAYED:
            self._delayed -= 1
        self._end(job)
        if self._early and self.is_wanted:
            self._note_news()

    def move(self, old: JobState | None, state: JobState) -> None:
        """One of its jobs has changed its state, but neither ended nor begun to run."""
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
        """Let those look who wait."""
        self._is_told = False
        self._look()

    def close(self) -> None:
        """No more jobs will be taken."""
        self._is_closed = True
        self._close_if_last()

    def _hand_out(self, job: JobRecord) -> None:
        self.unread += 1
        self._outlet.send_nowait(job)

    def _close_if_last(self) -> None:
        if self._is_closed and not self.pending:
            self._outlet.close()

    # What depends on the order in which they are handed out.

    @property
    @abc.abstractmethod
    def next(self) -> JobRecord | None:
        """The job whose turn it is before all others, or None if any may be handed out first."""

    @abc.abstractmethod
    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """Those of which one has to end before any can be handed out; ``more`` if others may come before that."""

    @abc.abstractmethod
    def drop(self, job: JobRecord) -> None:
        """The last one that was taken will not enter the pool."""

    @abc.abstractmethod
    def _end(self, job: JobRecord) -> None: ...


class InOrder(StreamWindow["deque[JobRecord]"]):
    """Handed out in the order in which they were taken."""

    __slots__ = ("pending",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pending: deque[JobRecord] = deque()
        self._add = self.pending.append

    @property
    def next(self) -> JobRecord | None:
        """The first of those that were taken."""
        return self.pending[0] if self.pending else None

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The next one, whatever is taken behind it."""
        return (self.pending[0],) if self.pending else ()

    def drop(self, job: JobRecord) -> None:
        """It waited for a place."""
        job._window = None
        self.pending.pop()

    def _end(self, job: JobRecord) -> None:
        pending = self.pending
        if pending[0] is not job:
            self._early += 1
            return
        self.held_by = None
        self._hand_out(pending.popleft())
        while self._early and pending[0]._state in FINAL:
            self._early -= 1
            self._hand_out(pending.popleft())
        self._close_if_last()


class AsTheyEnd(StreamWindow["dict[JobRecord, None]"]):
    """Handed out in the order in which they end."""

    __slots__ = ("pending",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pending: dict[JobRecord, None] = {}
        self._add = self.pending.setdefault

    @property
    def next(self) -> JobRecord | None:
        """None is."""
        return None

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """Any of them, if no others may come and end instead."""
        return () if more else self.pending

    def drop(self, job: JobRecord) -> None:
        """It waited for a place."""
        job._window = None
        del self.pending[job]

    def _end(self, job: JobRecord) -> None:
        del self.pending[job]
        self._hand_out(job)
        self._close_if_last()
