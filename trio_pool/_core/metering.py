"""Drawing from the limits of the pool and of the workers, and the units that these delay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from .._model.key_record import KeyRecord
from .._model.records import WorkerRecord
from .._policies.draws import NO_USES, Draws
from .._policies.rate_limit import Share
from .._policies.rate_meters import RateMeters
from .deadlines import Due

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._model.records import Run
    from .._policies.rate_limit import SharedRateLimit
    from .._policies.rate_meter import Amount
    from .._policies.rate_meters import RateLimits
    from .state import PoolState

    # What has limits: the pool (None), a worker or a key.
    Holder: TypeAlias = "WorkerRecord | KeyRecord | None"


class UnitGate:
    """A unit whose limits allow no start now, in the whole pool, on one worker or for one key.

    For keys also starts: then the unit is None.
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

    A limit without a unit holds a worker, or the whole pool, whatever job is next. A limit with a
    unit must not: it closes the unit, and the queue and the index of workers leave out the jobs
    that use it. The limits of keys close only the jobs of their key, with and without a unit.

    Attributes:
      shares: the limits that this pool, its workers or its keys share with others, with the workers
          and the keys that hold each.
    """

    # fmt: off
    __slots__ = (
        "_closed", "_gates", "_of_crew", "_opened", "_shares_of", "_state", "_ticket", "_woken", "on_wake", "shares",
    )
    # fmt: on

    def __init__(self, state: PoolState, limits: RateLimits) -> None:
        self._state = state
        self._shares_of: dict[SharedRateLimit, Share] = {}
        self._gates: dict[tuple[Holder, str | None], UnitGate] = {}
        # For each unit that is closed in the pool or on a worker, how many gates it has.
        self._closed: dict[str, int] = {}
        # The shares of the pool and its workers; and those of keys that may just have had their turn. There may be very
        # many keys with a shared limit each.
        self._of_crew: dict[Share, None] = {}
        self._opened: list[Share] = []
        self.shares: dict[Share, dict[WorkerRecord | KeyRecord, None]] = {}
        # The shares to look at again.
        self._woken: dict[Share, None] = {}
        # Identifies the entry for them in the heap of deadlines.
        self._ticket = 0
        # Called when the core has to look at the time before its next event. Set by the runtime.
        self.on_wake: Callable[[], object]
        state.limits.meters = RateMeters(limits, self)
        if state.keys is not None:
            state.keys.holders = self
        self.note_shares(None)

    @property
    def may_open(self) -> bool:
        """Whether jobs may wait only for a unit, or for a limit or the rest of their key."""
        state, closed = self._state, self._closed.keys()
        if state.keys is not None and state.keys.may_open:
            return True
        return bool(closed) and (state.queue.uses_any(closed) or state.waiting_line.by_taker.uses_any(closed))

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
        """Give back what a run has drawn whose function will not begin."""
        draws = run.draws
        if draws is None or draws.has_begun:
            return
        run.draws = None
        draws.give_back()
        self._add_used(run, {unit: -amount for unit, amount in draws.used.items()})
        self._look(run, draws.used, now)

    def set_used(self, run: Run, amounts: Mapping[str, Amount], now: float) -> None:
        """Set how much of these units a run has used in all."""
        draws = run.draws
        if draws is None:
            draws = run.draws = Draws(run.job._options.uses, (), now)
            draws.begin(now)
        for unit, amount in amounts.items():
            self._add_used(run, {unit: amount - draws.used.get(unit, 0)})
            draws.correct(unit, amount, self._holders(run), now)
        self._look(run, amounts, now)

    def _holders(self, run: Run) -> Iterable[RateMeters]:
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
                if isinstance(holder, KeyRecord) and self.shares:
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
            roster.closed_units.add(unit)
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
            state.roster.closed_units.discard(unit)
        else:
            state.roster.set_closed(holder, holder._closed - {unit})
            for queue in (state.queue, state.waiting_line.by_taker):
                queue.reopen_for(holder)

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
        for unit in sorted(units | set(meters.by_unit)):
            self._look_at(worker, meters, unit, now)
        self.note_shares(worker)

    def note_shares(self, holder: Holder) -> None:
        """Record which shared limits a worker, a key or the whole pool has from now on."""
        meters = self._meters_of(holder)
        for share in meters.shares():
            holders = self.shares.setdefault(share, {})
            if holder is not None:
                holders[holder] = None
            if not isinstance(holder, KeyRecord):
                self._of_crew[share] = None
        limits = self._state.limits
        limits.has_shares = bool(self.shares)
        limits.note_limits()
        self._state.note_special()

    def drop(self, worker: WorkerRecord) -> None:
        """Forget a worker that has left."""
        for unit in worker._closed:
            self._remove(self._gates[worker, unit])
        for holders in self.shares.values():
            holders.pop(worker, None)

    def drop_shares(self, key: KeyRecord) -> None:
        """Forget the shared limits of a key, those that nobody else here has wholly."""
        for share in self._meters_of(key).shares():
            holders = self.shares[share]
            del holders[key]
            if not holders and share not in self._of_crew:
                share.leave()
                del self.shares[share], self._shares_of[share.shared]

    # Limits that are shared with other pools.

    def share_of(self, shared: SharedRateLimit) -> Share:
        """The part of this pool in a shared limit: one, whatever workers have the limit."""
        share = self._shares_of.get(shared)
        if share is None:
            share = self._shares_of[shared] = Share(shared, self)
        return share

    def wake(self, share: Share) -> None:
        """Look again soon at what waits for a shared limit: it has changed, or it is this pool's turn."""
        if not self._woken:
            self._state.deadlines.add_ticketed(Due.WAKE, self, -math.inf)
        self._woken[share] = None
        self.on_wake()

    def woken(self, now: float) -> list[WorkerRecord]:
        """Look at the shared limits that have changed; return the workers whose holds may have to end."""
        woken, self._woken = self._woken, {}
        found: dict[WorkerRecord, None] = {}
        for share in woken:
            unit = share.unit
            if unit is None:
                self._state.limits.wait_for_meter(None)
            for holder in (None, *self.shares.get(share, ())):
                meters = self._meters_of(holder)
                if unit in meters.by_unit or (unit is None and isinstance(holder, KeyRecord)):
                    self._look_at(holder, meters, unit, now)
                elif unit is None and isinstance(holder, WorkerRecord):
                    found[holder] = None
        return list(found)

    def closes(self, worker: WorkerRecord, key: KeyRecord | None, units: Iterable[str], now: float) -> bool:
        """Close the units, or the starts of a key, that others have used up by now; return whether there are any."""
        closed = False
        if key is not None and key.meters is not None:
            for kind in (None, *units):
                closed |= self._look_at(key, key.meters, kind, now)
        for holder in (None, worker):
            if holder is None or holder._limits is not None:
                meters = self._meters_of(holder)
                for unit in units:
                    closed |= unit in meters.by_unit and self._look_at(holder, meters, unit, now)
        return closed

    def pass_on(self, now: float) -> None:
        """Give the turns that this pool has not used to other pools."""
        for share in self._of_crew:
            share.pass_on(now)
        if self._opened:
            opened, self._opened = self._opened, []
            for share in opened:
                share.pass_on(now)

    def leave(self) -> None:
        """Give up all shares, since the pool has ended."""
        for share in self.shares:
            share.leave()
        for shares in (self.shares, self._of_crew):
            shares.clear()
