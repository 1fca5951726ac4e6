"""For the tests of journals: functions that note their calls, and what a file holds."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from trio_pool import open_pool
from trio_pool.journal import _store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable
    from pathlib import Path

    from trio_pool.journal import Entry, Journal

EITHER = pytest.mark.parametrize("name", ["map", "as_completed"])
"""Both kinds of streams, by the names of the methods."""


class Calls:
    """A job's function that notes for which items it is called."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    async def double(self, item: int) -> int:
        self.items.append(item)
        return 2 * item

    async def fails_for_odd(self, item: int) -> int:
        self.items.append(item)
        if item % 2:
            raise ValueError(f"{item} is odd")
        return item


def result_of(each: Any) -> Any:
    """What a stream of either kind gives for an item with a result."""
    return each.result if type(each).__name__ == "Entry" else each


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [result_of(each) async for each in stream]


async def read_into(found: list[Any], stream: AsyncIterator[Any], then: Callable[[], object] = lambda: None) -> None:
    """Add what comes to what was found, and call a function after each; what was found is there also after an error."""
    async for each in stream:
        found.append(result_of(each))
        then()


async def run_batch(journal: Journal, fn: Any, items: Iterable[Any], *, workers: int = 2, **options: Any) -> list[Any]:
    """Run a batch in a pool of slots of its own, and return the results."""
    async with open_pool(workers) as pool, journal.map(pool, fn, items, **options) as results:
        return await collect(results)


async def entries_of(journal: Journal, fn: Any, items: Any, *, workers: int = 2, **options: Any) -> list[Entry[Any]]:
    """Run a batch in a pool of slots of its own, and return its entries in the order of the items' ids."""
    async with open_pool(workers, on_dead="keep") as pool, journal.as_completed(pool, fn, items, **options) as entries:
        found = [entry async for entry in entries]
    return sorted(found, key=lambda entry: entry.item_id)


def slots(workers: int = 2, **options: Any) -> Any:
    """Open a pool of slots in which the dead are kept."""
    return open_pool(workers, on_dead="keep", **options)


def results_in(path: Path) -> dict[tuple[str, str], Any]:
    """The results in a file, by steps and items' ids, read as somebody else would."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT step, item_id, result FROM results").fetchall()
    return {(step, item_id): text for step, item_id, text in rows}


class Gate:
    """Holds back what a journal writes."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.has_come = threading.Event()
        self.sizes: list[int] = []
        self.error: BaseException | None = None
        self.open()

    def close(self) -> None:
        self._open.clear()
        self.has_come.clear()

    def open(self) -> None:
        self._open.set()

    def fail(self, error: BaseException) -> None:
        """Let writing fail from now on."""
        self.error = error

    def wait(self) -> None:
        self.has_come.set()
        self._open.wait()


@contextmanager
def gated_writes() -> Generator[Gate]:
    """Let a test say when what a journal writes is written, or that it can't be."""
    gate = Gate()
    write = _store.Store._write

    def gated(store: _store.Store, connection: sqlite3.Connection, changes: _store.Changes) -> None:
        gate.wait()
        gate.sizes.append(sum(map(len, changes.results.values())))
        if gate.error is not None:
            raise gate.error
        write(store, connection, changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_store.Store, "_write", gated)
        try:
            yield gate
        finally:
            gate.open()
