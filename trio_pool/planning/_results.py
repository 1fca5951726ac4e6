"""The results of replays and plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from .._basics.frozen_mapping import FrozenMapping
from .._basics.quantiles import quantiles
from .._model.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._model.statistics import PoolStatistics


class PlanError(PoolError, ValueError):
    """None of the numbers of workers is enough; the message names the bottleneck."""


@attrs.frozen(kw_only=True)
class Quantiles:
    """How a time was distributed over the jobs, in seconds; all 0.0 if there were none.

    Attributes:
      p50: half of the jobs took at most this long.
      p90: nine of ten jobs took at most this long.
      p99: 99 of a hundred jobs took at most this long.
      max: the longest time.
    """

    p50: float
    p90: float
    p99: float
    max: float


def quantiles_of(times: Iterable[float]) -> Quantiles:
    """Return the quantiles of these times."""
    p50, p90, p99, most = quantiles(times) or [0.0] * 4
    return Quantiles(p50=p50, p90=p90, p99=p99, max=most)


def _without_errors(statistics: PoolStatistics) -> object:
    """Statistics for comparisons, without errors, since those of two replays are never the same objects."""
    workers = tuple(attrs.evolve(worker, last_error=None) for worker in statistics.workers)
    return attrs.evolve(statistics, workers=workers)


@attrs.frozen(kw_only=True)
class Replay:
    """The result of a replay.

    Attributes:
      elapsed: seconds from ``pool_opened`` to ``pool_closed``.
      statistics: the statistics of the replayed pool at its end.
      waiting: how long jobs waited, from the call that submitted them to the start of their first attempt.
      total: how long jobs took, from that call to their end.
    """

    elapsed: float
    statistics: PoolStatistics = attrs.field(eq=_without_errors)
    waiting: Quantiles
    total: Quantiles
    _explanation: str = attrs.field(repr=False, alias="_explanation")

    def explain(self) -> str:
        """Explain in a few sentences what kept the replayed pool from being faster, and what to change."""
        return self._explanation


def _as_frozen(tried: Mapping[int, float]) -> FrozenMapping[int, float]:
    return FrozenMapping(tried)


@attrs.frozen(kw_only=True)
class Plan:
    """How many workers are needed.

    Attributes:
      workers: the fewest workers with which the replay ends in time.
      replay: the replay with this number of workers.
      tried: the numbers of workers that were tried, each with the seconds that the replay took.
    """

    workers: int
    replay: Replay
    tried: Mapping[int, float] = attrs.field(converter=_as_frozen)
