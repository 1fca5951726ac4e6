"""The record of a key; the pool has bounds for its jobs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._policies.rate_meter import RateMeter
from .states import JobState

if TYPE_CHECKING:
    from .._policies.per_key import KeyBounds
    from .._policies.rate_meters import RateMeters

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
DELAYED = JobState.DELAYED

OPEN: frozenset[str] = frozenset()


class KeyRecord:
    """The record of a key.

    Arguments:
      value: the object that the user gave as the key. Its ``__hash__`` is called once for each call that passes it. No
          method of it is called after its job has entered, since it may raise anything.
      number: its hash.
      bounds: the key's bounds.
      meters: the meters of the key's rate limits; None without any.

    Attributes:
      hash: its hash.
      following: the next record with the same hash.
      max_running: how many attempts of the key's jobs may run at once.
      is_known: whether this is the record of the key, and not one that has been forgotten or not used yet.
      held: how many of its queued jobs wait because of its bounds.
      live: how many of the key's jobs have not ended.
      in_line: how many of its jobs are ready and wait for a place in the queue.
      queued, delayed, running: how many of its jobs are in these states.
      surplus: how many more places its jobs hold than there are running jobs of the key.
      turn: the start tag of the next job of the key, if any are queued; otherwise the finish tag of the last one.
      limited_until: when its rate limits without a unit allow a start; None if they allow one now.
      resting_until: when its rest ends; None if there is none.
      closed: the units whose limits for this key allow no start now.
      is_remembered: whether the key has no jobs and is kept only until it can be forgotten.
    """

    # fmt: off
    __slots__ = (
        "_since", "_starts", "_ticket", "_weight", "closed", "delayed", "following", "hash", "held", "in_line",
        "is_known", "is_remembered", "limited_until", "live", "max_running", "meters", "queued", "resting_until",
        "running", "surplus", "turn", "value",
    )
    # fmt: on

    def __init__(self, value: object, number: int, bounds: KeyBounds, meters: RateMeters | None) -> None:
        self.value: object = value
        self.hash: int = number
        self.following: KeyRecord | None = None
        self.max_running: float = bounds.max_running
        self.meters: RateMeters | None = meters
        self.is_known: bool = False
        self.held: int = 0
        self.live: int = 0
        self.in_line: int = 0
        self.queued: int = 0
        self.delayed: int = 0
        self.running: int = 0
        self.surplus: int = 0
        # The turn is this time plus the starts divided by the weight: a single sum, so that its error doesn't grow.
        self._since: float = 0.0
        self._starts: int = 0
        self._weight: float = bounds.weight
        self.turn: float = 0.0
        self.limited_until: float | None = None
        self.resting_until: float | None = None
        self.closed: frozenset[str] = OPEN
        self.is_remembered: bool = False
        # Identifies the entry for ``resting_until`` in the heap of deadlines; 0 without an entry.
        self._ticket: int = 0

    @property
    def is_full(self) -> bool:
        """Whether as many attempts run at once as ``max_running`` allows."""
        return self.running + self.surplus >= self.max_running

    @property
    def room(self) -> float:
        """How many more of its attempts may run."""
        return self.max_running - self.running - self.surplus

    @property
    def has_jobs(self) -> bool:
        """Whether any of its jobs are in the pool, or wait for a place in the queue."""
        return self.live > 0 or self.in_line > 0

    def is_closed_to(self, units: frozenset[str]) -> bool:
        """Whether none of its jobs that use these units may start now."""
        if self.running + self.surplus >= self.max_running or self.is_held_back:
            return True
        return bool(self.closed) and not self.closed.isdisjoint(units)

    @property
    def is_held_back(self) -> bool:
        """Whether none of its jobs may start before some time has passed."""
        return self.limited_until is not None or self.resting_until is not None

    def raise_turn(self, time: float) -> None:
        """Raise the turn to this virtual time if it is lower."""
        if time > self.turn:
            self.turn = self._since = time
            self._starts = 0

    def charge(self) -> None:
        """Count one more start against its turn."""
        self._starts += 1
        self.turn = self._since + self._starts / self._weight

    def note(self, old: JobState | None, state: JobState) -> None:
        """Count a job that changes its state."""
        if old is None:
            self.live += 1
        elif old is QUEUED:
            self.queued -= 1
        elif old is RUNNING:
            self.running -= 1
        elif old is DELAYED:
            self.delayed -= 1
        if state is QUEUED:
            self.queued += 1
        elif state is RUNNING:
            self.running += 1
        elif state is DELAYED:
            self.delayed += 1
        elif state.is_final:
            self.live -= 1

    def change_of_held(self) -> int:
        """Count again how many queued jobs its bounds hold back; return by how much the number has changed."""
        is_closed = self.limited_until is not None or self.resting_until is not None or bool(self.closed)
        before = self.held
        self.held = self.queued if is_closed or self.running + self.surplus >= self.max_running else 0
        return self.held - before

    def full_at(self) -> float:
        """When the levels of its limits will be full again if nothing starts; -inf without limits of its own."""
        if self.meters is None:
            return -math.inf
        return max((meter.full_at for meter in self.meters.all() if isinstance(meter, RateMeter)), default=-math.inf)
