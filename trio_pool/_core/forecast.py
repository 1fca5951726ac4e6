"""An estimate of when a number of jobs will have ended: the longest time that any limit of the pool requires.

Each limit is treated as a flow. The speed of the places follows from how long attempts have taken so
far. A rate limit lets its level through at once, and then its rate. A key has bounds of its own. The
slowest flow decides. Which one that is can change on the way: a burst is used up, or one key has more
to do than the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from .._model.states import Hold, JobState
from .._policies.rate_limit import Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .._model.key_record import KeyRecord
    from .._model.records import WorkerRecord
    from .._policies.rate_meter import RateMeter
    from .._policies.rate_meters import Meter
    from .state import PoolState

# How many keys are considered: those with the most jobs.
_KEYS = 3

_EXACT = 1e-6  # the relative precision to which times are searched for

_OUT_OF_USE = (Hold.PAUSED, Hold.LEAVING, Hold.STOPPED)
_TIME_LOST = ("opening", "checking", "quarantined", "resting")


def seconds_left(state: PoolState, jobs: float, time: Mapping[str, float], now: float) -> float | None:
    """Estimate how long this number of unfinished jobs will take.

    Reads the data of each worker and of a few keys, but of no job.

    Arguments:
      jobs: how many are left, whether they have entered the pool or not.
      time: the seconds of all places so far, by their causes, as in `PoolStatistics`.

    Returns:
      seconds; None if no attempt has ended yet, or if the pool is paused.
    """
    lifecycle, limits = state.lifecycle, state.limits
    count = lifecycle.count
    finished = sum(number for status, number in count.items() if status.is_final)
    attempts = count[JobState.SUCCEEDED] + lifecycle.failures
    if not jobs:
        return 0.0
    if not attempts or limits.hold.paused:
        return None
    workers = list(state.roster.by_id.values())
    running = count[JobState.RUNNING] + lifecycle.surplus
    # On average, a running attempt has had half of its time.
    busy = time["running"]
    took = busy / (attempts + running / 2)
    starts = max(0.0, jobs * max(1.0, attempts / max(1, finished)) - running)
    drawn = {unit: float(used) / (attempts + running) for unit, used in lifecycle.used.items()}
    useful = [worker for worker in workers if not any(hold in worker._holds for hold in _OUT_OF_USE)]
    lost = sum(time[cause] for cause in _TIME_LOST)
    usable = busy / (busy + lost) if busy else 1.0
    places = min(sum(worker._max_running for worker in useful) * usable, limits.max_running)
    needed = (starts + running / 2) * took
    waits = [needed / places if places else math.inf, took]
    by_unit = [(meter.unit, [_flow([meter], now)]) for meter in limits.meters.all()]
    by_unit += _of_workers(useful, now)
    waits += [_time_for(flows, unit, starts, drawn) + took for unit, flows in by_unit]
    if state.keys is not None:
        share = starts / max(1, count[JobState.QUEUED] + count[JobState.DELAYED])
        waits += [_for_key(key, max(1.0, share), took, drawn, now) for key in state.keys.busiest(_KEYS)]
    rest = limits.hold.resting_until
    longest = max(waits) + (0.0 if rest is None else max(0.0, rest - now))
    return None if longest == math.inf else longest


class _Flow(NamedTuple):
    """A limit that lets ``level`` through at once, then ``speed`` per second, and at most what those ``behind`` do."""

    level: float
    speed: float
    behind: tuple[_Flow, ...] = ()

    def after(self, seconds: float) -> float:
        """How much has been let through after this time."""
        return min([self.level + self.speed * seconds, *(flow.after(seconds) for flow in self.behind)])


def _flow(meters: Iterable[Meter], now: float, behind: Iterable[Meter] = ()) -> _Flow:
    """The flow of limits that are used in parallel and that shared limits, ``behind`` them, also bound."""
    level = speed = 0.0
    for meter in meters:
        limit = meter.shared.limit if isinstance(meter, Share) else meter.limit
        level += meter.level(now)
        speed += limit.count / limit.per
    return _Flow(level, speed, tuple(_flow([share], now) for share in behind))


def _of_workers(workers: list[WorkerRecord], now: float) -> Iterator[tuple[str | None, list[_Flow]]]:
    """Yield each unit that limits all of these workers, with the flows of its limits."""
    found: dict[str | None, list[tuple[list[RateMeter], list[Share]]]] = {}
    for worker in workers:
        own: dict[str | None, tuple[list[RateMeter], list[Share]]] = {}
        for meter in () if worker._limits is None else worker._limits.meters.all():
            meters, shares = own.setdefault(meter.unit, ([], []))
            if isinstance(meter, Share):
                shares.append(meter)
            else:
                meters.append(meter)
        for unit, limits in own.items():
            found.setdefault(unit, []).append(limits)
    for unit, of_each in found.items():
        if len(of_each) < len(workers):
            continue
        for place in range(max(1, *(len(meters) for meters, _ in of_each))):
            by_shares: dict[tuple[Share, ...], list[RateMeter]] = {}
            is_bounded = True
            for meters, shares in of_each:
                side_by_side = by_shares.setdefault(tuple(shares), [])
                if place < len(meters):
                    side_by_side.append(meters[place])
                elif not shares:
                    is_bounded = False
            if is_bounded:
                flows = [
                    _flow(meters or shares[:1], now, shares if meters else shares[1:])
                    for shares, meters in by_shares.items()
                ]
                yield unit, flows


def _time_for(flows: list[_Flow], unit: str | None, starts: float, drawn: Mapping[str, float]) -> float:
    """How long parallel flows need to let through what this number of starts draws."""
    each = 1.0 if unit is None else drawn.get(unit, 0.0)
    if not each or not starts:
        return 0.0
    # The last start of each flow needs only a level of 1, whatever it draws.
    amount = max(0.0, (starts - len(flows)) * each + len(flows))
    least, most = 0.0, 1.0
    if sum(flow.after(0) for flow in flows) >= amount:
        return 0.0
    while sum(flow.after(most) for flow in flows) < amount:
        least, most = most, 2 * most
    while most - least > _EXACT * most:
        middle = (least + most) / 2
        if sum(flow.after(middle) for flow in flows) < amount:
            least = middle
        else:
            most = middle
    return most


def _for_key(key: KeyRecord, share: float, took: float, drawn: Mapping[str, float], now: float) -> float:
    """How long the jobs of a key need; ``share`` is how many jobs there will be for each one that waits now."""
    waiting = (key.queued + key.delayed) * share
    longest = (waiting + key.running / 2) * took / key.max_running
    if key.meters is not None:
        times = [_time_for([_flow([meter], now)], meter.unit, waiting, drawn) for meter in key.meters.all()]
        longest = max([longest, *(seconds + took for seconds in times)])
    return longest + (0.0 if key.resting_until is None else max(0.0, key.resting_until - now))
