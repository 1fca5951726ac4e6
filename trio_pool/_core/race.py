"""How an attempt stands that is not one run's alone to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._model.records import JobRecord, Run, WorkerRecord
    from .retry_decision import Verdict


class Race:
    """One attempt of a job that has a `Hedge`, and how it stands.

    Attributes:
      job: the job.
      first: the worker that the attempt began on.
      started_at: when that was.
      deadline: when a timeout ends it, wherever it runs.
      took_part: every worker that it has been started on, in that order.
      runners: the runs that have not ended yet.
      won: whether it has ended somewhere with a value.
      value: that value.
      error: what it ended with where it failed last, or None.
      verdict: what that means; None if it was the job's total timeout.
    """

    __slots__ = (
        "deadline",
        "error",
        "first",
        "job",
        "next_at",
        "runners",
        "started_at",
        "took_part",
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
        self.won: bool = False
        self.value: object = None
        self.error: Exception | None = None
        self.verdict: Verdict | None = None
        # Owned by `Hedging`: when it may be started on one more worker.
        self.next_at: float | None = None

    @property
    def hedges(self) -> tuple[tuple[int, str], ...]:
        """The id and the name of each worker but the first."""
        return tuple((worker.id, worker.name) for worker in self.took_part if worker is not self.first)

    @property
    def is_decided(self) -> bool:
        """Whether nothing that the others do can change how it ends, but a value."""
        if self.won or (self.error is not None and self.verdict is None):
            return True
        return self.verdict is not None and self.verdict.is_the_last_word

    def succeeded(self, value: object) -> None:
        """It has ended on one worker with a value: the first one counts."""
        if not self.won:
            self.won = True
            self.value = value

    def failed(self, error: Exception, verdict: Verdict | None) -> None:
        """It has ended on one worker with an error: the last one counts, if none decides."""
        if not self.is_decided:
            self.error = error
            self.verdict = verdict

    def cancelled(self) -> None:
        """Its job was cancelled: how it ends is up to those that run it, not to who has failed before."""
        if not self.is_decided:
            self.error = self.verdict = None


def race_of(job: JobRecord) -> Race | None:
    """What decides how the attempt under way ends, if no run alone does."""
    assert job._run is not None
    race: Race | None = job._run.race
    return race


def runs_of(job: JobRecord) -> list[Run]:
    """The runs of a job that is running."""
    assert job._run is not None
    race = race_of(job)
    return [job._run] if race is None else list(race.runners)
