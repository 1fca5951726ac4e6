"""Waits that would never end from some time on, without anything that happens then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import WaitsInVain
from tests.core.hedged_jobs import pass_time, runners, submit, submit_plain
from tests.core.makers import Core, make_core, run_of, run_on
from trio_pool import JobTimeoutError
from trio_pool._core.deadlines import Due, _is_current
from trio_pool._core.waits import Wait

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def begin_for_itself(core: Core, worker: WorkerRecord, job: Job[object], now: float) -> Wait:
    """A run of a hedged job begins to wait for its own job behind a shield."""
    wait = Wait(run_on(worker), None, lambda: (job,))
    assert core.scheduler.begin_wait(wait, now)
    return wait


def told(core: Core) -> list[Wait]:
    return [command.wait for command in core.commands_of(WaitsInVain)]


@pytest.mark.parametrize("options", [{"total_timeout": 5.0}, {"attempt_timeout": 5.0}], ids=str)
def test_a_hedged_job_whose_time_is_up_is_started_on_no_other_worker_that_it_has_waited_for(options: Any) -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker()
    core.scheduler.rest(other, 9.0, 0.0)
    job = submit(core, 0.0, **options)
    wait = begin_for_itself(core, worker, job, 2.0)
    pass_time(core, 4.0)
    assert told(core) == []
    pass_time(core, 5.0)
    assert told(core) == [wait]


def test_a_hedged_job_without_a_timeout_may_be_started_on_another_worker_whenever_that_is_free() -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker()
    core.scheduler.rest(other, 900.0, 0.0)
    job = submit(core, 0.0)
    begin_for_itself(core, worker, job, 2.0)
    pass_time(core, 899.0)
    assert told(core) == []
    pass_time(core, 900.0)
    assert runners(core, job) == [worker, other]


def test_a_hedged_job_that_waits_for_another_worker_when_its_attempt_ends_is_due_no_more() -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker()
    core.scheduler.rest(other, 9.0, 0.0)
    submit(core, 0.0, total_timeout=50.0)
    pass_time(core, 4.0)
    core.succeeded(worker, None, 4.0)
    assert [due for _, due, _, _ in filter(_is_current, core.scheduler.deadlines)] == [Due.REST]


def test_a_hedged_job_that_waits_for_another_worker_for_the_second_time_has_one_deadline() -> None:
    core = make_core()
    _, other, third = core.add_worker(), core.add_worker(), core.add_worker()
    core.scheduler.rest(other, 2.0, 0.0)
    core.scheduler.rest(third, 9.0, 0.0)
    submit(core, 0.0, extra=2, total_timeout=5.0)
    pass_time(core, 4.0)
    current = [(when, due) for when, due, _, _ in filter(_is_current, core.scheduler.deadlines)]
    assert sorted(current) == [(5.0, Due.HEDGE), (9.0, Due.REST)]


def test_a_run_that_the_total_timeout_ends_leaves_another_that_waits_for_ever() -> None:
    core = make_core()
    worker, other = core.add_worker(), core.add_worker()
    job = submit(core, 0.0, total_timeout=5.0)
    wait = begin_for_itself(core, worker, job, 0.5)
    pass_time(core, 5.0)
    assert runners(core, job) == [worker, other]
    assert told(core) == []
    core.scheduler.timed_out(run_on(other), JobTimeoutError("too late"), 5.0)
    assert told(core) == [wait]


def test_a_group_that_has_to_release_a_worker_may_wait_for_the_job_there_which_waits_for_its_opener() -> None:
    core = make_core(max_running=2)
    worker, reserved, other = core.add_worker(), core.add_worker(), core.add_worker()
    core.scheduler.pause(other, 0.0)
    opener = submit_plain(core, 0.0, worker=worker)
    group = core.make_group(reserve=2)
    group.opener = run_of(opener)
    core.scheduler.open_group(group, 0.0)
    assert core.scheduler.begin_wait(Wait(group.opener, None, group), 0.0)
    member = submit_plain(core, 0.0, group=group, worker=reserved)
    last = submit_plain(core, 0.0)  # there is no room for it
    wait = Wait(run_of(member), None, lambda: (last,))
    assert core.scheduler.begin_wait(wait, 0.0)
    assert not group.workers
    assert told(core) == [wait]
