"""What many kinds of workers keep together: which of them are idle, and which goes first."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from trio_pool._core.tag_index import FEW
from trio_pool._core.worker_index import WorkerIndex
from trio_pool._model.records import Terms, WorkerRecord

if TYPE_CHECKING:
    from trio_pool._model.pool_config import Pick

ALL = Terms(frozenset({"all"}))


def many(pick: Pick) -> tuple[WorkerIndex, list[WorkerRecord]]:
    """So many workers with tags of their own each that they are not asked one after the other; all idle."""
    roster = WorkerIndex(pick, Random(0))
    seats = [
        WorkerRecord(roster, number, str(number), frozenset({"all", f"tag {number}"})) for number in range(1, FEW + 3)
    ]
    for seat in seats:
        roster.join(seat)
    roster.kinds_for(ALL)  # from here on it is kept who fits
    for seat in seats:
        roster.set_available(seat, True)
        roster.park(seat, 0.0)
    return roster, seats


@pytest.mark.parametrize(("pick", "place"), [("longest_idle", 0), ("last_used", -1)])
def test_the_preferred_one_is_chosen(pick: Pick, place: int) -> None:
    roster, seats = many(pick)
    assert roster.choose(ALL) is seats[place]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used"])
def test_one_that_is_idle_no_longer_is_passed_over(pick: Pick) -> None:
    roster, seats = many(pick)
    for seat in seats[:-1] if pick == "longest_idle" else seats[1:]:
        roster.unpark(seat)
    assert roster.choose(ALL) is seats[-1 if pick == "longest_idle" else 0]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used"])
def test_those_that_are_refused_are_still_there_for_others(pick: Pick) -> None:
    roster, seats = many(pick)
    preferred = seats[0] if pick == "longest_idle" else seats[-1]
    second = seats[1] if pick == "longest_idle" else seats[-2]
    assert roster.choose(ALL, but=[preferred]) is second
    assert roster.choose(ALL) is preferred


def test_coming_and_going_leaves_nothing_behind() -> None:
    roster, seats = many("longest_idle")
    for _ in range(100):
        for seat in seats:
            roster.unpark(seat)
            roster.park(seat, 0.0)
    fit, _ = roster.kinds_for(ALL)
    assert fit.is_wide
    assert len(fit._idle) <= 64 + 1
    assert roster.choose(ALL) is seats[0]


def test_by_chance_each_is_drawn_that_is_idle() -> None:
    roster, seats = many("random")
    for seat in seats[::2]:
        roster.unpark(seat)
    assert {roster.choose(ALL) for _ in range(200)} == set(seats[1::2])


def test_a_lent_worker_that_is_given_back_idle_is_looked_at_again() -> None:
    roster, seats = many("longest_idle")
    roster.fresh.clear()
    roster.count_as_available(seats[0], False)
    assert not roster.fresh
    roster.count_as_available(seats[0], True)
    assert list(roster.fresh) == [seats[0]]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
def test_whether_another_one_is_idle_is_known(pick: Pick) -> None:
    roster, seats = many(pick)
    fit, _ = roster.kinds_for(ALL)
    for seat in seats[1:]:
        roster.unpark(seat)
    assert fit.has_idle(seats[1])
    assert not fit.has_idle(seats[0])
