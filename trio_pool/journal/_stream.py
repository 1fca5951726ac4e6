"""The streams of a journal: those of the pool, with results from the journal in between."""

from __future__ import annotations

import abc
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import trio

from .._api.stream_items import Feeder
from .._api.stream_source import END
from .._api.streams import Stream
from .._basics.text import shown
from .._core.admission import Door
from .._core.stream_window import AsTheyEnd, InOrder
from .._model.errors import JobCancelledError, JobFailedError
from .._policies import validate
from .._runtime.job_context import is_in_a_job
from ._errors import JournalError
from ._items import Dumped, Occurrence, Outcome, Runner, deal_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping

    from .._api.stream_source import Items
    from .._api.submitting import Submitting
    from .._core.stream_window import StreamWindow
    from .._model.handles import Job
    from .._model.job_options import ItemSpec
    from .._model.records import JobRecord
    from ._book import Book
    from ._items import Work
    from ._store import Text

V = TypeVar("V")
X = TypeVar("X")

AHEAD = 250
"""How many items are looked up at a time, unless they come from an async iterable."""
_MOST_KNOWN = 1000
"""How many items with known outcomes may wait for their readers before more are looked up."""

_IN_A_ROW = 100  # results that a reader gets before other tasks run


@attrs.frozen(kw_only=True)
class Entry(Generic[V]):
    """What has become of an item.

    Attributes:
      item_id: the item's id.
      result: the result; None without one.
      error: why there is no result: `JobFailedError` if the item is dead, `JobCancelledError` if its job was
          cancelled or discarded, or None.
      is_new: whether the item has run for this entry. Otherwise its outcome was in the journal, or comes from another
          occurrence of the item.
      attempts: how many attempts there were.
    """

    item_id: str
    result: V | None
    error: JobFailedError | JobCancelledError | None
    is_new: bool
    attempts: int


class Terms:
    """What all items of a stream have in common.

    Arguments:
      book: the journal.
      step: the step.
      item_id: makes an item's id; None for ``dumps``.
      retry_dead: whether dead items run again.
      dumps, loads: make a result text, and the other way round.
    """

    __slots__ = ("_dumps", "_item_id", "_loads", "book", "retry_dead", "step")

    def __init__(
        self,
        book: Book,
        step: str,
        item_id: Callable[[Any], str] | None,
        retry_dead: bool,
        dumps: Callable[[Any], Text],
        loads: Callable[[Any], Any],
    ) -> None:
        self.book = book
        self.step = step
        self.retry_dead = retry_dead
        self._item_id = item_id
        self._dumps = dumps
        self._loads = loads

    @trio.lowlevel.disable_ki_protection
    def id_of(self, item: Any) -> str:
        """Return an item's id.

        Raises:
          TypeError, ValueError: if it is no str, or can't be stored.
          BaseException: whatever the function raises.
        """
        found: Any
        if self._item_id is None:
            found = self._dumps(item)
            if isinstance(found, (bytes, bytearray)):
                raise TypeError("item_id is required, a function of the item, since dumps makes bytes of it")
        else:
            found = self._item_id(item)
        if not isinstance(found, str):
            validate.answer("item_id", found)
            name = "dumps" if self._item_id is None else "item_id"
            raise TypeError(f"{name} must make a str of the item {shown(item)}, {validate.got(found)}")
        if not found.isascii():
            _check_encodable("item_id", found)
        return str.__str__(found)

    def dump(self, value: Any) -> Dumped:
        """Return a result with its text; called within the attempt."""
        text = self._dumps(value)
        if isinstance(text, str):
            if not text.isascii():
                _check_encodable("dumps", text)
            return Dumped(value, str.__str__(text))
        if isinstance(text, (bytes, bytearray)):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            return Dumped(value, bytes(text))
        raise TypeError(f"dumps must return a str or bytes, {validate.got(text)}")

    @trio.lowlevel.disable_ki_protection
    def load(self, item_id: str, text: Text) -> Any:
        """Return the result of a text.

        Raises:
          JournalError: if that is impossible.
        """
        try:
            return self._loads(text)
        except Exception as error:
            where = f"the result of the item {shown(item_id)} of the step {self.step!r} in {self.book.path!r}"
            raise JournalError(f"{where} can't be loaded: {error!r}") from error


def _check_encodable(name: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must make text that can be stored as UTF-8, {validate.got(text)}") from error


class Known:
    """Consecutive items of a stream whose outcomes are known, which stand in the stream's window together.

    Attributes:
      outcomes: the items' ids and outcomes.
    """

    __slots__ = ("_window", "outcomes")

    def __init__(self) -> None:
        self._window: Any = None
        self.outcomes: list[tuple[str, Outcome]] = []


class LookedUp:
    """The items of a stream, after they have been looked up in the journal.

    Arguments:
      items: the items.
      terms: what they have in common.
      feeder: takes them.
    """

    __slots__ = ("_ahead", "_began", "_dead", "_feeder", "_items", "_line", "_stopped_by", "_terms")

    are_plain = False

    def __init__(self, items: Items, terms: Terms, feeder: JournalFeeder) -> None:
        self._items = items
        self._terms = terms
        self._feeder = feeder
        # Items that have been looked up, with their ids.
        self._line: deque[tuple[str, Any]] = deque()
        # What is known of the items in line, by their ids; None for nothing.
        self._ahead: dict[str, Outcome | None] = {}
        # Those of them that are dead and run again.
        self._dead: set[str] = set()
        # What keeps more items from coming: an error, or `END`.
        self._stopped_by: object = None
        # A death with a higher number comes from this stream, or from one beside it.
        self._began = 0

    def begin(self) -> None:
        """Create the iterator."""
        self._began = self._terms.book.deaths
        self._items.begin()

    def known(self, item_id: str) -> Outcome | None:
        """What is known of an item that was in line last."""
        return self._ahead[item_id]

    def note(self, item_id: str, outcome: Outcome) -> None:
        """Note what has been committed after the items in line were looked up."""
        if item_id in self._ahead:
            self._ahead[item_id] = outcome

    async def take(self) -> Any:
        """Return the next `Occurrence`, or `Known` items that come before it, or `END`."""
        line, ahead = self._line, self._ahead
        if not line and self._stopped_by is None:
            await self._look_up()
            ahead = self._ahead
        if not line:
            if isinstance(self._stopped_by, Exception):
                raise self._stopped_by
            return END  # noqa: ASYNC910  # its caller runs checkpoints now and then
        item_id, item = line.popleft()
        outcome = ahead[item_id]
        if outcome is None:
            return Occurrence(item, item_id, self._feeder, is_dead=item_id in self._dead)  # noqa: ASYNC910
        known = Known()
        known.outcomes.append((item_id, outcome))
        while line and (outcome := ahead[line[0][0]]) is not None:
            known.outcomes.append((line.popleft()[0], outcome))
        return known  # noqa: ASYNC910

    async def close(self) -> None:  # noqa: ASYNC910  # nothing may need closing
        """Close a generator."""
        await self._items.close()

    async def _look_up(self) -> None:  # noqa: ASYNC910  # there may be no more items
        """Take some items, and look them up."""
        ahead = self._ahead = dict[str, "Outcome | None"]()
        self._dead.clear()
        taken: list[Any] = []
        try:
            if self._items.is_async:
                taken.append(await self._items.take())
            else:
                self._items.take_into(taken, AHEAD)
                if len(taken) < AHEAD:
                    taken.append(END)
        except Exception as error:
            self._stopped_by = error  # after the items before
        try:
            for item in taken:
                if item is END:
                    self._stopped_by = END
                else:
                    item_id = self._terms.id_of(item)
                    ahead[item_id] = None
                    self._line.append((item_id, item))
        except Exception as error:
            self._stopped_by = error
        if not ahead:
            return  # noqa: ASYNC910
        results, dead = await self._terms.book.find(self._terms.step, list(ahead))
        for item_id, text, attempts in results:
            if ahead[item_id] is None:
                ahead[item_id] = Outcome(text, attempts)
        for row in dead:
            if ahead[row.item_id] is not None:
                continue
            if row.number > self._began or not self._terms.retry_dead:
                ahead[row.item_id] = Outcome(None, row.attempts, error=row)
            else:
                self._dead.add(row.item_id)


class JournalFeeder(Feeder, Runner):
    """Turns those items of a stream into jobs whose results are not in the journal.

    Arguments:
      terms: what the items have in common.
      pool, fn, items, options, window: as for `Feeder`.

    Attributes:
      step: the step.
      source: the items.
      has_left: whether the stream's block has been left.
    """

    __slots__ = ("_by_job", "_entering", "_is_cut_off", "_known", "_terms", "has_left", "source", "step")

    def __init__(
        self,
        terms: Terms,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Items,
        options: ItemSpec,
        window: StreamWindow[Any],
    ) -> None:
        self.source = LookedUp(items, terms, self)
        super().__init__(pool, fn, self.source, options, window)  # type: ignore[arg-type]
        self._terms = terms
        self.step: str = terms.step
        self.has_left: bool = False
        self._is_cut_off = False
        # How many items with known outcomes have not been read.
        self._known = 0
        window.ended = []
        window.dump = terms.dump
        self._by_job: dict[Any, Occurrence] = {}
        self._entering: Occurrence

    def begin(self) -> Callable[[], object]:
        """Begin when the block is entered; return the function for readers to call after making room."""
        self._terms.book.join(self)
        try:
            self._terms.book.levels.use(self._engine)
            return super().begin()
        except BaseException:
            self._terms.book.leave(self)
            raise

    def look(self) -> None:
        """Note which jobs have ended, and check for room."""
        window = self._window
        while window.ended:
            ended, window.ended = window.ended, []
            for job in ended:
                work = self._by_job.pop(job).work
                assert work is not None
                self._terms.book.note_end(work, job)
        super().look()

    def take_error(self) -> Exception | None:
        """Return the reason why there are no more results, to the first reader only."""
        if self._is_cut_off and self._terms.book.failure is not None:
            self._terms.book.is_told = True
        return super().take_error()

    async def finish(self) -> None:
        """Finish when the block is left. This can't be cancelled."""
        self.has_left = True
        if self._is_cut_off:
            self._task.failure = None  # the journal's block raises it
        await super().finish()
        self._terms.book.leave(self)

    def jobs_left(self) -> list[Job[Any]]:
        """The jobs that have not ended; whoever else waits for one runs it again."""
        for occurrence in self._window.pending:
            work = occurrence.work
            if work is not None and work.leader is not occurrence:
                work.followers.remove(occurrence)
        return [*self._by_job]

    def cut_off(self, error: JournalError | None) -> None:
        """End the stream with an error, after the results that can be read: by default, that of the journal."""
        self._is_cut_off = True
        if self._task.failure is None:
            self._task.failure = self._terms.book.told() if error is None else error
        self._end()
        self._window.cut_off()

    def note_read(self, known: Known) -> None:
        """Note that a reader has got these items."""
        self._known -= len(known.outcomes)

    def give_back(self, known: Known) -> None:
        """Let another reader have some of the items that one has got."""
        self._known += len(known.outcomes)
        self._window._hand_out(known)

    def settle(self, occurrence: Occurrence, outcome: Outcome) -> None:
        """Let an occurrence that was kept back be read."""
        occurrence.outcome = outcome
        if not (self.has_left or self._is_cut_off):
            self._window.release(occurrence)

    def run_again(self, work: Work) -> bool:
        """Run an item whose job has ended without an outcome, for an occurrence that has waited; return whether."""
        occurrence = work.leader
        if self.has_left or self._is_cut_off:
            return False
        job: Job[Any] | None = None
        self._window.run_again()
        try:
            options = self._fixed or self._options_of(occurrence.item)
            job = self._pool._make_job(self._fn, (occurrence.item,), options, self._context.copy())
            self._pool._check_open(inside=True)
            self._put(job, occurrence)
            work.job = job
            self._engine.submitters.let_in(job, Door.ALWAYS)
        except Exception as error:
            if job is not None:
                self._by_job.pop(job, None)
                job._window = None
            work.job = None
            self._window.keep_back()
            self.settle(occurrence, Outcome(error=error))
            return False
        return True

    # Creating jobs.

    @property
    def _is_held_up(self) -> bool:
        if self._over:
            return False
        return self._placing is not None or self._known >= _MOST_KNOWN or self._window.room() <= 0

    def _submit(self, item: Occurrence | Known) -> None:
        """Submit the job of an item, unless its outcome is known or it is under way."""
        book, window = self._terms.book, self._window
        if isinstance(item, Known):
            self._known += len(item.outcomes)
            window.take(item)
            window.keep_back()
            window.release(item)
            return
        work = book.running.get((self.step, item.item_id))
        if work is not None:
            item.work = work
            work.followers.append(item)
            window.take(item)
            window.keep_back()
            return
        self._entering = item
        super()._submit(item.item)

    def _take(self, job: Job[Any]) -> None:
        occurrence = self._entering
        self._terms.book.begin(self.step, occurrence, job)
        self._window.take(occurrence)
        self._put(job, occurrence)

    def _put(self, job: Job[Any], occurrence: Occurrence) -> None:
        job._window = self._window
        self._by_job[job] = occurrence

    def _drop(self, job: Job[Any]) -> None:
        occurrence = self._by_job.pop(job)
        job._window = None
        self._window.drop(occurrence)
        assert occurrence.work is not None
        self._terms.book.give_up(occurrence.work)


def _awaited_by(occurrence: Occurrence, pool: object) -> JobRecord | None:
    """The job of a pool that an occurrence waits for, if it waits for one that has not ended."""
    job = None if occurrence.work is None else occurrence.work.job
    return job if job is not None and job._host is pool and not job.state.is_final else None


class ItemsInOrder(InOrder):
    """A window of occurrences that are read in the order in which they were taken."""

    __slots__ = ()

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The job that the first one waits for."""
        if not self.pending:
            return ()
        first: Occurrence = self.pending[0]
        job = _awaited_by(first, first.feeder._engine)  # type: ignore[attr-defined]
        return () if job is None else (job,)


class ItemsAsTheyEnd(AsTheyEnd):
    """A window of occurrences that are read in the order in which they end."""

    __slots__ = ()

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The jobs that all wait for, unless more may come first, or one waits for something else."""
        if more:
            return ()
        jobs: list[JobRecord] = []
        for occurrence in self.pending:
            job = _awaited_by(occurrence, occurrence.feeder._engine)
            if job is None:
                return ()
            jobs.append(job)
        return jobs


class JournalStream(Stream[V, X]):
    """A stream of a journal; see `Stream`."""

    __slots__ = ("_at_hand", "_read_in_a_row", "_terms")

    _feeder: JournalFeeder

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
        # What a reader has received and not given out.
        self._at_hand: deque[tuple[str, Outcome]] = deque()
        self._read_in_a_row = 0
        super().__init__(pool, fn, items, buffer, options)

    def _make_feeder(self, pool: Submitting, fn: Callable[..., Any], items: Items, options: ItemSpec) -> Feeder:
        return JournalFeeder(self._terms, pool, fn, items, options, self._window)

    def _jobs_left(self) -> list[Job[Any]]:
        return self._feeder.jobs_left()

    def _jobs_unread(self) -> Iterator[Job[Any]]:
        self._window.cut_off()  # what is being committed will not be read any more
        for entry in self._unread():
            job = entry.outcome.job if isinstance(entry, Occurrence) and entry.outcome is not None else None
            if job is not None:
                deal_with(job)
        return iter(())

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> X:
        # What is at hand, such as results of an earlier run, comes without a pass through Trio's scheduler each.
        if self._at_hand:
            self._engine.check_caller()
            if self._read_in_a_row < _IN_A_ROW:
                await trio.lowlevel.checkpoint_if_cancelled()
                self._read_in_a_row += 1
            else:
                await trio.lowlevel.checkpoint()
                self._read_in_a_row = 0
            if self._at_hand:  # another reader may have been faster
                return self._made(*self._at_hand.popleft(), is_new=False)
        return await super().__anext__()

    def _given(self, entry: Occurrence | Known) -> X:
        if isinstance(entry, Occurrence):
            assert entry.outcome is not None
            return self._made(entry.item_id, entry.outcome, is_new=entry.is_new)
        self._feeder.note_read(entry)
        self._fill()
        first, *rest = entry.outcomes
        if rest and self._results.statistics().tasks_waiting_receive:
            entry.outcomes = rest
            self._feeder.give_back(entry)  # for the other readers
        else:
            self._at_hand.extend(rest)
        return self._made(*first, is_new=False)

    @abc.abstractmethod
    def _made(self, item_id: str, outcome: Outcome, *, is_new: bool) -> X:
        """Convert the outcome of an item to the value that a reader gets."""

    def _value(self, item_id: str, outcome: Outcome) -> Any:
        """Return the result, or raise the error that stands for it."""
        if outcome.text is None:
            raise outcome.error()
        return self._terms.load(item_id, outcome.text)


class MappedByJournal(JournalStream[V, V]):
    """The results in the order of the items."""

    __slots__ = ()

    _order = ItemsInOrder

    def _made(self, item_id: str, outcome: Outcome, *, is_new: bool) -> V:
        return self._value(item_id, outcome)  # type: ignore[no-any-return]


class CompletedByJournal(JournalStream[V, "Entry[V]"]):
    """What has become of the items, in the order in which they end."""

    __slots__ = ()

    _order = ItemsAsTheyEnd

    def _made(self, item_id: str, outcome: Outcome, *, is_new: bool) -> Entry[V]:
        result: V | None = None
        error: JobFailedError | JobCancelledError | None = None
        try:
            result = self._value(item_id, outcome)
        except (JobFailedError, JobCancelledError) as reason:
            error = reason.with_traceback(None)
        return Entry(item_id=item_id, result=result, error=error, is_new=is_new, attempts=outcome.attempts)
