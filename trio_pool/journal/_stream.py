"""The streams of a journal: like those of a pool, with results from the journal in between."""

from __future__ import annotations

import abc
from threading import get_ident
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import trio

from .._api.streams import Stream
from .._model.errors import JobCancelledError, JobFailedError
from ._feeder import ItemsAsTheyEnd, ItemsInOrder, JournalFeeder
from ._items import Occurrence, deal_with
from ._results import IN_A_ROW, Inlet, Results

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable

    from .._api.stream_items import Feeder
    from .._api.stream_source import Items
    from .._api.submitting import Submitting
    from .._core.stream_window import Outlet
    from .._model.handles import Job
    from .._model.job_options import ItemSpec
    from ._items import Outcome
    from ._results import Read
    from ._store import Text
    from ._terms import Terms

V = TypeVar("V")
X = TypeVar("X")


@attrs.frozen(kw_only=True)
class Entry(Generic[V]):
    """The outcome of an item.

    Attributes:
      item_id: the item's id.
      result: the result; None without one.
      error: why there is no result: `trio_pool.JobFailedError` if the item is dead,
          `trio_pool.JobCancelledError` if its job was cancelled or discarded, or None.
      is_new: whether the item has run for this entry. Otherwise its outcome was in the journal, or comes from another
          occurrence of the item.
      attempts: how many attempts there were.
    """

    item_id: str
    result: V | None
    error: JobFailedError | JobCancelledError | None
    is_new: bool
    attempts: int


class JournalStream(Stream[V, X]):
    """A stream of a journal; see `Stream`."""

    __slots__ = ("_terms",)

    _feeder: JournalFeeder
    _results: Results

    def __init__(
        self,
        terms: Terms,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Iterable[Any] | AsyncIterable[Any],
        buffer: float | None,
        options: ItemSpec,
    ) -> None:
        self._terms = terms
        super().__init__(pool, fn, items, buffer, options)

    def _make_feeder(self, pool: Submitting, fn: Callable[..., Any], items: Items, options: ItemSpec) -> Feeder:
        return JournalFeeder(self._terms, pool, fn, items, options, self._window, self._results)

    def _open_channel(self) -> tuple[Outlet, Any, Any]:
        results = Results()
        return Inlet(results), results, results

    def _jobs_left(self) -> list[Job[Any]]:
        return self._feeder.jobs_left()

    async def _end_jobs(self, jobs: list[Job[Any]]) -> None:  # noqa: ASYNC910  # there may be none
        await super()._end_jobs(jobs)
        self._window.cut_off()  # results that are being committed will no longer be read

    def _forget(self, entry: Read) -> None:
        job = entry.outcome.job if isinstance(entry, Occurrence) and entry.outcome is not None else None
        if job is not None:
            deal_with(job)

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> X:
        # Results of an earlier run take this way, which costs a fraction of the general one.
        results, engine = self._results, self._engine
        is_at_hand = results.current is not None and results.in_a_row < IN_A_ROW
        if is_at_hand and not engine.instruments and get_ident() == engine.home.thread:
            await trio.lowlevel.checkpoint_if_cancelled()
            results.in_a_row += 1
            item_id, text, attempts = results.take_current()
            if results.used_up:
                self._note_read()
            return self._made(item_id, text, attempts, is_new=False)
        return await super().__anext__()

    def _read(self, entry: Read) -> X:
        if self._results.used_up:
            self._note_read()
        self._tell("read")
        return self._given(entry)

    def _given(self, entry: Read) -> X:
        if not isinstance(entry, Occurrence):
            return self._made(*entry, is_new=False)
        outcome = entry.outcome
        assert outcome is not None
        if outcome.text is None:
            return self._without_result(entry, outcome)
        return self._made(entry.item_id, outcome.text, outcome.attempts, is_new=entry.is_new)

    @abc.abstractmethod
    def _made(self, item_id: str, text: Text, attempts: int, *, is_new: bool) -> X:
        """Make what a reader gets for an item with a result."""

    @abc.abstractmethod
    def _without_result(self, occurrence: Occurrence, outcome: Outcome) -> X:
        """Make what a reader gets for an item without a result, or raise why there is none."""


class MappedByJournal(JournalStream[V, V]):
    """The results in the order of the items."""

    __slots__ = ()

    _order = ItemsInOrder

    def _made(self, item_id: str, text: Text, attempts: int, *, is_new: bool) -> V:
        return self._terms.load(item_id, text)  # type: ignore[no-any-return]

    def _without_result(self, occurrence: Occurrence, outcome: Outcome) -> V:
        raise outcome.error()


class CompletedByJournal(JournalStream[V, "Entry[V]"]):
    """The outcomes of the items, in the order in which they end."""

    __slots__ = ()

    _order = ItemsAsTheyEnd

    def _made(self, item_id: str, text: Text, attempts: int, *, is_new: bool) -> Entry[V]:
        result: V = self._terms.load(item_id, text)
        return Entry(item_id=item_id, result=result, error=None, is_new=is_new, attempts=attempts)

    def _without_result(self, occurrence: Occurrence, outcome: Outcome) -> Entry[V]:
        error = outcome.error()
        if not isinstance(error, (JobFailedError, JobCancelledError)):
            raise error
        is_new, attempts = occurrence.is_new, outcome.attempts
        return Entry(item_id=occurrence.item_id, result=None, error=error, is_new=is_new, attempts=attempts)
