"""What a group is told of its jobs, and how all of it ends at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.commands import Admitted, GroupQuiet, Interrupt
from tests.core.makers import Core, job_on, make_core, make_job
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Die, Drop, Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import Group, WorkerRecord

ERROR = ValueError("no")
AGAIN = Verdict(Retry(0.0, "any", front=False, counts=True))
LATER = Verdict(Retry(5.0, "any", front=False, counts=True))
DEAD = Verdict(Die(DeadReason.GAVE_UP, "it is so", ERROR))


def submit(core: Core, group: Group | None = None, *, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(now=now, group=group, **options)
    assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return job


def line_up(core: Core, group: Group | None = None, **options: Any) -> Job[Any]:
    """A job whose submitter waits for a place."""
    job = make_job(group=group, **options)
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    return job


def states_of(*jobs: Job[Any]) -> list[JobState | None]:
    return [job._state for job in jobs]


def interrupted(core: Core) -> list[WorkerRecord]:
    return [command.run.worker for command in core.commands_of(Interrupt)]


# Counting.


def test_a_group_counts_its_own_jobs_and_no_others() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group()
    submit(core)
    first, second, third = submit(core, group), submit(core, group), submit(core, group)
    core.succeeded(worker, None, 1.0)
    core.failed(worker, ERROR, LATER, 2.0)
    core.failed(worker, ERROR, DEAD, 3.0)
    core.scheduler.advance(7.0)
    core.succeeded(worker, None, 8.0)
    assert [group.count[job.state] for job in (first, second, third)] == [1, 1, 1]
    assert (group.failures, group.retries, group.queue_peak) == (2, 1, 3)
    assert list(group.live) == [first]
    assert (core.lifecycle.count[JobState.SUCCEEDED], core.lifecycle.failures) == (2, 2)


def test_a_group_is_told_when_the_last_of_its_jobs_has_ended() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group()
    for _ in range(2):
        submit(core, group)
    submit(core)
    core.succeeded(worker, None, 1.0)
    assert core.commands_of(GroupQuiet) == []
    core.succeeded(worker, None, 2.0)
    assert [command.group for command in core.commands_of(GroupQuiet)] == [group]


def test_a_job_that_ends_as_it_comes_is_counted_and_told_of() -> None:
    core = make_core()
    core.add_worker()
    group = core.open_group()
    submit(core, group, total_timeout=0.0)
    assert (sum(group.count.values()), group.count[JobState.DEAD], group.live) == (1, 1, {})
    assert [command.group for command in core.commands_of(GroupQuiet)] == [group]


# A group that must succeed.


def test_with_its_first_death_those_that_wait_are_discarded_and_those_that_run_are_cancelled() -> None:
    core = make_core()
    bad, good, failing = [core.add_worker() for _ in range(3)]
    group = core.open_group(must_succeed=True)
    dying, running, delayed = submit(core, group, name="the bad one"), submit(core, group), submit(core, group)
    blocked = submit(core, group, after=[running])
    others = [submit(core), submit(core)]
    core.failed(failing, ERROR, LATER, 1.0)
    queued = submit(core, group, now=1.0)
    core.commands.clear()
    core.failed(bad, ERROR, DEAD, 2.0)
    assert states_of(dying, running) == [JobState.DEAD, JobState.RUNNING]
    assert states_of(delayed, blocked, queued) == [JobState.DISCARDED] * 3
    assert {job.reason for job in (delayed, blocked, queued)} == {"the bad one, of the same group, is dead"}
    assert interrupted(core) == [good]
    assert states_of(*others) == [JobState.RUNNING] * 2
    core.cut_short(good, ERROR, 3.0)
    assert states_of(running) == [JobState.CANCELLED]


def test_the_worker_of_the_dead_job_takes_none_that_is_to_be_discarded() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    submit(core, group)
    next_one, other = submit(core, group), submit(core)
    assert core.failed(worker, ERROR, DEAD, 1.0) is other
    assert [transition.state for transition in next_one.history] == [JobState.QUEUED, JobState.DISCARDED]


def test_what_waits_elsewhere_for_those_that_are_discarded_is_discarded_too() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    submit(core, group)
    second = submit(core, group, name="the second")
    elsewhere = submit(core, after=[second])
    core.failed(worker, ERROR, DEAD, 1.0)
    assert elsewhere.reason == "it waited for the second, which is discarded"


@pytest.mark.parametrize("how", ["discarded", "cancelled"])
def test_only_death_stops_a_group(how: str) -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    first, second = submit(core, group), submit(core, group)
    if how == "discarded":
        core.failed(worker, ERROR, Verdict(Drop("it is so")), 1.0)
    else:
        core.scheduler.cancel(first, 1.0)
        core.cut_short(worker, ERROR, 1.0)
    assert states_of(second) == [JobState.RUNNING]


def test_a_job_that_dies_where_it_need_not_succeed_stops_nothing() -> None:
    core = make_core()
    worker = core.add_worker()
    group, other = core.open_group(), core.open_group(must_succeed=True)
    submit(core, group)
    second, elsewhere = submit(core, group), submit(core, other)
    core.failed(worker, ERROR, DEAD, 1.0)
    assert states_of(second, elsewhere) == [JobState.RUNNING, JobState.QUEUED]


def test_a_retry_that_would_have_come_too_late_stops_its_group() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    submit(core, group, total_timeout=3.0)
    second = submit(core, group)
    core.failed(worker, ERROR, LATER, 1.0)
    assert states_of(second) == [JobState.DISCARDED]


def test_a_timeout_in_the_queue_stops_its_group_before_anything_else_starts_at_that_time() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    core.scheduler.rest(worker, 5.0, 0.0)
    submit(core, group, total_timeout=5.0)
    second = submit(core, group)
    core.scheduler.advance(5.0)
    assert states_of(second) == [JobState.DISCARDED]
    assert job_on(worker) is None


def test_the_end_of_a_delay_at_the_time_of_a_death_starts_nothing() -> None:
    core = make_core()
    worker, _ = core.add_worker(), core.add_worker("a")
    group = core.open_group(must_succeed=True)
    delayed = submit(core, group, worker=worker)
    core.failed(worker, ERROR, LATER, 0.0)
    core.scheduler.pause(worker, 0.0)
    submit(core, group, total_timeout=5.0, worker=worker)
    core.scheduler.advance(5.0)
    assert states_of(delayed) == [JobState.DISCARDED]


def test_jobs_that_run_out_of_time_together_are_all_dead() -> None:
    core = make_core()
    group = core.open_group(must_succeed=True)
    core.scheduler.pause(core.add_worker(), 0.0)
    jobs = [submit(core, group, total_timeout=5.0) for _ in range(2)]
    core.scheduler.advance(5.0)
    assert [job.dead_reason for job in jobs] == [DeadReason.TIMED_OUT] * 2


def test_a_job_that_is_dead_as_it_comes_stops_its_group() -> None:
    core = make_core()
    core.add_worker()
    group = core.open_group(must_succeed=True)
    running, queued = submit(core, group), submit(core, group)
    core.commands.clear()
    submit(core, group, total_timeout=0.0)
    assert states_of(running, queued) == [JobState.RUNNING, JobState.DISCARDED]
    assert interrupted(core) == [running.worker]


def test_a_job_that_is_buried_as_it_comes_stops_its_group() -> None:
    core = make_core(no_worker="bury")
    core.add_worker()
    group = core.open_group(must_succeed=True)
    submit(core, group)
    queued = submit(core, group)
    submit(core, group, requires=["a"])
    assert states_of(queued) == [JobState.DISCARDED]


def test_a_job_that_is_buried_with_its_worker_stops_its_group_before_others_start() -> None:
    core = make_core()
    worker = core.add_worker("a")
    group = core.open_group(must_succeed=True)
    to_the_same = submit(core, group)
    core.scheduler.pause(worker, 0.0)
    core.failed(worker, ERROR, Verdict(Retry(0.0, "same", front=False, counts=True)), 0.0)
    buried = submit(core, group, requires=["a"])
    idle = core.add_worker()
    core.scheduler.left(worker, 1.0)  # its lifespan has broken down
    assert buried.dead_reason is DeadReason.NO_WORKER
    assert [transition.state for transition in to_the_same.history][-2:] == [JobState.QUEUED, JobState.DISCARDED]
    assert job_on(idle) is None


def test_a_job_that_is_buried_at_the_pools_end_stops_its_group() -> None:
    core = make_core(no_worker="wait")
    group = core.open_group(must_succeed=True)
    first = submit(core, group)
    second = submit(core, group, after=[first])
    core.scheduler.drain(1.0)
    assert first.dead_reason is DeadReason.NO_WORKER
    assert second.reason.endswith("of the same group, is dead")
    assert not core.lifecycle.news


@pytest.mark.parametrize("is_blocked", [False, True])
def test_submitters_in_line_for_a_group_that_stops_are_let_go_with_their_jobs_discarded(is_blocked: bool) -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    dying = submit(core, group)
    waiting = line_up(core, group, after=[dying] if is_blocked else [], total_timeout=9.0)
    other = line_up(core)
    assert core.failed(worker, ERROR, DEAD, 1.0) is other
    assert [command.job for command in core.commands_of(Admitted)] == [waiting, other]
    entered = JobState.BLOCKED if is_blocked else JobState.QUEUED
    assert [transition.state for transition in waiting.history] == [entered, JobState.DISCARDED]
    assert waiting.reason.endswith("of the same group, is dead")
    assert core.scheduler.deadlines._stale == len(core.scheduler.deadlines)


def test_of_a_group_that_stops_those_already_cancelled_are_not_cancelled_again() -> None:
    core = make_core()
    bad, other = core.add_worker(), core.add_worker()
    group = core.open_group(must_succeed=True)
    submit(core, group)
    second = submit(core, group)
    core.scheduler.cancel(second, 1.0)
    core.commands.clear()
    core.failed(bad, ERROR, DEAD, 2.0)
    assert interrupted(core) == []
    core.failed(other, ERROR, AGAIN, 3.0)
    assert second.dead_reason is DeadReason.NOT_RETRYABLE


def test_of_the_group_or_not_those_behind_the_dead_job_are_told_of_it() -> None:
    core = make_core()
    worker = core.add_worker()
    group = core.open_group(must_succeed=True)
    first = submit(core, group, name="the first")
    inside, outside = submit(core, group, after=[first]), submit(core, after=[first])
    core.failed(worker, ERROR, DEAD, 1.0)
    assert inside.reason == "the first, of the same group, is dead"
    assert outside.reason == "it waited for the first, which is dead"


# Cancelling and shutting a group.


def test_cancelling_a_group_ends_all_its_jobs_and_no_others() -> None:
    core = make_core()
    worker, failing = core.add_worker(), core.add_worker()
    group = core.open_group()
    running, delayed = submit(core, group), submit(core, group)
    core.failed(failing, ERROR, LATER, 1.0)
    blocked, elsewhere, other = submit(core, group, after=[running]), submit(core, after=[delayed]), submit(core)
    queued = submit(core, group)
    core.commands.clear()
    core.scheduler.cancel_group(group, 2.0)
    assert states_of(delayed, blocked, queued) == [JobState.CANCELLED] * 3
    assert states_of(elsewhere, other) == [JobState.DISCARDED, JobState.RUNNING]
    assert interrupted(core) == [worker]
    core.cut_short(worker, ERROR, 3.0)
    assert states_of(running) == [JobState.CANCELLED]
    assert [command.group for command in core.commands_of(GroupQuiet)] == [group]


def test_shutting_a_group_turns_away_its_submitters_alone() -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    group = core.open_group()
    running = submit(core, group)
    own, other, blocked = line_up(core, group), line_up(core), line_up(core, group, after=[running])
    assert len(group.line) == 2
    assert core.scheduler.shut_group(group, 0.0) == [own, blocked]
    assert core.scheduler.close(0.0) == [other]
    assert not core.scheduler.state.dependencies.missing


# Whole graphs.


@pytest.mark.parametrize("policy", ["reject", "bury"])
def test_where_jobs_that_nobody_may_take_are_refused_such_a_one_stands_for_the_whole_graph(policy: Any) -> None:
    core = make_core(no_worker=policy)
    core.add_worker()
    first = make_job()
    orphan = make_job(after=[first], requires=["a"])
    assert core.scheduler.key_of([first, orphan]) is (orphan if policy == "reject" else first)
