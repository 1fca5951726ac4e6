"""The thread that writes a journal."""

from __future__ import annotations

import math
import queue
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import trio

from ._errors import JournalError
from ._items import Work
from ._store import Changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._store import Level, Store

_STOP = object()
_LEVELS_SOON = object()
# Starts within this time are lost if the process is killed. A program that is restarted repeatedly then has this burst
# each time.
_SECONDS_BETWEEN_LEVELS = 0.05


class Writer:
    """A thread that opens a journal's file, writes to it, and closes it.

    Everything that is put while it writes goes into the next transaction together. It calls back in
    Trio's thread, once for each transaction.

    Arguments:
      store: the file.
      on_written: called with the items whose outcomes have been committed; or, with an error, with
          the items whose outcomes could not be committed.
      on_levels_due: called when it is time to put the levels of limits.

    Attributes:
      opened: set when the file has been opened, or could not be.
      closed: set when the file has been closed and the thread is about to end.
      failure: why the file could not be opened.
    """

    def __init__(
        self,
        store: Store,
        on_written: Callable[[list[Work], JournalError | None], object],
        on_levels_due: Callable[[], object],
    ) -> None:
        self._store = store
        self._on_written = on_written
        self._on_levels_due = on_levels_due
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._levels_due_at: float | None = None
        self._levels_put_at = -math.inf
        self.opened: trio.Event = trio.Event()
        self.closed: trio.Event = trio.Event()
        self.failure: BaseException | None = None
        # Called from Trio's thread, several times per job.
        self.put: Callable[[Work | list[Level]], None] = self._queue.put

    def start(self) -> None:
        """Start the thread."""
        # A daemon: the interpreter's exit doesn't wait for it, in case a disk hangs.
        self._thread = threading.Thread(target=self._run, name=f"<journal {self._store.path}>", daemon=True)
        self._thread.start()

    def want_levels(self) -> None:
        """Have ``on_levels_due`` called at once, or a moment after the last call."""
        self._queue.put(_LEVELS_SOON)

    def stop(self) -> None:
        """Let the thread write what has been put so far, and end."""
        self._queue.put(_STOP)

    def join(self) -> None:
        """Wait for the end of the thread. It must have failed to open the file, or have closed it."""
        self._thread.join()

    # In the thread.

    def _run(self) -> None:
        try:
            self._store.open(time.time())
        except BaseException as error:
            self.failure = error
            self._call(self.opened.set)
            return
        self._call(self.opened.set)
        failure: JournalError | None = None
        while True:
            batch = self._next_batch()
            items = [each for each in batch if isinstance(each, Work)]
            levels = [row for each in batch if isinstance(each, list) for row in cast("list[Level]", each)]
            if failure is None and (items or levels):
                try:
                    self._store.write(_changes(items, levels))
                except JournalError as error:
                    failure = error
                except BaseException as error:
                    failure = JournalError(f"{self._store.path!r} can't be written: {error!r}")
                    failure.__cause__ = error
            if items or failure is not None:
                self._call(self._on_written, items, failure)
            if _STOP in batch:
                break
        self._store.close()
        self._call(self.closed.set)

    def _next_batch(self) -> list[Any]:
        """Wait for something to write, and return everything that is waiting."""
        while True:
            timeout = None
            if self._levels_due_at is not None:
                timeout = max(self._levels_due_at - time.monotonic(), 0)
            try:
                batch = [self._queue.get(timeout=timeout)]
            except queue.Empty:
                self._levels_due_at, self._levels_put_at = None, time.monotonic()
                self._call(self._on_levels_due)
                continue
            with suppress(queue.Empty):
                while True:
                    batch.append(self._queue.get_nowait())
            if _LEVELS_SOON in batch and self._levels_due_at is None:
                self._levels_due_at = self._levels_put_at + _SECONDS_BETWEEN_LEVELS
            return batch

    def _call(self, fn: Callable[..., object], *args: Any) -> None:
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(fn, *args)


def _changes(items: list[Work], levels: list[Level]) -> Changes:
    changes = Changes({}, [], [], levels)
    for work in items:
        outcome = work.outcome
        assert outcome is not None
        if work.was_dead or work.row is not None:
            changes.gone.append((work.step, work.item_id))
        if outcome.text is not None:
            changes.results.setdefault(work.step, []).append((work.item_id, outcome.text, outcome.attempts))
        else:
            assert work.row is not None
            changes.dead.append(work.row)
    return changes
