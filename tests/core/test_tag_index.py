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
    roster.note_time = lambda worker, now: None
    workers = [
        WorkerRecord(roster, number, str(number), frozenset({"all", f"tag {number}"})) for number in range(1, FEW + 3)
    ]
    for worker in workers:
        roster.join(worker)
    roster.kinds.is_wide(ALL.requires)  # from here on it is kept who fits
    for worker in workers:
        roster.set_available(worker, True)
        roster.park(worker, 0.0)
    return roster, workers


@pytest.mark.parametrize(("pick", "place"), [("longest_idle", 0), ("last_used", -1)])
def test_the_preferred_one_is_chosen(pick: Pick, place: int) -> None:
    roster, workers = many(pick)
    assert roster.choose(ALL) is workers[place]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used"])
def test_one_that_is_idle_no_longer_is_passed_over(pick: Pick) -> None:
    roster, workers = many(pick)
    for worker in workers[:-1] if pick == "longest_idle" else workers[1:]:
        roster.unpark(worker)
    assert roster.choose(ALL) is workers[-1 if pick == "longest_idle" else 0]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used"])
def test_those_that_are_refused_are_still_there_for_others(pick: Pick) -> None:
    roster, workers = many(pick)
    preferred = workers[0] if pick == "longest_idle" else workers[-1]
    second = workers[1] if pick == "longest_idle" else workers[-2]
    assert roster.choose(ALL, but=[preferred]) is second
    assert roster.choose(ALL) is preferred


def test_coming_and_going_leaves_nothing_behind() -> None:
    roster, workers = many("longest_idle")
    for _ in range(100):
        for worker in workers:
            roster.unpark(worker)
            roster.park(worker, 0.0)
    (fit,) = roster.kinds.fits_for(ALL.requires, None)
    assert fit.is_wide
    assert len(fit._idle) <= 64 + 1
    assert roster.choose(ALL) is workers[0]


def test_by_chance_each_is_drawn_that_is_idle() -> None:
    roster, workers = many("random")
    for worker in workers[::2]:
        roster.unpark(worker)
    assert {roster.choose(ALL) for _ in range(200)} == set(workers[1::2])


def test_a_lent_worker_that_is_given_back_idle_is_looked_at_again() -> None:
    roster, workers = many("longest_idle")
    roster.fresh.clear()
    roster.count_as_available(workers[0], False)
    roster.count_as_available(workers[0], True)
    assert not roster.fresh
    roster.look_at(workers[0])
    assert list(roster.fresh) == [workers[0]]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
def test_whether_another_one_is_idle_is_known(pick: Pick) -> None:
    roster, workers = many(pick)
    (fit,) = roster.kinds.fits_for(ALL.requires, None)
    for worker in workers[1:]:
        roster.unpark(worker)
    assert fit.has_idle(workers[1])
    assert not fit.has_idle(workers[0])
