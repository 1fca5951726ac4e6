"""A slow attempt of a job that is hedged is started on further workers, and on none that it must not be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Interrupt, Start
from tests.core.hedged_jobs import ERROR, fail, pass_time, runners, submit, submit_plain
from tests.core.makers import Core, job_on, make_core, make_job
from trio_pool._core.admission import Admission, Door
from trio_pool._core.race import race_of
from trio_pool._core.retry_decision import Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord
    from trio_pool._policies.retry import Placement


def fail_often(core: Core, job: Job[Any], now: float, times: int, placement: Placement) -> list[WorkerRecord]:
    """The job fails, attempt after attempt; returns the workers it did so on."""
    found: list[WorkerRecord] = []
    for _ in range(times):
        worker = job.worker
        assert worker is not None
        found.append(worker)
        fail(core, worker, now, placement=placement)
    return found


# When.


def test_an_attempt_that_has_run_for_so_long_is_started_on_an_idle_worker_too() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0, after=2.5)
    pass_time(core, 2.4)
    assert runners(core, job) == [first]
    core.commands.clear()
    pass_time(core, 2.5)
    assert runners(core, job) == [first, second]
    assert [(start.run.worker, start.run.job) for start in core.commands_of(Start)] == [(second, job)]


def test_an_attempt_that_has_ended_by_then_is_not() -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    submit(core, 0.0)
    core.succeeded(first, None, 0.5)
    pass_time(core, 9.0)
    assert core.roster.idle_count == 2


def test_a_job_that_is_not_hedged_is_not() -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    job = submit_plain(core, 0.0)
    pass_time(core, 1000.0)
    assert runners(core, job) == [first]


def test_after_as_long_again_it_is_started_on_one_more_up_to_as_many_as_are_allowed() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(5)]
    job = submit(core, 0.0, extra=3)
    counts: list[int] = []
    for now in range(6):
        pass_time(core, now)
        counts.append(len(runners(core, job)))
    assert counts == [1, 2, 3, 4, 4, 4]
    assert job_on(workers[4]) is None


def test_an_attempt_that_is_hedged_at_once_is_started_elsewhere_at_the_same_instant() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(4)]
    job = submit(core, 0.0, after=0.0, extra=2)
    pass_time(core, 0.0)
    assert runners(core, job) == workers[:3]
    assert core.scheduler.deadlines.soonest == math.inf


def test_a_retry_is_hedged_anew() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 1.0)
    for worker in (first, second):
        fail(core, worker, 5.0)
    assert len(runners(core, job)) == 1
    pass_time(core, 6.0)
    assert len(runners(core, job)) == 2


# Waiting for a worker.


def test_it_waits_if_no_worker_is_idle_and_is_started_on_the_first_that_becomes_idle() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job, _ = submit(core, 0.0), submit_plain(core, 0.0)
    pass_time(core, 5.0)
    assert runners(core, job) == [first]
    core.succeeded(second, None, 6.0)
    assert runners(core, job) == [first, second]


def test_it_is_started_on_a_worker_that_comes_later() -> None:
    core = make_core()
    first = core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 5.0)
    assert runners(core, job) == [first]
    second = core.add_worker(now=6.0)
    assert runners(core, job) == [first, second]


def test_the_time_until_one_more_counts_from_when_it_was_started_on_the_last() -> None:
    core = make_core()
    core.add_worker()
    job = submit(core, 0.0, extra=2)
    pass_time(core, 5.0)
    for _ in range(2):
        core.add_worker(now=5.5)
    assert len(runners(core, job)) == 2
    pass_time(core, 6.4)
    assert len(runners(core, job)) == 2
    pass_time(core, 6.5)
    assert len(runners(core, job)) == 3


def test_of_several_that_wait_the_one_whose_time_came_first_goes_first() -> None:
    core = make_core()
    for _ in range(3):
        core.add_worker()
    slow, quick, quicker = (submit(core, 0.0, after=after) for after in (3.0, 2.0, 1.0))
    core.scheduler.advance(4.0)
    assert [job_on(core.add_worker(now=5.0)) for _ in range(3)] == [quicker, quick, slow]


def test_one_that_can_not_use_the_idle_worker_does_not_hold_up_those_behind_it() -> None:
    core = make_core()
    core.add_worker("a")
    core.add_worker()
    submit(core, 0.0, requires=["a"])
    behind = submit(core, 0.0)
    pass_time(core, 2.0)
    assert job_on(core.add_worker(now=3.0)) is behind


def test_jobs_that_are_queued_go_first() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job, _ = submit(core, 0.0), submit_plain(core, 0.0)
    pass_time(core, 1.0)
    queued = submit_plain(core, 2.0)
    assert core.succeeded(second, None, 3.0) is queued
    assert runners(core, job) == [first]
    again = submit_plain(core, 4.0)
    assert job_on(core.add_worker(now=5.0)) is again
    assert runners(core, job) == [first]


def test_submitters_in_line_go_first() -> None:
    core = make_core(max_queue=0)
    first, second = core.add_worker(), core.add_worker()
    job, _ = submit(core, 0.0), submit_plain(core, 0.0)
    pass_time(core, 1.0)
    in_line = [make_job(), make_job()]
    for each in in_line:
        assert core.scheduler.submit(each, Door.QUEUE_UP, 2.0) is Admission.WAITING
    assert core.succeeded(second, None, 3.0) is in_line[0]
    assert job_on(core.add_worker(now=5.0)) is in_line[1]
    assert runners(core, job) == [first]


def test_a_queued_job_that_can_not_use_the_worker_is_no_hindrance() -> None:
    core = make_core()
    first = core.add_worker("a")
    second = core.add_worker()
    job, _ = submit(core, 0.0), submit_plain(core, 0.0)
    submit_plain(core, 0.0, requires=["a"])
    pass_time(core, 1.0)
    core.succeeded(second, None, 3.0)
    assert runners(core, job) == [first, second]


# Where.


def test_it_is_started_only_on_a_worker_that_may_take_the_job() -> None:
    core = make_core()
    first, _, third = core.add_worker("a"), core.add_worker("b"), core.add_worker("a", "b")
    job = submit(core, 0.0, requires=["a"], extra=2)
    pass_time(core, 9.0)
    assert runners(core, job) == [first, third]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
def test_it_is_never_started_twice_on_one_worker(pick: Any) -> None:
    core = make_core(pick=pick)
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0, extra=9)
    pass_time(core, 1.0)
    core.scheduler.pause(second, 2.0)
    fail(core, first, 2.0)
    core.scheduler.resume(second, 2.0)
    pass_time(core, 20.0)
    assert runners(core, job) == [second]
    assert core.scheduler.free(20.0) == [first]


def test_the_longest_idle_worker_is_the_next() -> None:
    core = make_core()
    first, second, third = (core.add_worker() for _ in range(3))
    submit_plain(core, 0.0, worker=second)
    core.succeeded(second, None, 0.0)
    job = submit(core, 0.0)
    pass_time(core, 1.0)
    assert runners(core, job) == [first, third]


def test_a_job_for_one_worker_is_started_on_no_other() -> None:
    core = make_core()
    _, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0, worker=second)
    assert core.scheduler.deadlines.soonest == math.inf
    pass_time(core, 9.0)
    assert runners(core, job) == [second]


def test_a_retry_on_the_same_worker_is_started_on_no_other() -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    fail(core, first, 0.5, placement="same")
    assert core.scheduler.state.hedging.under_way == {}
    pass_time(core, 9.0)
    assert runners(core, job) == [first]


def test_a_retry_whose_same_worker_has_left_is_hedged() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    core.scheduler.depart(first, 0.5)
    fail(core, first, 0.5, placement="same")
    core.scheduler.left(first, 1.0)
    assert runners(core, job) == [second]
    third = core.add_worker(now=1.0)
    pass_time(core, 2.0)
    assert runners(core, job) == [second, third]


def test_a_bounced_job_is_not_started_on_a_worker_that_it_has_failed_on() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(3)]
    job = submit(core, 0.0, extra=2)
    fail_often(core, job, 0.5, 1, "other")
    pass_time(core, 9.0)
    assert runners(core, job) == workers[1:]


def test_a_worker_that_the_job_may_go_to_again_since_a_runner_has_failed_is_used_at_once() -> None:
    core = make_core()
    job = submit_job_in_a_new_round(core)
    first, second, last = core.roster.by_id.values()
    pass_time(core, 9.0)
    assert runners(core, job) == [first, second]
    assert core.scheduler.free(9.0) == [last]
    behind = submit_plain(core, 9.0, worker=first)
    # With that the round is over once more, and it is not on the last one that it failed last.
    assert fail(core, first, 9.5) is behind
    assert runners(core, job) == [second, last]


def submit_job_in_a_new_round(core: Core) -> Job[Any]:
    """One that has bounced from each of three workers."""
    for _ in range(3):
        core.add_worker()
    job = submit(core, 0.0, extra=2)
    assert fail_often(core, job, 0.5, 3, "other") == list(core.roster.by_id.values())
    return job


# Not when it is over.


def test_it_is_not_started_elsewhere_at_its_deadline_or_after() -> None:
    core = make_core()
    first = core.add_worker()
    jobs = [submit(core, 0.0, attempt_timeout=1.0)]
    assert core.scheduler.deadlines.soonest == math.inf
    core.succeeded(first, None, 0.5)
    jobs.append(submit(core, 1.0, attempt_timeout=2.0))
    pass_time(core, 2.5)
    assert core.scheduler.state.hedging.waiting
    second = core.add_worker(now=3.0)
    assert job_on(second) is None


def test_it_is_not_started_elsewhere_after_it_was_cancelled() -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    core.scheduler.cancel(job, 0.5)
    pass_time(core, 9.0)
    assert runners(core, job) == [first]


def test_it_no_longer_waits_for_a_worker_once_it_was_cancelled() -> None:
    core = make_core()
    core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 2.0)
    core.scheduler.cancel(job, 3.0)
    assert job_on(core.add_worker(now=4.0)) is None


def test_when_all_is_cancelled_nothing_is_started_elsewhere() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(4)]
    hedged_at_once = submit(core, 0.0, after=0.0, extra=3)
    core.scheduler.cancel_all(0.0)
    assert runners(core, hedged_at_once) == workers[:2]
    assert [interrupt.run.worker for interrupt in core.commands_of(Interrupt)] == workers[:2]


@pytest.mark.parametrize("success", [True, False])
def test_an_attempt_that_ends_at_the_very_time_for_it_is_not_started_elsewhere(success: bool) -> None:
    core = make_core()
    first, _ = core.add_worker(), core.add_worker()
    submit(core, 0.0)
    core.commands.clear()
    if success:
        core.succeeded(first, None, 1.0)
    else:
        core.failed(first, ERROR, Verdict(Retry(9.0, "any", front=False, counts=True)), 1.0)
    assert core.commands_of(Start) == []


def test_an_attempt_that_is_cut_short_at_the_very_time_for_it_is_followed_by_another() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    core.scheduler.depart(first, 0.5, cut=True)
    core.cut_short(first, ERROR, 1.0)
    assert runners(core, job) == [second]
    race = race_of(job)
    assert race is not None
    assert race.first is second


def test_an_attempt_that_got_a_value_at_the_very_time_for_one_more_is_not_started_there() -> None:
    core = make_core()
    first, second, third = (core.add_worker() for _ in range(3))
    job = submit(core, 0.0, extra=2)
    pass_time(core, 1.0)
    core.succeeded(first, None, 2.0)
    assert runners(core, job) == [second]
    assert job_on(third) is None


def test_a_runner_that_fails_at_the_very_time_for_one_more_is_no_reason_not_to_start_there() -> None:
    core = make_core()
    first, second, third = (core.add_worker() for _ in range(3))
    job = submit(core, 0.0, extra=2)
    pass_time(core, 1.0)
    fail(core, first, 2.0)
    assert runners(core, job) == [second, third]
