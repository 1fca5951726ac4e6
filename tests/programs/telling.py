"""What the pool may tell those who call it, and what it may not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import trio

from tests.programs.frames import Base, Frame
from tests.programs.raising import in_words
from trio_pool import (
    Job,
    JobCancelledError,
    JobDeadlockError,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    PoolClosedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.programs.world import Errand, JobBook

ORDINARY = (JobFailedError, JobCancelledError, JobDeadlockError, PoolClosedError, NoEligibleWorkerError)
"""What the pool may tell those who call it."""

BY_DESIGN = (
    "would wait forever",  # join() by a job of the pool or the group
    "can't be removed by the job that runs on it",
    "was removed before it had started",
    "reserve must be at most",
)


class Judged:
    """A block in which a job waits for the pool, with what is made of an error that comes out of it.

    No generator: those of contextlib assign to the error.
    """

    def __init__(self, book: JobBook | None, judge: Callable[[BaseException], bool]) -> None:
        self._book = book
        self._judge = judge

    def __enter__(self) -> None:
        if self._book is not None:
            self._book.waiting += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        is_over = error is not None and self._judge(error)
        if self._book is not None:
            self._book.waiting -= 1
        return is_over


class Telling(Base):
    """Calls the pool, lets pass what it may say, and notes what it may not."""

    def told(self, frame: Frame, what: str, *, loud: bool = False, of: Sequence[Job[Any]] = ()) -> Judged:
        """Call the pool in this block: let pass what it may say, and note what it may not."""
        return Judged(frame.book, lambda error: self.is_over_with(frame, error, what, loud=loud, of=of))

    def is_over_with(
        self, frame: Frame, error: BaseException, what: str, *, loud: bool, of: Sequence[Job[Any]] = ()
    ) -> bool:
        """Look at what the pool has raised; returns whether it goes no further."""
        world = self.world
        if isinstance(error, trio.Cancelled):
            if trio.current_effective_deadline() > -math.inf:
                world.fail(f"cancelled: out of {what}, though no scope around it is cancelled")
            return False
        if isinstance(error, trio.WouldBlock):
            return True
        if isinstance(error, ORDINARY):
            if isinstance(error, JobFailedError):
                self.check_death(error, what)
            if isinstance(error, JobDeadlockError):
                self.check_deadlock(frame, error, what, of)
            if loud:
                world.note(error)
            return not loud
        if type(error) in (RuntimeError, ValueError) and any(words in str(error) for words in BY_DESIGN):
            return True
        if isinstance(error, Exception) and not world.has_raised(error):
            cause = error.__cause__
            world.fail(f"unforeseen: {what} raised {in_words(error)}, {cause and in_words(cause)}")
        return False

    def check_death(self, error: JobFailedError, what: str) -> None:
        if error.job.state is not JobState.DEAD:
            self.world.fail(f"outcome: {what} says that {error.job!r} is dead")
        self.world.deal_with(error.job)

    def check_deadlock(self, frame: Frame, error: JobDeadlockError, what: str, of: Sequence[Job[Any]]) -> None:
        world = self.world
        world.deadlocks += 1
        if frame.book is None:
            world.fail(f"deadlock: {what} outside of all jobs raised {in_words(error)}")
        if of and all(self._gets_on(job) for job in of):
            world.fail(f"deadlock: {what} raised {in_words(error)}, though {list(of)!r} gets on")

    def _gets_on(self, job: Job[Any]) -> bool:
        """Whether a job certainly doesn't wait for others of the pool."""
        book = self.world.books.get(job)
        return (
            book is not None and job.state is JobState.RUNNING and bool(book.active) and not (book.waiting or book.lent)
        )

    def check_value(self, value: object, errand: Errand) -> None:
        for book in self.world.books_of(errand):
            if any(value is each for each in book.returned):
                return
        self.world.fail(f"outcome: {errand.number} was told {value!r}")
