"""Quantiles by the nearest-rank method."""

from __future__ import annotations

from trio_pool._basics.quantiles import quantiles


def test_they_are_those_of_the_nearest_ranks() -> None:
    assert quantiles([7]) == [7, 7, 7, 7]
    assert quantiles(range(1, 101)) == [50, 90, 99, 100]
    assert quantiles([4.5, 1, 3, 2]) == [2, 4.5, 4.5, 4.5]


def test_of_nothing_there_are_none() -> None:
    assert quantiles([]) == []
