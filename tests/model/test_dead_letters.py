"""Dead letters keep what nobody has dealt with, and count what they had to drop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.makers import make_job, no_requeueing
from trio_pool import DeadLetters, DeadReason
from trio_pool._model.shortfall import Shortfall

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.job_options import JobOptions


def filled(number: int, limit: float = 1000) -> tuple[DeadLetters, list[Job[Any]]]:
    dead = DeadLetters(limit, no_requeueing)
    jobs = [dead_job() for _ in range(number)]
    for job in jobs:
        dead._add(job)
    return dead, jobs


def dead_job() -> Job[Any]:
    job = make_job()
    job._value = Shortfall("no attempts left", DeadReason.ATTEMPTS_EXHAUSTED)
    return job


def test_they_come_oldest_first() -> None:
    dead, jobs = filled(3)
    assert list(dead) == jobs


def test_beyond_the_limit_the_oldest_is_dropped_and_counted() -> None:
    dead, jobs = filled(5, limit=2)
    assert list(dead) == jobs[-2:]
    assert dead.dropped == 3


def test_with_a_limit_of_zero_none_is_kept() -> None:
    dead, _ = filled(2, limit=0)
    assert (len(dead), dead.dropped, dead._dropped_open) == (0, 2, 2)


def test_popping_takes_the_oldest() -> None:
    dead, jobs = filled(2)
    assert dead.pop() is jobs[0]
    assert list(dead) == jobs[1:]


def test_popping_a_given_job_takes_that_one() -> None:
    dead, jobs = filled(3)
    assert dead.pop(jobs[1]) is jobs[1]
    assert list(dead) == [jobs[0], jobs[2]]


def test_popping_from_none_is_a_key_error() -> None:
    dead, _ = filled(0)
    with pytest.raises(KeyError, match="there are no dead letters"):
        dead.pop()


def test_popping_a_job_that_is_not_there_is_a_key_error() -> None:
    dead, _ = filled(1)
    with pytest.raises(KeyError, match="is not among the dead letters"):
        dead.pop(make_job())


def test_popping_all_leaves_none() -> None:
    dead, jobs = filled(3)
    assert dead.pop_all() == jobs
    assert len(dead) == 0


def test_a_job_that_was_taken_out_counts_as_dealt_with() -> None:
    dead, jobs = filled(2)
    dead.pop()
    assert jobs[0]._dealt_with
    assert dead._open() == [jobs[1]]


def test_a_job_whose_error_was_raised_stays_but_is_dealt_with() -> None:
    dead, jobs = filled(2)
    dead._deal_with(jobs[0])
    assert list(dead) == jobs
    assert dead._open() == [jobs[1]]


def test_a_dropped_job_can_still_be_dealt_with_through_its_handle() -> None:
    dead, jobs = filled(3, limit=1)
    dead._deal_with(jobs[0])
    assert (dead.dropped, dead._dropped_open) == (2, 1)


def test_iterating_goes_over_those_that_were_there_when_it_began() -> None:
    dead, jobs = filled(2)
    seen: list[Job[Any]] = []
    for job in dead:
        seen.append(job)
        dead._add(make_job())
    assert seen == jobs


def test_they_know_who_is_among_them() -> None:
    dead, jobs = filled(1)
    assert jobs[0] in dead
    assert make_job() not in dead
    assert "a job" not in dead


def test_they_print_their_numbers() -> None:
    dead, _ = filled(3, limit=2)
    assert repr(dead) == "<trio_pool.DeadLetters: 2 kept, 1 dropped>"


def test_requeueing_takes_the_job_out_and_returns_the_new_one() -> None:
    fresh = make_job()
    asked: list[tuple[Job[Any], JobOptions]] = []

    def requeue(job: Job[Any], options: JobOptions) -> Job[Any]:
        asked.append((job, options))
        return fresh

    dead = DeadLetters(10, requeue)
    job = dead_job()
    dead._add(job)
    assert dead.requeue(job, priority=3) is fresh
    assert asked == [(job, {"priority": 3})]
    assert job not in dead
    assert job._dealt_with


def test_a_job_that_could_not_be_requeued_stays() -> None:
    dead, (job,) = filled(1)
    with pytest.raises(AssertionError):
        dead.requeue(job)
    assert job in dead
    assert not job._dealt_with


def test_requeueing_a_job_that_is_not_there_is_a_key_error() -> None:
    dead, _ = filled(1)
    with pytest.raises(KeyError, match="is not among the dead letters"):
        dead.requeue(make_job())


@given(st.integers(0, 4), st.lists(st.integers(0, 11), max_size=30))
def test_every_dead_job_is_kept_dealt_with_or_counted_as_dropped(limit: int, steps: list[int]) -> None:
    dead = DeadLetters(limit, no_requeueing)
    died: list[Job[Any]] = []
    for step in steps:
        if step < 6 or not died:
            died.append(dead_job())
            dead._add(died[-1])
        elif step < 9:
            dead._deal_with(died[step % len(died)])
        elif len(dead):
            dead.pop()
    undealt = [job for job in died if not job._dealt_with]
    assert len(dead._open()) + dead._dropped_open == len(undealt)
    assert len(dead) <= limit
