"""The state of an open journal: what is under way, which streams read from it, and how much is done."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .._basics.frozen_mapping import FrozenMapping
from .._model.states import JobState
from ._errors import JournalError
from ._items import Dumped, Ended, Outcome, Work, dead_row
from ._levels import Levels
from ._store import Store
from ._writer import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._model.handles import Job
    from ._items import Occurrence, Runner
    from ._store import Dead, Row


@attrs.frozen(kw_only=True)
class JournalStatistics:
    """How many items a journal has, in total and by steps.

    Attributes:
      done: items whose results are in the journal.
      dead: items that are dead.
      new: results that were added since the journal was opened.
      steps: the statistics of each step; empty in these.
    """

    done: int
    dead: int
    new: int
    steps: Mapping[str, JournalStatistics] = FrozenMapping()


class Count:
    """How many items of a step are done and dead, and how many results are new."""

    __slots__ = ("dead", "done", "new")

    def __init__(self, done: int = 0, dead: int = 0) -> None:
        self.done = done
        self.dead = dead
        self.new = 0


class Book:
    """What is under way in a journal.

    Each item is under way at most once, from when its job enters a pool until its outcome is
    committed. Later occurrences of the item wait for that. A stream that is looking items up in the
    file is notified of outcomes that are committed meanwhile.

    Arguments:
      path: the file.

    Attributes:
      path: the file.
      deaths: the number of the last death.
      failure: the error because of which nothing can be written any more, or None.
      is_told: whether a reader has got that error.
      is_closed: whether the block has been left.
      writer: the thread that writes.
      levels: the levels of limits.
      running: what is under way, by steps and items' ids.
    """

    def __init__(self, path: str) -> None:
        self.path: str = path
        self._store = Store(path)
        self.writer: Writer = Writer(self._store, self._on_written, self._on_levels_due)
        self.levels: Levels = Levels(self.writer.want_levels, self.writer.put)
        self.deaths: int = 0
        self.failure: JournalError | None = None
        self.is_told: bool = False
        self.is_closed: bool = False
        self.running: dict[tuple[str, str], Work] = {}
        self._counts: dict[str, Count] = {}
        # The streams whose blocks have not been left, by steps.
        self._feeders: dict[str, dict[Runner, None]] = {}
        self._limiter = trio.CapacityLimiter(1)
        self._token = trio.lowlevel.current_trio_token()

    # The file.

    async def open(self) -> None:
        """Open the file. A checkpoint; opening can't be cancelled, and takes some seconds at most.

        Raises:
          JournalError: if that is impossible.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.writer.start()
        interrupt = await _wait_shielded(self.writer.opened)
        if self.writer.failure is not None:
            self.writer.join()
            raise self.writer.failure if interrupt is None else interrupt
        self.deaths = self._store.last_death
        self._counts = {step: Count(done, dead) for step, done, dead in self._store.counts}
        self.levels.begin(self._store.levels)
        if interrupt is not None:
            await self.close()
            raise interrupt

    async def close(self) -> KeyboardInterrupt | None:
        """Commit the computed results, and close the file; return a Ctrl-C that has arrived meanwhile. A checkpoint."""
        self.is_closed = True
        self.levels.end()
        error = JournalError(f"the journal {self.path!r} was closed before the stream ended")
        for feeder in self._all_feeders():
            feeder.cut_off(error)
        self.writer.stop()
        interrupt = await _wait_shielded(self.writer.closed)
        self.writer.join()
        return interrupt

    def check_open(self) -> None:
        """Check that results can be written.

        Raises:
          JournalError: if the journal is closed, or has failed.
        """
        if self.is_closed:
            raise JournalError(f"the journal {self.path!r} is closed")
        if self.failure is not None:
            self.is_told = True
            raise self.failure_for_one()

    def failure_for_one(self) -> JournalError:
        """Return the error of the file, for one reader."""
        assert self.failure is not None
        error = JournalError(str(self.failure))
        error.__cause__ = self.failure.__cause__
        return error

    async def find(self, step: str, item_ids: Sequence[str]) -> tuple[list[Row], list[Dead]]:
        """Look items up in the file. A checkpoint.

        Raises:
          JournalError: if the file can't be read.
        """
        self.check_open()
        count = self._counts.get(step)
        if count is None or not (count.done or count.dead):
            await trio.lowlevel.checkpoint()
            return [], []
        find = partial(self._store.find, step, item_ids, dead=bool(count.dead))
        return await trio.to_thread.run_sync(find, limiter=self._limiter)

    # Streams.

    def join(self, feeder: Runner) -> None:
        """Register a stream whose block is entered."""
        if trio.lowlevel.current_trio_token() is not self._token:
            raise RuntimeError(f"the journal {self.path!r} belongs to another Trio run")
        self.check_open()
        self._feeders.setdefault(feeder.step, {})[feeder] = None

    def leave(self, feeder: Runner) -> None:
        """Unregister a stream whose block is left."""
        feeders = self._feeders[feeder.step]
        del feeders[feeder]
        if not feeders:
            del self._feeders[feeder.step]

    def _all_feeders(self) -> list[Runner]:
        return [feeder for feeders in self._feeders.values() for feeder in feeders]

    # Items that are under way.

    def begin(self, step: str, leader: Occurrence, job: Job[Any]) -> None:
        """Record that an item's job is about to enter a pool."""
        leader.work = self.running[step, leader.item_id] = Work(step, leader, job)

    def note_end(self, work: Work, job: Job[Any]) -> None:
        """Handle the end of an item's job: write the outcome, or let another occurrence run the item."""
        work.job = None
        state = job.state
        if state is JobState.SUCCEEDED:
            dumped: Dumped = job._value
            job._value = dumped.value
            work.outcome = Outcome(dumped.text, job.attempt_count)
        elif state is JobState.DEAD:
            self.deaths += 1
            work.row = dead_row(self.deaths, work.step, work.item_id, job)
            work.outcome = Ended(job)
        else:
            self.give_up(work, Ended(job))
            return
        if not self.is_closed:
            self.levels.put_changed()
            self.writer.put(work)

    def give_up(self, work: Work, outcome: Outcome | None = None) -> None:
        """Let the next occurrence run an item whose job was cancelled or discarded, or has never entered its pool.

        Arguments:
          work: the item.
          outcome: the outcome for the occurrence for which it ran; None if that occurrence is gone.
        """
        leader, work.job = work.leader, None
        if outcome is not None:
            leader.feeder.settle(leader, outcome)
        while work.followers:
            work.leader = next(iter(work.followers))
            del work.followers[work.leader]
            if work.leader.feeder.run_again(work):
                return
        del self.running[work.step, work.item_id]

    def _on_written(self, items: list[Work], error: JournalError | None) -> None:
        """Release the outcomes that have been committed; or end all streams, if they could not be."""
        if error is not None:
            if self.failure is None:
                self.failure = error
                for feeder in self._all_feeders():
                    feeder.cut_off(None)
            return
        touched: dict[Runner, None] = {}
        for work in items:
            self._settle(work, touched)
        for feeder in touched:
            feeder.look()

    def _settle(self, work: Work, touched: dict[Runner, None]) -> None:
        step, item_id, outcome = work.step, work.item_id, work.outcome
        assert outcome is not None
        count = self._counts.get(step)
        if count is None:
            count = self._counts[step] = Count()
        count.dead -= work.was_dead
        if outcome.text is None:
            count.dead += 1
        else:
            count.done += 1
            count.new += 1
        del self.running[step, item_id]
        for feeder in self._feeders.get(step, ()):
            feeder.note(item_id, outcome)
        leader = work.leader
        leader.is_new = True
        for occurrence in (leader, *work.followers):
            occurrence.feeder.settle(occurrence, outcome)
            touched[occurrence.feeder] = None

    def _on_levels_due(self) -> None:
        if not self.is_closed:
            self.levels.put_changed()

    def statistics(self) -> JournalStatistics:
        """Take a snapshot of the counts."""
        steps = {
            step: JournalStatistics(done=count.done, dead=count.dead, new=count.new)
            for step, count in sorted(self._counts.items())
        }
        done, dead, new = (sum(getattr(each, name) for each in steps.values()) for name in ("done", "dead", "new"))
        return JournalStatistics(done=done, dead=dead, new=new, steps=FrozenMapping(steps))


async def _wait_shielded(event: trio.Event) -> KeyboardInterrupt | None:
    """Wait for an event whatever happens; return a Ctrl-C that has arrived meanwhile. A checkpoint."""
    interrupt: KeyboardInterrupt | None = None
    with trio.CancelScope(shield=True):
        while True:
            try:
                await event.wait()
                break
            except KeyboardInterrupt as error:
                interrupt = error
    return interrupt  # noqa: ASYNC910  # the event's wait has ended
