"""Drawing from the limits of the pool, the workers and the keys, and the units that these limits close."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from .._model.key_record import KeyRecord
from .._model.states import JobState
from .._policies.draws import NO_USES, Draws
from .._policies.rate_limit import Share, SharedRateLimit
from .._policies.rate_meters import RateMeters, several
from .deadlines import Due
from .lanes import take_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._model.records import Run, WorkerRecord
    from .._policies.rate_meter import Amount
    from .._policies.rate_meters import RateLimits
    from .state import Ledger, PoolState

    # What has limits: the pool (None), a worker or a key.
    Holder: TypeAlias = "WorkerRecord | KeyRecord | None"


class UnitGate:
    """A unit whose limits allow no start now, in the whole pool, on one worker or for one key.

    For a key, the unit is None if a limit without a unit allows no start.
    """

    __slots__ = ("_ticket", "holder", "unit", "until")

    def __init__(self, holder: Holder, unit: str | None) -> None:
        self.holder: Holder = holder
        self.unit: str | None = unit
        self.until: float | None = None
        # Identifies the gate's entry in the heap of deadlines; 0 without an entry.
        self._ticket = 0


class Metering:
    """Counts what runs draw and use, and closes the units whose limits allow no start.

    A limit without a unit holds back a worker, or the whole pool, whatever job is next. A limit with a
    unit only closes the unit: the queue and the index of workers then leave out the jobs that use it.
    The limits of keys hold back only the jobs of their key, whether they have a unit or not.

    Attributes:
      shares: the limits that this pool or its workers share with others.
      ledgers: the objects that keep the levels of limits; see `Ledger`.
    """

    # fmt: off
    __slots__ = ("_closed", "_gates", "_of_keys", "_opened", "_shares_of", "_state", "ledgers", "on_wake", "shares")
    # fmt: on

    def __init__(self, state: PoolState, limits: RateLimits) -> None:
        self._state = state
        self._shares_of: dict[SharedRateLimit, Share] = {}
        self._gates: dict[tuple[Holder, str | None], UnitGate] = {}
        # For each unit that is closed in the pool or on a worker, how many gates it has.
        self._closed: dict[str, int] = {}
        self.shares: dict[Share, None] = {}
        self.ledgers: list[Ledger] = []
        # The limits that keys share with others, with these keys. There may be very many keys with a shared limit each.
        self._of_keys: dict[Share, dict[KeyRecord, None]] = {}
        # The shared limits for which it may have been this pool's turn.
        self._opened: list[Share] = []
        # Called when the core must handle the passage of time before its next event. Set by the runtime.
        self.on_wake: Callable[[], object]
        state.limits.meters = RateMeters(limits, self)
        if state.keys is not None:
            state.keys.holders = self
        self.note_limits(None)

    @property
    def may_open(self) -> bool:
        """Whether jobs may wait only for a unit, a limit that workers share, or a limit or the rest of their key."""
        state, closed = self._state, self._closed.keys()
        if state.keys is not None and state.keys.may_open:
            return True
        if closed and (state.queue.uses_any(closed) or state.waiting_line.by_taker.uses_any(closed)):
            return True
        waits = state.lifecycle.count[JobState.QUEUED] or state.waiting_line.line
        return bool(waits and state.roster.closed.shares)

    # Runs.

    def hand_out(self, run: Run, now: float) -> None:
        """Draw what a run that starts uses."""
        uses = run.job._options.uses
        run.draws = Draws(uses, self._holders(run), now)
        if uses is not NO_USES:
            self._add_used(run, uses)
        if uses is not NO_USES or run.job._key is not None:
            self._look(run, uses, now)

    def give_back(self, run: Run, now: float) -> None:
        """Give back what a run has drawn if its function will not be called."""
        draws = run.draws
        if draws is None or draws.has_begun:
            return
        run.draws = None
        draws.give_back()
        self._add_used(run, {unit: -amount for unit, amount in draws.used.items()})
        self._look(run, draws.used, now)

    def set_used(self, run: Run, amounts: Mapping[str, Amount], now: float) -> None:
        """Set how much of these units a run has used in total."""
        draws = run.draws
        if draws is None:
            draws = run.draws = Draws(run.job._options.uses, (), now)
            draws.begin(now)
        for unit, amount in amounts.items():
            self._add_used(run, {unit: amount - draws.used.get(unit, 0)})
            draws.correct(unit, amount, self._holders(run), now)
        self._look(run, amounts, now)

    def _holders(self, run: Run) -> Iterable[RateMeters]:
        """The meters from which a run draws now."""
        for ledger in self.ledgers:
            ledger.drew(run)
        limits, key = run.worker._limits, run.job._key
        holders = [self._state.limits.meters]
        if limits is not None:
            holders.append(limits.meters)
        if key is not None and key.meters is not None:
            holders.append(key.meters)
        return holders

    def _add_used(self, run: Run, amounts: Mapping[str, Amount]) -> None:
        group = run.job._options.group
        for used in (run.worker._used, self._state.lifecycle.used, {} if group is None else group.used):
            for unit, amount in amounts.items():
                used[unit] = used.get(unit, 0) + amount

    # Units.

    def _look(self, run: Run, units: Iterable[str], now: float) -> None:
        """Check whether the limits with these units, and those of the job's key, allow another start."""
        worker, key, pool = run.worker, run.job._key, self._state.limits.meters
        if key is not None and key.meters is not None:
            for kind in (None, *units):
                self._look_at(key, key.meters, kind, now)
        own = None if worker._limits is None else worker._limits.meters
        for unit in units:
            if unit in pool.by_unit:
                self._look_at(None, pool, unit, now)
            if own is not None and unit in own.by_unit:
                self._look_at(worker, own, unit, now)

    def _look_at(self, holder: Holder, meters: RateMeters, unit: str | None, now: float) -> bool:
        """Open or close a unit; return whether it is closed."""
        ready = meters.ready_at(now) if unit is None else meters.ready_for(unit, now)
        gate = self._gates.get((holder, unit))
        if ready <= now:
            if gate is not None:
                self._remove(gate)
                self._open(gate)
                if isinstance(holder, KeyRecord) and self._of_keys:
                    self._opened += meters.shares()
            return False
        meters.wait(unit, now)
        if gate is None:
            gate = self._gates[holder, unit] = UnitGate(holder, unit)
            if unit is not None and not isinstance(holder, KeyRecord):
                self._closed[unit] = self._closed.get(unit, 0) + 1
            self._close(gate)
        if gate.until != ready:
            self._forget(gate)
            gate.until = ready
            if isinstance(holder, KeyRecord) and unit is None:
                holder.limited_until = ready
            if ready < math.inf:
                self._state.deadlines.add_ticketed(Due.UNIT, gate, ready)
        return True

    def _close(self, gate: UnitGate) -> None:
        roster, holder, unit = self._state.roster, gate.holder, gate.unit
        if isinstance(holder, KeyRecord):
            if unit is None:
                holder.limited_until = math.inf
            else:
                holder.closed |= {unit}
            self._note_holds(holder)
            return
        assert unit is not None
        if holder is None:
            roster.closed.units.add(unit)
        else:
            roster.set_closed(holder, holder._closed | {unit})

    def _open(self, gate: UnitGate) -> None:
        state, holder, unit = self._state, gate.holder, gate.unit
        state.may_start = True
        if isinstance(holder, KeyRecord):
            if unit is None:
                holder.limited_until = None
            else:
                holder.closed -= {unit}
            self._note_holds(holder)
            state.reopen_key(holder)
            return
        assert unit is not None
        if holder is None:
            state.roster.closed.units.discard(unit)
        else:
            state.roster.set_closed(holder, holder._closed - {unit})
            for queue in (state.queue, state.waiting_line.by_taker):
                queue.reopen_for(holder)
        state.reopen_gate(unit)

    def _note_holds(self, key: KeyRecord) -> None:
        assert self._state.keys is not None
        self._state.keys.note_holds(key)

    def _forget(self, gate: UnitGate) -> None:
        if gate._ticket:
            self._state.deadlines.drop(gate)

    def _remove(self, gate: UnitGate) -> None:
        self._forget(gate)
        del self._gates[gate.holder, gate.unit]
        unit = gate.unit
        if unit is not None and not isinstance(gate.holder, KeyRecord):
            self._closed[unit] -= 1
            if not self._closed[unit]:
                del self._closed[unit]

    def come_due(self, gate: UnitGate, now: float) -> None:
        """Check a unit again at the time when its limits should allow a start."""
        gate._ticket = 0
        gate.until = None
        self._look_at(gate.holder, self._meters_of(gate.holder), gate.unit, now)

    def _meters_of(self, holder: Holder) -> RateMeters:
        if holder is None:
            return self._state.limits.meters
        if isinstance(holder, KeyRecord):
            assert holder.meters is not None
            return holder.meters
        assert holder._limits is not None
        return holder._limits.meters

    # Limits change, and workers come and go.

    def change(self, worker: WorkerRecord | None, limits: RateLimits, now: float) -> None:
        """Apply other limits to a worker or to the whole pool, without a fresh burst."""
        meters = self._meters_of(worker)
        units = set(meters.by_unit)
        meters.change(limits, now)
        if worker is not None and worker._has_left:
            return
        for unit in sorted(units | set(meters.by_unit)):
            self._look_at(worker, meters, unit, now)
        self.note_limits(worker)

    def note_limits(self, worker: WorkerRecord | None) -> None:
        """Record which units and shared limits a worker or the whole pool has from now on."""
        meters = self._meters_of(worker)
        self.tell_apart(meters.units())
        self.shares.update(dict.fromkeys(meters.shares()))
        if worker is not None:
            closed = frozenset((*meters.apart, *(gate for gate in worker._closed if isinstance(gate, str))))
            if closed != worker._closed:
                self._state.roster.set_closed(worker, closed)
        self._note_shares()

    def _note_shares(self) -> None:
        limits = self._state.limits
        limits.has_shares = bool(self.shares or self._of_keys)
        limits.note_limits()
        self._state.note_special()

    def note_key(self, key: KeyRecord) -> None:
        """Record the shared limits of a key that becomes known."""
        shares = self._meters_of(key).shares()
        for share in shares:
            self._of_keys.setdefault(share, {})[key] = None
        if shares:
            self._note_shares()

    def meet(self, key: KeyRecord) -> None:
        """Notify the ledgers of a key with limits that may become known."""
        for ledger in self.ledgers:
            if (now := ledger.met(key)) is not None:
                self.look_at_key(key, now)

    def look_at_key(self, key: KeyRecord, now: float) -> None:
        """Check whether the limits of a key allow a start, after their levels have changed."""
        for kind in (None, *sorted(self._meters_of(key).units())):
            self._look_at(key, self._meters_of(key), kind, now)

    def expect(self, limits: RateLimits) -> list[Share]:
        """Prepare for workers that will have these limits; return the shared ones."""
        self.tell_apart([limit.unit for limit in several(limits) if limit.unit is not None])
        shares = [self.share_of(limit) for limit in several(limits) if isinstance(limit, SharedRateLimit)]
        self.shares.update(dict.fromkeys(shares))
        return shares

    def tell_apart(self, units: Iterable[str]) -> None:
        """Keep jobs that use one of these units apart from others, since there are limits for it."""
        limited = self._state.roster.limited_units
        new = set(units) - limited
        if new:
            limited |= new
            for queue in (self._state.queue, self._state.waiting_line.by_taker):
                for job in [job for job in queue if not new.isdisjoint(job._options.uses)]:
                    queue.move(job)

    def drop(self, worker: WorkerRecord) -> None:
        """Forget a worker that has left."""
        for unit in worker._closed:
            if isinstance(unit, str):
                self._remove(self._gates[worker, unit])

    def drop_key(self, key: KeyRecord) -> None:
        """Forget a key, and the shared limits that nothing else in this pool has."""
        for share in self._meters_of(key).shares():
            if take_from(self._of_keys, share, key) and share not in self.shares:
                share.leave()
                self._state.deadlines.set(Due.WAKE, share, math.inf)
                del self._shares_of[share.shared]

    # Limits that are shared with other pools.

    def share_of(self, shared: SharedRateLimit) -> Share:
        """The part of this pool in a shared limit: a single one, whichever workers have the limit."""
        share = self._shares_of.get(shared)
        if share is None:
            share = self._shares_of[shared] = Share(shared, self)
        return share

    def wake(self, share: Share, at: float = -math.inf) -> None:
        """Look again at what waits for a shared limit: it has changed, or it is this pool's turn."""
        if share.at is None or at < share.at:
            self._state.deadlines.set(Due.WAKE, share, at)
            self.on_wake()

    def woken(self, share: Share, now: float) -> None:
        """Look at a shared limit that may have changed."""
        self._opened.append(share)
        share.await_turn(now)
        if share in self._state.roster.closed.shares:
            self.is_closed(share, now)
        if share.unit is None:
            self._state.limits.wait_for_meter(None)
        else:
            self.look_at_pool(share.unit, now)
        for key in self._of_keys.get(share, ()):
            self._look_at(key, self._meters_of(key), share.unit, now)

    def closes(self, worker: WorkerRecord, key: KeyRecord | None, units: Iterable[str], now: float) -> bool:
        """Close the shared limits that other pools have used up; return whether one keeps such a job from a worker."""
        closed = False
        if key is not None and key.meters is not None:
            for kind in (None, *units):
                closed |= self._look_at(key, key.meters, kind, now)
        if worker._limits is not None:
            apart = worker._limits.meters.apart_by_unit
            for kind in (None, *units):
                for share in apart.get(kind, ()):
                    closed |= self.is_closed(share, now)
        for unit in units:
            closed |= self.look_at_pool(unit, now)
        return closed

    def look_at_pool(self, unit: str, now: float) -> bool:
        """Open or close a unit for the whole pool; return whether it is closed."""
        meters = self._state.limits.meters
        return unit in meters.by_unit and self._look_at(None, meters, unit, now)

    def is_closed(self, share: Share, now: float) -> bool:
        """Open a limit that workers share, or close it and wait for it; return whether it is closed."""
        roster = self._state.roster
        if share.ready_at(now) <= now:
            if roster.closed.open(share):
                self._state.reopen_gate(share)
            return False
        roster.closed.close(share)
        share.wait(now)
        return True

    def pass_on(self, now: float) -> None:
        """Give the turns that this pool has not used to other pools."""
        if self._opened:
            opened, self._opened = self._opened, []
            for share in opened:
                share.pass_on(now)

    def leave(self) -> None:
        """Give up all shares, since the pool has ended."""
        for share in (*self.shares, *self._of_keys):
            share.leave()
        self.shares.clear()
        self._of_keys.clear()
