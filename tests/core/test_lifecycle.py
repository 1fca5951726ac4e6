"""A job's state changes by the table, and the job remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.core.makers import Core, make_core, make_job, run_on
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._model.states import TRANSITIONS

if TYPE_CHECKING:
    from trio_pool._model.records import WorkerRecord

FINAL = {JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED}
UNSUCCESSFUL = FINAL - {JobState.SUCCEEDED}


def test_four_states_are_final() -> None:
    assert {state for state in JobState if state.is_final} == FINAL


def test_every_state_has_its_line_in_the_table() -> None:
    assert set(TRANSITIONS) == {None, *JobState}


@pytest.mark.parametrize("state", [state for state in JobState if state in FINAL])
def test_a_final_state_is_never_left(state: JobState) -> None:
    assert TRANSITIONS[state] == set()


@pytest.mark.parametrize("state", [state for state in JobState if state not in FINAL])
def test_every_other_state_can_end_dead_cancelled_or_discarded(state: JobState) -> None:
    assert TRANSITIONS[state] >= UNSUCCESSFUL


def test_only_a_running_job_succeeds_or_backs_off() -> None:
    for wanted in (JobState.SUCCEEDED, JobState.DELAYED):
        assert [state for state, following in TRANSITIONS.items() if wanted in following] == [JobState.RUNNING]


def test_only_a_queued_job_runs() -> None:
    found = [state for state, following in TRANSITIONS.items() if JobState.RUNNING in following]
    assert found == [JobState.QUEUED]


@pytest.mark.parametrize("old", JobState)
@pytest.mark.parametrize("new", JobState)
def test_the_ledger_refuses_what_is_not_in_the_table(old: JobState, new: JobState) -> None:
    core = make_core()
    job = make_job()
    core.lifecycle.move(job, JobState.QUEUED, 0.0)
    core.lifecycle.count[JobState.QUEUED] -= 1
    core.lifecycle.count[old] += 1
    job._state = old
    if new in TRANSITIONS[old]:
        core.lifecycle.move(job, new, 1.0)
        assert job._state is new
    else:
        with pytest.raises(AssertionError, match=f"can't become {new.name}"):
            core.lifecycle.move(job, new, 1.0)
        assert job._state is old


def run_and_fail(core: Core, worker: WorkerRecord, times: int) -> None:
    """Let the worker fail as often, each attempt taking a second."""
    again = Verdict(Retry(0.0, "any", False, True))
    for number in range(times):
        error = ValueError(number)
        core.failed(worker, error, again, float(number + 1))


def test_the_history_says_when_each_state_was_entered() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    run_and_fail(core, worker, 1)
    core.succeeded(worker, None, 5.0)
    assert [(transition.state, transition.at) for transition in job.history] == [
        (JobState.QUEUED, 0.0),
        (JobState.RUNNING, 0.0),
        (JobState.QUEUED, 1.0),
        (JobState.RUNNING, 1.0),
        (JobState.SUCCEEDED, 5.0),
    ]


def test_of_a_long_history_the_first_and_the_last_64_are_kept() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    run_and_fail(core, worker, 100)
    whole = [0.0, *(float(number // 2) for number in range(1, 202))]
    assert [transition.at for transition in job.history] == whole[:64] + whole[-64:]


def test_no_history_is_kept_where_it_is_not_wanted() -> None:
    core = make_core(keep_history=False)
    core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    assert job.history == ()


def test_of_many_attempts_the_first_and_the_last_31_are_kept() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    run_and_fail(core, worker, 100)
    assert [attempt.number for attempt in job.attempts] == [1, *range(70, 101)]
    assert job.attempt_count == 100


def test_an_attempt_says_who_ran_it_when_and_how_it_ended() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    run_and_fail(core, worker, 2)
    attempt = job.attempts[1]
    assert (attempt.worker_id, attempt.worker_name) == (worker.id, worker.name)
    assert (attempt.started_at, attempt.ended_at) == (1.0, 2.0)
    assert isinstance(attempt.error, ValueError)
    assert attempt.hedges == ()


def test_an_attempt_cut_short_is_neither_counted_nor_kept() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    core.scheduler.cancel(job, 1.0)
    core.cut_short(worker, TimeoutError(), 2.0)
    assert (job.state, job.attempts, job.attempt_count) == (JobState.CANCELLED, (), 0)


def test_a_job_that_has_ended_lets_go_of_its_context_and_its_workers() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(), Door.ALWAYS, 0.0)
    run_and_fail(core, worker, 1)
    core.succeeded(worker, None, 2.0)
    assert (job._context, job._setback, job.worker) == (None, None, None)


def test_a_job_cancelled_at_the_very_end_of_its_time_has_timed_out() -> None:
    core = make_core(no_worker="wait")
    core.scheduler.submit(job := make_job(total_timeout=1.0), Door.ALWAYS, 0.0)
    core.scheduler.cancel(job, 1.0)
    assert job.dead_reason is DeadReason.TIMED_OUT


@pytest.mark.parametrize(("now", "is_cut"), [(0.5, True), (1.0, False), (1.5, False)])
def test_an_attempt_whose_time_is_over_is_ended_by_that_and_not_by_its_worker_that_leaves(
    now: float, is_cut: bool
) -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(make_job(attempt_timeout=1.0), Door.ALWAYS, 0.0)
    core.scheduler.depart(worker, now, cut=True)
    assert run_on(worker).is_cut is is_cut


def test_a_retry_that_could_only_start_after_the_total_timeout_is_not_waited_for() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(total_timeout=3.0), Door.ALWAYS, 0.0)
    error = ValueError()
    core.failed(worker, error, Verdict(Retry(2.0, "any", False, True)), 1.0)
    assert (job.state, job.dead_reason, job.finished_at) == (JobState.DEAD, DeadReason.TIMED_OUT, 1.0)
    assert job._error is not None
    assert job._error.__cause__ is error


def test_a_job_that_runs_out_of_time_before_it_is_tried_again_is_dead_of_what_it_failed_with_last() -> None:
    core = make_core()
    worker = core.add_worker()
    core.scheduler.submit(job := make_job(total_timeout=6.0), Door.ALWAYS, 0.0)
    run_and_fail(core, worker, 1)
    error = ValueError("the last")
    core.failed(worker, error, Verdict(Retry(3.0, "any", False, True)), 2.0)
    core.scheduler.pause(worker, 2.0)
    core.scheduler.advance(6.0)
    assert (job.dead_reason, job._error) == (DeadReason.TIMED_OUT, error)
