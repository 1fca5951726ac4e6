"""A start under a rate limit counts when the function begins, not when the job was handed out."""

from __future__ import annotations

import pytest

from tests.core.makers import make_core, make_guard, make_job
from trio_pool import JobCancelledError, RateLimit
from trio_pool._effects import Start
from trio_pool._ledger import begun
from trio_pool._meters import RateMeter
from trio_pool._places import Door


def test_one_that_begins_late_holds_the_next_back_from_then_on() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    meter.begun(4.0, 0.0)
    assert meter.ready_at(4.0) == 14.0


def test_one_that_begins_when_it_was_handed_out_changes_nothing() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(1.0)
    before = meter.ready_at(1.0)
    meter.begun(1.0, 1.0)
    assert meter.ready_at(1.0) == before == 11.0


def test_while_one_has_not_begun_no_other_may_start_however_late_it_is() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    assert [meter.ready_at(now) for now in (0.0, 9.0, 10.0, 15.0)] == [10.0, 10.0, 20.0, 25.0]
    assert meter.startable(15.0) == 0
    meter.begun(15.0, 0.0)
    assert meter.ready_at(15.0) == 25.0


def test_of_a_burst_that_begins_late_nothing_is_regained_before_it_begins() -> None:
    meter = RateMeter(RateLimit(1, per=10.0, burst=3))
    for _ in range(3):
        meter.hand_out(0.0)
    for now in (8.0, 9.0, 9.5):
        meter.begun(now, 0.0)
    assert meter.startable(17.9) == 0
    assert meter.ready_at(9.5) == 18.0  # a place is regained from the first on
    assert meter.startable(18.0) == 1
    assert meter.startable(38.0) == 3


def test_of_a_burst_only_so_many_may_start_as_have_not_been_handed_out() -> None:
    meter = RateMeter(RateLimit(1, per=1.0, burst=3))
    meter.hand_out(0.0)
    assert meter.startable(100.0) == 2
    meter.begun(100.0, 0.0)
    assert meter.startable(100.0) == 2


def test_one_that_will_not_begin_is_given_back() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    meter.give_back()
    assert meter.ready_at(0.0) == 0.0
    meter.start(0.0)
    assert meter.ready_at(0.0) == 10.0


def test_giving_back_does_not_add_to_a_full_burst() -> None:
    meter = RateMeter(RateLimit(1, per=1.0, burst=2))
    meter.hand_out(0.0)
    meter.give_back()
    assert meter.startable(50.0) == 2
    meter.start(50.0)
    assert meter.startable(50.0) == 1


def test_a_limit_that_changes_meanwhile_knows_of_those_that_have_not_begun() -> None:
    meter = RateMeter(RateLimit(1, per=10.0))
    meter.hand_out(0.0)
    meter.change(RateLimit(1, per=5.0), 1.0)
    meter.begun(3.0, 0.0)
    assert meter.ready_at(3.0) == 8.0


@pytest.mark.parametrize("whose", ["pool", "worker"])
def test_two_functions_never_begin_closer_than_the_limit_says(whose: str) -> None:
    limit = RateLimit(1, per=10.0)
    core = make_core(rate_limit=limit if whose == "pool" else None)
    seat = core.add_seat(guard=make_guard(rate_limit=limit if whose == "worker" else None))
    jobs = [make_job(), make_job()]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    begun(seat, 3.0)
    assert core.scheduler.succeeded(seat, None, 4.0) is None
    core.scheduler.advance(10.0)
    core.scheduler.advance(12.9)
    assert len(core.effects_of(Start)) == 1
    core.scheduler.advance(13.0)
    assert [effect.job for effect in core.effects_of(Start)] == jobs


@pytest.mark.parametrize("whose", ["pool", "worker"])
def test_a_job_that_is_cut_before_its_function_is_called_takes_nothing_from_the_limit(whose: str) -> None:
    limit = RateLimit(1, per=10.0)
    core = make_core(rate_limit=limit if whose == "pool" else None)
    seat = core.add_seat(guard=make_guard(rate_limit=limit if whose == "worker" else None))
    jobs = [make_job(), make_job()]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    core.scheduler.cancel(jobs[0], 1.0)
    core.effects.clear()
    following = core.scheduler.cut_short(seat, JobCancelledError(jobs[0]), 1.0, begun=False)
    assert (following or core.effects_of(Start)[0].job) is jobs[1]


def test_a_worker_that_waits_for_one_that_begins_late_is_idle_as_soon_as_it_may_start() -> None:
    core = make_core(rate_limit=RateLimit(1, per=10.0))
    first, second = core.add_seat(), core.add_seat()
    jobs = [make_job(), make_job()]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    core.scheduler.advance(10.0)  # the first has not begun
    assert second._current is None
    begun(first, 11.0)
    core.scheduler.advance(20.0)
    assert second._current is None
    core.scheduler.advance(21.0)
    assert second._current is jobs[1]
