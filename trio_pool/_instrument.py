"""Watching a pool: the base class of instruments, and how they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _validate
from ._reporting import report
from ._shown import shown

if TYPE_CHECKING:
    from ._job import Attempt, Job
    from ._pool import Pool, SlotPool
    from ._worker import Worker


class Instrument:
    """Derive from it and override what you want to be told of.

    The methods are called synchronously, each when the change is complete, in the order of
    the changes. They may call everything that doesn't wait. One that raises is logged with
    its traceback and its instrument is removed; the pool goes on.
    """

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        """All workers have started; the body of the block comes next."""

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        """All jobs have ended and all workers have stopped."""

    def job_submitted(self, job: Job[Any]) -> None:
        """A job has entered the pool."""

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        """A worker has got the job, of several the first; followed by one ``attempt_ended``."""

    def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
        """An attempt has ended, on all of its workers; one cut short carries `JobCancelledError`."""

    def job_delayed(self, job: Job[Any], until: float) -> None:
        """A failed job backs off until then, on Trio's clock."""

    def job_finished(self, job: Job[Any]) -> None:
        """A job has reached its final state."""

    def worker_started(self, worker: Worker) -> None:
        """A worker's resource is open, for the first time or anew."""

    def worker_paused(self, worker: Worker) -> None:
        """A worker has been paused."""

    def worker_resumed(self, worker: Worker) -> None:
        """A paused worker has been resumed."""

    def worker_resting(self, worker: Worker, until: float) -> None:
        """A worker rests until then, on Trio's clock."""

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        """A worker's breaker has opened until then, on Trio's clock; again so after a probe that failed."""

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        """A worker's resource is to be opened anew: it is broken, or that has failed once more.

        Without an error it has only done its ``max_jobs``, or reached its ``max_age``.
        """

    def worker_stopped(self, worker: Worker) -> None:
        """A worker has left its lifespan and the pool."""


def is_among(instruments: list[Instrument], instrument: Instrument) -> bool:
    """Whether this very instrument is one of these, whatever it makes of being compared."""
    return any(each is instrument for each in instruments)


def remove(instruments: list[Instrument], instrument: Instrument) -> bool:
    """Take out this very instrument; returns whether it was there."""
    for place, each in enumerate(instruments):
        if each is instrument:
            del instruments[place]
            return True
    return False


def notify(instruments: list[Instrument], event: str, *arguments: object) -> None:
    """Call one method of all instruments; remove those that raise."""
    for instrument in list(instruments):
        if not is_among(instruments, instrument):
            continue  # another one has just removed it
        try:
            answer = getattr(instrument, event)(*arguments)
            if answer is not None:
                _validate.answer(event, answer)
        except BaseException as error:  # as Trio does: whatever it is, it is the instrument's fault
            remove(instruments, instrument)  # unless it has removed itself before
            report("instrument %s raised in %s and was removed", shown(instrument), event, error=error)
