"""Which limits each worker counts in that a hedged attempt is started on."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from tests.core.commands import Hire
from tests.core.hedged_jobs import ERROR, fail, pass_time, runners, submit, submit_plain
from tests.core.makers import make_core, make_limits
from trio_pool import CircuitBreaker, Elastic, JobState, RateLimit
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._policies.circuit_breaker import BreakerState

ONE_IN_TEN = RateLimit(1, per=10.0)


def test_each_worker_that_runs_it_counts_in_max_running() -> None:
    core = make_core(max_running=2)
    first, second, third = (core.add_worker() for _ in range(3))
    job = submit(core, 0.0, extra=2)
    pass_time(core, 9.0)
    assert runners(core, job) == [first, second]
    queued = submit_plain(core, 9.0)
    assert queued.state is JobState.QUEUED
    core.scheduler.set_max_running(3, 9.5)
    assert runners(core, queued) == [third]


def test_it_is_started_on_one_more_when_max_running_allows_that() -> None:
    core = make_core(max_running=1)
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 9.0)
    assert runners(core, job) == [first]
    core.scheduler.set_max_running(2, 9.0)
    assert runners(core, job) == [first, second]


def test_a_runner_that_ends_makes_room_under_max_running() -> None:
    core = make_core(max_running=2)
    first, second, third = (core.add_worker() for _ in range(3))
    job = submit(core, 0.0)
    pass_time(core, 1.0)
    queued = submit_plain(core, 2.0)
    fail(core, first, 3.0)
    assert runners(core, job) == [second]
    assert runners(core, queued) == [third]


def test_it_waits_for_the_rate_limit_of_the_pool() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    core.begin(0.0)
    pass_time(core, 9.0)
    assert runners(core, job) == [first]
    assert core.scheduler.deadlines.soonest == 10.0
    pass_time(core, 10.0)
    assert runners(core, job) == [first, second]
    queued = submit_plain(core, 11.0)
    assert queued.state is JobState.QUEUED


def test_a_job_that_waits_for_the_same_limit_goes_first() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    core.begin(0.0)
    pass_time(core, 5.0)
    queued = submit_plain(core, 6.0)
    pass_time(core, 10.0)
    assert (runners(core, job), runners(core, queued)) == ([first], [second])


def test_an_attempt_that_ends_while_it_waits_for_the_limit_takes_nothing_from_it() -> None:
    core = make_core(rate_limit=ONE_IN_TEN)
    first, _ = core.add_worker(), core.add_worker()
    submit(core, 0.0)
    pass_time(core, 5.0)
    core.succeeded(first, None, 6.0)
    pass_time(core, 10.0)
    assert submit_plain(core, 11.0).state is JobState.RUNNING


def test_it_waits_for_the_rate_limit_of_a_worker() -> None:
    core = make_core()
    limited = core.add_worker(limits=make_limits(rate_limit=ONE_IN_TEN))
    submit_plain(core, 0.0)
    core.succeeded(limited, None, 0.0)
    other = core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 9.0)
    assert runners(core, job) == [other]
    pass_time(core, 10.0)
    assert runners(core, job) == [limited, other]


def test_what_starts_on_a_further_worker_counts_in_its_limits() -> None:
    core = make_core()
    core.add_worker()
    limits = make_limits(rate_limit=ONE_IN_TEN, max_jobs=1)
    second = core.add_worker(limits=limits)
    submit(core, 0.0)
    pass_time(core, 1.0)
    assert limits.ready_at(1.0) == 11.0
    assert limits.is_worn()
    core.succeeded(second, None, 2.0)
    assert not second._available


def test_a_further_worker_whose_breaker_is_open_is_given_the_job_as_its_probe() -> None:
    core = make_core()
    limits = make_limits(breaker=CircuitBreaker(failures=1, reset_after=5.0))
    worker = core.add_worker(limits=limits)
    submit_plain(core, 0.0)
    core.failed(worker, ERROR, Verdict(Retry(99.0, "any", front=False, counts=True), is_failure=True), 0.0)
    first = core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 4.0)
    assert runners(core, job) == [first]
    pass_time(core, 5.0)
    assert runners(core, job) == [worker, first]
    assert limits.breaker is not None
    assert limits.breaker.state is BreakerState.PROBING


def test_an_elastic_pool_opens_no_worker_for_it() -> None:
    core = make_core(elastic=Elastic(nullcontext[Any], max=9))
    core.scheduler.begin(0.0)
    first = core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 9.0)
    assert runners(core, job) == [first]
    assert core.commands_of(Hire) == []


def test_an_elastic_pool_opens_no_worker_that_could_start_nothing_because_of_it() -> None:
    core = make_core(elastic=Elastic(nullcontext[Any], max=9), max_running=3)
    core.scheduler.begin(0.0)
    first, second = core.add_worker(), core.add_worker()
    job = submit(core, 0.0)
    pass_time(core, 9.0)
    assert runners(core, job) == [first, second]
    for _ in range(3):
        submit_plain(core, 9.0)
    assert len(core.commands_of(Hire)) == 1


def test_an_idle_elastic_worker_that_it_is_started_on_is_not_retired() -> None:
    core = make_core(elastic=Elastic(nullcontext[Any], min=0, max=9, idle_timeout=3.0))
    workers = [core.make_worker() for _ in range(2)]
    for worker in workers:
        worker._elastic = True
        core.scheduler.join(worker, 0.0)
        core.scheduler.opened(worker, 0.0)
    core.scheduler.begin(0.0)
    job = submit(core, 0.0)
    pass_time(core, 9.0)
    assert runners(core, job) == workers
    assert not workers[1]._is_leaving
