"""Attempts that are started on further workers, since the first one is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .deadlines import Due
from .worker_index import terms_of

if TYPE_CHECKING:
    from .._model.records import JobRecord, Terms, WorkerRecord
    from .deadlines import Deadlines
    from .retry_decision import Verdict
    from .worker_index import WorkerIndex


class Race:
    """One attempt of a job that has a `Hedge`, and how it stands.

    Attributes:
      job: the job.
      first: the worker that the attempt began on.
      started_at: when that was.
      deadline: when a timeout ends it, wherever it runs.
      took_part: every worker that it has been started on, in that order.
      runners: those where it has not ended yet.
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

    def __init__(self, job: JobRecord, first: WorkerRecord) -> None:
        self.job: JobRecord = job
        self.first: WorkerRecord = first
        self.started_at: float = first._started_at
        self.deadline: float = first._attempt_deadline
        self.took_part: dict[WorkerRecord, None] = {first: None}
        self.runners: dict[WorkerRecord, None] = {first: None}
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


class Hedging:
    """The attempts under way that may be, or have been, started on further workers.

    Attributes:
      under_way: each by its job.
      waiting: those whose time has come, and that wait for an idle worker; first come first served.
      further: how many runs are under way beside the first of each attempt that is.
      due_later: how many attempts are to be started on one more worker when the time for that comes.
    """

    __slots__ = ("_deadlines", "_roster", "due_later", "further", "under_way", "waiting")

    def __init__(self, roster: WorkerIndex, deadlines: Deadlines) -> None:
        self._roster = roster
        self._deadlines = deadlines
        self.under_way: dict[JobRecord, Race] = {}
        self.waiting: dict[Race, None] = {}
        self.further: int = 0
        self.due_later: int = 0

    def begin(self, worker: WorkerRecord, job: JobRecord, now: float) -> None:
        """An attempt of a job that has a hedge has started."""
        if terms_of(job).pinned is None:  # else there is nobody to start it on
            race = self.under_way[job] = Race(job, worker)
            self._wait(race, now)

    def come_due(self, race: Race) -> None:
        """An attempt has run for long enough to be started on one more worker."""
        self.due_later -= 1
        self.waiting[race] = None

    def first_match(self, now: float) -> tuple[Race, WorkerRecord] | None:
        """The first that waits for a worker which is idle, with that worker."""
        if self._roster.idle_count:
            for race in self.waiting:
                worker = self._roster.choose(self.terms_of(race), but=race.took_part)
                if worker is not None and now < race.deadline:
                    return race, worker
        return None

    def may_go_further(self, race: Race) -> bool:
        """Whether an attempt is to be started on one more worker, if there is one."""
        return race.next_at is not None or race in self.waiting

    def terms_of(self, race: Race) -> Terms:
        """Who may take one more run of an attempt."""
        terms = terms_of(race.job)
        return terms if terms.pinned is None else race.job._options.terms  # pinned by a failure of this very attempt

    def join(self, race: Race, worker: WorkerRecord, now: float) -> None:
        """An attempt has been started on one more worker."""
        race.took_part[worker] = None
        race.runners[worker] = None
        self.further += 1
        del self.waiting[race]
        self._wait(race, now)

    def cancel(self, job: JobRecord) -> list[WorkerRecord]:
        """A running job was cancelled; returns the workers that run it."""
        race = self.under_way.get(job)
        if race is not None:
            self.stop(race)
            race.cancelled()
        return self.runners_of(job)

    def runners_of(self, job: JobRecord) -> list[WorkerRecord]:
        """The workers that run a job, or that it has lent."""
        race = self.under_way.get(job)
        if race is not None:
            return list(race.runners)
        assert job._worker is not None
        return [job._worker]

    def ending(self, worker: WorkerRecord, *, decides: bool) -> Race | None:
        """The race, if it is one, of an attempt that is about to end on a worker, and perhaps altogether."""
        job = worker._current
        assert job is not None
        race = self.under_way.get(job)
        if race is not None and (decides or len(race.runners) == 1):
            self.stop(race)  # what ends at the very time for it isn't started once more
        return race

    def is_decided(self, job: JobRecord) -> bool:
        """Whether only a value can change any more how the attempt under way ends."""
        race = self.under_way.get(job)
        return race is not None and race.is_decided

    def leave(self, race: Race, worker: WorkerRecord) -> None:
        """An attempt has ended on one of its workers."""
        del race.runners[worker]
        race.job._worker = next(iter(race.runners), None)
        if race.runners:
            self.further -= 1
        else:
            del self.under_way[race.job]

    def stop(self, race: Race) -> None:
        """An attempt is not to be started on further workers."""
        self.waiting.pop(race, None)
        if race.next_at is not None:
            race.next_at = None
            self.due_later -= 1
            self._deadlines.forget()

    def _wait(self, race: Race, now: float) -> None:
        hedge = race.job._options.hedge
        assert hedge is not None
        if len(race.took_part) <= hedge.extra and now + hedge.after < race.deadline:
            race.next_at = now + hedge.after
            self.due_later += 1
            self._deadlines.add(Due.HEDGE, race, race.next_at)
