"""How an attempt ends whose job goes on without the worker that it had lent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.hedging import Race

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.core import Core
    from .._core.retry_decision import Verdict
    from .._model.records import Loan, WorkerRecord


class WorkerlessAttempt:
    """Takes the place of the core for the end of one such attempt: it has the same calls for that.

    What is on the worker then is left alone, so none of them gives it a next job.

    Arguments:
      core: where it ends.
      loan: what is known of it.
      over: called when it has ended.
    """

    __slots__ = ("_core", "_loan", "_over")

    def __init__(self, core: Core, loan: Loan, over: Callable[[], object]) -> None:
        self._core = core
        self._loan = loan
        self._over = over

    def succeeded(self, worker: WorkerRecord, value: object, now: float) -> None:
        """It has ended with a value."""
        race = self._race_on(worker)
        race.succeeded(value)
        self._end(race, now)

    def failed(self, worker: WorkerRecord, error: Exception, verdict: Verdict, now: float) -> None:
        """It has ended with an error."""
        race = self._race_on(worker)
        race.failed(error, verdict)
        self._end(race, now)

    def timed_out(self, worker: WorkerRecord, error: Exception, now: float) -> None:
        """It was cut short by the job's total timeout."""
        race = self._race_on(worker)
        race.failed(error, None)
        self._end(race, now)

    def cut_short(self, worker: WorkerRecord, error: Exception, now: float) -> None:
        """It was cut short by a cancellation."""
        self._end(self._race_on(worker), now, error)

    def _race_on(self, worker: WorkerRecord) -> Race:
        """What says how it ends: like one that has been started on other workers, it runs on none any more."""
        race = Race(self._loan.job, worker)
        race.started_at = self._loan.started_at
        race.runners.clear()
        return race

    def _end(self, race: Race, now: float, cut: Exception | None = None) -> None:
        self._core.end_apart(self._loan, race, now, cut)
        self._over()
