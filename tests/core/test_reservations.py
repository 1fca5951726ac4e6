"""Workers that a group wants are set aside for it, are replaced, and are given back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.core.commands import Reserved, Start
from tests.core.makers import Core, job_on, make_core, make_limits
from tests.core.reserved_workers import ERROR, core_with_group, state_of, submit, workers_of
from trio_pool import DeadReason, JobState, RateLimit
from trio_pool._model.records import ANYONE

if TYPE_CHECKING:
    from trio_pool._model.pool_config import Pick
    from trio_pool._model.records import Group


def staffed(core: Core) -> list[Group]:
    """The groups that have got all their workers since this was last asked."""
    found = [command.group for command in core.commands_of(Reserved)]
    core.commands.clear()
    return found


# Setting aside.


def test_idle_workers_are_set_aside_at_once_the_longest_idle_first() -> None:
    core, workers, group = core_with_group(number=3, reserve=2)
    assert workers_of(group) == workers[:2]
    assert staffed(core) == [group]


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
@pytest.mark.parametrize("released", [False, True])
def test_places_of_a_worker_are_set_aside_after_those_of_one_that_runs_less(released: bool, pick: Pick) -> None:
    core = make_core(pick=pick)
    core.add_worker(places=2)
    submit(core)
    other = core.add_worker()
    if released:
        before = core.open_group(reserve=2)
        group = core.open_group(reserve=1)
        assert workers_of(group) == []
        core.scheduler.close_group(before, 1.0)
    else:
        group = core.open_group(reserve=1)
    assert workers_of(group) == [other]


def test_a_group_that_wants_no_workers_gets_none_and_need_not_wait() -> None:
    core, _, group = core_with_group(reserve=0)
    assert workers_of(group) == []
    assert staffed(core) == []


def test_a_busy_worker_is_set_aside_when_its_attempt_ends() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    queued = submit(core)
    group = core.open_group(reserve=1)
    assert workers_of(group) == []
    assert core.succeeded(worker, None, 1.0) is None
    assert workers_of(group) == [worker]
    assert staffed(core) == [group]
    assert state_of(queued) is JobState.QUEUED


def test_workers_are_set_aside_one_by_one_and_told_of_when_there_are_enough() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(2)]
    for _ in workers:
        submit(core)
    group = core.open_group(reserve=2)
    core.succeeded(workers[0], None, 1.0)
    assert staffed(core) == []
    core.succeeded(workers[1], None, 2.0)
    assert staffed(core) == [group]


def test_a_worker_set_aside_goes_on_with_a_job_of_its_group() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    submit(core, priority=-1)
    group = core.open_group(reserve=1)
    job = submit(core, group)
    assert core.succeeded(worker, None, 1.0) is job


def test_groups_get_their_workers_in_the_order_of_their_opening() -> None:
    core = make_core()
    workers = [core.add_worker() for _ in range(3)]
    for _ in workers:
        submit(core)
    first, second = core.open_group(reserve=2), core.open_group(reserve=1)
    for worker in workers:
        core.succeeded(worker, None, 1.0)
    assert (workers_of(first), workers_of(second)) == (workers[:2], workers[2:])
    assert staffed(core) == [first, second]


def test_a_group_that_is_closed_before_it_has_its_workers_leaves_its_turn_to_the_next() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    first, second = core.open_group(reserve=2), core.open_group(reserve=1)
    core.scheduler.close_group(first, 1.0)
    core.succeeded(worker, None, 2.0)
    assert workers_of(second) == [worker]


@pytest.mark.parametrize("how", ["joins", "resumes", "has rested", "is free to start again", "is given back"])
def test_a_worker_that_becomes_free_is_set_aside_rather_than_given_what_waits(how: str) -> None:
    core = make_core()
    limits = make_limits(rate_limit=RateLimit(1, per=5.0)) if how == "is free to start again" else None
    worker = core.add_worker(limits=limits)
    other = core.open_group(reserve=1) if how == "is given back" else None
    if how == "resumes":
        core.scheduler.pause(worker, 0.0)
    elif how == "has rested":
        core.scheduler.rest(worker, 5.0, 0.0)
    elif how == "is free to start again":
        submit(core)
        core.succeeded(worker, None, 0.0)
    elif how == "joins":
        submit(core)
    submit(core)
    group = core.open_group(reserve=1)
    assert workers_of(group) == []
    if how == "joins":
        worker = core.add_worker(now=5.0)
    elif how == "resumes":
        core.scheduler.resume(worker, 5.0)
    elif other is not None:
        core.scheduler.close_group(other, 5.0)
    else:
        core.scheduler.advance(5.0)
    assert workers_of(group) == [worker]
    assert job_on(worker) is None


@pytest.mark.parametrize("pool_wide", [True, False])
def test_workers_are_set_aside_whatever_lets_no_attempt_start(pool_wide: bool) -> None:
    core = make_core(max_running=1, rate_limit=RateLimit(1, per=100.0) if pool_wide else None)
    busy, idle = core.add_worker(), core.add_worker()
    submit(core)
    group = core.open_group(reserve=2)
    assert workers_of(group) == [idle]
    core.succeeded(busy, None, 1.0)
    assert workers_of(group) == [idle, busy]


def test_a_worker_that_is_paused_is_not_set_aside() -> None:
    core = make_core()
    worker = core.add_worker()
    submit(core)
    core.scheduler.pause(worker, 0.0)
    group = core.open_group(reserve=1)
    core.succeeded(worker, None, 1.0)
    assert workers_of(group) == []


def test_a_worker_set_aside_is_idle_since_when_it_was_before() -> None:
    core, workers, group = core_with_group(number=3)
    assert core.roster.idle() == workers
    core.scheduler.close_group(group, 1.0)
    assert core.roster.idle() == workers


@pytest.mark.parametrize(("pick", "chosen"), [("longest_idle", 0), ("last_used", 2)])
def test_workers_that_are_given_back_are_chosen_by_how_long_they_have_been_idle(pick: Pick, chosen: int) -> None:
    core = make_core(pick=pick)
    workers = [core.add_worker() for _ in range(3)]
    group = core.open_group(reserve=2)
    core.scheduler.close_group(group, 1.0)
    assert core.roster.choose(ANYONE) is workers[chosen]


# Leaving and coming back.


@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_that_is_told_to_leave_is_replaced_at_once_if_one_is_idle(busy: bool) -> None:
    core, (kept, free), group = core_with_group()
    if busy:
        submit(core, group)
    core.scheduler.depart(kept, 1.0)
    assert workers_of(group) == [free]


def test_a_worker_that_has_left_is_replaced_as_soon_as_there_is_one() -> None:
    core, (kept, free), group = core_with_group()
    submit(core)
    core.scheduler.depart(kept, 1.0)
    core.scheduler.left(kept, 1.0)
    submit(core)
    assert workers_of(group) == []
    core.succeeded(free, None, 2.0)
    assert workers_of(group) == [free]


def test_a_worker_that_leaves_without_having_been_told_to_is_replaced() -> None:
    core, (kept, free), group = core_with_group()
    core.scheduler.reopen(kept, ERROR, 1.0)
    assert workers_of(group) == [kept]
    core.scheduler.left(kept, 2.0)
    assert workers_of(group) == [free]


def test_one_that_is_paused_when_it_is_told_to_leave_is_replaced_at_once() -> None:
    core, (kept, free), group = core_with_group()
    core.scheduler.pause(kept, 0.0)
    assert workers_of(group) == [kept]
    core.scheduler.depart(kept, 1.0)
    assert workers_of(group) == [free]


def test_a_group_that_has_lost_a_worker_goes_before_those_opened_later() -> None:
    core, (kept, free), group = core_with_group()
    submit(core)
    later = core.open_group(reserve=1)
    core.scheduler.depart(kept, 1.0)
    core.succeeded(free, None, 2.0)
    assert (workers_of(group), workers_of(later)) == ([free], [])


def test_the_last_attempt_of_a_worker_that_is_told_to_leave_still_is_its_groups() -> None:
    core, (kept, _), group = core_with_group()
    job = submit(core, group)
    core.scheduler.depart(kept, 1.0)
    assert core.succeeded(kept, None, 2.0) is None
    assert state_of(job) is JobState.SUCCEEDED


def test_closing_a_group_gives_its_workers_what_waits() -> None:
    core, workers, group = core_with_group(number=2, reserve=2)
    jobs = [submit(core) for _ in range(2)]
    core.scheduler.close_group(group, 1.0)
    assert [job.worker for job in jobs] == workers
    assert workers_of(group) == []


def test_of_the_workers_given_back_a_group_that_waits_gets_the_one_that_has_been_idle_longest() -> None:
    core, workers, group = core_with_group(number=2, reserve=2)
    later = core.open_group(reserve=1)
    submit(core, group)
    core.succeeded(workers[0], None, 1.0)
    core.scheduler.close_group(group, 2.0)
    assert workers_of(later) == [workers[1]]


def test_a_worker_that_is_busy_when_its_group_is_closed_goes_on_with_any_job() -> None:
    core, (kept, _), group = core_with_group()
    submit(core, group)
    submit(core)
    queued = submit(core)
    core.scheduler.close_group(group, 1.0)
    assert core.succeeded(kept, None, 2.0) is queued


def test_closing_a_group_that_has_no_workers_changes_nothing() -> None:
    core, _, group = core_with_group(reserve=0)
    core.commands.clear()
    core.scheduler.close_group(group, 1.0)
    assert not core.commands


def test_nothing_is_remembered_of_groups_that_are_closed() -> None:
    core, (kept, free), group = core_with_group()
    submit(core)
    for _ in range(2):
        submit(core, group)
    core.succeeded(kept, None, 1.0)
    core.succeeded(kept, None, 1.0)
    core.succeeded(free, None, 1.0)
    core.scheduler.close_group(group, 2.0)
    queue, roster = core.scheduler.state.queue, core.roster
    assert all(group is None for _, group in queue.indexes._families)
    assert [kind.group for kind in roster.kinds.all()] == [None]
    assert roster.kinds.only is kept._kind
    assert not queue.indexes.gated


def test_nothing_is_remembered_of_a_group_that_wanted_more_workers_than_there_are() -> None:
    core = make_core()
    core.add_worker()
    group = core.open_group(reserve=2)
    reservations = core.scheduler.state.reservations
    assert reservations._beyond == {group}
    core.scheduler.close_group(group, 1.0)
    assert (reservations._beyond, reservations.waiting, reservations.lacking) == (set(), {}, 0)


# The pool's end.


def test_while_draining_a_job_waits_for_a_worker_that_a_group_may_give_back() -> None:
    core, (worker,), group = core_with_group(number=1)
    job = submit(core)
    core.scheduler.drain(1.0)
    assert state_of(job) is JobState.QUEUED
    core.scheduler.close_group(group, 2.0)
    assert job.worker is worker


def test_while_draining_a_job_does_not_wait_for_a_group_that_has_no_workers() -> None:
    core = make_core(no_worker="wait")
    job = submit(core)
    core.open_group(reserve=1)
    core.scheduler.drain(1.0)
    assert job.dead_reason is DeadReason.NO_WORKER


def test_while_draining_a_job_that_none_may_take_is_dead_whatever_a_group_may_give_back() -> None:
    core, _, group = core_with_group(number=1, no_worker="wait")
    lost = submit(core, requires=["a"]), submit(core, group, requires=["a"])
    job = submit(core)
    core.scheduler.drain(1.0)
    assert [each.dead_reason for each in lost] == [DeadReason.NO_WORKER] * 2
    assert state_of(job) is JobState.QUEUED


def test_a_job_is_started_once_though_workers_are_set_aside_between() -> None:
    core, workers, group = core_with_group(number=3, reserve=2)
    for _ in range(3):
        submit(core, group)
    starts = [(command.run.worker, command.run.job) for command in core.commands_of(Start)]
    assert len({job for _, job in starts}) == len({worker for worker, _ in starts}) == 3
    assert [worker for worker, _ in starts] == workers
