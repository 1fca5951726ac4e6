"""The only place that changes a job's state, with all direct consequences."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, cast

from .._model.history import longer
from .._model.shortfall import Shortfall
from .._model.states import (
    ATTEMPT_FIELDS,
    ERROR_FIELD,
    FINAL,
    KEPT_FIRST_ATTEMPTS,
    KEPT_LAST_ATTEMPTS,
    TRANSITIONS,
    Attempt,
    DeadReason,
    JobState,
)
from .._policies.draws import NO_USES, shown_uses, used_of
from .commands import CHANGED, DIED, GROUP_QUIET, QUIET, TELL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._basics.error_text import Words
    from .._model.dead_letters import DeadLetters
    from .._model.handles import Job
    from .._model.history import Why
    from .._model.key_record import KeyRecord
    from .._model.records import Group, JobRecord, Run, WorkerRecord
    from .._policies.rate_meter import Amount
    from .commands import Commands
    from .dependencies import Dependencies
    from .keys import Keys
    from .waits import Waits


_FIRST_ATTEMPT_FIELDS = KEPT_FIRST_ATTEMPTS * ATTEMPT_FIELDS
_MOST_ATTEMPT_FIELDS = (KEPT_FIRST_ATTEMPTS + KEPT_LAST_ATTEMPTS) * ATTEMPT_FIELDS

# Read for every change of state, and slow to access through the enum.
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING


class Lifecycle:
    """The jobs of the pool and their counts.

    Arguments:
      commands: receives the notifications.
      dead: receives the dead jobs.
      dependencies: which jobs other jobs depend on.
      instruments: the instruments; used only to check whether there are any.
      keep_history: whether jobs keep their transitions.
      waits: notified of the jobs that others wait for.

    Attributes:
      instruments: the instruments.
      count: how many jobs are in each state, including ended ones.
      unstarted: how many jobs in the pool have never started, which max_queue bounds.
      used: what the runs have used in total, by units.
      held: how many queued jobs wait because their groups already run as many jobs as they may.
      live: the jobs that have not ended, by id, in the order in which they entered.
      surplus: how many more workers are busy than jobs run, because of hedges.
      keys: the keys, if there are bounds for them.
      tallies: how many open groups, plus one if there are `keys`, count the changes of their jobs' states.
      news: ended jobs that affect others, and groups and keys that may start jobs again; to be
          followed up before the event ends.
      newcomers: jobs that have entered groups whose ends are awaited.
    """

    __slots__ = (
        "_commands",
        "_dead",
        "_dependents",
        "_waits",
        "_watched",
        "count",
        "failures",
        "held",
        "instruments",
        "keep_history",
        "keys",
        "live",
        "newcomers",
        "news",
        "queue_peak",
        "retries",
        "surplus",
        "tallies",
        "unstarted",
        "used",
    )

    def __init__(
        self,
        commands: Commands,
        dead: DeadLetters,
        dependencies: Dependencies,
        instruments: Sequence[object],
        keep_history: bool,
        waits: Waits,
    ) -> None:
        self._commands = commands
        self._dead = dead
        self._dependents = dependencies.dependents
        self.instruments: Sequence[object] = instruments
        self.keep_history: bool = keep_history
        self._waits = waits
        self._watched = waits.watched
        self.count: dict[JobState, int] = dict.fromkeys(JobState, 0)
        self.unstarted: int = 0
        self.failures: int = 0
        self.retries: int = 0
        self.held: int = 0
        self.queue_peak: int = 0
        self.used: dict[str, Amount] = {}
        self.live: dict[int, JobRecord] = {}
        self.surplus: int = 0
        self.keys: Keys | None = None
        self.tallies: int = 0
        self.newcomers: deque[JobRecord] = deque()
        self.news: deque[JobRecord | Group | KeyRecord] = deque()

    def move(self, job: JobRecord, state: JobState, now: float, detail: Any = None, why: Why = ()) -> None:
        """Change the state of a job, keep its history and notify the instruments.

        Arguments:
          detail: the worker if ``state`` is ``RUNNING``, the end of the delay if it is ``DELAYED``.
          why: the reason for the history.
        """
        old = job._state
        if state not in TRANSITIONS[old]:
            raise AssertionError(f"{job!r} can't become {state.name}")
        count = self.count
        if old is None:
            self.unstarted += 1
            self.live[job._id] = job
        else:
            count[old] -= 1
        count[state] += 1
        job._state = state
        if job._history is not None or (old is None and self.keep_history):
            job._history = longer(job._history or (), state, now, why)
        may_be_awaited = False  # first starts and ends can be
        if state is RUNNING:
            if not job._started:
                job._started = True
                may_be_awaited = job._extra is not None and job._extra.is_start_awaited
                self.unstarted -= 1
            if self._watched:
                self._waits.note(job)  # some waits are only for the first start
        elif state in FINAL:
            may_be_awaited = True
            self._close(job, now)
            if job._window is not None:
                job._window.end(job, old)
        elif job._window is not None:
            job._window.move(old, state)
        if self.tallies:
            self.note_in_tallies(job, old, state)
        if may_be_awaited and job._watchers is not None:
            self._commands.append((CHANGED, job))
        if self.instruments:
            self.tell_of(job, old, state, detail)

    # The most frequent changes, each written out: what `move` would do, without its checks. The
    # tests compare them with `move`.

    def enter(self, job: JobRecord, now: float) -> None:
        """Let a new job wait for a worker."""
        self.unstarted += 1
        self.live[job._id] = job
        self.count[QUEUED] += 1
        job._state = QUEUED
        if self.keep_history:
            job._history = ("queued", now)
        if self.tallies:
            self.note_in_tallies(job, None, QUEUED)
        if self.instruments:
            self.tell_of(job, None, QUEUED, None)

    def start(self, job: JobRecord, worker: WorkerRecord, now: float) -> None:
        """Let a waiting job run."""
        if self._watched or (job._extra is not None and job._extra.is_start_awaited):
            self.move(job, RUNNING, now, worker)
            return
        if job._started:
            if job._history is not None:
                job._history = longer(job._history, RUNNING, now)
        else:
            job._started = True
            self.unstarted -= 1
            if job._history is not None:
                job._history += ("running", now)
        count = self.count
        count[QUEUED] -= 1
        count[RUNNING] += 1
        job._state = RUNNING
        if self.tallies:
            self.note_in_tallies(job, QUEUED, RUNNING)
        if self.instruments:
            self.tell_of(job, QUEUED, RUNNING, worker)

    def note_in_tallies(self, job: JobRecord, old: JobState | None, state: JobState) -> None:
        """Record a change of state for the job's key, and in its group, if it has one."""
        if self.keys is not None:
            self.keys.note(job, old, state)
        group = job._options.group
        if group is None:
            return
        if old is RUNNING and group.is_full:
            self.news.append(group)
        if old is None and group.awaited:
            self.newcomers.append(job)
        if group.note(job, old, state):
            self._commands.append((GROUP_QUIET, group))
        if group.is_gate:
            self.held += group.change_of_held()

    def end(self, job: JobRecord, state: JobState, now: float, words: Words = "") -> None:
        """End a job in a state other than dead; ``words`` is the reason if it has no result."""
        job._value = Shortfall(words)
        self.move(job, state, now)

    def die(
        self,
        job: JobRecord,
        reason: DeadReason,
        words: Words,
        error: Exception | None,
        now: float,
    ) -> None:
        """End a job as dead because of ``error``, or without an error."""
        job._value = shortfall = Shortfall(words, reason, error)
        self.move(job, JobState.DEAD, now)
        if job._options.is_lease:
            shortfall.is_dealt_with = True  # its caller gets the error
            return
        self._dead._add(cast("Job[Any]", job))
        self._commands.append((DIED, job))
        if (group := job._options.group) is not None and group.must_succeed:
            self.news.append(job)

    def time_out(self, job: JobRecord, now: float) -> None:
        """End a job that isn't running after its total timeout, or a lease that has got no place in time."""
        if job._options.is_lease:
            if job._state is None:
                self.move(job, QUEUED, now)
            self.end(job, JobState.CANCELLED, now, "it got no place in time")
            return
        self.die(job, DeadReason.TIMED_OUT, "its total timeout passed", _last_error(job), now)

    def bury(self, job: JobRecord, now: float, cause: Exception | None) -> None:
        """End a job that no worker may run, perhaps because of an error of a worker."""
        words: Words = "no worker of the pool can run it"
        if cause is not None:
            words = ("no worker of the pool can run it anymore: {}", cause)
        self.die(job, DeadReason.NO_WORKER, words, _last_error(job) if cause is None else cause, now)

    def end_attempt(self, run: Run, now: float, error: Exception | None) -> JobRecord:
        """Record an attempt that counts, and remove its run from the worker; return the job."""
        job, worker = self.take_off(run, now), run.worker
        if error is None:
            worker._succeeded += 1
        else:
            worker._failed += 1
            worker._last_error = error
        self.keep_attempt(job, worker, run.started_at, now, error, (), used_of(run.draws))
        return job

    def cut_attempt(self, run: Run, now: float, error: Exception) -> JobRecord:
        """Remove a run whose attempt doesn't count from its worker; return the job."""
        job = self.take_off(run, now)
        self.drop_attempt(job, run.worker, run.started_at, now, error, (), used_of(run.draws))
        return job

    # The single steps of `end_attempt` and `cut_attempt`, for attempts on several workers.

    def take_off(self, run: Run, now: float) -> JobRecord:
        """Remove a run from its worker, which frees the place; return the job."""
        job, worker = run.job, run.worker
        del worker._runs[run]
        if not worker._is_exclusive:
            worker._crew.note_run(run, -1)
        if not worker._available:
            worker._crew.count_coming(worker)  # the worker may have had to wait for this
        if run.draws is not None:
            run.draws.begin(run.started_at)
        worker._busy_seconds += now - run.since
        job._run = None
        return job

    def count_for(self, worker: WorkerRecord, error: Exception | None) -> None:
        """Add an attempt to a worker's statistics; `end_attempt` does the same inline."""
        if error is None:
            worker._succeeded += 1
        else:
            worker._failed += 1
            worker._last_error = error

    def keep_attempt(
        self,
        job: JobRecord,
        worker: WorkerRecord,
        started_at: float,
        now: float,
        error: Exception | None,
        hedges: tuple[tuple[int, str], ...] = (),
        used: Mapping[str, Amount] | None = None,
    ) -> None:
        """Count an attempt, and add it to its job's attempts."""
        kept = job._attempts
        number = kept[-ATTEMPT_FIELDS] + 1 if kept else 1
        shown = shown_uses(used) if used else None
        attempt = (number, worker._id, worker._name, started_at, now, error, hedges, shown)
        if self.instruments:
            self.tell("attempt_ended", job, Attempt(*attempt))
        if len(kept) == _MOST_ATTEMPT_FIELDS:
            kept = kept[:_FIRST_ATTEMPT_FIELDS] + kept[_FIRST_ATTEMPT_FIELDS + ATTEMPT_FIELDS :]
        job._attempts = kept + attempt
        if error is not None:
            self.failures += 1
            if (group := job._options.group) is not None:
                group.failures += 1

    def add_surplus(self, job: JobRecord, difference: int) -> None:
        """Add to the number of workers that are busy in addition to one per running job."""
        self.surplus += difference
        if self.keys is not None:
            self.keys.add_surplus(job, difference)
        if (group := job._options.group) is not None:
            if difference < 0 and group.is_full:
                self.news.append(group)
            group.surplus += difference
            self.held += group.change_of_held()

    def drop_attempt(
        self,
        job: JobRecord,
        worker: WorkerRecord,
        started_at: float,
        now: float,
        error: Exception,
        hedges: tuple[tuple[int, str], ...] = (),
        used: Mapping[str, Amount] | None = None,
    ) -> None:
        """Notify the instruments of an attempt that doesn't count."""
        if self.instruments:
            number = job.attempt_count + 1
            told = (number, worker._id, worker._name, started_at, now, error, hedges, shown_uses(used or NO_USES))
            self.tell("attempt_ended", job, Attempt(*told))

    def tell(self, event: str, *arguments: object) -> None:
        """Record an event for the instruments, if there are any."""
        if self.instruments:
            self._commands.append((TELL, (event, arguments)))

    def _close(self, job: JobRecord, now: float) -> None:
        """Release what only an unfinished job needs."""
        del self.live[job._id]
        if not job._started:
            self.unstarted -= 1
        job._finished_at = now
        job._context = job._setback = None
        if self._dependents and job in self._dependents:
            self.news.append(job)
        if self._watched:
            self._waits.note(job)
            if job._window is not None:
                self._waits.note(job._window)
        if not self.live:
            self._commands.append((QUIET, None))

    def tell_of(self, job: JobRecord, old: JobState | None, state: JobState, detail: object) -> None:
        """Record a change of state for the instruments."""
        if old is None:
            self.tell("job_submitted", job)
        if state is JobState.RUNNING:
            self.tell("attempt_started", job, detail)
        elif state is JobState.DELAYED:
            self.tell("job_delayed", job, detail)
        elif state.is_final:
            self.tell("job_finished", job)


def _last_error(job: JobRecord) -> Exception | None:
    return job._attempts[ERROR_FIELD - ATTEMPT_FIELDS] if job._attempts else None


def why_again(job: JobRecord) -> Why:
    """Why a job is tried again after the attempt that has just been recorded."""
    _, _, worker_name, _, _, error, hedges, _ = job._attempts[-ATTEMPT_FIELDS:]
    return ("failed: {}", error) if hedges else ("failed on {}: {}", worker_name, error)
