"""What holds a worker back for a time has one entry in the heap of deadlines: the one that counts."""

from __future__ import annotations

import math
from itertools import count
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.core.commands import Tell
from tests.core.makers import Core, make_core
from trio_pool._core.availability import Availability
from trio_pool._core.deadlines import Deadlines, Due
from trio_pool._model.states import Hold

if TYPE_CHECKING:
    from trio_pool._model.records import WorkerRecord


@attrs.define
class Held:
    """A worker, and what holds it."""

    core: Core
    worker: WorkerRecord
    deadlines: Deadlines
    holds: Availability

    def told(self) -> list[tuple[object, ...]]:
        return [(tell.event, *tell.arguments) for tell in self.core.commands_of(Tell)]

    def comes_due(self) -> list[tuple[Due, float]]:
        """All that is still to come due, and when; nothing is left of it."""
        found: list[tuple[Due, float]] = []
        while self.deadlines.soonest < math.inf:
            now = self.deadlines.soonest
            found.extend((due, now) for due, _ in self.deadlines.pop_due(now))
        return found


@pytest.fixture
def held() -> Held:
    core = make_core()
    deadlines = Deadlines(count(1))
    return Held(core, core.make_worker(), deadlines, Availability(core.lifecycle, deadlines))


def test_a_rest_is_told_and_comes_due(held: Held) -> None:
    assert held.holds.rest(held.worker, 5.0, 1.0)
    assert held.told() == [("worker_resting", held.worker, 5.0)]
    assert held.comes_due() == [(Due.REST, 5.0)]


@pytest.mark.parametrize("until", [4.0, 5.0])
def test_a_rest_that_ends_no_later_than_the_one_there_is_changes_nothing(held: Held, until: float) -> None:
    held.holds.rest(held.worker, 5.0, 1.0)
    assert not held.holds.rest(held.worker, until, 2.0)
    assert len(held.told()) == 1
    assert held.comes_due() == [(Due.REST, 5.0)]


def test_a_rest_that_ends_later_takes_the_place_of_the_one_there_is(held: Held) -> None:
    held.holds.rest(held.worker, 5.0, 1.0)
    assert held.holds.rest(held.worker, 6.0, 2.0)
    assert held.told()[1:] == [("worker_resting", held.worker, 6.0)]
    assert held.comes_due() == [(Due.REST, 6.0)]


@pytest.mark.parametrize("until", [0.5, 1.0])
def test_a_rest_that_is_over_already_is_none(held: Held, until: float) -> None:
    assert not held.holds.rest(held.worker, until, 1.0)
    assert held.told() == []
    assert held.comes_due() == []


def test_a_worker_that_has_left_does_not_rest(held: Held) -> None:
    held.worker._holds[Hold.STOPPED] = math.inf
    assert not held.holds.rest(held.worker, 5.0, 1.0)
    assert held.comes_due() == []


def test_a_quarantine_is_told_and_comes_due(held: Held) -> None:
    held.holds.quarantine(held.worker, 5.0)
    assert held.told() == [("worker_quarantined", held.worker, 5.0)]
    assert held.comes_due() == [(Due.QUARANTINE, 5.0)]


def test_a_new_quarantine_takes_the_place_of_the_one_there_is(held: Held) -> None:
    held.holds.quarantine(held.worker, 5.0)
    held.holds.quarantine(held.worker, 4.0)
    assert held.comes_due() == [(Due.QUARANTINE, 4.0)]


def test_the_same_time_noted_twice_comes_due_once(held: Held) -> None:
    for _ in range(2):
        held.holds.limit(held.worker, 5.0)
    assert len(held.deadlines) == 1
    assert held.comes_due() == [(Due.LIMIT, 5.0)]


def test_what_ends_and_begins_again_until_the_same_time_comes_due_once(held: Held) -> None:
    held.holds.limit(held.worker, 2.0)
    held.holds.end_limit(held.worker)
    held.holds.limit(held.worker, 2.0)
    held.holds.quarantine(held.worker, 3.0)
    held.holds.end_quarantine(held.worker)
    held.holds.quarantine(held.worker, 3.0)
    assert held.comes_due() == [(Due.LIMIT, 2.0), (Due.QUARANTINE, 3.0)]


def test_another_time_for_a_limit_takes_the_place_of_the_one_there_is(held: Held) -> None:
    held.holds.limit(held.worker, 5.0)
    held.holds.limit(held.worker, 7.0)
    assert held.comes_due() == [(Due.LIMIT, 7.0)]


def test_the_age_of_a_resource_that_is_opened_anew_takes_the_place_of_the_old_one(held: Held) -> None:
    held.holds.expire(held.worker, 5.0)
    held.holds.expire(held.worker, 8.0)
    assert held.comes_due() == [(Due.AGE, 8.0)]


def test_a_resource_opened_anew_at_once_expires_once(held: Held) -> None:
    for _ in range(2):
        held.holds.expire(held.worker, 5.0)
    assert held.comes_due() == [(Due.AGE, 5.0)]


def test_a_resource_that_never_expires_has_no_entry(held: Held) -> None:
    held.holds.expire(held.worker, math.inf)
    assert len(held.deadlines) == 0


def test_each_thing_that_holds_a_worker_comes_due_for_itself_in_a_fixed_order(held: Held) -> None:
    held.holds.limit(held.worker, 5.0)
    held.holds.quarantine(held.worker, 5.0)
    held.holds.rest(held.worker, 5.0, 1.0)
    held.holds.expire(held.worker, 5.0)
    assert held.comes_due() == [(Due.AGE, 5.0), (Due.REST, 5.0), (Due.QUARANTINE, 5.0), (Due.LIMIT, 5.0)]


def test_nothing_holds_a_worker_that_has_left(held: Held) -> None:
    held.holds.limit(held.worker, 2.0)
    held.holds.quarantine(held.worker, 3.0)
    held.holds.rest(held.worker, 4.0, 1.0)
    held.holds.expire(held.worker, 5.0)
    held.holds.drop(held.worker)
    assert held.comes_due() == []
