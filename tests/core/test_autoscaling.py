"""When the core of an elastic pool orders workers."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest

from tests.core.elastic_cores import hired, make_elastic_core, ordered, recalled, staffed, submitted
from tests.core.makers import calls_of, job_on, make_core, make_job
from trio_pool import DeadReason, Elastic, JobState, PerKey, RateLimit
from trio_pool._core.admission import Admission, Door

# Opening.


def test_nothing_is_ordered_before_the_first_workers_are_there() -> None:
    core = make_core(elastic=Elastic(nullcontext[Any], min=2, max=5))
    core.scheduler.set_max_running(1, 0.0)
    assert ordered(core) == 0


def test_a_core_that_is_not_elastic_has_nothing_to_begin_with() -> None:
    core = make_core()
    core.scheduler.begin(0.0)
    assert not core.commands


def test_a_worker_is_ordered_for_each_job_that_waits() -> None:
    core = make_elastic_core()
    for number in range(1, 4):
        submitted(core)
        assert ordered(core) == number


def test_workers_that_have_joined_but_not_opened_count_as_coming() -> None:
    core = make_elastic_core()
    submitted(core, 2)
    hired(core)
    submitted(core)
    assert ordered(core) == 1


def test_no_more_are_ordered_than_the_most() -> None:
    core = make_elastic_core(most=3)
    submitted(core, 9)
    assert ordered(core) == 3
    staffed(core)
    assert ordered(core) == 0


def test_a_job_that_starts_on_an_idle_worker_orders_none() -> None:
    core = make_elastic_core()
    core.add_worker()
    submitted(core)
    assert ordered(core) == 0


def test_an_order_that_was_refused_is_made_again_with_the_next_event() -> None:
    core = make_elastic_core()
    submitted(core)
    core.commands.clear()
    core.scheduler.not_hired()
    submitted(core)
    assert ordered(core) == 2


def test_none_is_ordered_for_jobs_of_keys_that_have_gone() -> None:
    core = make_elastic_core(most=9, max_running=1, per_key=PerKey())
    submitted(core)
    staffed(core)
    submitted(core, key="waits")
    for key in range(5):
        (job,) = submitted(core, key=key)
        core.scheduler.cancel(job, 0.0)
    core.scheduler.set_max_running(math.inf, 0.0)
    assert ordered(core) == 1


def test_a_submitter_that_waits_for_a_place_orders_a_worker_and_goes_to_it() -> None:
    core = make_elastic_core(max_queue=0)
    job = make_job()
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    (worker,) = staffed(core)
    assert job.worker is worker


def test_jobs_that_none_of_the_workers_may_take_order_none() -> None:
    core = make_elastic_core(tags=("a",))
    worker = core.add_worker("b")
    submitted(core, 2, requires=("b",))
    submitted(core, 2, worker=worker)
    assert ordered(core) == 0


def test_a_worker_that_leaves_the_least_number_is_replaced() -> None:
    core = make_elastic_core(least=2)
    first, _ = staffed(core)
    core.scheduler.depart(first, 0.0)
    assert ordered(core) == 1
    core.scheduler.left(first, 0.0)
    assert ordered(core) == 1


def test_no_more_are_ordered_than_there_is_room_to_run() -> None:
    core = make_elastic_core(max_running=2)
    submitted(core, 4)
    assert ordered(core) == 2
    staffed(core)
    assert ordered(core) == 0
    core.scheduler.set_max_running(3, 0.0)
    assert ordered(core) == 1


def test_no_more_are_ordered_than_the_rate_limit_lets_start() -> None:
    core = make_elastic_core(rate_limit=RateLimit(1, per=10.0, burst=2))
    submitted(core, 4)
    assert ordered(core) == 2
    staffed(core)
    assert ordered(core) == 0


def test_the_next_is_ordered_when_the_rate_limit_lets_it_start() -> None:
    core = make_elastic_core(rate_limit=RateLimit(1, per=10.0))
    submitted(core, 3)
    staffed(core)
    core.begin(0.0)
    assert core.scheduler.deadlines.soonest == 10.0
    core.scheduler.advance(10.0)
    assert ordered(core) == 1


# What can't be opened.


def test_while_one_cannot_be_opened_none_is_ordered() -> None:
    core = make_elastic_core()
    submitted(core)
    (worker,) = hired(core)
    core.scheduler.reopen(worker, OSError(), 0.0)
    submitted(core, 3)
    assert ordered(core) == 0
    core.scheduler.opened(worker, 1.0)
    assert ordered(core) == 3


def test_those_that_cannot_be_opened_go_when_no_job_waits() -> None:
    core = make_elastic_core(least=1)
    (kept,) = staffed(core)
    submitted(core, 4)
    workers = hired(core)
    for worker in workers:
        core.scheduler.reopen(worker, OSError(), 0.0)
    for job in list(core.lifecycle.live.values()):
        if job.state is JobState.QUEUED:
            assert recalled(core) == []
            core.scheduler.cancel(job, 0.0)
    assert recalled(core) == workers
    assert job_on(kept) is not None


def test_a_worker_whose_resource_is_opened_anew_for_the_first_time_is_not_given_up() -> None:
    core = make_elastic_core()
    (job,) = submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.reopen(worker, OSError(), 1.0)
    assert (recalled(core), job.state) == ([], JobState.SUCCEEDED)


def test_one_that_is_to_leave_does_not_keep_others_from_being_ordered() -> None:
    core = make_elastic_core()
    submitted(core)
    (worker,) = hired(core)
    core.scheduler.reopen(worker, OSError(), 0.0)
    core.scheduler.depart(worker, 0.0)
    assert ordered(core) == 1
    core.scheduler.reopen(worker, OSError(), 0.0)
    submitted(core)
    assert ordered(core) == 2


# Jobs that nobody can take.


def test_a_job_that_a_worker_could_be_opened_for_is_not_given_up() -> None:
    core = make_elastic_core(tags=("a",))
    (job,) = submitted(core, requires=("a",))
    (worker,) = hired(core)
    core.scheduler.depart(worker, 0.0)
    core.scheduler.left(worker, 0.0)
    assert job.state is JobState.QUEUED


def test_while_draining_a_job_waits_for_the_worker_that_was_ordered() -> None:
    core = make_elastic_core()
    (job,) = submitted(core)
    core.scheduler.drain(0.0)
    (worker,) = staffed(core)
    assert job.worker is worker


def test_while_draining_a_job_waits_for_the_rate_limit_though_nobody_is_left() -> None:
    core = make_elastic_core(rate_limit=RateLimit(1, per=100.0))
    submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.depart(worker, 10.0)
    core.scheduler.left(worker, 10.0)
    (job,) = submitted(core, now=20.0)
    core.scheduler.drain(20.0)
    assert job.state is JobState.QUEUED
    core.scheduler.advance(100.0)
    assert ordered(core) == 1


def test_while_draining_a_job_that_could_have_come_to_no_worker_is_dead() -> None:
    core = make_elastic_core()
    worker = core.add_worker("b")
    core.scheduler.pause(worker, 0.0)
    (job,) = submitted(core, requires=("b",))
    core.scheduler.depart(worker, 0.0)
    core.scheduler.left(worker, 0.0)
    assert job.dead_reason is DeadReason.NO_WORKER


# What it costs.


@pytest.mark.parametrize("spare", [0, 10_000], ids=["all are there", "more may come"])
def test_what_an_event_costs_depends_on_no_number(spare: int) -> None:
    def cost(number: int, waiting: int) -> int:
        core = make_elastic_core(least=1, most=number + spare)
        submitted(core, number)
        workers = staffed(core)
        submitted(core, waiting)
        hired(core)  # they are never opened
        return calls_of(lambda: core.succeeded(workers[0], None, 1.0))

    assert cost(10, 10) == cost(300, 3000)
