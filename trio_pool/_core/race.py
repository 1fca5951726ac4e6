"""The outcome of an attempt with several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.records import JobRecord, Run, WorkerRecord
    from .._policies.rate_meter import Amount
    from .retry_decision import Verdict


class Race:
    """One attempt of a job with a `Hedge`, and its outcome so far.

    Attributes:
      job: the job.
      first: the worker on which the attempt began.
      started_at: when the attempt began.
      deadline: when a timeout ends the attempt, on all of its workers.
      took_part: every worker on which the attempt has been started, in the order of the starts.
      runners: the runs that have not ended yet.
      used: what the ended runs have used, by units; None for nothing.
      won: whether a run has ended with a value.
      value: that value.
      error: the error of the last run that failed, or None.
      verdict: the decision about that error; None for the job's total timeout.
    """

    __slots__ = (
        "_ticket",
        "deadline",
        "error",
        "first",
        "job",
        "next_at",
        "runners",
        "started_at",
        "took_part",
        "used",
        "value",
        "verdict",
        "won",
    )

    def __init__(self, run: Run) -> None:
        self.job: JobRecord = run.job
        self.first: WorkerRecord = run.worker
        self.started_at: float = run.started_at
        self.deadline: float = run.deadline
        self.took_part: dict[WorkerRecord, None] = {run.worker: None}
        self.runners: dict[Run, None] = {run: None}
        self.used: dict[str, Amount] | None = None
        self.won: bool = False
        self.value: object = None
        self.error: Exception | None = None
        self.verdict: Verdict | None = None
        # Owned by `Hedging`: when the attempt is due for one more worker; once it waits for one, when
        # its timeout ends this wait.
        self.next_at: float | None = None
        # Identifies the entry for ``next_at`` in the heap of deadlines.
        self._ticket = 0

    @property
    def hedges(self) -> tuple[tuple[int, str], ...]:
        """The id and the name of each worker except the first."""
        return tuple((worker.id, worker.name) for worker in self.took_part if worker is not self.first)

    @property
    def is_decided(self) -> bool:
        """Whether the outcome is final unless another run returns a value."""
        if self.won or (self.error is not None and self.verdict is None):
            return True
        return self.verdict is not None and self.verdict.is_the_last_word

    def add_used(self, used: Mapping[str, Amount]) -> None:
        """Add what an ended run has used."""
        if used:
            sums = self.used = self.used or {}
            for unit, amount in used.items():
                sums[unit] = sums.get(unit, 0) + amount

    def succeeded(self, value: object) -> None:
        """Record that a run has returned a value: the first one counts."""
        if not self.won:
            self.won = True
            self.value = value

    def failed(self, error: Exception, verdict: Verdict | None) -> None:
        """Record that a run has failed: the last error counts, unless an error is decisive."""
        if not self.is_decided:
            self.error = error
            self.verdict = verdict

    def cancelled(self) -> None:
        """Discard the errors so far, since the job was cancelled: the remaining runs determine the outcome."""
        if not self.is_decided:
            self.error = self.verdict = None


def race_of(job: JobRecord) -> Race | None:
    """Return the race of the running attempt, or None if it has a single run."""
    assert job._run is not None
    race: Race | None = job._run.race
    return race


def runs_of(job: JobRecord) -> list[Run]:
    """Return the runs of a running job."""
    assert job._run is not None
    race = race_of(job)
    return [job._run] if race is None else list(race.runners)
