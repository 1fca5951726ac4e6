"""The journal that users open."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from .._api.streams import checked_options
from .._api.submitting import Submitting
from .._basics.attributes import Entered, FixedAttributes
from .._basics.logs import report
from .._basics.pickling import Handle
from .._basics.text import shown
from .._policies import validate
from .._runtime.block import Block
from . import _json
from ._book import Book
from ._stream import CompletedByJournal, MappedByJournal
from ._terms import Terms, check_encodable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from contextlib import AbstractAsyncContextManager

    from typing_extensions import Unpack

    from .._api.job_group import JobGroup, SlotJobGroup
    from .._api.pool import Pool, SlotPool
    from .._model.job_options import StreamOptions
    from ._book import JournalStatistics
    from ._store import Text
    from ._stream import Entry

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class Journal(Handle, FixedAttributes, Entered):
    """The results of batches, in a file: items that are done are not run again, even in another process.

    Created by `open_journal`.
    """

    __slots__ = ("__weakref__", "_book", "_dumps", "_loads")

    def __init__(self, book: Book, dumps: Callable[[Any], Text], loads: Callable[[Any], Any]) -> None:
        self._book = book
        self._dumps = dumps
        self._loads = loads

    @overload
    def map(
        self,
        pool: Pool[R] | JobGroup[R],
        fn: Callable[[R, T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        step: str | None = None,
        item_id: Callable[[T], str] | None = None,
        retry_dead: bool = True,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]: ...

    @overload
    def map(
        self,
        pool: SlotPool | SlotJobGroup,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        step: str | None = None,
        item_id: Callable[[T], str] | None = None,
        retry_dead: bool = True,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[V]]: ...

    def map(
        self,
        pool: Any,
        fn: Callable[..., Awaitable[Any]],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        step: str | None = None,
        item_id: Callable[[Any], str] | None = None,
        retry_dead: bool = True,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[Any]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """Run a job for each item whose result is not in the journal, and iterate over the results in the items' order.

        Like `trio_pool.Pool.map`, and used in the same way. A result is in the journal, and on the disk, before
        it is yielded. The value that is yielded is ``loads(dumps(result))``, whether it comes from the
        journal or not.

        An item that occurs several times, in this stream or in others at the same time, runs once. If
        its job is cancelled or discarded, the next occurrence runs it.

        An item that is dead raises `trio_pool.JobFailedError` at its step of the iteration. If it has died in an
        earlier stream and doesn't run again, the error's ``job`` is None.

        Entering the block and each step of the iteration are checkpoints. While results from the
        journal are at hand, other tasks run at least once for every 100 steps. Up to 900 items are
        taken and looked up at a time, those of an async iterable one by one. If a step is cancelled,
        no result is lost.

        Leaving the block cancels the remaining jobs and waits, shielded, for their ends. Results that
        have been computed and not yielded are committed.

        Arguments:
          pool: the pool, or a group of it.
          fn: an async function of an item, and of the resource before it if the pool has resources.
          items: an iterable or an async iterable; it can be endless.
          step: the name under which the results are kept; the function's qualified name by default.
          item_id: makes the str that identifies an item in the journal; ``dumps`` by default.
          retry_dead: whether items that are dead in the journal run again.
          buffer: as for `trio_pool.Pool.map`. Jobs whose results are being committed don't count, nor do
              results from the journal.
          **options: options of each job, as for `trio_pool.Pool.map`.

        Raises:
          JournalError: on entering, if the journal is closed or has failed; in the iteration, if
              results can't be committed or looked up, or one can't be loaded.
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        call = self._terms(pool, fn, step, item_id, retry_dead)
        spec = checked_options(pool, "map", fn, items, buffer, options)
        return MappedByJournal[Any](call, pool, fn, items, buffer, spec)

    @overload
    def as_completed(
        self,
        pool: Pool[R] | JobGroup[R],
        fn: Callable[[R, T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        step: str | None = None,
        item_id: Callable[[T], str] | None = None,
        retry_dead: bool = True,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Entry[V]]]: ...

    @overload
    def as_completed(
        self,
        pool: SlotPool | SlotJobGroup,
        fn: Callable[[T], Awaitable[V]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        step: str | None = None,
        item_id: Callable[[T], str] | None = None,
        retry_dead: bool = True,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[T]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Entry[V]]]: ...

    def as_completed(
        self,
        pool: Any,
        fn: Callable[..., Awaitable[Any]],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        step: str | None = None,
        item_id: Callable[[Any], str] | None = None,
        retry_dead: bool = True,
        buffer: float | None = None,
        **options: Unpack[StreamOptions[Any]],
    ) -> AbstractAsyncContextManager[AsyncIterator[Entry[Any]]]:
        """Run a job for each item whose result is not in the journal, and iterate over the outcomes of the items.

        Like `map`, but yields an `Entry` for each item, whatever its outcome, in the order in which
        they end. A dead job whose entry has been yielded counts as dealt with.

        Arguments:
          pool: the pool, or a group of it.
          fn: an async function of an item, and of the resource before it if the pool has resources.
          items: an iterable or an async iterable; it can be endless.
          step: the name under which the results are kept; the function's qualified name by default.
          item_id: makes the str that identifies an item in the journal; ``dumps`` by default.
          retry_dead: whether items that are dead in the journal run again.
          buffer: as for `map`.
          **options: options of each job, as for `trio_pool.Pool.map`.

        Raises:
          JournalError: on entering, if the journal is closed or has failed; in the iteration, if
              results can't be committed or looked up, or one can't be loaded.
          ValueError, TypeError: if an argument is out of its range or of the wrong type.
        """
        call = self._terms(pool, fn, step, item_id, retry_dead)
        spec = checked_options(pool, "as_completed", fn, items, buffer, options)
        return CompletedByJournal[Any](call, pool, fn, items, buffer, spec)

    def statistics(self) -> JournalStatistics:
        """Take a snapshot of how many items are done, dead and new, in total and by steps."""
        return self._book.statistics()

    def _terms(self, pool: object, fn: object, step: object, item_id: Any, retry_dead: object) -> Terms:
        if not isinstance(pool, Submitting):
            raise TypeError(f"the first argument must be a pool or a group, {validate.got(pool)}")
        if item_id is not None:
            validate.call("item_id", item_id)
        validate.instance("retry_dead", retry_dead, bool)
        name = validate.word("step", step) or _name_of(fn)
        check_encodable("step", name)
        return Terms(self._book, name, item_id, bool(retry_dead), self._dumps, self._loads)

    def __repr__(self) -> str:
        return f"<trio_pool.journal.Journal {self._book.path!r}{', closed' if self._book.is_closed else ''}>"


def _name_of(fn: Any) -> str:
    """Return the name of a function, under which its results can be found again."""
    name: Any = getattr(fn, "__qualname__", None)
    if callable(fn) and (not isinstance(name, str) or "<lambda>" in name):
        raise ValueError(f"step is required, a name for the results, since {shown(fn)} has none")
    return str(name)


def open_journal(
    path: str | os.PathLike[str],
    *,
    dumps: Callable[[Any], str | bytes] = json.dumps,
    loads: Callable[[Any], Any] = json.loads,
) -> AbstractAsyncContextManager[Journal]:
    """Open a file in which the results of batches survive the process.

    Use it as ``async with open_journal("run.sqlite") as journal: ...``, around or inside the pool's
    block. The file is an SQLite database, and is created if it doesn't exist. One process at a time
    can have it open.

    Entering the block is a checkpoint; once the file is being opened, that is not cancelled. Leaving
    the block is a checkpoint, and waits, shielded, until all results that have been computed are
    committed. If they can't be committed, and no stream has raised the error, leaving the block
    raises it.

    Arguments:
      path: the file.
      dumps: converts a result to a str or bytes; called during the attempt.
      loads: converts that back to a result.

    Raises:
      JournalError: on entering, if the file is open elsewhere, can't be opened or written, is no
          journal, or is of a newer version; on leaving, if results could not be committed.
      ValueError, TypeError: if an argument is of the wrong type.
    """
    name: object = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
        raise TypeError(f"path must be a str or a path of one, {validate.got(path)}")
    if not name or "\0" in name:
        raise ValueError(f"path must be the name of a file, {validate.got(path)}")
    validate.call("dumps", dumps)
    validate.call("loads", loads)
    if dumps is json.dumps:
        dumps = _json.dumps
    if loads is json.loads:
        loads = _json.loads
    return Block("open_journal", _run(name, dumps, loads))


@trio.lowlevel.enable_ki_protection
async def _run(
    path: str, dumps: Callable[[Any], Text], loads: Callable[[Any], Any]
) -> AsyncGenerator[Journal, BaseException | None]:
    book = Book(path)
    await book.open()
    error = yield Journal(book, dumps, loads)
    error = await book.close() or error
    failure = None if book.failure is None or book.is_told else book.failure
    if error is not None:
        if failure is not None:
            report("results could not be committed", error=failure)
        raise error
    if failure is not None:
        raise failure
    await trio.lowlevel.checkpoint_if_cancelled()
