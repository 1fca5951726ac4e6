"""The passing of a stream's results to its readers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import trio

from ._items import Known, Occurrence

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._store import Row

    Entry: TypeAlias = "Occurrence | Known"

Read: TypeAlias = "Occurrence | Row"
"""What a reader gets: an occurrence, or the row of a known item."""

IN_A_ROW = 100
"""How many results a reader gets before other tasks run."""


class Results:
    """Both ends of a channel; other streams use a memory channel instead.

    Known items are received one by one. Results that are available are received without a pass through
    Trio's scheduler each time, which would take longer than reading results of an earlier run.

    Attributes:
      current: the known items that have been received in part.
      used_up: whether the last call of `receive` has taken the last result of an entry.
      in_a_row: how many results have been received since other tasks have run.
      known: how many known items have been received.
    """

    __slots__ = ("_entries", "_has_ended", "_is_left", "_readers", "current", "in_a_row", "known", "used_up")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()
        self._readers = trio.lowlevel.ParkingLot()
        self._has_ended = False
        self._is_left = False
        self.in_a_row = 0
        self.current: Known | None = None
        self.used_up: bool = False
        self.known: int = 0

    # The window's end.

    def send_nowait(self, entry: Entry) -> None:
        """Add an entry."""
        self._entries.append(entry)
        if self._readers:
            self._readers.unpark(count=len(entry.rows) if isinstance(entry, Known) else 1)

    def end(self) -> None:
        """Record that no more entries will come."""
        self._has_ended = True
        self._readers.unpark_all()

    # The readers' end.

    async def receive(self) -> Read:
        """Wait for the next result. A checkpoint; if it is cancelled, nothing is lost.

        Raises:
          trio.EndOfChannel: if no more results will come.
          trio.ClosedResourceError: if the stream's block has been left.
        """
        self.in_a_row = 0
        await trio.lowlevel.checkpoint()
        while not (self._entries or self._has_ended or self._is_left):
            await self._readers.park()
        if self._is_left:
            raise trio.ClosedResourceError
        return self.receive_nowait()

    def receive_nowait(self) -> Read:
        """Return the next result at once.

        Raises:
          trio.EndOfChannel: if there is none.
        """
        if not self._entries:
            raise trio.EndOfChannel
        first = self._entries[0]
        if isinstance(first, Known):
            self.current = first
            return self.take_current()
        self.used_up = True
        self._entries.popleft()
        return first

    def take_current(self) -> Row:
        """Return the row of the next of the `current` items."""
        assert self.current is not None
        self.known += 1
        rows = self.current.rows
        row = rows.popleft()
        self.used_up = not rows
        if self.used_up:
            self.current = None
            self._entries.popleft()
        return row

    def close(self) -> None:
        """Let readers get no more results, since the block is left."""
        self._is_left = True
        self.current = None
        self._readers.unpark_all()

    # Unread results are received after the block has been left.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entries.clear()


class Inlet:
    """The window's end of `Results`."""

    __slots__ = ("close", "send_nowait")

    def __init__(self, results: Results) -> None:
        self.send_nowait = results.send_nowait
        self.close = results.end
