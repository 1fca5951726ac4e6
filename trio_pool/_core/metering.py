"""Drawing from the limits of the pool and of the workers, and the units that these delay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._policies.draws import NO_USES, Draws
from .._policies.rate_limit import Share
from .._policies.rate_meters import RateMeters
from .deadlines import Due

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .._model.records import Run, WorkerRecord
    from .._policies.rate_limit import SharedRateLimit
    from .._policies.rate_meter import Amount
    from .._policies.rate_meters import RateLimits
    from .state import PoolState


class UnitGate:
    """A unit whose limits allow no start now, in the whole pool or on one worker."""

    __slots__ = ("_ticket", "unit", "until", "worker")

    def __init__(self, worker: WorkerRecord | None, unit: str) -> None:
        self.worker: WorkerRecord | None = worker
        self.unit: str = unit
        self.until: float | None = None
        # Identifies the gate's entry in the heap of deadlines; 0 without an entry.
        self._ticket = 0


class Metering:
    """Counts what runs draw and use, and closes the units whose limits allow no start.

    A limit without a unit holds a worker, or the whole pool, whatever job is next. A limit with a
    unit must not: it closes the unit, and the queue and the index of workers leave out the jobs
    that use it.

    Attributes:
      shares: the limits that this pool or its workers share with others, with the workers that
          hold each.
    """

    __slots__ = ("_gates", "_shares_of", "_state", "_ticket", "_woken", "on_wake", "shares")

    def __init__(self, state: PoolState, limits: RateLimits) -> None:
        self._state = state
        self._shares_of: dict[SharedRateLimit, Share] = {}
        self._gates: dict[tuple[WorkerRecord | None, str], UnitGate] = {}
        self.shares: dict[Share, dict[WorkerRecord, None]] = {}
        # The shares to look at again.
        self._woken: dict[Share, None] = {}
        # Identifies the entry for them in the heap of deadlines.
        self._ticket = 0
        # Called when the core has to look at the time before its next event. Set by the runtime.
        self.on_wake: Callable[[], object]
        state.limits.meters = RateMeters(limits, self)
        self.note_shares(None)

    @property
    def may_open(self) -> bool:
        """Whether jobs may wait only for a unit."""
        return bool(self._gates) and (self._state.queue.uses_units or self._state.waiting_line.by_taker.uses_units)

    # Runs.

    def hand_out(self, run: Run, now: float) -> None:
        """Draw what a run that starts uses."""
        uses = run.job._options.uses
        run.draws = Draws(uses, self._holders(run.worker), now)
        if uses is not NO_USES:
            self._add_used(run, uses)
            self._look(run.worker, uses, now)

    def give_back(self, run: Run, now: float) -> None:
        """Give back what a run has drawn whose function will not begin."""
        draws = run.draws
        if draws is None or draws.has_begun:
            return
        run.draws = None
        draws.give_back()
        self._add_used(run, {unit: -amount for unit, amount in draws.used.items()})
        self._look(run.worker, draws.used, now)

    def set_used(self, run: Run, amounts: Mapping[str, Amount], now: float) -> None:
        """Set how much of these units a run has used in all."""
        draws = run.draws
        if draws is None:
            draws = run.draws = Draws(run.job._options.uses, (), now)
            draws.begin(now)
        for unit, amount in amounts.items():
            self._add_used(run, {unit: amount - draws.used.get(unit, 0)})
            draws.correct(unit, amount, self._holders(run.worker), now)
        self._look(run.worker, amounts, now)

    def _holders(self, worker: WorkerRecord) -> Iterable[RateMeters]:
        pool = self._state.limits.meters
        return (pool,) if worker._limits is None else (worker._limits.meters, pool)

    def _add_used(self, run: Run, amounts: Mapping[str, Amount]) -> None:
        group = run.job._options.group
        for used in (run.worker._used, self._state.lifecycle.used, {} if group is None else group.used):
            for unit, amount in amounts.items():
                used[unit] = used.get(unit, 0) + amount

    # Units.

    def _look(self, worker: WorkerRecord, units: Iterable[str], now: float) -> None:
        """Check whether the limits with these units allow another start."""
        pool = self._state.limits.meters
        own = None if worker._limits is None else worker._limits.meters
        for unit in units:
            if unit in pool.by_unit:
                self._look_at(None, pool, unit, now)
            if own is not None and unit in own.by_unit:
                self._look_at(worker, own, unit, now)

    def _look_at(self, worker: WorkerRecord | None, meters: RateMeters, unit: str, now: float) -> bool:
        """Open or close a unit; return whether it is closed."""
        ready = meters.ready_for(unit, now)
        gate = self._gates.get((worker, unit))
        if ready <= now:
            if gate is not None:
                self._remove(gate)
                self._open(gate)
            return False
        meters.wait(unit, now)
        if gate is None:
            gate = self._gates[worker, unit] = UnitGate(worker, unit)
            self._close(gate)
        if gate.until != ready:
            self._forget(gate)
            gate.until = ready
            if ready < math.inf:
                self._state.deadlines.add_ticketed(Due.UNIT, gate, ready)
        return True

    def _close(self, gate: UnitGate) -> None:
        roster, worker = self._state.roster, gate.worker
        if worker is None:
            roster.closed_units.add(gate.unit)
        else:
            roster.set_closed(worker, worker._closed | {gate.unit})

    def _open(self, gate: UnitGate) -> None:
        state, worker = self._state, gate.worker
        if worker is None:
            state.roster.closed_units.discard(gate.unit)
        else:
            state.roster.set_closed(worker, worker._closed - {gate.unit})
            for queue in (state.queue, state.waiting_line.by_taker):
                queue.reopen_for(worker)
        state.may_start = True

    def _forget(self, gate: UnitGate) -> None:
        if gate._ticket:
            self._state.deadlines.drop(gate)

    def _remove(self, gate: UnitGate) -> None:
        self._forget(gate)
        del self._gates[gate.worker, gate.unit]

    def come_due(self, gate: UnitGate, now: float) -> None:
        """Check a unit again at the time when its limits should allow a start."""
        gate._ticket = 0
        gate.until = None
        self._look_at(gate.worker, self._meters_of(gate.worker), gate.unit, now)

    def _meters_of(self, worker: WorkerRecord | None) -> RateMeters:
        if worker is None:
            return self._state.limits.meters
        assert worker._limits is not None
        return worker._limits.meters

    # Limits change, and workers come and go.

    def change(self, worker: WorkerRecord | None, limits: RateLimits, now: float) -> None:
        """Apply other limits to a worker or to the whole pool, without a fresh burst."""
        meters = self._meters_of(worker)
        units = set(meters.by_unit)
        meters.change(limits, now)
        for unit in sorted(units | set(meters.by_unit)):
            self._look_at(worker, meters, unit, now)
        self.note_shares(worker)

    def note_shares(self, worker: WorkerRecord | None) -> None:
        """Record which shared limits a worker or the whole pool has from now on."""
        meters = self._meters_of(worker)
        for share in meters.shares():
            holders = self.shares.setdefault(share, {})
            if worker is not None:
                holders[worker] = None
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
        state = self._state
        found: dict[WorkerRecord, None] = {}
        for share in woken:
            workers = self.shares.get(share, {})
            if share.unit is None:
                state.limits.wait_for_meter(None)
                found.update(workers)
                continue
            for worker in (None, *workers):
                meters = self._meters_of(worker)
                if share.unit in meters.by_unit:
                    self._look_at(worker, meters, share.unit, now)
        return list(found)

    def closes(self, worker: WorkerRecord, units: Iterable[str], now: float) -> bool:
        """Close the units that others have used up by now; return whether there are any."""
        closed = False
        for holder in (None, worker):
            if holder is None or holder._limits is not None:
                meters = self._meters_of(holder)
                for unit in units:
                    closed |= unit in meters.by_unit and self._look_at(holder, meters, unit, now)
        return closed

    def pass_on(self, now: float) -> None:
        """Give the turns that this pool has not used to other pools."""
        for share in self.shares:
            share.pass_on(now)

    def leave(self) -> None:
        """Give up all shares, since the pool has ended."""
        for share in self.shares:
            share.leave()
        self.shares.clear()
