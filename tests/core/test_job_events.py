"""What the scheduler does in single cases that the state machine seldom comes to."""

from __future__ import annotations

from tests.core.commands import Admitted, Tell
from tests.core.makers import make_core, make_job
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Retry, Verdict

ERROR = ValueError("no")


def test_a_worker_that_ends_an_attempt_takes_the_job_of_a_submitter_that_waits() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    core.scheduler.submit(make_job(), Door.QUEUE_UP, 0.0)
    job = make_job()
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    assert core.succeeded(worker, None, 1.0) is job
    assert [admitted.job for admitted in core.commands_of(Admitted)] == [job]


def test_a_worker_takes_the_job_of_who_has_waited_longest_whatever_the_priorities() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    core.scheduler.submit(make_job(), Door.QUEUE_UP, 0.0)
    first, urgent = make_job(), make_job(priority=-1)
    for job in (first, urgent):
        assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    assert core.succeeded(worker, None, 1.0) is first


def test_to_cancel_a_job_whose_submitter_has_gone_changes_nothing() -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    core.scheduler.submit(make_job(), Door.QUEUE_UP, 0.0)
    job = make_job()
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    core.scheduler.withdraw(job, 0.0)
    before = job.state
    core.scheduler.cancel(job, 1.0)
    assert (job.state, job.finished_at) == (before, None)


def test_pausing_a_worker_twice_is_told_once() -> None:
    core = make_core()
    worker = core.add_worker()
    for _ in range(2):
        core.scheduler.pause(worker, 1.0)
    assert [tell.event for tell in core.commands_of(Tell)].count("worker_paused") == 1


def test_a_job_whose_only_worker_has_left_while_it_backed_off_is_dead_at_the_end_of_that() -> None:
    core = make_core()
    worker = core.add_worker()
    job = make_job(worker=worker)
    core.scheduler.submit(job, Door.QUEUE_UP, 0.0)
    core.failed(worker, ERROR, Verdict(Retry(5.0, "any", front=False, counts=True)), 1.0)
    core.scheduler.depart(worker, 2.0)
    core.scheduler.left(worker, 2.0)
    assert job.state is JobState.DELAYED
    core.scheduler.advance(6.0)
    assert job.dead_reason is DeadReason.NO_WORKER


def test_a_job_that_is_out_of_time_when_its_worker_gives_it_back_is_dead() -> None:
    core = make_core()
    worker = core.add_worker()
    job = make_job(total_timeout=5.0)
    core.scheduler.submit(job, Door.QUEUE_UP, 0.0)
    core.scheduler.depart(worker, 4.0, cut=True)
    core.cut_short(worker, ERROR, 6.0)
    assert job.dead_reason is DeadReason.TIMED_OUT


def test_a_job_whose_total_timeout_ends_its_attempt_is_dead_and_its_worker_goes_on() -> None:
    core = make_core()
    worker = core.add_worker()
    job, behind = make_job(total_timeout=5.0), make_job()
    for each in (job, behind):
        core.scheduler.submit(each, Door.QUEUE_UP, 0.0)
    assert core.timed_out(worker, ERROR, 5.0) is behind
    assert job.dead_reason is DeadReason.TIMED_OUT
    assert job._error is ERROR


def test_a_submitter_gets_the_place_of_a_job_that_starts() -> None:
    core = make_core(max_queue=1)
    worker = core.add_worker()
    for _ in range(2):
        core.scheduler.submit(make_job(), Door.QUEUE_UP, 0.0)
    job = make_job()
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    core.succeeded(worker, None, 1.0)
    assert job.state is JobState.QUEUED
    assert [admitted.job for admitted in core.commands_of(Admitted)] == [job]
