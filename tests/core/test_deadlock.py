"""Whether the wait of a running job could ever end, decided in the core."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.core.makers import Core, calls_of, job_on, make_core, make_job, run_of
from trio_pool import Elastic, RetryPolicy
from trio_pool._core.admission import Door
from trio_pool._core.deadlock import DeadlockSearch
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.stream_window import AsTheyEnd
from trio_pool._core.waits import Wait
from trio_pool._model.records import Group, JobRecord
from trio_pool._policies.hedge import Hedge

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.QUEUE_UP, 0.0)
    return job


def running(core: Core, worker: WorkerRecord, **options: Any) -> Job[Any]:
    """A job that runs on this worker."""
    job = submit(core, worker=worker, **options)
    assert job_on(worker) is job
    return job


def begin(core: Core, waiter: Job[Any], *jobs: Job[Any], for_any: bool = False) -> list[JobRecord]:
    """A job begins to wait for others, or for any of them; returns who would wait forever."""
    window: AsTheyEnd | None = None
    if for_any:
        outlet, _ = trio.open_memory_channel[Any](math.inf)
        window = AsTheyEnd(core.roster, core.commands, None, math.inf, outlet, lambda: None)
        for job in jobs:
            window.take(job)
    wait = Wait(run_of(waiter), None, lambda: jobs if window is None else window.pending, window=window)
    assert core.scheduler.begin_wait(wait, 0.0) is not bool(wait.stuck)
    return [run.job for run in wait.stuck]


def test_a_job_that_waits_for_itself_is_stuck() -> None:
    core = make_core()
    job = running(core, core.add_worker())
    assert begin(core, job, job) == [job]


def test_a_wait_for_what_has_ended_is_none() -> None:
    core = make_core()
    workers = [core.add_worker(), core.add_worker()]
    job, other = running(core, workers[0]), running(core, workers[1])
    core.succeeded(workers[1], None, 1.0)
    assert begin(core, job, other) == []


def test_a_wait_for_a_queued_job_is_stuck_if_all_workers_are_held() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    child, second = submit(core), submit(core)
    assert begin(core, one, child) == []
    assert begin(core, other, second) == [other, one]


def test_a_wait_that_was_stuck_was_not_begun() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    child = submit(core)
    assert begin(core, one, one) == [one]
    assert begin(core, other, child) == []


def test_a_wait_that_has_ended_holds_nothing() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    child = submit(core)
    wait = Wait(run_of(one), None, lambda: [child])
    assert core.scheduler.begin_wait(wait, 0.0)
    core.scheduler.waits.end(wait)
    assert begin(core, other, child) == []


def test_one_of_several_waits_may_end_before_the_others() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    child = submit(core)
    first = Wait(run_of(one), None, lambda: [other])
    assert core.scheduler.begin_wait(first, 0.0)
    assert begin(core, one, child) == []
    core.scheduler.waits.end(first)
    assert begin(core, other, child) == [other, one]


def test_all_of_several_jobs_have_to_end() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    assert begin(core, one, other, one) == [one]


def test_any_of_several_jobs_is_enough_where_one_is() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    assert begin(core, one, one, other, for_any=True) == []
    assert begin(core, other, one, other, for_any=True) == [other, one]


def test_one_that_has_ended_is_enough_where_any_is() -> None:
    core = make_core()
    workers = [core.add_worker(), core.add_worker()]
    one, other = running(core, workers[0]), running(core, workers[1])
    core.succeeded(workers[1], None, 1.0)
    assert begin(core, one, one, other, for_any=True) == []


def test_of_very_many_jobs_no_others_are_looked_at_where_any_is_enough_and_the_first_runs() -> None:
    def calls(number: int) -> int:
        core = make_core()
        one, other = running(core, core.add_worker()), running(core, core.add_worker())
        jobs = [other, *(submit(core, after=(one,)) for _ in range(number))]
        outlet, _ = trio.open_memory_channel[Any](math.inf)
        window = AsTheyEnd(core.roster, core.commands, None, math.inf, outlet, lambda: None)
        for job in jobs:
            window.take(job)
        wait = Wait(run_of(one), None, lambda: window.pending, window=window)
        return calls_of(lambda: core.scheduler.begin_wait(wait, 0.0))

    assert calls(100) == calls(1)


def test_a_circle_names_those_that_are_in_it_the_waiter_first() -> None:
    core = make_core()
    one, two, three = (running(core, core.add_worker()) for _ in range(3))
    running(core, core.add_worker())
    assert begin(core, one, two) == []
    assert begin(core, two, three) == []
    assert begin(core, three, one) == [three, one, two]


def test_a_circle_without_the_waiter_is_none_of_its_own() -> None:
    core = make_core()
    one, two, three = (running(core, core.add_worker()) for _ in range(3))
    assert begin(core, one, two) == []
    assert begin(core, three, one) == []


def test_a_job_whose_wait_was_cancelled_gets_on() -> None:
    core = make_core()
    one, two = running(core, core.add_worker()), running(core, core.add_worker())
    assert begin(core, one, two) == []
    core.scheduler.cancel(one, 1.0)
    assert begin(core, two, one) == []


def begin_for_ends(core: Core, waiter: Job[Any], *jobs: Job[Any]) -> Wait:
    """A job begins to wait for the ends of others, that have been cancelled."""
    for job in jobs:
        core.scheduler.cancel(job, 0.0)
    wait = Wait(run_of(waiter), None, lambda: jobs, for_ends=True)
    assert core.scheduler.begin_wait(wait, 0.0)
    return wait


def test_who_waits_for_the_end_of_cancelled_jobs_is_never_told() -> None:
    core = make_core()
    one, other = running(core, core.add_worker()), running(core, core.add_worker())
    wait = Wait(run_of(other), None, lambda: [one], outlasts=True)
    assert core.scheduler.begin_wait(wait, 0.0)
    begin_for_ends(core, one, other)
    assert core.told() == [wait]


def test_a_wait_for_one_that_waits_for_ever_is_not_told_as_long_as_that_is_not() -> None:
    core = make_core()
    worker = core.add_worker()
    lender = running(core, worker)
    core.lend(worker, 0.0)
    holder, other = running(core, worker), running(core, core.add_worker())
    begin_for_ends(core, holder, lender)
    assert begin(core, other, lender) == []
    assert core.told() == []
    core.scheduler.claim(run_of(lender), 1.0)
    assert [wait.run.job for wait in core.told()] == [lender]


def test_a_wait_is_told_before_one_for_a_worker_that_has_been_lent() -> None:
    core = make_core()
    worker = core.add_worker()
    lender = running(core, worker)
    core.lend(worker, 0.0)
    holder, other = running(core, worker), running(core, core.add_worker())
    wait = Wait(run_of(other), None, lambda: [lender], outlasts=True)
    assert core.scheduler.begin_wait(wait, 0.0)
    core.scheduler.cancel(lender, 0.0)
    core.scheduler.claim(run_of(lender), 0.0)
    begin_for_ends(core, holder, other)
    assert core.told() == [wait]


def test_a_wait_is_not_told_first_if_its_job_could_not_go_on_all_the_same() -> None:
    core = make_core()
    worker = core.add_worker()
    parent = running(core, worker)
    core.lend(worker, 0.0)
    lender = running(core, worker)
    core.lend(worker, 0.0)
    running(core, worker)
    # Two of the parent's tasks wait for the lender, one of them come what may.
    assert begin(core, parent, lender) == []
    begin_for_ends(core, parent, lender)
    core.scheduler.claim(run_of(parent), 0.0)
    core.scheduler.claim(run_of(lender), 0.0)
    assert core.told() == []
    core.succeeded(worker, None, 1.0)
    assert job_on(worker) is parent
    assert core.told() == [run_of(lender).wait]


@pytest.mark.parametrize("lends", [False, True])
def test_lending_helps_where_what_is_waited_for_needs_the_worker(lends: bool) -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker()
    job = running(core, worker)
    if lends:
        second = running(core, other)
        assert begin(core, second, job) == []
        wait = Wait(run_of(job), None, lambda: [second])
    else:
        child = submit(core, worker=worker)
        wait = Wait(run_of(job), None, lambda: [child])
    assert not core.scheduler.begin_wait(wait, 0.0)
    assert wait.lending_helps is not lends


def test_only_workers_that_may_take_the_job_count() -> None:
    core = make_core()
    job = running(core, core.add_worker("a"))
    core.add_worker("b")
    running(core, core.add_worker("b"))
    child = submit(core, requires=["a"])
    assert begin(core, job, child) == [job]


def test_only_holders_that_may_take_the_job_count() -> None:
    core = make_core()
    one, two = running(core, core.add_worker("a")), running(core, core.add_worker("b"))
    running(core, core.add_worker("b"))
    child = submit(core, requires=["b"])
    assert begin(core, one, two) == []
    assert begin(core, two, child) == []


def test_a_pinned_job_has_one_worker_only() -> None:
    core = make_core()
    worker = core.add_worker()
    job = running(core, worker)
    core.add_worker()
    assert begin(core, job, submit(core, worker=worker)) == [job]


def test_a_job_that_is_to_be_retried_on_the_same_worker_has_that_one_only() -> None:
    core = make_core()
    worker = core.add_worker()
    core.add_worker()
    child = submit(core)
    assert job_on(worker) is child
    error = ValueError()
    policy = RetryPolicy.fixed(10, placement="same")
    verdict = Verdict(Retry(policy.base_delay, "same", front=False, counts=True))
    core.failed(worker, error, verdict, 1.0)
    job = running(core, worker)
    assert begin(core, job, child) == [job]


@pytest.mark.parametrize("is_held", [False, True])
def test_those_who_wait_are_only_looked_at_if_a_retry_needs_what_they_hold(
    is_held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[DeadlockSearch] = []

    def look_again(search: DeadlockSearch) -> None:
        looked.append(search)

    monkeypatch.setattr(DeadlockSearch, "look_again", look_again)
    core = make_core()
    held, busy = core.add_worker(), core.add_worker()
    worker, other = core.add_worker("x"), core.add_worker("x")
    waiter, awaited = running(core, other if is_held else held), running(core, busy)
    assert begin(core, waiter, awaited) == []
    job = submit(core, requires=["x"])
    assert job_on(worker) is job
    looked.clear()
    core.failed(worker, ValueError(), Verdict(Retry(10.0, "other", front=False, counts=True)), 1.0)
    assert len(looked) == is_held


def test_a_job_that_nobody_may_take_may_be_waited_for() -> None:
    core = make_core(no_worker="wait")
    job = running(core, core.add_worker("a"))
    assert begin(core, job, submit(core, requires=["b"])) == []


@pytest.mark.parametrize("hold", ["pause", "rest", "reopen"])
def test_a_worker_that_is_held_back_is_not_held_by_a_job(hold: str) -> None:
    core = make_core()
    job = running(core, core.add_worker())
    other = core.add_worker()
    if hold == "pause":
        core.scheduler.pause(other, 1.0)
    elif hold == "rest":
        core.scheduler.rest(other, 10.0, 1.0)
    else:
        core.scheduler.reopen(other, ValueError(), 1.0)
    assert begin(core, job, submit(core)) == []


def factory() -> AbstractAsyncContextManager[None]:
    """Never called: the core opens nothing."""
    raise AssertionError


def add_elastic_worker(core: Core) -> WorkerRecord:
    """A worker that an elastic pool has opened."""
    worker = core.make_worker()
    worker._elastic = True
    core.scheduler.join(worker, 0.0)
    core.scheduler.opened(worker, 0.0)
    return worker


@pytest.mark.parametrize(("most", "is_stuck"), [(1, True), (2, False)])
def test_a_worker_that_could_be_opened_is_not_held_by_a_job(most: int, is_stuck: bool) -> None:
    core = make_core(elastic=Elastic(factory, min=0, max=most))
    job = running(core, add_elastic_worker(core))
    assert begin(core, job, submit(core)) == ([job] if is_stuck else [])


@pytest.mark.parametrize(("most", "is_stuck"), [(2, True), (3, False)])
def test_a_hedged_job_may_go_on_on_a_worker_that_has_been_ordered(most: int, is_stuck: bool) -> None:
    core = make_core(elastic=Elastic(factory, max=most))
    workers = [add_elastic_worker(core) for _ in range(2)]
    core.scheduler.begin(0.0)
    hedged = submit(core, hedge=Hedge(after=5.0))
    other = running(core, workers[1])
    submit(core)
    assert begin(core, hedged, other) == []
    assert begin(core, other, hedged) == ([other, hedged] if is_stuck else [])


@pytest.mark.parametrize(("least", "is_stuck"), [(2, True), (3, False)])
def test_a_hedged_job_may_go_on_on_a_worker_that_replaces_one_which_is_to_leave(least: int, is_stuck: bool) -> None:
    core = make_core(elastic=Elastic(factory, min=least, max=3))
    workers = [add_elastic_worker(core) for _ in range(3)]
    hedged = submit(core, hedge=Hedge(after=5.0))
    other = running(core, workers[1])
    running(core, workers[2])
    core.scheduler.depart(workers[2], 0.0)
    assert begin(core, hedged, other) == []
    assert begin(core, other, hedged) == ([other, hedged] if is_stuck else [])


def test_a_lent_worker_is_not_held() -> None:
    core = make_core()
    worker = core.add_worker()
    job = running(core, worker)
    core.lend(worker, 0.0)
    assert begin(core, job, submit(core)) == []


def test_a_job_that_has_lent_its_worker_needs_it_back() -> None:
    core = make_core()
    worker = core.add_worker()
    core.add_worker()
    lender = running(core, worker)
    core.lend(worker, 0.0)
    other = running(core, worker)
    assert begin(core, other, lender) == [other]


@pytest.mark.parametrize(("most", "is_stuck"), [(1, True), (2, False), (math.inf, False)])
def test_max_running_can_be_held(most: float, is_stuck: bool) -> None:
    core = make_core(max_running=most)
    job = running(core, core.add_worker())
    core.add_worker()
    core.scheduler.pause(core.add_worker(), 0.0)
    child = make_job()
    core.scheduler.state.limits.max_running = 0  # so that it has to wait
    core.scheduler.submit(child, Door.QUEUE_UP, 0.0)
    core.scheduler.state.limits.max_running = most
    assert begin(core, job, child) == ([job] if is_stuck else [])


@pytest.mark.parametrize("inside", [True, False])
def test_a_groups_max_running_can_be_held_by_jobs_of_the_group(inside: bool) -> None:
    core = make_core()
    group = Group(None, 1, 0, False)
    core.scheduler.open_group(group, 0.0)
    job = running(core, core.add_worker(), group=group if inside else None)
    if not inside:
        running(core, core.add_worker(), group=group)
    core.add_worker()
    child = submit(core, group=group)
    assert begin(core, job, child) == ([job] if inside else [])


def test_a_blocked_job_needs_those_before_it() -> None:
    core = make_core()
    job = running(core, core.add_worker())
    core.add_worker()
    assert begin(core, job, submit(core, after=(job,))) == [job]


def test_a_blocked_job_needs_a_worker_too_when_its_turn_comes() -> None:
    core = make_core()
    worker = core.add_worker()
    job, other = running(core, worker), running(core, core.add_worker())
    assert begin(core, job, submit(core, after=(other,), worker=worker)) == [job]
    assert begin(core, job, submit(core, after=(other,))) == []


def test_a_job_whose_submitter_waits_for_a_place_is_looked_at_like_a_queued_one() -> None:
    core = make_core(max_queue=1)
    job = running(core, core.add_worker())
    submit(core)
    assert begin(core, job, submit(core)) == [job]


def test_a_lender_that_has_ended_apart_leaves_a_worker_that_a_job_which_bounces_has_to_try() -> None:
    core = make_core()
    first, worker, third = core.add_worker("x"), core.add_worker("x"), core.add_worker()
    bouncing = submit(core, requires=["x"])
    assert job_on(first) is bouncing
    core.failed(first, ValueError(), Verdict(Retry(10.0, "other", front=False, counts=True)), 0.0)
    lender = running(core, worker)
    core.lend(worker, 0.0)
    holder, waiter = running(core, worker), running(core, third)
    begin_for_ends(core, holder, lender)
    core.scheduler.claim(run_of(lender), 0.0)
    run = run_of(lender)
    assert [(wait.run, wait.for_place) for wait in core.told()] == [(run, True)]
    core.scheduler.forfeit(run)
    assert begin(core, waiter, bouncing) == []
    assert begin(core, holder, waiter) == []
    core.commands.clear()
    core.scheduler.succeeded(run, None, 1.0)
    assert [wait.run.job for wait in core.told()] == [holder]


def test_the_opener_of_a_group_may_wait_for_a_job_whose_worker_another_job_of_the_group_has() -> None:
    core = make_core()
    opener, worker = running(core, core.add_worker()), core.add_worker()
    group = core.make_group(reserve=1)
    group.opener = run_of(opener)
    core.scheduler.open_group(group, 0.0)
    running(core, worker, group=group)
    assert begin(core, opener, submit(core, group=group)) == []


def test_who_waits_for_the_end_of_a_group_is_told_when_a_job_comes_into_it_that_makes_it_for_ever() -> None:
    core = make_core()
    worker, other, group = core.add_worker(), core.add_worker(), core.open_group()
    waiter = running(core, worker)
    running(core, other, group=group)
    group.awaited = 1
    wait = Wait(run_of(waiter), None, lambda: group.live)
    assert core.scheduler.begin_wait(wait, 0.0)
    submit(core, worker=worker, group=group)
    assert core.told() == [wait]


def test_two_groups_that_want_too_many_workers_are_looked_at_when_one_more_comes() -> None:
    core = make_core()
    jobs = [running(core, core.add_worker()), running(core, core.add_worker())]
    for job in jobs:
        group = core.make_group(reserve=3)
        group.opener = run_of(job)
        core.scheduler.open_group(group, 0.0)
        assert core.scheduler.begin_wait(Wait(run_of(job), None, group), 0.0)
    assert core.told() == []
    core.scheduler.join(core.make_worker(), 0.0)
    assert [wait.run.job for wait in core.told()] == jobs[::-1]  # each of them holds one of the three
