"""Matching jobs with workers.

1. A queued job never waits beside an idle worker that may run it, unless ``max_running`` attempts
   run or the pool's rate limit allows no start. A worker that its own rate limit holds back is not
   idle in this sense.
2. A worker that ends an attempt takes its next job itself. A ``START`` command gives a job to a worker
   only if another event makes work for an idle worker. The job of a lease always gets such a command,
   since its caller executes it.
3. Slow attempts are started on further workers only after all queued jobs that could use these workers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from .._model.records import Run
from .._model.states import Hold, JobState
from .._model.time_account import IDLE
from .._policies.draws import NO_USES
from .commands import ADMITTED, START
from .terms import terms_of

if TYPE_CHECKING:
    from .._model.records import JobRecord, Terms, WorkerRecord
    from .lanes import Lane
    from .metering import Metering
    from .race import Race
    from .ready_queue import ReadyQueue
    from .state import PoolState

# Read for every job, and slow to access through the enum.
QUEUED = JobState.QUEUED
INFINITE = math.inf


class Dispatcher:
    """Gives queued jobs to workers, within the limits of the pool and of each worker."""

    __slots__ = (
        "_accounts",
        "_commands",
        "_count",
        "_hedging",
        "_lifecycle",
        "_limits",
        "_line",
        "_metering",
        "_newcomers",
        "_news",
        "_overdue",
        "_queue",
        "_reservations",
        "_roster",
        "_state",
        "_waiting_line",
    )

    def __init__(self, state: PoolState, metering: Metering) -> None:
        self._state, self._metering = state, metering
        self._accounts = state.accounts
        self._roster = state.roster
        self._lifecycle = state.lifecycle
        self._limits = state.limits
        self._queue = state.queue
        self._waiting_line = state.waiting_line
        self._hedging = state.hedging
        self._reservations = state.reservations
        self._commands = state.commands
        # Read on the straight way. All of these stay the same objects.
        self._count = state.lifecycle.count
        self._line = state.waiting_line.line
        self._news = state.lifecycle.news
        self._newcomers = state.lifecycle.newcomers
        self._overdue = state.hedging.waiting

    def idle_worker_for(self, job: JobRecord, terms: Terms, now: float) -> WorkerRecord | None:
        """The idle worker that may start a job on these terms now, or None."""
        limits, key = self._limits, job._key
        if limits.is_shared and not limits.allows_start(now):
            return None
        if key is not None and key.is_closed_to(terms.units):
            return None
        while True:
            worker = self._roster.choose(terms)
            if worker is None or not (limits.has_shares and self._metering.closes(worker, key, terms.units, now)):
                return worker
            if key is not None and key.is_closed_to(terms.units):
                return None

    @property
    def is_waiting_for_meter(self) -> bool:
        """Whether a job waits only for the pool's rate limit."""
        if self._limits.limited_until is None or self._limits.room <= 0:
            return False
        # The job that began to wait for the limit may no longer be queued.
        return self._first_match(self._queue) is not None

    def free(self, now: float) -> list[WorkerRecord]:
        """The workers that could start a job now, beginning with the one whose last start or end is longest ago."""
        if self._limits.hold.is_on_at(now) or self._limits.is_rate_limited(now):
            return []
        free = self._roster.idle()
        return [worker for worker in free if not _is_limited(worker, now)] if self._limits.has_shares else free

    def admit(self, taken: JobRecord | None, now: float) -> None:
        """Admit the submitter of the job that a worker has ``taken`` from the line, or the first one in line."""
        first = self._waiting_line.first() if taken is None else taken
        assert first is not None
        key, jobs = self._waiting_line.let_in(first)
        for job in jobs:
            if why := self._state.dependencies.why_blocked(job):
                self._lifecycle.move(job, JobState.BLOCKED, now, why=why)
                continue
            self._lifecycle.move(job, QUEUED, now)
            if job is not taken:
                self.let_wait(job, terms_of(job))
        self._commands.append((ADMITTED, key))

    def admit_waiting(self, now: float) -> None:
        """Admit submitters in order, as long as there is a place in the queue."""
        while self._waiting_line.line and self._waiting_line.is_free():
            self.admit(None, now)

    def let_wait(self, job: JobRecord, terms: Terms, *, front: bool = False, ticket: int | None = None) -> None:
        """Queue a job that no free worker may run now."""
        self._queue.push(job, terms, front=front, ticket=ticket)
        lifecycle = self._lifecycle
        queued = lifecycle.count[QUEUED]
        if queued > lifecycle.queue_peak:
            lifecycle.queue_peak = queued
        if lifecycle.tallies and (group := job._options.group) is not None:
            group.note_queued()

    def hand_over(self, worker: WorkerRecord, job: JobRecord, now: float) -> None:
        """Give a job to an idle worker."""
        account = worker._account
        if account.at != now:
            reading = account.reading  # like `WorkerAccount.is_plain`
            if reading is not self._roster.reading or reading.cause != IDLE or account.cause != IDLE or account.kept:
                self._accounts.note(worker, now)
        account.free = 0
        self._roster.unpark(worker)
        self._commands.append((START, self.begin(worker, job, now)))

    def next_straight(self, worker: WorkerRecord, now: float) -> Run | Literal[False] | None:
        """Return the next run of a worker that has ended one, or None, if no other job or worker can be affected.

        Otherwise return False: the caller then finds the next run in the general way.
        """
        state = self._state
        if (
            state.special
            or state.may_start
            or state.may_be_stuck
            or worker._limits is not None
            or worker._claims
            or not worker._available
            or self._news
            or self._newcomers
            or self._line
            or self._overdue
            or (worker._runs and not worker._has_room)
            or self._queue.indexes.is_crowded
        ):
            return False
        if self._count[QUEUED] and (job := self._queue.take(worker)) is not None:
            run = self.begin(worker, job, now)
            if not job._options.is_lease:
                return run
            self._commands.append((START, run))
            return None
        self._roster.park(worker, now, is_fresh=False)
        return None

    def next_for(self, worker: WorkerRecord, now: float, together: bool) -> Run | None:
        """Return the next run of a worker that has ended one, or None if the worker has to wait.

        Arguments:
          together: whether the end of the run may also affect idle workers.
        """
        # Checked first, even if other holds apply: the statistics show when all of them end.
        if worker._limits is not None and (ready := worker._limits.ready_at(now)) > now:
            self._limit(worker, ready, now)
            self._state.may_start = True  # there may be room for another under max_running
            return None
        if not worker._available or (worker._runs and not worker._has_room):
            if not worker._available:
                self._roster.count_coming(worker)  # its resource can be reopened now that no run uses it
            self._state.may_start = True  # there may be room for another under max_running
            return None
        reservations = self._reservations
        together = together or bool(reservations.kept or reservations.waiting)
        crowded = self._queue.indexes.is_crowded or self._waiting_line.by_taker.indexes.is_crowded
        if self._limits.is_shared or crowded or (together and self._roster.idle_count):
            # Which job may start must not depend on which worker looks first.
            self._roster.park(worker, now)
            if self._count[QUEUED] or self._line or self._overdue:
                self._state.may_start = True
            return None
        run: Run | None = None
        if self._lifecycle.count[QUEUED] and (job := self._queue.take(worker)) is not None:
            run = self.begin(worker, job, now)
        elif self._waiting_line.line and (job := self._waiting_line.by_taker.take(worker)) is not None:
            self.admit(job, now)
            run = self.begin(worker, job, now)
        else:
            self._roster.park(worker, now, is_fresh=False)
        if run is not None and not worker._is_exclusive and worker._limits is not None:
            self._state.may_start = True  # the end of a probe may have freed several places
        if self._hedging.waiting:
            self._state.may_start = True  # also with a next job: others may now be able to join the ended attempt
        if run is not None and run.job._options.is_lease:
            self._commands.append((START, run))
            return None
        return run

    def note(self, worker: WorkerRecord, now: float) -> None:
        """Update whether a worker counts as available."""
        self._accounts.note(worker, now)
        self._roster.count_coming(worker)
        available = all(hold is Hold.LIMITED for hold in worker._holds)
        if available == worker._available:
            return
        self._roster.set_available(worker, available)
        if available:
            if worker._limits is not None:
                worker._limits.idle_since = now
            if worker._has_room:
                self.rest_idle(worker, now)
            self._state.note_relied_on()
        self._state.look_again()

    def rest_idle(self, worker: WorkerRecord, now: float) -> None:
        """Mark an available worker with a free place as free, or hold it until its rate limit allows a start."""
        if worker._limits is not None and (ready := worker._limits.ready_at(now)) > now:
            self._limit(worker, ready, now)
        elif Hold.LIMITED not in worker._holds:
            self._roster.park(worker, now)

    def _note_place(self, run: Run, now: float) -> None:
        """Update whether a worker with several places is free after a run has taken one of them."""
        self._roster.note_run(run, 1)
        self._accounts.note(run.worker, now)
        self.note_places(run.worker, now)

    def note_places(self, worker: WorkerRecord, now: float) -> None:
        """Update whether a worker with several places is free after the use of them has changed."""
        self._roster.unpark(worker)
        if worker._available and worker._has_room:
            self.rest_idle(worker, now)

    def _limit(self, worker: WorkerRecord, ready: float, now: float) -> None:
        """Record that a worker's own rate limit holds it back."""
        self._state.availability.limit(worker, ready)
        self._roster.count_coming(worker)
        self._accounts.note(worker, now)

    def relax(self, worker: WorkerRecord, now: float) -> None:
        """Update whether a worker is held by its rate limit, after the level has changed other than by time."""
        assert worker._limits is not None
        is_limited = Hold.LIMITED in worker._holds
        if (ready := worker._limits.ready_at(now)) > now:
            if is_limited or self._roster.is_idle(worker):
                self._roster.unpark(worker)
                self._limit(worker, ready, now)
        elif is_limited:
            self._state.availability.end_limit(worker)
            self._roster.count_coming(worker)
            self._accounts.note(worker, now)
            if worker._available and worker._has_room:
                self._roster.park(worker, now)
        self._state.may_start = True

    def match(self, now: float) -> None:
        """Reserve idle workers for the groups that wait for some, and give jobs to the others."""
        if self._reservations.lacking:
            self.set_aside_idle()
        self.give_out(now)

    def give_out(self, now: float) -> None:
        """Give waiting jobs to the idle workers."""
        count, line, hedged = self._lifecycle.count, self._waiting_line.line, self._hedging.waiting
        if not (count[QUEUED] or line or hedged):
            self._roster.fresh.clear()
        while (count[QUEUED] or line or hedged) and self._limits.room > 0:
            queue = self._queue
            found = self._first_match(queue)
            if found is None:
                queue = self._waiting_line.by_taker
                found = self._first_match(queue)
            race = self._hedging.first_match() if found is None and self._hedging.waiting else None
            if found is None and race is None:
                return
            meters = self._limits.meters
            if meters.starts and (ready := meters.ready_at(now)) > now:
                meters.wait(None, now)
                self._limits.wait_for_meter(ready)
                return
            if found is None:
                assert race is not None
                joined, worker = race
                units, key = self._hedging.terms_of(joined).units, joined.job._key
                if not (self._limits.has_shares and self._metering.closes(worker, key, units, now)):
                    self._begin_further(joined, worker, now)
                continue
            lane, worker = found
            if self._limits.has_shares:
                head = lane.head()
                assert head is not None
                if self._metering.closes(worker, head[3]._key, lane.terms.units, now):
                    continue
            job = queue.pop(lane)
            if queue is not self._queue:
                self.admit(job, now)
            self.hand_over(worker, job, now)

    def set_aside(self, *workers: WorkerRecord) -> bool:
        """Reserve free workers for the groups that wait for some; return whether any were reserved."""
        kept = [worker for worker in workers if self._reservations.offer(worker)]
        if kept:
            self._state.look_again()
            waiting = self._reservations.waiting
            if any({worker._kind.group, *worker._kept}.difference((None,), waiting) for worker in kept):
                self._state.may_be_stuck = True  # jobs that need the worker now wait for the group
        return bool(kept)

    def set_aside_idle(self) -> None:
        """Reserve idle workers: any of them if the groups lack more workers than before, otherwise only fresh ones."""
        reservations, roster = self._reservations, self._roster
        if not reservations.has_grown:
            self.set_aside(*roster.fresh_idle())  # a group may have released them in any order
            return
        reservations.has_grown = False
        refused: dict[WorkerRecord, None] = {}
        while reservations.lacking and (worker := roster.longest_idle(refused)) is not None:
            if not self.set_aside(worker):
                refused[worker] = None

    def _first_match(self, queue: ReadyQueue) -> tuple[Lane, WorkerRecord] | None:
        fresh = self._roster.fresh
        if fresh:
            for each in self._queue, self._waiting_line.by_taker:
                if not each.is_plain:
                    each.note_idle(worker for worker in fresh if self._roster.is_idle(worker))
            fresh.clear()
        return queue.first_startable() if self._roster.idle_count else None

    def begin(self, worker: WorkerRecord, job: JobRecord, now: float, *, is_new: bool = False) -> Run:
        """Start a job on a worker; if the job ``is_new``, the caller lets it enter the pool."""
        options, deadline = job._options, job._deadline
        limit = options.attempt_timeout
        if limit != INFINITE and now + limit < deadline:
            deadline = now + limit
        if options.is_lease:
            deadline = INFINITE  # the job's deadline bounds only the wait for a place
        job._run = run = Run(job, worker, now, deadline)
        worker._runs[run] = None
        if worker._limits is not None or self._limits.counts_starts or options.uses is not NO_USES:
            self._count_start(run, now)
            if self._limits.budget is not None:
                self._limits.budget.attempt(now)
        if options.hedge is not None:
            self._hedging.begin(run, now)
        if not is_new:
            if job._extra is not None:
                job._extra.progress = None
            self._lifecycle.start(job, worker, now)
        if not worker._is_exclusive:
            self._note_place(run, now)
        return run

    def _begin_further(self, race: Race, worker: WorkerRecord, now: float) -> None:
        """Also start a running attempt on an idle worker."""
        self._roster.unpark(worker)
        run = Run(race.job, worker, now, race.deadline)
        worker._runs[run] = None
        self._accounts.note(worker, now)
        self._lifecycle.add_surplus(race.job, 1)
        self._count_start(run, now)
        self._hedging.join(race, run, now)
        self._commands.append((START, run))
        if not worker._is_exclusive:
            self._note_place(run, now)

    def _count_start(self, run: Run, now: float) -> None:
        limits = run.worker._limits
        if limits is not None:
            run.trial = limits.start(now)
            if not run.worker._is_exclusive and (limits.is_probing or limits.is_worn()):
                self._state.may_be_stuck = True  # waiting jobs may need places that now stay free
        key = run.job._key
        is_limited = (limits is not None and limits.meters) or (key is not None and key.meters is not None)
        if is_limited or self._limits.has_meters or run.job._options.uses:
            self._metering.hand_out(run, now)


def _is_limited(worker: WorkerRecord, now: float) -> bool:
    """Whether a limit without a unit that the worker shares allows no start now."""
    return worker._limits is not None and worker._limits.shared_ready_at(now) > now
