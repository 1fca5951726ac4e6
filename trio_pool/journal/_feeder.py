"""Turning the items of a stream into jobs, except those that the journal has; and the stream's windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .._api.stream_items import Feeder
from .._core.admission import Door
from .._core.stream_window import AsTheyEnd, InOrder
from ._items import Known, Occurrence, Refused, deal_with
from ._looked_up import LookedUp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._api.stream_source import Items
    from .._api.submitting import Submitting
    from .._core.stream_window import StreamWindow
    from .._model.handles import Job
    from .._model.job_options import ItemSpec
    from .._model.records import JobRecord
    from ._errors import JournalError
    from ._items import Outcome, Work
    from ._results import Results
    from ._terms import Terms

MOST_KNOWN = 1000
"""How many items with known outcomes may wait for their readers before more are looked up."""


class JournalFeeder(Feeder):
    """Turns those items of a stream into jobs whose results are not in the journal.

    Arguments:
      terms: the settings that all the items share.
      pool, fn, items, options, window: as for `Feeder`.
      results: passes the results to the readers.

    Attributes:
      step: the step.
      has_left: whether the stream's block has been left.
    """

    __slots__ = ("_by_job", "_entering", "_is_cut_off", "_known", "_results", "_source", "_terms", "has_left", "step")

    def __init__(
        self,
        terms: Terms,
        pool: Submitting,
        fn: Callable[..., Any],
        items: Items,
        options: ItemSpec,
        window: StreamWindow[Any],
        results: Results,
    ) -> None:
        self._results = results
        self._source = LookedUp(items, terms, self, self._check_asked_for)
        super().__init__(pool, fn, self._source, options, window)  # type: ignore[arg-type]
        self._terms = terms
        self.step: str = terms.step
        self.has_left: bool = False
        self._is_cut_off = False
        # How many items with known outcomes have been taken.
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
        """Handle the jobs that have ended, and check for room."""
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
        """The jobs that have not ended. If another stream waits for such an item, that stream runs it again."""
        for entry in self._window.pending:
            work = entry.work if isinstance(entry, Occurrence) else None
            if work is not None:
                work.followers.pop(entry, None)
                if work.outcome is not None and work.outcome.job is not None:  # its death is being committed
                    deal_with(work.outcome.job)
        return [*self._by_job]

    def cut_off(self, error: JournalError | None) -> None:
        """End the stream with an error, after the results that can be read: by default, that of the journal."""
        self._is_cut_off = True
        if self._task.failure is None:
            self._task.failure = self._terms.book.failure_for_one() if error is None else error
        self._end()
        self._window.cut_off()

    def _check_asked_for(self, error: trio.Cancelled) -> None:
        self._task.check_asked_for(error)

    @property
    def pool(self) -> object:
        """An object that identifies the pool."""
        return self._engine

    def note(self, item_id: str, outcome: Outcome) -> None:
        """Record an outcome that any stream of the step has committed."""
        self._source.note(item_id, outcome)

    def settle(self, occurrence: Occurrence, outcome: Outcome) -> None:
        """Let an occurrence that was kept back be read."""
        occurrence.outcome = outcome
        if not (self.has_left or self._is_cut_off):
            self._window.release(occurrence)

    def run_again(self, work: Work) -> bool:
        """Run an item whose job has ended without an outcome for a waiting occurrence; return whether it can run."""
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
            self.settle(occurrence, Refused(error))
            return False
        return True

    # Creating jobs.

    @property
    def _is_held_up(self) -> bool:
        if self._over:
            return False
        if self._placing is not None or self._known - self._results.known >= MOST_KNOWN:
            return True
        return self._window.room() <= 0

    def _submit(self, item: Occurrence | Known) -> None:
        """Submit the job of an item, unless its outcome is known or it is under way."""
        book, window = self._terms.book, self._window
        if isinstance(item, Known) or item.outcome is not None:
            self._known += len(item.rows) if isinstance(item, Known) else 0
            window.take(item)
            window.keep_back()
            window.release(item)
            return
        work = book.running.get((self.step, item.item_id))
        if work is not None:
            item.work = work
            work.followers[item] = None
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


def _awaited_by(entry: Occurrence | Known) -> JobRecord | None:
    """The job of the stream's own pool that an entry waits for, if it waits for one."""
    assert isinstance(entry, Occurrence)  # known items can be read at once
    job = None if entry.work is None else entry.work.job
    return job if job is not None and job._host is entry.feeder.pool and not job.state.is_final else None


class ItemsInOrder(InOrder):
    """A window of occurrences that are read in the order in which they were taken."""

    __slots__ = ()

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The job that the first occurrence waits for."""
        if not self.pending:
            return ()
        job = _awaited_by(self.pending[0])
        return () if job is None else (job,)


class ItemsAsTheyEnd(AsTheyEnd):
    """A window of occurrences that are read in the order in which they end."""

    __slots__ = ()

    def awaited(self, more: bool) -> Iterable[JobRecord]:
        """The jobs that the occurrences wait for; none if more may come first, or if one waits for something else."""
        jobs = [job for entry in self.pending if (job := _awaited_by(entry)) is not None]
        return () if more or len(jobs) < len(self.pending) else jobs
