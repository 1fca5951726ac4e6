"""The data that a timeline keeps from the time accounts of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from .._model.explanation import explain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._model.statistics import PoolStatistics

Seconds: TypeAlias = "Mapping[str, float]"


@attrs.frozen(eq=False)
class Accounts:
    """What the places of a pool have spent their time on, as plain values that keep nothing of the pool alive.

    Attributes:
      time: the seconds of all places, by cause.
      workers: the name and the seconds of each worker in the pool, by id; empty after the pool's end.
      bottleneck: the bottleneck in one line.
      explanation: the lines of `trio_pool.Pool.explain`, of which the first is the bottleneck.
    """

    time: Seconds
    workers: Mapping[int, tuple[str, Seconds]]
    bottleneck: str
    explanation: str


def accounts_of(statistics: PoolStatistics, *, closed: bool) -> Accounts:
    """Extract what the summary needs from the statistics of a pool; the workers of a closed pool have already left."""
    explanation = explain(statistics)
    return Accounts(
        time=spent(statistics.time),
        workers={} if closed else {each.id: (each.name, spent(each.time)) for each in statistics.workers},
        bottleneck=explanation.partition("\n")[0],
        explanation=explanation,
    )


def spent(time: Seconds) -> dict[str, float]:
    """The causes that have taken any time, with their seconds."""
    return {cause: seconds for cause, seconds in time.items() if seconds > 0}
