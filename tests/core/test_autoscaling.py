"""How many workers an elastic pool has, as the core decides it."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Hire, Recall
from tests.core.makers import Core, calls_of, job_on, make_core, make_job
from trio_pool import DeadReason, Elastic, JobState, RateLimit
from trio_pool._core.admission import Admission, Door
from trio_pool._core.commands import HIRE
from trio_pool._core.retry_decision import Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def make_elastic_core(
    *,
    least: int = 0,
    most: int = 5,
    idle_timeout: float = 10.0,
    tags: tuple[str, ...] = (),
    max_queue: float = math.inf,
    max_running: float = math.inf,
    rate_limit: RateLimit | None = None,
) -> Core:
    """A core that sees to the number of its workers; none has been opened yet."""
    elastic = Elastic(nullcontext[Any], min=least, max=most, idle_timeout=idle_timeout, tags=tags)
    core = make_core(elastic=elastic, max_queue=max_queue, max_running=max_running, rate_limit=rate_limit)
    core.scheduler.begin(0.0)
    return core


def ordered(core: Core) -> int:
    """How many workers are ordered; they are not opened."""
    return len(core.commands_of(Hire))


def hired(core: Core) -> list[WorkerRecord]:
    """The workers that were ordered have joined; their resources are not open yet."""
    workers: list[WorkerRecord] = []
    while (HIRE, None) in core.commands:
        core.commands.remove((HIRE, None))
        worker = core.make_worker(*core_tags(core))
        worker._elastic = True
        core.scheduler.join(worker, ordered=True)
        workers.append(worker)
    return workers


def core_tags(core: Core) -> frozenset[str]:
    autoscaler = core.scheduler._features.autoscaler
    assert autoscaler is not None
    return autoscaler._elastic.tags


def staffed(core: Core, now: float = 0.0) -> list[WorkerRecord]:
    """The workers that were ordered are open."""
    workers = hired(core)
    for worker in workers:
        core.scheduler.opened(worker, now)
    return workers


def submitted(core: Core, number: int = 1, *, now: float = 0.0, **options: Any) -> list[Job[Any]]:
    jobs = [make_job(now=now, **options) for _ in range(number)]
    for job in jobs:
        assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return jobs


def recalled(core: Core) -> list[WorkerRecord]:
    """Those that are to leave, the first to be told so first."""
    told = (command.worker for command in core.commands_of(Recall))
    return list(dict.fromkeys(worker for worker in told if worker._is_leaving))


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


# Retiring.


def end_all(core: Core, workers: list[WorkerRecord], now: float) -> None:
    for worker in workers:
        core.succeeded(worker, None, now)


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


# Groups.


def test_workers_are_ordered_for_a_group_that_wants_some_for_itself() -> None:
    core = make_elastic_core()
    group = core.open_group(reserve=2)
    assert ordered(core) == 2
    workers = staffed(core)
    assert list(group.workers) == workers
    assert ordered(core) == 0


def test_they_are_ordered_besides_those_that_jobs_wait_for() -> None:
    core = make_elastic_core()
    submitted(core, 2)
    core.open_group(reserve=1)
    assert ordered(core) == 3


def test_none_are_ordered_for_a_group_while_idle_ones_can_be_had() -> None:
    core = make_elastic_core(least=2)
    group = core.open_group(reserve=2)
    workers = staffed(core)
    assert list(group.workers) == workers
    assert ordered(core) == 0


def test_no_more_are_ordered_for_a_group_than_the_most() -> None:
    core = make_elastic_core(most=2)
    submitted(core)
    (worker,) = staffed(core)
    group = core.open_group(reserve=2)
    assert ordered(core) == 1
    core.succeeded(worker, None, 1.0)
    assert list(group.workers) == [worker]


def test_a_worker_that_was_ordered_for_a_group_is_not_given_what_waits_instead() -> None:
    core = make_elastic_core(most=2)
    submitted(core)
    staffed(core)
    group = core.open_group(reserve=1)
    (job,) = submitted(core)
    (worker,) = staffed(core)
    assert list(group.workers) == [worker]
    assert job.state is JobState.QUEUED


def test_a_worker_that_a_group_loses_is_ordered_anew() -> None:
    core = make_elastic_core()
    group = core.open_group(reserve=1)
    (worker,) = staffed(core)
    core.scheduler.depart(worker, 1.0)
    assert ordered(core) == 1
    assert list(group.workers) == []


def test_a_job_for_which_only_workers_of_groups_are_idle_orders_one() -> None:
    core = make_elastic_core()
    core.open_group(reserve=1)
    staffed(core)
    submitted(core)
    assert ordered(core) == 1


def test_no_more_are_ordered_than_a_group_may_start() -> None:
    core = make_elastic_core()
    group = core.open_group(max_running=2)
    submitted(core, 5, group=group)
    assert ordered(core) == 2
    submitted(core)
    assert ordered(core) == 3


def test_submitters_in_line_with_jobs_of_a_group_count_with_those_that_are_queued() -> None:
    core = make_elastic_core(max_queue=1)
    group = core.open_group(max_running=1)
    submitted(core, group=group)
    for _ in range(2):
        core.scheduler.submit(make_job(group=group), Door.QUEUE_UP, 0.0)
    assert ordered(core) == 1


def test_none_are_ordered_for_blocked_jobs_before_they_may_start() -> None:
    core = make_elastic_core()
    (first,) = submitted(core)
    (worker,) = staffed(core)
    submitted(core, 2, after=[first])
    assert ordered(core) == 0
    core.succeeded(worker, None, 1.0)
    assert ordered(core) == 1


def test_a_groups_workers_are_not_retired_before_it_is_closed() -> None:
    core = make_elastic_core()
    group = core.open_group(reserve=1)
    (worker,) = staffed(core)
    core.scheduler.advance(100.0)
    assert recalled(core) == []
    core.scheduler.close_group(group, 101.0)
    core.scheduler.advance(core.scheduler.deadlines.soonest)
    assert recalled(core) == [worker]


def test_where_idle_workers_are_retired_at_once_those_of_a_group_are_when_it_is_closed() -> None:
    core = make_elastic_core(idle_timeout=0.0)
    group = core.open_group(reserve=1)
    (worker,) = staffed(core)
    core.scheduler.advance(1.0)
    assert (recalled(core), core.scheduler.deadlines.soonest) == ([], math.inf)
    core.scheduler.close_group(group, 2.0)
    core.scheduler.advance(2.0)
    assert recalled(core) == [worker]


def test_another_is_retired_while_the_longest_idle_is_kept_for_a_group() -> None:
    core = make_elastic_core()
    submitted(core, 2)
    first, second = staffed(core)
    end_all(core, [first, second], 0.0)
    group = core.open_group(reserve=1)
    assert list(group.workers) == [first]
    core.scheduler.advance(10.0)
    assert recalled(core) == [second]


def test_closing_a_group_whose_workers_are_within_the_least_number_retires_none() -> None:
    core = make_elastic_core(least=1)
    group = core.open_group(reserve=1)
    staffed(core)
    core.scheduler.close_group(group, 1.0)
    assert core.scheduler.deadlines.soonest == math.inf


def test_a_groups_worker_that_cannot_be_opened_anew_does_not_go() -> None:
    core = make_elastic_core()
    group = core.open_group(reserve=1)
    (worker,) = staffed(core)
    for _ in range(2):
        core.scheduler.reopen(worker, OSError(), 1.0)
    assert recalled(core) == []
    assert list(group.workers) == [worker]
    core.scheduler.close_group(group, 2.0)
    assert recalled(core) == [worker]


def test_those_that_cannot_be_opened_do_not_go_while_a_group_wants_them() -> None:
    core = make_elastic_core()
    group = core.open_group(reserve=1)
    (worker,) = hired(core)
    core.scheduler.reopen(worker, OSError(), 1.0)
    assert recalled(core) == []
    core.scheduler.close_group(group, 2.0)
    assert recalled(core) == [worker]


def test_the_pool_can_have_as_many_workers_as_it_may_open_and_those_that_were_added() -> None:
    core = make_elastic_core(least=1, most=3)
    own, added = staffed(core)[0], core.add_worker()
    assert core.scheduler.most_workers == 4
    core.scheduler.depart(added, 0.0)
    core.scheduler.depart(own, 0.0)
    assert core.scheduler.most_workers == 3


def test_a_pool_that_is_not_elastic_can_have_the_workers_that_stay() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(2)]
    assert core.scheduler.most_workers == 2
    core.scheduler.depart(workers[0], 0.0)
    assert core.scheduler.most_workers == 1


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
