"""When a number of jobs will have ended: the longest of what each limit of the pool needs for them.

Each limit is seen as a flow. Places let jobs through as fast as attempts have taken so far; a rate
limit lets through its level at once, and then its rate; a key its own bounds. What is slowest
decides, which changes on the way: a burst is used up, or one key has more to do than the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._model.states import Hold, JobState
from .._policies.rate_limit import Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.key_record import KeyRecord
    from .._model.records import WorkerRecord
    from .._policies.rate_meters import Meter
    from .state import PoolState

# How many keys are looked at: those with the most jobs.
_KEYS = 3

_OUT_OF_USE = (Hold.PAUSED, Hold.LEAVING, Hold.STOPPED)
_TIME_LOST = ("opening", "checking", "quarantined", "resting")


def seconds_left(state: PoolState, jobs: float, now: float) -> float | None:
    """Estimate how long this many jobs will take that have not ended.

    Looks at each worker, at a few keys, and at no job.

    Arguments:
      jobs: how many are left, whether they have entered the pool or not.

    Returns:
      seconds; None if no attempt has ended yet, or the pool is paused.
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
    time = state.accounts.in_all(workers, now)
    running = count[JobState.RUNNING] + lifecycle.surplus
    # What runs has run for half of its time, on average.
    took = time["running"] / (attempts + running / 2)
    starts = max(0.0, jobs * max(1.0, attempts / max(1, finished)) - running)
    drawn = {unit: float(used) / (attempts + running) for unit, used in lifecycle.used.items()}
    useful = [worker for worker in workers if not any(hold in worker._holds for hold in _OUT_OF_USE)]
    busy = time["running"]
    lost = sum(time[cause] for cause in _TIME_LOST)
    places = min(sum(worker._max_running for worker in useful) * busy / (busy + lost), limits.max_running)
    needed = (starts + running / 2) * took
    waits = [needed / places if places else math.inf, took]
    meters = [[meter] for meter in limits.meters.all()] + _of_workers(useful)
    waits += [_time_for(each, starts, drawn, now) + took for each in meters]
    if state.keys is not None:
        share = starts / max(1, count[JobState.QUEUED] + count[JobState.DELAYED])
        waits += [_for_key(key, max(1.0, share), took, drawn, now) for key in state.keys.busiest(_KEYS)]
    rest = limits.hold.resting_until
    longest = max(waits) + (0.0 if rest is None else max(0.0, rest - now))
    return None if longest == math.inf else longest


def _of_workers(workers: Iterable[WorkerRecord]) -> list[list[Meter]]:
    """The meters that together bound what the workers let through: those that each of them has one of."""
    workers = list(workers)
    found: dict[tuple[str | None, int], dict[Meter, None]] = {}
    holders: dict[tuple[str | None, int], int] = {}
    for worker in workers:
        seen: dict[str | None, int] = {}
        for meter in () if worker._limits is None else worker._limits.meters.all():
            place = meter.unit, seen.get(meter.unit, 0)
            seen[meter.unit] = place[1] + 1
            found.setdefault(place, {})[meter] = None
            holders[place] = holders.get(place, 0) + 1
    return [list(meters) for place, meters in found.items() if holders[place] == len(workers)]


def _time_for(meters: list[Meter], starts: float, drawn: Mapping[str, float], now: float) -> float:
    """How long limits need that are drawn from side by side."""
    unit = meters[0].unit
    each = 1.0 if unit is None else drawn.get(unit, 0.0)
    # The last start draws what it needs from a level of 1.
    amount = max(0.0, (starts - len(meters)) * each + len(meters)) if starts else 0.0
    level, speed = 0.0, 0.0
    for meter in meters:
        limit = meter.shared.limit if isinstance(meter, Share) else meter.limit
        level += meter.level(now)
        speed += limit.count / limit.per
    return max(0.0, amount - level) / speed if each or unit is None else 0.0


def _for_key(key: KeyRecord, share: float, took: float, drawn: Mapping[str, float], now: float) -> float:
    """How long the jobs of a key need, of which so many times as many are to come."""
    waiting = (key.queued + key.delayed) * share
    longest = (waiting + key.running / 2) * took / key.max_running
    if key.meters is not None:
        longest = max([longest, *(_time_for([meter], waiting, drawn, now) + took for meter in key.meters.all())])
    return longest + (0.0 if key.resting_until is None else max(0.0, key.resting_until - now))
