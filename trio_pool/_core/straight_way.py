"""The straight way: a shortcut for the most frequent events, without checks for features that are not in use.

Each method does what the general way would do, and leaves all other cases to the general way. The tests run the same
programs with and without the straight way and compare the results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._model.history import longer
from .._model.records import ANYONE
from .._model.states import JobState
from .._model.time_account import IDLE
from .._policies.draws import NO_USES
from .commands import CHANGED, QUIET

if TYPE_CHECKING:
    from .._model.records import JobRecord, Run, WorkerRecord
    from .attempt_events import AttemptEvents
    from .dispatcher import Dispatcher
    from .settle import Settling
    from .state import PoolState

# Read for every job, and slow to access through the enum.
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED

FIRST_START = 4  # the fields of the history of a job that has been queued and started, each once


class StraightWay:
    """The straight way of a job into the pool, and from its success to the next job."""

    __slots__ = (
        "_accounts",
        "_commands",
        "_count",
        "_deadlines",
        "_dependents",
        "_dispatcher",
        "_ended_in_race",
        "_hedging",
        "_instruments",
        "_lifecycle",
        "_live",
        "_max_queue",
        "_queue",
        "_roster",
        "_settling",
        "_state",
        "_watched",
    )

    def __init__(self, state: PoolState, dispatcher: Dispatcher, settling: Settling, attempts: AttemptEvents) -> None:
        lifecycle = state.lifecycle
        self._state = state
        self._lifecycle = lifecycle
        self._dispatcher = dispatcher
        self._settling = settling
        self._accounts = state.accounts
        self._roster = state.roster
        self._deadlines = state.deadlines
        self._queue = state.queue
        self._commands = state.commands
        self._max_queue = state.waiting_line.limit
        self._hedging = state.hedging
        self._ended_in_race = attempts.succeeded_in_race
        # All of these stay the same objects.
        self._count = lifecycle.count
        self._live = lifecycle.live
        self._instruments = lifecycle.instruments
        self._dependents = state.dependencies.dependents
        self._watched = state.waits.watched

    def submit(self, job: JobRecord, now: float) -> Run | bool:
        """Start a new job on an idle worker, or queue it, if nothing else has to be considered.

        Returns:
          the run, which the caller sends to its worker; True if the job is queued; False if the job has to be
          submitted in the general way.
        """
        state, lifecycle = self._state, self._lifecycle
        if (
            state.special
            or not job._options.is_simple
            or self._deadlines.soonest <= now
            or job._deadline <= now
            or not lifecycle.unstarted < self._max_queue
        ):
            return False
        roster = self._roster
        if roster.idle_count:
            worker = roster.take_idle()
            account = worker._account
            if account.reading is not roster.reading or account.reading.cause != IDLE or account.cause != IDLE:
                self._accounts.note(worker, now)
            account.free = 0
            run = self._dispatcher.begin(worker, job, now, is_new=True)
            self.enter_running(job, worker, now)
            return run
        if not roster.by_id:
            return False
        lifecycle.enter(job, now)
        self._queue.push(job, ANYONE)
        queued = self._count[QUEUED]
        if queued > lifecycle.queue_peak:
            lifecycle.queue_peak = queued
        return True

    def enter_running(self, job: JobRecord, worker: WorkerRecord, now: float) -> None:
        """Let a new job of no group run at once: `Lifecycle.enter` and `Lifecycle.start` in one."""
        lifecycle = self._lifecycle
        self._live[job._id] = job
        self._count[RUNNING] += 1
        job._state = RUNNING
        job._started = True
        if lifecycle.keep_history:
            job._history = ("queued", now, "running", now)
        if self._instruments:
            lifecycle.tell_of(job, None, QUEUED, None)
            lifecycle.tell_of(job, QUEUED, RUNNING, worker)

    def succeeded(self, run: Run, value: object, now: float) -> Run | None:
        """End a run that has returned a value; return the worker's next run."""
        race = run.race
        if race is not None:
            if run.is_lent or len(race.took_part) > 1:
                return self._ended_in_race(run, value, now)
            self._hedging.end(race)  # it has been fast enough
        if self._deadlines.soonest <= now:
            self._settling.advance(now)
        job, worker, lifecycle = run.job, run.worker, self._lifecycle
        job._value = value
        if self._dependents or self._watched or lifecycle.tallies or self._instruments:
            lifecycle.end_attempt(run, now, None)
            lifecycle.move(job, SUCCEEDED, now)
        else:
            del worker._runs[run]
            draws = run.draws
            if draws is not None and not draws.has_begun:
                draws.begin(run.started_at)
            worker._busy_seconds += now - run.since
            if not worker._is_exclusive:
                worker._crew.note_run(run, -1)
            worker._succeeded += 1
            job._run = None
            if job._attempts or draws is not None:
                used = None if draws is None or draws.used is NO_USES else draws.used
                lifecycle.keep_attempt(job, worker, run.started_at, now, None, (), used)
                job._setback = None
            else:
                job._attempts = (1, worker._id, worker._name, run.started_at, now, None, (), None)
            history = job._history
            if history is not None:
                if len(history) == FIRST_START:
                    job._history = (*history, "succeeded", now)
                else:  # the history may be full, even without a counted attempt
                    job._history = longer(history, SUCCEEDED, now)
            count = self._count
            count[RUNNING] -= 1
            count[SUCCEEDED] += 1
            job._state = SUCCEEDED
            job._finished_at = now
            job._context = None
            live = self._live
            del live[job._id]
            if not live:
                self._commands.append((QUIET, None))
            if job._window is not None:
                job._window.end(job, RUNNING)
            if job._watchers is not None:
                self._commands.append((CHANGED, job))
        limits = worker._limits
        if limits is not None:
            limits.succeeded(now, run.trial)
        if not worker._available:
            worker._crew.count_coming(worker)  # the worker may have had to wait for this
        following = self._dispatcher.next_straight(worker, now)
        return self._settling.next_in_general(worker, now) if following is False else following
