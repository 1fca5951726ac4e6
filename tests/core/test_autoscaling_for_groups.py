"""How many workers an elastic pool orders and keeps for groups."""

from __future__ import annotations

import math

from tests.core.elastic_cores import end_all, hired, make_elastic_core, ordered, recalled, staffed, submitted
from tests.core.makers import make_core, make_job
from trio_pool import JobState
from trio_pool._core.admission import Door


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
    assert core.scheduler.most_places == 4
    core.scheduler.depart(added, 0.0)
    core.scheduler.depart(own, 0.0)
    assert core.scheduler.most_places == 3


def test_a_pool_that_is_not_elastic_can_have_the_workers_that_stay() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(2)]
    assert core.scheduler.most_places == 2
    core.scheduler.depart(workers[0], 0.0)
    assert core.scheduler.most_places == 1
