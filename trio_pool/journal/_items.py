"""The items of a journal while they are under way, and their outcomes."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from .._basics.error_text import in_words
from .._model.errors import JobCancelledError, JobFailedError
from .._model.states import JobState
from .._runtime.outcomes import failure_of
from ._store import Dead

if TYPE_CHECKING:
    from .._model.handles import Job
    from ._errors import JournalError
    from ._store import Row, Text


class Dumped(NamedTuple):
    """The object that replaces a job's result from the end of its attempt until the result goes to the journal."""

    value: Any
    text: Text


class Outcome:
    """The outcome of an item: the result as it is stored, or why there is none.

    Attributes:
      text: the result as it is stored; None without one.
      attempts: how many attempts there were.
      job: the job that has ended without a result in this process, or None.
    """

    __slots__ = ("attempts", "text")

    job: Job[Any] | None = None

    def __init__(self, text: Text | None, attempts: int) -> None:
        self.text: Text | None = text
        self.attempts: int = attempts

    def error(self) -> Exception:
        """Return the error in place of a result; defined by the derived classes."""
        raise AssertionError


class Ended(Outcome):
    """The outcome of an item whose job has ended without a result in this process."""

    __slots__ = ("_ended", "job")

    def __init__(self, job: Job[Any]) -> None:
        super().__init__(None, job.attempt_count)
        self._ended = self.job = job

    def error(self) -> Exception:
        """Return the error of the job, whose outcome then counts as dealt with."""
        if self._ended.state is not JobState.DEAD:
            return JobCancelledError(self._ended)
        deal_with(self._ended)
        return failure_of(self._ended)


class Kept(Outcome):
    """The outcome of an item that is dead in the journal."""

    __slots__ = ("_row",)

    def __init__(self, row: Dead) -> None:
        super().__init__(None, row.attempts)
        self._row = row

    def error(self) -> Exception:
        """Return the error of its job, made from the words in the journal."""
        return JobFailedError._of_words(self._row.message, json.loads(self._row.notes))


class Refused(Outcome):
    """The outcome of an item for which no job could be made."""

    __slots__ = ("_error",)

    def __init__(self, error: Exception) -> None:
        super().__init__(None, 0)
        self._error = error

    def error(self) -> Exception:
        """Return the error that explains why there is no job."""
        return self._error


def deal_with(job: Any) -> None:
    """Record that a caller has received the outcome of a job of any pool."""
    job._host.deal_with(job)


def dead_row(number: int, step: str, item_id: str, job: Job[Any]) -> Dead:
    """Return the row of an item whose job is dead."""
    error = JobFailedError(job)
    reason = "" if job.dead_reason is None else job.dead_reason.name
    words = job.reason if job._error is None else in_words(job._error)
    texts = (reason, words, str(error), json.dumps(error.__notes__))
    reason, words, message, notes = (text.encode(errors="backslashreplace").decode() for text in texts)
    return Dead(number, step, item_id, reason, words, job.attempt_count, message, notes)


class Occurrence:
    """One occurrence of an item in a stream; it represents the item in the stream's window.

    Attributes:
      item: the item.
      item_id: its id.
      feeder: takes the items of the stream.
      work: the `Work` for the item, once this occurrence waits for it.
      outcome: the outcome of the item, once it is known and committed.
      is_new: whether its job has run for this occurrence.
      is_dead: whether the journal has it among the dead, so that it runs again.
    """

    __slots__ = ("_window", "feeder", "is_dead", "is_new", "item", "item_id", "outcome", "work")

    def __init__(self, item: Any, item_id: str, feeder: Runner, *, is_dead: bool) -> None:
        self._window: Any = None
        self.item: Any = item
        self.item_id: str = item_id
        self.feeder: Runner = feeder
        self.work: Work | None = None
        self.outcome: Outcome | None = None
        self.is_new: bool = False
        self.is_dead: bool = is_dead


class Runner(Protocol):
    """The interface of the object that runs the items of a stream; see `JournalFeeder`."""

    step: str

    @property
    def pool(self) -> object: ...
    def look(self) -> object: ...
    def note(self, item_id: str, outcome: Outcome, /) -> object: ...
    def settle(self, occurrence: Occurrence, outcome: Outcome, /) -> object: ...
    def run_again(self, work: Work, /) -> bool: ...
    def cut_off(self, error: JournalError | None, /) -> object: ...


class Known:
    """Consecutive items of a stream whose results are in the file; they are one entry in the stream's window.

    Attributes:
      rows: the rows of their results.
    """

    __slots__ = ("_window", "rows")

    def __init__(self, row: Row) -> None:
        self._window: Any = None
        self.rows: deque[Row] = deque((row,))


class Work:
    """An item that is under way: from when its job enters a pool until its outcome is committed.

    Attributes:
      step: the step.
      item_id: the item's id.
      job: its job; None once the job has ended.
      leader: the occurrence for which the job runs.
      followers: other occurrences that wait for the same outcome, in order.
      outcome: the outcome of the item, once it is known.
      row: the row of its death, if it is dead.
      was_dead: whether the journal has it among the dead.
    """

    __slots__ = ("followers", "item_id", "job", "leader", "outcome", "row", "step", "was_dead")

    def __init__(self, step: str, leader: Occurrence, job: Job[Any]) -> None:
        self.step: str = step
        self.item_id: str = leader.item_id
        self.job: Job[Any] | None = job
        self.leader: Occurrence = leader
        self.followers: dict[Occurrence, None] = {}
        self.outcome: Outcome | None = None
        self.row: Dead | None = None
        self.was_dead: bool = leader.is_dead
