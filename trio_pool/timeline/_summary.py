"""The summary of a pool above the chart: what its places have spent their time on, and quantiles of the attempts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._basics.quantiles import quantiles
from .._model.time_account import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ._accounts import Accounts, Seconds
    from ._spans import Row, Span

MOST_BARS = 200
"""How many workers of a pool have a bar of their own; the others share one."""


def summary(
    pool: int,
    accounts: Accounts | None,
    rows: Mapping[Row, str],
    left: Mapping[Row, Seconds],
    attempts: Sequence[Span],
) -> dict[str, object]:
    """Return what the page shows of a pool.

    Arguments:
      pool: the position of the pool among the page's pools.
      accounts: the pool's accounts, or None if the pool could not be opened.
      rows: the names of the pool's workers.
      left: the seconds of the workers that have left, by cause.
      attempts: the attempts of the pool's jobs.
    """
    workers = {} if accounts is None else dict(accounts.workers)
    bars: list[tuple[str, bool, Seconds]] = []
    for row, name in rows.items():
        _, so_far = workers.pop(row.id, (name, {}))
        bars.append((name, row in left, left.get(row, so_far)))
    bars += [(name, False, time) for name, time in workers.values()]  # not seen by the timeline yet
    bars.sort(key=lambda bar: bar[1])  # the workers in the pool come first
    shown, hidden = bars[:MOST_BARS], bars[MOST_BARS:]
    whole = total(time for *_, time in bars) if accounts is None else accounts.time
    # Of the workers that left so long ago that their records were dropped, only the sum is known.
    in_bars = total(time for *_, time in shown)
    others = {cause: seconds - in_bars.get(cause, 0.0) for cause, seconds in whole.items()}
    return {
        "pool": pool,
        "bottleneck": "" if accounts is None else accounts.bottleneck,
        "explanation": "" if accounts is None else accounts.explanation,
        "whole": _by_position(whole),
        "bars": [[name, int(is_gone), _by_position(time)] for name, is_gone, time in shown],
        "hidden": len(hidden),
        "others": _by_position(others),
        "waiting": _counted([span.waited for span in attempts if span.waited is not None]),
        "running": _counted([span.end - span.start for span in attempts if not span.unfinished]),
    }


def total(times: Iterable[Seconds]) -> dict[str, float]:
    """Add up the seconds of each cause."""
    columns: dict[str, list[float]] = {}
    for time in times:
        for cause, seconds in time.items():
            columns.setdefault(cause, []).append(seconds)
    return {cause: math.fsum(seconds) for cause, seconds in columns.items()}


def _counted(values: Sequence[int]) -> list[int]:
    """Return how many values there are, and their quantiles."""
    return [len(values), *quantiles(values)]


def _by_position(time: Seconds) -> list[list[int]]:
    """The pairs of a cause's position in `CAUSES` and its microseconds, without those that round to nothing."""
    pairs = ([place, round(time.get(cause, 0.0) * 1e6)] for place, cause in enumerate(CAUSES))
    return [pair for pair in pairs if pair[1] > 0]
