"""The keys of jobs: which are known, and whose turn it is.

The turns are those of start-time fair queueing (Goyal, Vin and Cheng, 1996), with keys as flows and
starts of attempts as packets of size 1. A key with waiting jobs has a start tag, its *turn*; the
lowest goes first. A start raises it by 1 / weight, to the finish tag. The virtual time is the highest
start tag of all starts so far. The last start may have a lower one: a key may have fallen behind
because more urgent jobs went first, or because no worker could take its jobs. A key that gets a job
again after a pause continues at the virtual time, unless its own finish tag is higher. So a key gains
no advantage from a pause, nor from the time for which its own bounds hold it back.
"""

from __future__ import annotations

import heapq
from itertools import count, islice
from typing import TYPE_CHECKING, Protocol, TypeAlias

from .._basics.exceptions import as_error
from .._model.key_record import OPEN, KeyRecord
from .._model.states import JobState
from .._policies.per_key import NO_BOUNDS
from .._policies.rate_limit import Sharer
from .._policies.rate_meters import RateMeters
from .deadlines import Due

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable, Hashable, Iterable

    from .._model.records import Group, JobRecord
    from .._policies.per_key import PerKey
    from .._policies.rate_meters import RateLimits
    from .deadlines import Deadlines

    # When to look at a key without jobs again, as a virtual time or a time; and a number that breaks ties.
    Remembered: TypeAlias = tuple[float, int, KeyRecord]

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING

# How many keys without jobs are remembered only because of their turns, beyond the number of keys with jobs. While
# only new keys start anything, virtual time stands still, and keys without jobs would never be forgotten.
_MOST_REMEMBERED = 10_000


class Holders(Sharer, Protocol):
    """The part of `Metering` that handles the limits of keys."""

    def tell_apart(self, units: Iterable[str], /) -> object: ...
    def meet(self, key: KeyRecord, /) -> object: ...
    def note_key(self, key: KeyRecord, /) -> object: ...
    def drop_key(self, key: KeyRecord, /) -> object: ...


class Keys:
    """The keys that have jobs, and those that can't be forgotten yet.

    Arguments:
      per_key: the bounds.
      deadlines: the heap of deadlines.
      news: receives the keys that may start jobs again.

    Attributes:
      active: how many of the known keys have jobs that have not ended.
      unnamed: the turn of the jobs without a key.
      virtual_time: the latest start tag.
      held: how many queued jobs wait because of the bounds of their keys.
      held_back: the keys whose limits or rests hold back all their jobs, or those that use some units.
      holders: handles the limits of keys; set by `Metering`.
      on_limits: called with the limits of a new key.
      on_change: called when the number of a key's jobs that may start has changed, in an elastic pool.
    """

    __slots__ = (
        "_by_hash",
        "_by_load",
        "_ended",
        "_latest",
        "_live",
        "_news",
        "_numbers",
        "_per_key",
        "_until_full",
        "_until_turn",
        "active",
        "deadlines",
        "held",
        "held_back",
        "holders",
        "on_change",
        "on_limits",
        "unnamed",
        "virtual_time",
    )

    def __init__(self, per_key: PerKey, deadlines: Deadlines, news: deque[JobRecord | Group | KeyRecord]) -> None:
        self._per_key = per_key
        self._news = news
        self.deadlines: Deadlines = deadlines
        # The known keys by their hashes; keys with the same hash form a linked list.
        self._by_hash: dict[int, KeyRecord] = {}
        self.active: int = 0
        self.unnamed: KeyRecord = KeyRecord(None, 0, NO_BOUNDS, None)
        self.unnamed.is_known = True
        self.virtual_time: float = 0.0
        self.held: int = 0
        self.held_back: dict[KeyRecord, None] = {}
        self.holders: Holders
        self.on_limits: Callable[[RateLimits], object] | None = None
        self.on_change: Callable[[KeyRecord], object] | None = None
        # The latest finish tag, and how many jobs have not ended.
        self._latest = 0.0
        self._live = 0
        # The keys whose last job has ended in this event; those that wait for virtual time to reach their turns; and
        # those that wait for their limits to be full.
        self._ended: list[KeyRecord] = []
        self._until_turn: list[Remembered] = []
        self._until_full: list[Remembered] = []
        self._numbers = count()
        # The keys by how many of their jobs run, wait for a worker or back off.
        self._by_load: dict[int, dict[KeyRecord, None]] = {}

    # Which key a job has.

    def of(self, value: Hashable) -> KeyRecord:
        """Return the record of a key: the known one, or a new one that becomes known with its first job.

        Raises:
          BaseException: whatever a function of the bounds, or the key, raises.
        """
        if value is None:
            return self.unnamed
        number = hash(value)
        known = self._known(value, number)
        if known is not None:
            return known
        try:
            bounds = self._per_key._bounds_of(value)
        except BaseException as fault:
            error = as_error(fault, "a function of PerKey")
            if error is fault:
                raise
            raise error from fault
        if self.on_limits is not None:
            self.on_limits(bounds.rate_limit)
        if bounds.rate_limit is None:
            return KeyRecord(value, number, bounds, None)
        meters = RateMeters(bounds.rate_limit, self.holders)
        self.holders.tell_apart(meters.units())
        key = KeyRecord(value, number, bounds, meters)
        self.holders.meet(key)
        return key

    def find(self, job: JobRecord) -> KeyRecord:
        """Return the record of the key of a job that is about to enter, which may have become known meanwhile."""
        key = job._key
        if key is None:
            key = job._key = self.of(job._options.key)
        elif not key.is_known:
            key = job._key = self._known(key.value, key.hash) or key
        return key

    def known(self, value: Hashable) -> KeyRecord | None:
        """Return the record of a key that is known, or None."""
        return self._known(value, hash(value))

    def _known(self, value: object, number: int) -> KeyRecord | None:
        record = self._by_hash.get(number)
        while record is not None and not (record.value is value or record.value == value):
            record = record.following
        return record

    def enter(self, job: JobRecord) -> KeyRecord:
        """Return the record of the key of a job that enters; the key is known from now on."""
        try:
            key = self.find(job)
        except BaseException:
            # The comparison with another key has raised, after the call that has given the key.
            assert job._key is not None
            key = job._key
        if not key.is_known:
            key.is_known = True
            key.following = self._by_hash.get(key.hash)
            self._by_hash[key.hash] = key
            if key.meters is not None:
                self.holders.note_key(key)
        return key

    # What becomes of the jobs.

    def note(self, job: JobRecord, old: JobState | None, state: JobState) -> None:
        """Record a job's change of state."""
        if old is None:
            key = self.enter(job)
            self._live += 1
            self.active += not key.live and key is not self.unnamed
        else:
            assert job._key is not None
            key = job._key
            if old is RUNNING and key.is_full:
                self._news.append(key)
        if state is QUEUED and not key.queued:
            key.raise_turn(self.virtual_time)
        elif state is RUNNING:
            if key.turn > self.virtual_time:
                self.virtual_time = key.turn
            key.charge()
            if key.turn > self._latest:
                self._latest = key.turn
        load = key.running + key.queued + key.delayed
        key.note(old, state)
        self.held += key.change_of_held()
        self._note_load(key, load)
        if state.is_final:
            self._live -= 1
            if not key.live:
                self.active -= key is not self.unnamed
                self.let_go(key)
            if not self._live:
                self.virtual_time = self._latest  # the end of a busy period: all keys have had their turns
        if self.on_change is not None:
            self.on_change(key)

    def add_surplus(self, job: JobRecord, difference: int) -> None:
        """Add to the number of places that a job holds in addition to one if it runs."""
        key = job._key
        assert key is not None
        if difference < 0 and key.is_full:
            self._news.append(key)
        key.surplus += difference
        self.held += key.change_of_held()
        if self.on_change is not None:
            self.on_change(key)

    def reopened(self, key: KeyRecord) -> None:
        """Handle a key whose jobs may start again: raise its turn, so that it gains no advantage from the delay."""
        if not key.is_closed_to(OPEN):
            key.raise_turn(self.virtual_time)

    # Rests.

    def rest(self, job: JobRecord, until: float, now: float) -> None:
        """Let no job with the key of this one start before this time; if two rests overlap, the later end applies."""
        key = job._key
        assert key is not None
        if key is self.unnamed or until <= now or (key.resting_until is not None and until <= key.resting_until):
            return
        if key.resting_until is not None:
            self.deadlines.drop(key)
        key.resting_until = until
        self.deadlines.add_ticketed(Due.KEY_REST, key, until)
        self.note_holds(key)

    def rested(self, key: KeyRecord) -> None:
        """Record that the rest of a key is over."""
        key.resting_until = None
        key._ticket = 0
        self.note_holds(key)
        self._news.append(key)

    def note_holds(self, key: KeyRecord) -> None:
        """Record whether a limit or a rest holds back jobs of a key."""
        self.held += key.change_of_held()
        if key.is_held_back or key.closed:
            self.held_back[key] = None
        else:
            del self.held_back[key]
            if not key.has_jobs:
                self.let_go(key)
        if self.on_change is not None:
            self.on_change(key)

    @property
    def may_open(self) -> bool:
        """Whether jobs may wait only for the limits or the rest of their keys."""
        return any(key.queued or key.in_line for key in self.held_back)

    # Which keys there are, for the program.

    def with_jobs(self) -> list[KeyRecord]:
        """The keys that have jobs that have not ended."""
        return [key for key in self.all() if key.live]

    def all(self) -> list[KeyRecord]:
        """The keys that are known."""
        found: list[KeyRecord] = []
        for first in list(self._by_hash.values()):
            record: KeyRecord | None = first
            while record is not None:
                found.append(record)
                record = record.following
        return found

    def busiest(self, number: int) -> list[KeyRecord]:
        """The known keys with the most jobs that run, wait for a worker or back off."""
        loads = sorted(self._by_load, reverse=True)  # these are few, even with many keys
        return list(islice((key for load in loads for key in self._by_load[load]), number))

    def _note_load(self, key: KeyRecord, before: int) -> None:
        """Update how many jobs of a key run, wait for a worker or back off; ``before`` is the number so far."""
        load = key.running + key.queued + key.delayed
        if load != before and key is not self.unnamed:
            if before:
                del self._by_load[before][key]
                if not self._by_load[before]:
                    del self._by_load[before]
            if load:
                self._by_load.setdefault(load, {})[key] = None

    # Keys are forgotten.

    def let_go(self, key: KeyRecord) -> None:
        """Let a key without jobs be forgotten as soon as this has no effect on other jobs."""
        if key is not self.unnamed:
            self._ended.append(key)

    def clean(self, now: float) -> None:
        """Forget the keys whose jobs have ended, whose limits are full, and whose turns the others have reached."""
        ended, self._ended = self._ended, []
        for key in ended:
            if key.is_known and not key.is_remembered:
                self._forget(key, now)
        spare = len(self._until_turn) - self.active - _MOST_REMEMBERED
        while self._until_turn and (spare > 0 or self._until_turn[0][0] <= self.virtual_time):
            turn, _, key = heapq.heappop(self._until_turn)
            spare -= 1
            self._forget(key, now, whatever_turn=turn > self.virtual_time)
        while self._until_full and self._until_full[0][0] <= now:
            self._forget(heapq.heappop(self._until_full)[2], now)

    def _forget(self, key: KeyRecord, now: float, *, whatever_turn: bool = False) -> None:
        """Forget a key, or remember to look at it again."""
        key.is_remembered = False
        if key.has_jobs or key in self.held_back:
            return  # the key is looked at again when that is over
        if key.turn > self.virtual_time and not whatever_turn:
            self._remember(self._until_turn, key.turn, key)
        elif (full_at := key.full_at()) > now:
            self._remember(self._until_full, full_at, key)
        else:
            self._unlink(key)
            key.is_known = False
            if key.meters is not None:
                self.holders.drop_key(key)

    def _unlink(self, key: KeyRecord) -> None:
        """Remove a key from those with its hash."""
        first = self._by_hash[key.hash]
        if first is not key:
            while first.following is not key:
                assert first.following is not None
                first = first.following
            first.following = key.following
        elif key.following is None:
            del self._by_hash[key.hash]
        else:
            self._by_hash[key.hash] = key.following
        key.following = None

    def _remember(self, heap: list[Remembered], when: float, key: KeyRecord) -> None:
        key.is_remembered = True
        heapq.heappush(heap, (when, next(self._numbers), key))
