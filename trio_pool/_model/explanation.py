"""What has kept a pool from being faster, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._basics.text import one_line
from .text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .statistics import PoolStatistics

# For each cause: its name as the bottleneck, the beginning of its line, and the advice.
_WORDS = {
    "running": ("the number of places", "ran attempts", "more workers, or a higher max_running of their resources"),
    "opening": (
        "opening resources",
        "opened or left resources",
        "keep resources longer (max_jobs, max_age), or open more at once (max_opening)",
    ),
    "checking": ("checks", "checked resources", "check less often (HealthCheck.every), or with a shorter timeout"),
    "quarantined": (
        "quarantines",
        "were quarantined by breakers",
        "see last_error of these workers; reset_after says how long a quarantine lasts",
    ),
    "resting": ("rests", "rested", "declare a quota as a rate_limit, which waits no longer than needed"),
    "paused": ("pauses", "were paused", "resume() earlier"),
    "rate_limit": (
        "the rate limits of the workers",
        "waited for rate limits of their workers",
        "higher limits, or more workers with limits of their own",
    ),
    "reserved": ("reservations", "were reserved for groups, and free", "reserve fewer places"),
    "max_running": ("max_running of the pool", "waited for max_running of the pool", "a higher max_running"),
    "pool_rate_limit": (
        "a rate limit that workers share",
        "waited for a rate limit of the pool, or one that workers share",
        "a higher limit; more workers change nothing",
    ),
    "group": ("max_running of groups", "waited for max_running of groups", "a higher max_running of the groups"),
    "key": ("the bounds of keys", "waited for bounds of keys", "higher bounds in per_key, or more keys at once"),
    "idle": ("", "had nothing to run", "more jobs at once: a larger buffer, fewer dependencies, tags of more workers"),
}

# The causes that affect single workers; the explanation names the workers that each affects most.
_OWN = frozenset({"opening", "checking", "quarantined", "resting", "paused", "rate_limit"})

# Those under which some places may run while others are held back.
_LIMITS = ("rate_limit", "max_running", "pool_rate_limit", "group", "key")

_MOST_NAMED = 3

# Smaller shares of the time are left out.
_LEAST = 0.005


def bottleneck(statistics: PoolStatistics) -> str:
    """What has kept a pool from being faster, in one line."""
    whole = math.fsum(statistics.time.values())
    if not whole:
        return "No time has passed in which the pool could have run anything."
    cause, weight = _main_cause(statistics)
    share = _share(weight, 1.0)
    if cause == "idle":
        return f"Bottleneck: the jobs. The places had nothing to run for {share} of the time."
    if cause == "running" and any(worker.max_running == math.inf for worker in statistics.workers):
        return "Bottleneck: the jobs themselves. There were as many places as they needed."
    return f"Bottleneck: {_WORDS[cause][0]}, {share} of the time."


def _main_cause(statistics: PoolStatistics) -> tuple[str, float]:
    """The cause with the largest share of the time but for idleness, or idleness if that makes up half; and the share.

    While a limit holds back a place, more places under that limit change nothing, however many of them
    are running. So it counts for as long as it applies, and not by the places that it holds back.
    """
    time, whole = statistics.time, math.fsum(statistics.time.values())
    if time["idle"] >= whole / 2:
        return "idle", time["idle"] / whole
    held: Mapping[str, float] = getattr(statistics, "_held", {})
    weights = {cause: seconds / whole for cause, seconds in time.items() if cause != "idle"}
    is_unbounded = any(worker.max_running == math.inf for worker in statistics.workers)
    for cause in _LIMITS if statistics.queue_peak else ():
        # A worker without a bound has no place that could be held back.
        if is_unbounded or weights[cause] >= _LEAST:
            weights[cause] = max(weights[cause], held.get(cause, 0.0))
    if is_unbounded:
        weights["running"] = min(weights["running"], _LEAST)  # more places than that there can't be
    cause = max(weights, key=weights.__getitem__)
    return cause, weights[cause]


def explain(statistics: PoolStatistics) -> str:
    """What has kept a pool from being faster, in order, with numbers and what to change.

    Causes of less than half a percent of the time are left out.
    """
    whole = math.fsum(statistics.time.values())
    lines = [bottleneck(statistics)]
    if not whole:
        return lines[0]
    lines.append(f"Of {_number(whole)} seconds of all places together, they")
    time = {cause: seconds for cause, seconds in statistics.time.items() if round(100 * seconds / whole)}
    rows = [(cause, time[cause]) for cause in sorted(time, key=lambda cause: (cause == "idle", -time[cause]))]
    widths = [max(len(_share(seconds, whole)) for _, seconds in rows), max(len(_number(each)) for _, each in rows)]
    for cause, seconds in rows:
        _, words, advice = _WORDS[cause]
        named = f" ({_named(cause, statistics)})" if cause in _OWN and len(statistics.workers) > 1 else ""
        figures = f"{_share(seconds, whole):>{widths[0]}}  {_number(seconds):>{widths[1]}} s"
        lines.append(f"  {figures}  {words}{named}: {advice}" if cause != "running" else f"  {figures}  {words}")
    if lines[0].startswith("Bottleneck: the number of places"):
        lines.append(f"To be faster: {_WORDS['running'][2]}.")
    if statistics.failures:
        lines.append(
            f"{statistics.failures} of {counted(statistics.attempts, 'attempt')} failed, and"
            f" {statistics.retries} were retried; what they took counts as running."
        )
    return "\n".join(lines)


def _named(cause: str, statistics: PoolStatistics) -> str:
    """The workers that a cause affects most."""
    seconds = {worker: worker.time.get(cause, 0.0) for worker in statistics.workers}
    most = sorted((worker for worker in seconds if seconds[worker] > 0), key=lambda worker: -seconds[worker])
    names = [f"{one_line(worker.name, 40)} {_number(seconds[worker])} s" for worker in most[:_MOST_NAMED]]
    if len(most) > _MOST_NAMED:
        names.append(f"{len(most) - _MOST_NAMED} more")
    return ", ".join(names) or "workers that have left"


def _share(seconds: float, whole: float) -> str:
    return f"{round(100 * seconds / whole)} %"


def _number(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 1000 else f"{seconds:.0f}"
