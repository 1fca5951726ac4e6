"""Plain jobs go straight, with the effect of the general way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from tests.core.makers import Core, job_on, make_core, make_job, make_limits
from tests.general_way import straight_way_forbidden
from tests.lives import in_plain, told_of
from trio_pool import Job, JobState, RateLimit
from trio_pool._core.admission import Admission, Door
from trio_pool._core.lanes import Lane
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._model.records import WorkerRecord
from trio_pool._model.states import KEPT_FIRST_ATTEMPTS, KEPT_LAST_ATTEMPTS, KEPT_TRANSITIONS
from trio_pool._policies.resource import Elastic

AGAIN = Verdict(Retry(0.0, "any", front=False, counts=True), is_failure=True)
IN_FRONT = Verdict(Retry(0.0, "any", front=True, counts=True), is_failure=True)


def both_ways(live: Callable[[], tuple[Core, Sequence[Job[Any]]]]) -> tuple[Core, Sequence[Job[Any]]]:
    """Do something straight and in the general way; see that jobs and counts are the same, and return the first."""
    lives: list[tuple[Core, Sequence[Job[Any]]]] = []
    for way in (nullcontext(), straight_way_forbidden()):
        with way:
            lives.append(live())
    straight, general = (
        ([in_plain(told_of(job)) for job in jobs], core.lifecycle.count, core.lifecycle.queue_peak)
        for core, jobs in lives
    )
    assert straight == general
    return lives[0]


def quiet_core(**settings: Any) -> Core:
    """A core without instruments."""
    return make_core(instruments=[], **settings)


def submit(core: Core, *names: str, now: float = 0.0, **options: Any) -> list[Job[Any]]:
    """Submit jobs as a pool does."""
    jobs = [make_job(name=name, now=now, **options) for name in names]
    for job in jobs:
        if core.scheduler.submit_straight(job, now) is False:
            assert core.scheduler.submit(job, Door.QUEUE_UP, now) is not Admission.FULL
    return jobs


def worked_off(core: Core, worker: WorkerRecord, now: float = 0.0) -> list[str]:
    """The names of the jobs that a worker runs until nothing is left, one after another."""
    found: list[str] = []
    job = job_on(worker)
    while job is not None:
        found.append(job.name)
        job = core.succeeded(worker, "value", now)
    assert core.roster.is_idle(worker)
    return found


# Whether a job goes straight.


def test_an_idle_worker_gets_it() -> None:
    core = quiet_core()
    worker, job = core.add_worker(), make_job()
    run = core.scheduler.submit_straight(job, 1.0)
    assert run is job._run
    assert job_on(worker) is job
    assert not core.commands  # the caller starts it


def test_it_waits_where_no_worker_is_idle() -> None:
    core = quiet_core()
    core.add_worker()
    submit(core, "first")
    job = make_job()
    assert core.scheduler.submit_straight(job, 0.0) is True
    assert job.state is JobState.QUEUED
    assert core.lifecycle.queue_peak == 1


def test_it_goes_no_farther_straight_than_the_queue_has_places() -> None:
    core = quiet_core(max_queue=2)
    core.add_worker()
    submit(core, "runs", "first", "second")
    assert core.scheduler.submit_straight(make_job(), 0.0) is False


def drains(core: Core) -> None:
    core.scheduler.drain(0.0)


def has_max_running(core: Core) -> None:
    core.scheduler.set_max_running(5, 0.0)


def has_a_rate(core: Core) -> None:
    core.scheduler.set_rate_limit(RateLimit(5), 0.0)


def reserves_a_worker(core: Core) -> None:
    core.open_group(reserve=1)


def has_something_due(core: Core) -> None:
    core.scheduler.rest(core.add_worker(), 1.0, 0.0)


@pytest.mark.parametrize("special", [drains, has_max_running, has_a_rate, reserves_a_worker, has_something_due])
def test_no_job_goes_straight_where_others_may_be_concerned(special: Callable[[Core], None]) -> None:
    core = quiet_core()
    for _ in range(2):
        core.add_worker()
    special(core)
    job = make_job(now=1.0)
    assert core.scheduler.submit_straight(job, 1.0) is False
    assert job._state is None


def test_none_goes_straight_into_a_pool_that_grows_by_itself() -> None:
    core = quiet_core(elastic=Elastic(lambda: nullcontext(None), max=2))
    core.add_worker()
    assert core.scheduler.submit_straight(make_job(), 0.0) is False


def test_none_goes_straight_into_a_pool_without_workers() -> None:
    assert quiet_core().scheduler.submit_straight(make_job(), 0.0) is False


def test_what_a_pool_has_had_does_not_keep_jobs_from_going_straight() -> None:
    core = quiet_core(max_running=2, rate_limit=RateLimit(5))
    core.add_worker()
    group = core.open_group(reserve=1)
    core.scheduler.close_group(group, 0.0)
    core.scheduler.set_max_running(math.inf, 0.0)
    assert core.scheduler.submit_straight(make_job(), 0.0) is False
    core.scheduler.set_rate_limit(None, 0.0)
    assert core.scheduler.submit_straight(make_job(), 0.0) is not False


def test_a_job_with_wishes_does_not_go_straight() -> None:
    core = quiet_core()
    worker, group = core.add_worker("tag"), core.open_group()
    (before,) = submit(core, "before")
    wishes: list[dict[str, Any]] = [{"requires": ["tag"]}, {"worker": worker}, {"after": [before]}, {"group": group}]
    for options in wishes:
        assert core.scheduler.submit_straight(make_job(**options), 0.0) is False


def test_a_job_whose_time_is_up_does_not_go_straight() -> None:
    core = quiet_core()
    core.add_worker()
    assert core.scheduler.submit_straight(make_job(total_timeout=0.0), 0.0) is False


# The order of those that wait, most of them without entries.


def test_plain_jobs_start_in_the_order_of_their_coming() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, *"abcd")
        assert worked_off(core, worker) == [*"abcd"]
        return core, jobs

    both_ways(live)


def test_plain_jobs_stand_between_those_of_other_priorities_and_behind_those_in_front() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, "front", "a")
        jobs += submit(core, "later", priority=1)
        jobs += submit(core, "b")
        jobs += submit(core, "sooner", priority=-1)
        jobs += submit(core, "c", priority=0.0)
        core.failed(worker, ValueError(), IN_FRONT, 0.0)  # on with the next; those of one priority
        assert worked_off(core, worker) == ["sooner", "front", "a", "b", "c", "later"]
        return core, jobs

    both_ways(live)


def test_what_is_tried_again_stands_behind_plain_jobs() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, "fails", "a", "b")
        core.failed(worker, ValueError(), AGAIN, 0.0)
        jobs += submit(core, "c")
        assert worked_off(core, worker) == ["a", "b", "fails", "c"]
        return core, jobs

    both_ways(live)


def test_the_last_goes_first_where_that_is_the_order() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core(lifo=True)
        worker = core.add_worker()
        jobs = submit(core, *"abcd")
        assert worked_off(core, worker) == [*"adcb"]
        return core, jobs

    both_ways(live)


def test_jobs_with_wishes_and_without_start_in_one_order() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker("tag")
        jobs = submit(core, "a", "b")
        jobs += submit(core, "tagged", requires=["tag"])
        jobs += submit(core, "c")
        jobs += submit(core, "pinned", worker=worker)
        assert worked_off(core, worker) == ["a", "b", "tagged", "c", "pinned"]
        return core, jobs

    both_ways(live)


# Those that no longer wait are passed over.


def lane_of(core: Core) -> Lane:
    return core.scheduler.state.queue._open


@pytest.mark.parametrize("gone", [(1,), (1, 2), (2,), (3,), (1, 3), (1, 2, 3)])
def test_cancelled_jobs_are_passed_over(gone: tuple[int, ...]) -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, *"abcd")
        for number in gone:
            core.scheduler.cancel(jobs[number], 0.0)
        left = [job.name for job in jobs if job.state is not JobState.CANCELLED]
        assert [job.name for job in core.scheduler.state.queue] == left[1:]
        assert worked_off(core, worker) == left
        return core, jobs

    both_ways(live)


def test_cancelled_jobs_are_passed_over_beside_others_with_entries() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, *"abc")
        jobs += submit(core, "later", priority=1)
        core.scheduler.cancel(jobs[1], 0.0)
        assert worked_off(core, worker) == ["a", "c", "later"]
        return core, jobs

    both_ways(live)


def test_jobs_whose_time_is_up_are_passed_over() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, "a")
        jobs += submit(core, "b", total_timeout=1.0)
        jobs += submit(core, "c", "d")
        assert worked_off(core, worker, 2.0) == ["a", "c", "d"]
        assert jobs[1].state is JobState.DEAD
        return core, jobs

    both_ways(live)


def test_jobs_that_have_been_let_in_from_the_line_are_passed_over_there() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core(max_queue=1)
        worker = core.add_worker()
        jobs = submit(core, *"abcde")
        assert core.scheduler.waiting == 3
        core.scheduler.withdraw(jobs[3], 0.0)
        assert worked_off(core, worker) == [*"abce"]
        by_taker = core.scheduler.state.waiting_line.by_taker
        assert not list(by_taker)
        assert by_taker.take(worker) is None
        return core, jobs

    both_ways(live)


def test_a_job_comes_back_to_its_lane_behind_its_old_place() -> None:
    core = quiet_core()
    worker = core.add_worker()
    fails, *_ = submit(core, "fails", "a")
    for _ in range(3):
        core.failed(worker, ValueError(), AGAIN, 0.0)
        core.failed(worker, ValueError(), AGAIN, 0.0)
    assert job_on(worker) is fails
    assert worked_off(core, worker) == ["fails", "a"]


def test_many_that_no_longer_wait_are_dropped() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, *map(str, range(500)))
        for job in jobs[1:499]:
            core.scheduler.cancel(job, 0.0)
        assert lane_of(core).size == 1
        assert len(lane_of(core)) <= 64
        assert worked_off(core, worker) == ["0", "499"]
        return core, jobs

    both_ways(live)


def test_those_that_wait_are_kept_when_many_others_are_dropped() -> None:
    core = quiet_core()
    worker = core.add_worker()
    jobs = submit(core, *map(str, range(300)))
    jobs += submit(core, *map(str, range(300, 400)), priority=1)
    for job in jobs[1:]:
        if job.id % 5:
            core.scheduler.cancel(job, 0.0)
    left = [job.name for job in jobs if job.state is not JobState.CANCELLED]
    assert worked_off(core, worker) == left


# What is kept of a job.


def test_the_history_of_a_job_that_was_cut_short_often_and_succeeds_is_bounded() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, "job")
        for _ in range(100):
            core.cut_short(worker, TimeoutError(), 0.0)
        core.succeeded(worker, "value", 0.0)
        return core, jobs

    _, (job,) = both_ways(live)
    states = [transition.state for transition in job.history]
    assert len(states) == 2 * KEPT_TRANSITIONS
    assert states[-2:] == [JobState.RUNNING, JobState.SUCCEEDED]


@pytest.mark.parametrize("failures", [1, 30, 31, 32, 33, 61, 62, 63, 64, 65, 100])
@pytest.mark.parametrize("keep_history", [True, False])
def test_histories_and_attempts_of_jobs_that_fail_often_and_succeed_are_bounded(
    failures: int, keep_history: bool
) -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core(keep_history=keep_history)
        worker = core.add_worker()
        jobs = submit(core, "job")
        for number in range(failures):
            core.failed(worker, ValueError(), AGAIN, float(number))
        core.succeeded(worker, "value", float(failures))
        return core, jobs

    _, (job,) = both_ways(live)
    assert job.attempt_count == failures + 1
    assert len(job.attempts) == min(failures + 1, KEPT_FIRST_ATTEMPTS + KEPT_LAST_ATTEMPTS)
    assert len(job.history) == (min(2 * failures + 3, 2 * KEPT_TRANSITIONS) if keep_history else 0)


# The end of a job, and what else it means.


def test_a_worker_with_limits_of_its_own_hears_of_the_success() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker(limits=make_limits(rate_limit=RateLimit(1), max_jobs=2))
        jobs = submit(core, "a", "b")
        core.begin(0.0)
        assert core.succeeded(worker, "value", 0.0) is None
        core.scheduler.advance(1.0)
        assert job_on(worker) is jobs[1]
        core.begin(1.0)
        assert core.succeeded(worker, "value", 1.0) is None
        assert not worker._is_open
        return core, jobs

    both_ways(live)


def test_a_start_counts_in_the_rate_also_if_nobody_has_told_when_the_function_began() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker(limits=make_limits(rate_limit=RateLimit(1, per=2)))
        jobs = submit(core, "a", "b")
        assert core.succeeded(worker, "value", 1.0) is None
        assert core.scheduler.deadlines.soonest == 2.0
        return core, jobs

    both_ways(live)


def test_a_worker_that_is_about_to_reopen_may_do_so_after_the_success() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, "a", "b")
        core.scheduler.reopen(worker, OSError(), 0.0)
        assert core.roster.coming == 0
        assert core.succeeded(worker, "value", 0.0) is None
        assert core.roster.coming == 1
        return core, jobs

    both_ways(live)


def test_something_that_is_due_at_the_end_of_a_job_goes_first() -> None:
    def live() -> tuple[Core, list[Job[Any]]]:
        core = quiet_core()
        worker = core.add_worker()
        jobs = submit(core, "a")
        jobs += submit(core, "b", total_timeout=1.0)
        assert core.succeeded(worker, "value", 1.0) is None
        assert jobs[1].state is JobState.DEAD
        return core, jobs

    both_ways(live)
