"""Core: bringing jobs and workers together.

1. A job that is queued never waits beside an idle worker that may take it, unless
   ``max_running`` attempts are under way.
2. A worker that ends an attempt asks for its next job itself. Only when something else
   makes work for an idle worker is the job handed to it by a `Start`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._effects import Admitted, Start
from ._job import JobState
from ._roster import terms_of
from ._seat import Phase

if TYPE_CHECKING:
    from ._effects import Effects
    from ._job import Job
    from ._ledger import Ledger
    from ._places import Places
    from ._queue import Lane, ReadyQueue
    from ._roster import Roster, Terms
    from ._seat import Seat

# Looked up with every job, and slow through the enum.
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING


class Dispatch:
    """Gives queued jobs to workers.

    Attributes:
      max_running: how many attempts may be under way at once.
    """

    __slots__ = ("_effects", "_ledger", "_places", "_queue", "_roster", "max_running")

    def __init__(
        self,
        roster: Roster,
        ledger: Ledger,
        queue: ReadyQueue,
        places: Places,
        effects: Effects,
        max_running: float,
    ) -> None:
        self._roster = roster
        self._ledger = ledger
        self._queue = queue
        self._places = places
        self._effects = effects
        self.max_running = max_running

    def idle_worker_for(self, terms: Terms) -> Seat | None:
        """The idle worker that may start such a job now, or None."""
        return self._roster.choose(terms) if self._ledger.count[RUNNING] < self.max_running else None

    def admit(self, job: Job[Any], now: float) -> None:
        """Let in a job whose submitter waits."""
        self._places.leave(job)
        self._ledger.move(job, QUEUED, now)
        self._effects.append(Admitted(job))

    def fill_places(self, now: float) -> None:
        """Let submitters in, first come first served, as long as there is a place."""
        while self._places.is_free() and (job := self._places.first()) is not None:
            self.admit(job, now)
            self.let_wait(job, terms_of(job))

    def let_wait(self, job: Job[Any], terms: Terms, *, front: bool = False) -> None:
        """No idle worker may take the job now."""
        self._queue.push(job, terms, front=front)
        queued = self._ledger.count[QUEUED]
        if queued > self._ledger.queue_peak:
            self._ledger.queue_peak = queued

    def hand_over(self, seat: Seat, job: Job[Any], now: float) -> None:
        """Give a job to an idle worker."""
        self._roster.unpark(seat)
        self._begin(seat, job, now)
        self._effects.append(Start(seat, job))

    def next_for(self, seat: Seat, now: float) -> Job[Any] | None:
        """The next job of a worker that has ended an attempt, or None: it has to wait."""
        if not seat._available:
            self.match(now)  # there may be room for another under max_running
            return None
        if self.max_running != math.inf:
            # Which job may start must not depend on which worker happens to ask.
            self._roster.park(seat)
            self.match(now)
            return None
        if (job := self._queue.take(seat)) is not None:
            self._begin(seat, job, now)
            return job
        if self._places.line and (job := self._places.by_taker.take(seat)) is not None:
            self.admit(job, now)
            self._begin(seat, job, now)
            return job
        self._roster.park(seat)
        return None

    def update(self, seat: Seat, now: float) -> None:
        """Something about a worker has changed."""
        if self.note(seat):
            self.match(now)

    def note(self, seat: Seat) -> bool:
        """Work out whether a worker can be counted on to take a job; returns whether that is new."""
        held_back = seat._paused or seat._departing or seat._resting_until is not None
        available = seat._phase is Phase.OPEN and not held_back
        if available == seat._available:
            return False
        self._roster.set_available(seat, available)
        if available and seat._current is None:
            self._roster.park(seat)
        # With it, who may take what has changed.
        self._queue.look_again()
        self._places.by_taker.look_again()
        return True

    def match(self, now: float) -> None:
        """Give the idle workers what waits for them."""
        while self._ledger.count[RUNNING] < self.max_running:
            found = self._first_match(self._queue)
            if found is not None:
                job = self._queue.pop(found[0])
            else:
                found = self._first_match(self._places.by_taker)
                if found is None:
                    return
                job = self._places.by_taker.pop(found[0])
                self.admit(job, now)
            self.hand_over(found[1], job, now)

    def _first_match(self, queue: ReadyQueue) -> tuple[Lane, Seat] | None:
        if not self._roster.idle_count:
            return None
        for lane in queue.lanes():
            seat = self._roster.choose(lane.terms)
            if seat is not None:
                return lane, seat
        return None

    def _begin(self, seat: Seat, job: Job[Any], now: float) -> None:
        seat._current = job
        seat._started_at = now
        deadline = job._deadline
        limit = job._options.attempt_timeout
        if limit != math.inf and now + limit < deadline:
            deadline = now + limit
        seat._attempt_deadline = deadline
        job._worker = seat
        self._ledger.move(job, RUNNING, now, seat)
