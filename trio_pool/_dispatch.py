"""Core: bringing jobs and workers together.

1. A job that is queued never waits beside an idle worker that may take it, unless
   ``max_running`` attempts are under way or the pool's rate limit lets none start. A worker
   that its own rate limit holds back is not idle here.
2. A worker that ends an attempt asks for its next job itself. Only when something else
   makes work for an idle worker is the job handed to it by a `Start`.
3. Only where that leaves an idle worker is a slow attempt started on it too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._effects import Admitted, Start
from ._job import JobState
from ._meters import BudgetMeter, RateMeter
from ._races import Races
from ._roster import terms_of
from ._seat import Phase

if TYPE_CHECKING:
    from ._deadlines import Deadlines
    from ._dependencies import Dependencies
    from ._effects import Effects
    from ._holds import Holds
    from ._job import Job
    from ._lanes import Lane
    from ._ledger import Ledger
    from ._limits import RateLimit, RetryBudget
    from ._places import Places
    from ._queue import ReadyQueue
    from ._races import Race
    from ._reservations import Reservations
    from ._roster import Roster, Terms
    from ._seat import Seat
    from ._staffing import Staffing

# Looked up with every job, and slow through the enum.
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING


class Dispatch:
    """Gives queued jobs to workers, within the limits of the pool and of each worker.

    Attributes:
      max_running: how many attempts may be under way at once.
      meter: what the pool's rate limit lets start, or None without one.
      staffing: what is told of idle workers in an elastic pool, or None.
      budget: what the pool's budget of retries is told of, or None without one.
      races: the attempts that may run on more than one worker.
      has_bounced: whether jobs have ever been kept from workers that they have failed on.
    """

    __slots__ = (
        "_deadlines",
        "_dependencies",
        "_effects",
        "_holds",
        "_ledger",
        "_limited_until",
        "_meter_before",
        "_places",
        "_queue",
        "_reservations",
        "_roster",
        "_ticket",
        "budget",
        "has_bounced",
        "max_running",
        "meter",
        "races",
        "staffing",
    )

    def __init__(
        self,
        roster: Roster,
        ledger: Ledger,
        deadlines: Deadlines,
        queue: ReadyQueue,
        places: Places,
        holds: Holds,
        dependencies: Dependencies,
        reservations: Reservations,
        effects: Effects,
        max_running: float,
        rate_limit: RateLimit | None,
        retry_budget: RetryBudget | None,
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self._deadlines = deadlines
        self._queue = queue
        self._places = places
        self._holds = holds
        self._dependencies = dependencies
        self._reservations = reservations
        self._effects = effects
        self.max_running: float = max_running
        self.meter = None if rate_limit is None else RateMeter(rate_limit)
        self.budget: BudgetMeter | None = None if retry_budget is None else BudgetMeter(retry_budget)
        self.staffing: Staffing | None = None
        self.has_bounced: bool = False
        self.races: Races = Races(roster, deadlines)
        # The last one, while there is no limit: it must not be forgotten what has started.
        self._meter_before: RateMeter | None = None
        # Until when the pool's rate limit keeps a job waiting that could start otherwise.
        self._limited_until: float | None = None
        # Names the entry for that in the heap of deadlines, and is 0 without one.
        self._ticket = 0

    @property
    def is_shared(self) -> bool:
        """Whether workers hold each other back: whose job starts may depend on all of them."""
        return self.max_running != math.inf or self.meter is not None

    @property
    def has_reserved(self) -> bool:
        """Whether workers are set aside for groups, or may be: jobs prefer those of their own group."""
        return self._reservations.kept > 0 or bool(self._reservations.waiting)

    def idle_worker_for(self, terms: Terms, now: float) -> Seat | None:
        """The idle worker that may start such a job now, or None."""
        if self._ledger.count[RUNNING] + self._ledger.surplus >= self.max_running:
            return None
        return None if self._is_limited(now) else self._roster.choose(terms)

    @property
    def room(self) -> float:
        """How many more attempts may be under way."""
        return self.max_running - self._ledger.count[RUNNING] - self._ledger.surplus

    @property
    def is_waiting_for_meter(self) -> bool:
        """Whether a job waits for nothing but the pool's rate limit."""
        if self._limited_until is None or self.room <= 0:
            return False
        if self.staffing is not None and self.staffing.is_short:
            return True
        # One may have begun to wait for it and be gone.
        return self._first_match(self._queue) is not None

    def idle(self, now: float) -> list[Seat]:
        """The workers that no limit keeps from starting a job now, the longest idle first."""
        return [] if self._is_limited(now) else self._roster.idle()

    def _is_limited(self, now: float) -> bool:
        """Whether the pool's rate limit lets nothing start now."""
        return self.meter is not None and self.meter.ready_at(now) > now

    def set_rate_limit(self, limit: RateLimit | None, now: float) -> None:
        """Change how often attempts may start in the pool, without handing out a fresh burst."""
        meter = self.meter or self._meter_before
        if limit is None:
            self._meter_before, self.meter = meter, None
        elif meter is None:
            self.meter = RateMeter(limit)
        else:
            meter.change(limit, now)
            self._meter_before, self.meter = None, meter
        if self.meter is None:
            self.wait_for_meter(None)

    def admit(self, taken: Job[Any] | None, now: float) -> None:
        """Let in whoever waits with the job that a worker has ``taken`` from the line, or has waited longest."""
        first = self._places.first() if taken is None else taken
        assert first is not None
        key, jobs = self._places.let_in(first)
        for job in jobs:
            if job in self._dependencies.missing:
                self._ledger.move(job, JobState.BLOCKED, now)
                continue
            self._ledger.move(job, QUEUED, now)
            if job is not taken:
                self.let_wait(job, terms_of(job))
        self._effects.append(Admitted(key))

    def fill_places(self, now: float) -> None:
        """Let submitters in, first come first served, as long as there is a place."""
        while self._places.line and self._places.is_free():
            self.admit(None, now)

    def let_wait(self, job: Job[Any], terms: Terms, *, front: bool = False) -> None:
        """No idle worker may take the job now."""
        self._queue.push(job, terms, front=front)
        ledger = self._ledger
        queued = ledger.count[QUEUED]
        if queued > ledger.queue_peak:
            ledger.queue_peak = queued
        if ledger.groups and (group := job._options.group) is not None:
            group.note_queued()

    def hand_over(self, seat: Seat, job: Job[Any], now: float) -> None:
        """Give a job to an idle worker."""
        self.occupy(seat)
        self._begin(seat, job, now)
        self._effects.append(Start(seat, job))

    def next_for(self, seat: Seat, now: float, together: bool) -> Job[Any] | None:
        """The next job of a worker that has ended an attempt, or None: it has to wait.

        Arguments:
          together: whether the end means something for those that are idle too.
        """
        # Whatever else may hold it back: its statistics tell when all of that is over.
        if seat._guard is not None and (ready := seat._guard.ready_at(now)) > now:
            self._limit(seat, ready)
            self.match(now)  # there may be room for another under max_running
            return None
        if not seat._available:
            self._roster.count_coming(seat)  # its resource can be reopened now that nobody has it
            self.match(now)  # as above
            return None
        if self.is_shared or ((together or self.has_reserved) and self._roster.idle_count):
            # Which job may start must not depend on which worker happens to ask.
            self._park(seat, now)
            self.match(now)
            return None
        if (job := self._queue.take(seat)) is not None:
            self._begin(seat, job, now)
        elif self._places.line and (job := self._places.by_taker.take(seat)) is not None:
            self.admit(job, now)
            self._begin(seat, job, now)
        else:
            self._park(seat, now, is_fresh=False)
        if self.races.waiting:
            self.match(now)  # even if it has a job: what it ended may be one that others may join now
        return job

    def update(self, seat: Seat, now: float) -> None:
        """Something about a worker has changed."""
        if self.note(seat, now):
            self.match(now)

    def note(self, seat: Seat, now: float) -> bool:
        """Work out whether a worker can be counted on to take a job; returns whether that is new."""
        self._roster.count_coming(seat)
        held_back = (
            seat._paused or seat._departing or seat._resting_until is not None or seat._quarantined_until is not None
        )
        available = seat._phase is Phase.OPEN and not held_back
        if available == seat._available:
            return False
        was_idle = self._roster.set_available(seat, available)
        if was_idle and self.staffing is not None:
            self.staffing.unparked(seat)
        if available and seat._current is None:
            self.rest_idle(seat, now)
        self.look_again()
        return True

    def rest_idle(self, seat: Seat, now: float) -> None:
        """An available worker has nothing to do; it is idle once its rate limit lets it start."""
        if seat._guard is not None and (ready := seat._guard.ready_at(now)) > now:
            self._limit(seat, ready)
        elif seat._limited_until is None:
            self._park(seat, now)

    def _limit(self, seat: Seat, ready: float) -> None:
        """A worker's own rate limit holds it back."""
        self._holds.limit(seat, ready)
        self._roster.count_coming(seat)

    def _park(self, seat: Seat, now: float, *, is_fresh: bool = True) -> None:
        self._roster.park(seat, is_fresh=is_fresh)
        if self.staffing is not None:
            self.staffing.parked(seat, now)

    def occupy(self, seat: Seat) -> None:
        """A worker is idle no longer, if it was."""
        if self._roster.unpark(seat) and self.staffing is not None:
            self.staffing.unparked(seat)

    def match(self, now: float) -> None:
        """Set idle workers aside for groups that want some; give the idle workers what waits for them."""
        if self._reservations.lacking:
            self.set_aside_idle()
        self.give_out(now)

    def give_out(self, now: float) -> None:
        """Give the idle workers what waits for them."""
        while self.room > 0:
            queue = self._queue
            found = self._first_match(queue)
            if found is None:
                queue = self._places.by_taker
                found = self._first_match(queue)
            race = self.races.first_match(now) if found is None and self.races.waiting else None
            if found is None and race is None:
                return
            if self.meter is not None and (ready := self.meter.ready_at(now)) > now:
                self.wait_for_meter(ready)
                return
            if found is None:
                assert race is not None
                self._begin_further(*race, now)
                continue
            lane, seat = found
            job = queue.pop(lane)
            if queue is not self._queue:
                self.admit(job, now)
            self.hand_over(seat, job, now)

    def set_aside(self, *seats: Seat) -> bool:
        """Keep free workers for the groups that want some for themselves; returns whether there are any."""
        kept = [seat for seat in seats if self._reservations.offer(seat)]
        if kept:
            self.look_again()
        return bool(kept)

    def set_aside_idle(self) -> None:
        """Do so with the idle workers: with all of them if the groups want more than before, else with new ones."""
        reservations, roster = self._reservations, self._roster
        if not reservations.has_grown:
            self.set_aside(*roster.fresh_idle())  # a group may have given them back in any order
            return
        reservations.has_grown = False
        refused: dict[Seat, None] = {}
        while reservations.lacking and (seat := roster.longest_idle(refused)) is not None:
            if not self.set_aside(seat):
                refused[seat] = None

    def look_again(self) -> None:
        """Who may take what has changed, with who is available and for whom."""
        self._queue.look_again()
        self._places.by_taker.look_again()

    def no_longer_limited(self) -> None:
        """The time has come at which the pool's rate limit lets an attempt start."""
        self._limited_until = None
        self._ticket = 0

    def wait_for_meter(self, ready: float | None) -> None:
        """A job could start, or get a worker, but for the pool's rate limit; or none any more."""
        if self._limited_until == ready:
            return
        if self._limited_until is not None:
            self._ticket = 0
            self._deadlines.forget()
        self._limited_until = ready
        if ready is not None:
            self._deadlines.add_rate(self, ready)

    def _first_match(self, queue: ReadyQueue) -> tuple[Lane, Seat] | None:
        fresh = self._roster.fresh
        if fresh:
            for each in self._queue, self._places.by_taker:
                if not each.is_plain:
                    each.note_idle(seat for seat in fresh if self._roster.is_idle(seat))
            fresh.clear()
        return queue.first_startable() if self._roster.idle_count else None

    def _begin(self, seat: Seat, job: Job[Any], now: float) -> None:
        seat._current = job
        seat._started_at = now
        deadline = job._deadline
        limit = job._options.attempt_timeout
        if limit != math.inf and now + limit < deadline:
            deadline = now + limit
        seat._attempt_deadline = deadline
        job._worker = seat
        if seat._guard is not None or self.meter is not None:
            self._count_start(seat, now)
        if self.budget is not None:
            self.budget.attempt(now)
        if job._options.hedge is not None:
            self.races.begin(seat, job, now)
        self._ledger.move(job, RUNNING, now, seat)

    def _begin_further(self, race: Race, seat: Seat, now: float) -> None:
        """Start an attempt that is under way on an idle worker too."""
        self.occupy(seat)
        seat._current = race.job
        seat._started_at = now
        seat._attempt_deadline = race.deadline
        self._ledger.add_surplus(race.job, 1)
        self._count_start(seat, now)
        self.races.join(race, seat, now)
        self._effects.append(Start(seat, race.job))

    def _count_start(self, seat: Seat, now: float) -> None:
        own: RateMeter | None = None
        if seat._guard is not None:
            seat._guard.start(now)
            own = seat._guard.meter
        seat._draws = tuple([meter for meter in (own, self.meter) if meter is not None])
        for meter in seat._draws:
            meter.hand_out(now)
