"""The levels of rate limits, which a journal keeps so that a restart doesn't allow more starts than the limits do."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import trio

from .._model.key_record import KeyRecord
from .._model.records import WorkerRecord
from .._policies.rate_limit import SharedRateLimit
from ._store import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .._model.records import Run
    from .._policies.rate_meters import AnyLimit, RateMeters
    from .._runtime.engine import Engine

    Holder: TypeAlias = "KeyRecord | WorkerRecord | None"

Id: TypeAlias = "tuple[str, str, str, int]"
"""The pool's name, the holder of the limit, the limit's unit, and its index among those with that unit."""

_MOST_KEPT = 10_000
"""How many levels are kept before those that are full by now are dropped."""


class Levels:
    """The levels of the limits of all pools that use a journal.

    Limits are distinguished by the names of pools, workers and shared limits, by keys, by their units
    and by their indexes. If several pools have a limit with the same name, the lowest level counts.

    Arguments:
      want: called when levels have changed and nothing else may write them soon.
      put: called with levels to be written.
    """

    def __init__(self, want: Callable[[], object], put: Callable[[list[Level]], object]) -> None:
        self._want = want
        self._put = put
        # The last known levels, each with the pool from which it comes, or None if it comes from the file.
        self._known: dict[Id, tuple[Level, PoolLevels | None]] = {}
        self._most_kept = _MOST_KEPT
        self._pools: dict[Engine, PoolLevels] = {}
        # Whether levels have been requested that have not been put yet.
        self._is_wanted = False

    def begin(self, stored: Iterable[Level]) -> None:
        """Load the levels that were stored in the file."""
        for row in stored:
            self._known[_id_of(row)] = row, None

    def use(self, engine: Engine) -> None:
        """Begin to keep the levels of a pool, unless that has begun or its clock isn't the real one."""
        if engine in self._pools or _is_mocked():
            return
        self._pools = {each: levels for each, levels in self._pools.items() if levels.is_needed}
        self._pools[engine] = PoolLevels(engine, self)

    def end(self) -> None:
        """Write the levels that have changed, and keep no more levels."""
        self.put_changed()
        for levels in self._pools.values():
            levels.end()
        self._pools.clear()

    def want(self) -> None:
        """Have the levels written soon."""
        if not self._is_wanted:
            self._is_wanted = True
            self._want()

    def put_changed(self) -> None:
        """Write the levels that have changed since the last time."""
        if not self._is_wanted:
            return
        self._is_wanted = False
        now, wall = trio.current_time(), time.time()
        rows: list[Level] = []
        for levels in self._pools.values():
            for identity, limit, level in levels.changed(now):
                rate = _rate(limit)
                known, owner = self._known.get(identity, (None, levels))
                if known is not None and owner is not levels:
                    level = min(level, _regrown(known, limit, wall))
                row = Level(*identity, level, wall, wall + max(rate.burst - level, 0) * rate.per / rate.count)
                self._known[identity] = row, levels
                rows.append(row)
        if len(self._known) > self._most_kept:
            self._known = {name: each for name, each in self._known.items() if each[0].full_at > wall}
            self._most_kept = 2 * len(self._known) + _MOST_KEPT
        if rows:
            self._put(rows)

    def lower(self, identities: Iterable[tuple[Id, AnyLimit, Any]], now: float) -> bool:
        """Lower meters to the known levels; return whether that has changed any."""
        wall = time.time()
        is_changed = False
        for identity, limit, meter in identities:
            known = self._known.get(identity)
            if known is not None and meter.lower(_regrown(known[0], limit, wall), now):
                is_changed = True
        return is_changed


class PoolLevels:
    """The levels of the limits of one pool: its own, and those of its workers and keys.

    Arguments:
      engine: the engine of the pool.
      levels: the levels of all pools.
    """

    def __init__(self, engine: Engine, levels: Levels) -> None:
        self._engine = engine
        self._levels = levels
        self._name = engine.config.name or ""
        # The holders of limits that have been drawn from.
        self._drawn: dict[Holder, None] = {}
        core, now = engine.core, trio.current_time()
        core.metering.ledgers.append(self)
        if levels.lower(self._placed(None), now):
            core.set_rate_limit(core.rate_limit, now)
        for worker in list(engine.roster.by_id.values()):
            self.hired(worker)
        for key in () if core.keys is None else core.keys.all():
            if key.meters is not None and self.met(key) is not None:
                core.metering.look_at_key(key, now)
        engine.carry_out()

    @property
    def is_needed(self) -> bool:
        """Whether the pool is open, or has levels that have not been put."""
        return self._engine.nursery is not None or bool(self._drawn)

    def end(self) -> None:
        """Keep no more levels of the pool."""
        self._engine.core.metering.ledgers.remove(self)

    def changed(self, now: float) -> list[tuple[Id, AnyLimit, float]]:
        """The levels of the limits that have been drawn from since the last time."""
        drawn, self._drawn = self._drawn, {}
        placed = [each for holder in drawn for each in self._placed(holder)]
        return [(identity, limit, meter.level(now)) for identity, limit, meter in placed]

    # The calls of the pool.

    def drew(self, run: Run) -> None:
        """Record that a run draws from limits."""
        self._drawn[None] = None
        self._drawn[run.worker] = None
        if run.job._key is not None:
            self._drawn[run.job._key] = None
        self._levels.want()

    def met(self, key: KeyRecord) -> float | None:
        """Lower the levels of a key that may become known; return the time if that has changed any."""
        now = trio.current_time()
        return now if self._levels.lower(self._placed(key), now) else None

    def hired(self, worker: WorkerRecord) -> None:
        """Lower the levels of a worker that has joined."""
        now = trio.current_time()
        if self._levels.lower(self._placed(worker), now):
            assert worker._limits is not None
            self._engine.core.set_rate_limit(worker._limits.meters.limits, now, worker)

    def _placed(self, holder: Holder) -> Iterable[tuple[Id, AnyLimit, Any]]:
        """Yield the limits of a holder with their identities and meters."""
        meters: RateMeters | None
        if holder is None:
            meters, name = self._engine.core.state.limits.meters, "pool"
        elif isinstance(holder, KeyRecord):
            meters, name = holder.meters, _name_of_key(holder.value)
        else:
            meters, name = None if holder._limits is None else holder._limits.meters, f"worker {holder._name}"
        if meters is None or not name:
            return
        for unit, place, limit, meter in meters.placed():
            if isinstance(limit, SharedRateLimit) and limit.name is not None:
                yield ("", _storable(f"shared {limit.name}"), _storable(unit or ""), 0), limit, meter
            else:
                yield (_storable(self._name), _storable(name), _storable(unit or ""), place), limit, meter


def _id_of(row: Level) -> Id:
    return row.pool, row.holder, row.unit, row.place


def _storable(name: str) -> str:
    """A name as text that can be stored."""
    return name if name.isascii() else name.encode(errors="backslashreplace").decode()


def _rate(limit: AnyLimit) -> Any:
    return limit.limit if isinstance(limit, SharedRateLimit) else limit


def _regrown(row: Level, limit: AnyLimit, wall: float) -> float:
    """The level of a row after the time that has passed since then; no time if the wall clock went back."""
    rate = _rate(limit)
    return float(row.level + max(wall - row.at, 0.0) * rate.count / rate.per)


def _name_of_key(value: object) -> str:
    """A text that identifies a key in any process; empty if there is none."""
    if isinstance(value, tuple):
        parts = [_name_of_key(each) for each in cast("tuple[object, ...]", value)]
        return f"key ({', '.join(parts)})" if all(parts) else ""
    return f"key {value!r}" if type(value) in _PLAIN else ""


_PLAIN = frozenset({str, bytes, int, float, bool, type(None)})


def _is_mocked() -> bool:
    testing = sys.modules.get("trio.testing")
    return testing is not None and isinstance(trio.lowlevel.current_clock(), testing.MockClock)
