"""When the core of an elastic pool retires workers."""

from __future__ import annotations

import math

from tests.core.elastic_cores import end_all, hired, make_elastic_core, ordered, recalled, staffed, submitted
from trio_pool._core.retry_decision import Retry, Verdict


def test_the_longest_idle_are_retired_at_the_end_of_their_time() -> None:
    core = make_elastic_core(least=1)
    submitted(core, 2)
    workers = staffed(core)
    end_all(core, workers, 5.0)
    core.scheduler.advance(14.9)
    assert recalled(core) == []
    assert core.scheduler.deadlines.soonest == 15.0
    core.scheduler.advance(15.0)
    assert recalled(core) == workers[:1]


def test_only_as_many_are_retired_as_were_idle_all_the_time() -> None:
    core = make_elastic_core()
    submitted(core, 3)
    workers = staffed(core)
    end_all(core, workers, 0.0)
    for now in (2.0, 4.0, 6.0, 8.0):
        (job,) = submitted(core, now=now)
        assert job.worker is not None
        core.succeeded(job.worker, None, now + 1)
    core.scheduler.advance(10.0)
    assert len(recalled(core)) == 2
    assert core.scheduler.deadlines.soonest == 19.0


def test_when_nobody_is_idle_nobody_is_retired() -> None:
    core = make_elastic_core()
    submitted(core)
    workers = staffed(core)
    end_all(core, workers, 0.0)
    submitted(core, now=5.0)
    core.scheduler.advance(100.0)
    assert recalled(core) == []
    assert core.scheduler.deadlines.soonest == math.inf


def test_with_an_endless_idle_timeout_nothing_comes_due() -> None:
    core = make_elastic_core(idle_timeout=math.inf)
    submitted(core)
    end_all(core, staffed(core), 0.0)
    assert core.scheduler.deadlines.soonest == math.inf


def test_workers_within_the_least_number_are_not_watched() -> None:
    core = make_elastic_core(least=2)
    staffed(core)
    assert core.scheduler.deadlines.soonest == math.inf


def test_a_worker_removed_in_the_meantime_is_not_retired_again() -> None:
    core = make_elastic_core(least=1)
    submitted(core, 2)
    workers = staffed(core)
    end_all(core, workers, 0.0)
    core.scheduler.depart(workers[1], 5.0)
    core.scheduler.advance(100.0)
    assert recalled(core) == [workers[1]]


def test_an_idle_worker_whose_resource_is_opened_anew_is_retired_all_the_same() -> None:
    core = make_elastic_core()
    submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.reopen(worker, None, 5.0)
    core.scheduler.opened(worker, 6.0)
    core.scheduler.advance(10.0)
    assert recalled(core) == [worker]


def test_a_worker_that_is_opening_its_resource_anew_can_be_retired() -> None:
    core = make_elastic_core()
    submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.reopen(worker, None, 5.0)
    core.scheduler.advance(10.0)
    assert recalled(core) == [worker]


def test_a_worker_that_gets_a_job_as_soon_as_it_is_open_again_is_not_idle() -> None:
    core = make_elastic_core(most=1)
    submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.reopen(worker, None, 5.0)
    (job,) = submitted(core, now=5.0)
    core.scheduler.opened(worker, 6.0)
    assert job.worker is worker
    core.scheduler.advance(100.0)
    assert recalled(core) == []


def test_an_idle_worker_that_is_paused_while_it_is_opened_anew_is_not_retired() -> None:
    core = make_elastic_core()
    submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.reopen(worker, None, 5.0)
    core.scheduler.pause(worker, 5.0)
    core.scheduler.opened(worker, 6.0)
    core.scheduler.advance(100.0)
    assert recalled(core) == []


def test_a_worker_that_is_opened_anew_is_not_retired_while_a_job_waits_for_it() -> None:
    core = make_elastic_core()
    submitted(core)
    (worker,) = staffed(core)
    core.succeeded(worker, None, 0.0)
    core.scheduler.reopen(worker, None, 5.0)
    (job,) = submitted(core, now=6.0)
    core.scheduler.advance(10.0)
    assert (recalled(core), ordered(core)) == ([], 0)
    core.scheduler.opened(worker, 11.0)
    assert job.worker is worker


def test_a_worker_gets_the_job_that_comes_due_when_it_would_be_retired() -> None:
    core = make_elastic_core()
    (job,) = submitted(core)
    (worker,) = staffed(core)
    verdict = Verdict(Retry(10.0, "any", front=False, counts=True))
    core.failed(worker, ValueError(), verdict, 0.0)
    core.scheduler.advance(10.0)
    assert (job.worker, recalled(core)) == (worker, [])


def test_one_that_is_idle_is_retired_in_time_though_the_one_that_has_come_besides_never_was() -> None:
    core = make_elastic_core(least=1)
    (first,) = staffed(core)
    submitted(core, worker=core.add_worker())
    (job,) = submitted(core)
    assert job.worker is first
    core.failed(first, ValueError(), Verdict(Retry(0.0, "other", front=False, counts=True)), 0.0)
    (second,) = hired(core)
    core.scheduler.pause(second, 0.0)
    core.scheduler.opened(second, 0.0)
    core.scheduler.advance(10.0)
    assert recalled(core) == [first]


def test_workers_that_are_not_its_own_are_never_retired() -> None:
    core = make_elastic_core()
    worker = core.add_worker()
    submitted(core, worker=worker)
    core.succeeded(worker, None, 0.0)
    core.scheduler.depart(core.add_worker(), 0.0)
    assert core.scheduler.deadlines.soonest == math.inf
