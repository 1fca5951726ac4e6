"""What the places of a worker have spent their time on."""

from __future__ import annotations

from typing import Final, NamedTuple

CAUSES: Final = (
    "running",
    "opening",
    "checking",
    "quarantined",
    "resting",
    "paused",
    "rate_limit",
    "reserved",
    "max_running",
    "pool_rate_limit",
    "group",
    "key",
    "idle",
)
"""What a place can spend its time on. A place counts under the first of these that applies."""

(
    RUNNING,
    OPENING,
    CHECKING,
    QUARANTINED,
    RESTING,
    PAUSED,
    RATE_LIMIT,
    RESERVED,
    MAX_RUNNING,
    POOL_RATE_LIMIT,
    GROUP,
    KEY,
    IDLE,
) = range(len(CAUSES))


LIMITED: Final = len(CAUSES)
"""Beside the causes: the time of all places of a worker, busy ones too, while its own rate limit holds back any."""


class Reading(NamedTuple):
    """The clocks of the causes that affect the whole pool, at the time when one of them began to run.

    Attributes:
      cause: the cause whose clock runs from then on; for `IDLE`, no clock runs.
      since: when the clock began to run.
      totals: the seconds on each clock, in the order of `CAUSES`.
    """

    cause: int
    since: float
    totals: tuple[float, ...]

    def at(self, now: float) -> list[float]:
        """The seconds on each clock at a time at which this cause still applies."""
        totals = list(self.totals)
        if self.cause != IDLE:
            totals[self.cause] += now - self.since
        return totals


FIRST_READING: Final = Reading(IDLE, 0.0, (0.0,) * len(CAUSES))


class WorkerAccount:
    """The time of a worker's places.

    Time that is not booked under any cause is time without a reason to wait. So nothing has to be booked
    while jobs come and go and nothing holds them back.

    Attributes:
      cause: what holds the worker itself back, or `IDLE` if nothing does.
      free: how many of the worker's places run nothing; 0 for a worker without a bound.
      kept: how many of these are reserved for groups.
      at: since when ``cause``, ``free`` and ``kept`` are valid.
      reading: the last reading of the pool's clocks before then.
      booked: the seconds that are booked, by their causes, and under `LIMITED`.
      places: how many places there are.
      places_since: since when there have been this many.
      place_seconds: the seconds of all places before that time.
      is_unbounded: whether the worker has as many places as it needs.
      joined_at: when the account was opened.
    """

    __slots__ = (
        "at",
        "booked",
        "cause",
        "free",
        "is_unbounded",
        "joined_at",
        "kept",
        "place_seconds",
        "places",
        "places_since",
        "reading",
    )

    def __init__(self) -> None:
        self.cause: int = IDLE
        self.free: int = 0
        self.kept: int = 0
        self.at: float = 0.0
        self.reading: Reading = FIRST_READING
        self.booked: dict[int, float] = {}
        self.places: int = 0
        self.places_since: float = 0.0
        self.place_seconds: float = 0.0
        self.is_unbounded: bool = False
        self.joined_at: float = 0.0

    def is_plain(self, current: Reading) -> bool:
        """Whether no cause has applied since the account was last changed."""
        return self.reading is current and current.cause == self.cause == IDLE and not self.kept

    def book(self, now: float, current: Reading, booked: dict[int, float]) -> None:
        """Add the time since the account was last changed.

        Arguments:
          current: the current reading of the pool's clocks.
          booked: receives the seconds by their causes.
        """
        seconds = now - self.at
        if self.is_unbounded and self.cause == RATE_LIMIT and seconds > 0:
            booked[LIMITED] = booked.get(LIMITED, 0.0) + max(1, self.places) * seconds
        if seconds <= 0 or not self.free:
            return
        if self.is_plain(current):
            return
        if self.reading is current:
            self._add(current.cause, seconds, booked)
            return
        rest = seconds
        for cause, (end, start) in enumerate(zip(current.at(now), self.reading.at(self.at), strict=True)):
            if end > start:
                self._add(cause, end - start, booked)
                rest -= end - start
        if rest > 0:
            self._add(IDLE, rest, booked)

    def _add(self, cause: int, seconds: float, booked: dict[int, float]) -> None:
        """Book seconds for which a cause has applied to the whole pool."""
        own = min(self.cause, cause)
        kept = 0 if own < RESERVED else min(self.kept, self.free)
        if own == RATE_LIMIT and self.free > kept:
            booked[LIMITED] = booked.get(LIMITED, 0.0) + self.places * seconds
        for under, places in ((RESERVED, kept), (own, self.free - kept)):
            if places and under != IDLE:
                booked[under] = booked.get(under, 0.0) + places * seconds
