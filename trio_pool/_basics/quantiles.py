"""Quantiles of values, calculated in one way for all figures of the library."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

N = TypeVar("N", int, float)

_SHARES = (0.5, 0.9, 0.99, 1.0)


def quantiles(values: Iterable[N]) -> list[N]:
    """Return p50, p90, p99 and the maximum by the nearest-rank method, or an empty list for no values."""
    ranked = sorted(values)
    return [ranked[math.ceil(share * len(ranked)) - 1] for share in _SHARES if ranked]
