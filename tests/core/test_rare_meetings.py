"""Things that seldom meet: each of these has been found by the machines of test_machines.py."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Hire, WaitsInVain
from tests.core.makers import Core, job_on, make_core, make_job, run_of
from trio_pool import DeadReason, Elastic, RateLimit
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._core.waits import Wait

if TYPE_CHECKING:
    from trio_pool import Job
    from trio_pool._model.records import WorkerRecord

ERROR = ValueError("no")


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    return job


def lent(core: Core, worker: WorkerRecord) -> Job[Any]:
    """A job that has lent this worker, which runs nothing."""
    job = submit(core, worker=worker)
    assert core.lend(worker, 0.0) is None
    return job


def waits(core: Core, waiter: Job[Any], *jobs: Job[Any], task: object = None) -> Wait:
    wait = Wait(run_of(waiter), task, lambda: jobs)
    assert core.scheduler.begin_wait(wait, 0.0)
    return wait


def told(core: Core) -> list[Wait]:
    """The waits that are told that they are in vain."""
    return [command.wait for command in core.commands_of(WaitsInVain)]


def elastic_worker(core: Core) -> WorkerRecord:
    """An open worker of an elastic pool."""
    worker = core.make_worker()
    worker._elastic = True
    core.scheduler.join(worker, 0.0, ordered=bool(core.commands_of(Hire)))
    core.scheduler.opened(worker, 0.0)
    return worker


@pytest.mark.parametrize("ended", ["failed", "cut"])
def test_a_job_that_is_tried_again_goes_to_its_groups_worker_which_it_has_just_left(ended: str) -> None:
    core = make_core()
    kept = core.add_worker()
    core.add_worker()
    group = core.open_group(reserve=1)
    job = submit(core, group=group)
    assert job.worker is kept
    if ended == "failed":
        core.failed(kept, ERROR, Verdict(Retry(0.0, "any", front=False, counts=True)), 1.0)
    else:
        core.cut_short(kept, ERROR, 1.0)
    assert job.worker is kept


def test_at_the_end_a_lost_job_dies_before_a_lender_that_waits_for_it_is_told_that_there_is_no_room() -> None:
    core = make_core(max_running=1, no_worker="wait")
    worker = core.add_worker()
    lender = lent(core, worker)
    wait = waits(core, lender, lost := submit(core, requires=["x"]), task=1)
    submit(core, worker=worker)
    core.scheduler.drain(1.0)
    core.scheduler.claim(run_of(lender), 2.0, 2)
    core.succeeded(worker, None, 3.0)
    assert job_on(worker) is lender
    assert lost.dead_reason is DeadReason.NO_WORKER
    assert told(core) == []
    assert not wait.stuck


def test_where_there_is_no_room_the_rate_limit_is_not_what_a_lost_job_waits_for() -> None:
    elastic = Elastic(nullcontext[None], min=0, max=2)
    core = make_core(elastic=elastic, max_running=2, no_worker="wait", rate_limit=RateLimit(1))
    core.scheduler.begin(0.0)
    waiter = submit(core, worker=core.add_worker())
    wait = waits(core, waiter, lost := submit(core, requires=["x"]))
    submit(core)
    core.scheduler.drain(0.5)
    assert core.scheduler.state.limits.limited_until is not None
    core.scheduler.set_max_running(1, 0.5)
    assert lost.dead_reason is DeadReason.NO_WORKER
    assert told(core) == []
    assert not wait.stuck


@pytest.mark.parametrize("is_lent", [True, False])
def test_a_worker_that_broke_while_a_job_had_it_does_not_count_as_coming_before_that_has_ended(is_lent: bool) -> None:
    core = make_core(elastic=Elastic(nullcontext[None], min=0, max=2))
    core.scheduler.begin(0.0)
    job = submit(core)
    worker = elastic_worker(core)
    assert job_on(worker) is job
    core.commands.clear()
    if is_lent:
        core.lend(worker, 1.0)
    core.scheduler.reopen(worker, ERROR, 1.0)
    if is_lent:
        core.scheduler.claim(run_of(job), 1.0)
    assert job_on(worker) is job
    submit(core)
    assert len(core.commands_of(Hire)) == 1


def test_it_counts_as_coming_when_that_has_ended() -> None:
    core = make_core(elastic=Elastic(nullcontext[None], min=0, max=2))
    core.scheduler.begin(0.0)
    submit(core)
    worker = elastic_worker(core)
    core.commands.clear()
    core.scheduler.reopen(worker, ERROR, 1.0)
    core.succeeded(worker, None, 2.0)
    submit(core)
    assert core.commands_of(Hire) == []


def test_workers_for_a_group_are_ordered_though_more_is_under_way_than_the_bound_that_was_lowered() -> None:
    core = make_core(elastic=Elastic(nullcontext[None], min=0, max=2))
    core.scheduler.begin(0.0)
    for worker in [core.add_worker(), core.add_worker()]:
        submit(core, worker=worker)
    core.scheduler.set_max_running(1, 0.0)
    submit(core)
    core.open_group(reserve=1)
    assert len(core.commands_of(Hire)) == 1


def test_a_group_whose_workers_go_to_jobs_meanwhile_may_wait_forever_then() -> None:
    core = make_core()
    paused, kept, third, fourth = (core.add_worker() for _ in range(4))
    core.scheduler.pause(paused, 0.0)
    opener, waiter = submit(core, worker=fourth), submit(core, worker=third)
    waits(core, waiter, opener)
    group = core.make_group(reserve=2)
    group.opener = run_of(opener)
    core.scheduler.open_group(group, 0.0)
    assert core.scheduler.begin_wait(Wait(run_of(opener), None, group), 0.0)
    member = submit(core, group=group)
    assert job_on(kept) is member
    core.lend(kept, 0.0)
    plain = submit(core)
    other = core.make_group(reserve=2)
    other.opener = run_of(member)
    core.scheduler.open_group(other, 0.0)
    wait = Wait(run_of(member), None, other)
    assert core.scheduler.begin_wait(wait, 0.0)
    assert job_on(kept) is plain
    assert told(core) == [wait]
