"""Which jobs run on workers that are set aside for a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.core.makers import Core, job_on, make_core, make_job
from tests.core.reserved_workers import ERROR, core_with_group, state_of, submit, workers_of
from trio_pool import JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._model.pool_config import PICKS
from trio_pool._model.records import JobRecord
from trio_pool._policies.hedge import Hedge

if TYPE_CHECKING:
    from trio_pool._model.pool_config import Pick
    from trio_pool._model.records import WorkerRecord
    from trio_pool._policies.retry import Placement


def fail(core: Core, worker: WorkerRecord, placement: Placement, *, now: float = 0.0) -> JobRecord | None:
    return core.failed(worker, ERROR, Verdict(Retry(0.0, placement, front=False, counts=True)), now)


# What it means for jobs.


def test_a_worker_set_aside_takes_no_other_jobs() -> None:
    core, workers, _ = core_with_group(number=1)
    job = submit(core)
    assert state_of(job) is JobState.QUEUED
    assert job_on(workers[0]) is None


def test_nor_one_that_asks_for_that_very_worker() -> None:
    core, workers, group = core_with_group()
    job = submit(core, worker=workers[0])
    assert state_of(job) is JobState.QUEUED
    core.scheduler.close_group(group, 1.0)
    assert job.worker is workers[0]


def test_nor_those_of_other_groups() -> None:
    core, _, _ = core_with_group(number=1)
    other = core.open_group(reserve=1)
    assert state_of(submit(core, other)) is JobState.QUEUED


def test_a_worker_set_aside_goes_on_with_none_but_jobs_of_its_group() -> None:
    core, (worker, _), group = core_with_group()
    submit(core, group)
    submit(core)
    queued, waiting = submit(core), submit(core, worker=worker, priority=-1)
    own = submit(core, group)
    assert core.succeeded(worker, None, 1.0) is own
    assert core.succeeded(worker, None, 2.0) is None
    assert (state_of(queued), state_of(waiting)) == (JobState.QUEUED, JobState.QUEUED)


def test_a_group_may_use_free_workers_that_it_does_not_have_for_itself() -> None:
    core, workers, group = core_with_group()
    assert [submit(core, group).worker for _ in workers] == workers


@pytest.mark.parametrize("pick", PICKS)
def test_a_job_goes_to_a_worker_that_its_group_has_for_itself_rather_than_to_another(pick: Pick) -> None:
    core = make_core(pick=pick)
    for _ in range(3):
        core.add_worker()
    group = core.open_group(reserve=1)
    (kept,) = workers_of(group)
    for now in range(5):
        assert submit(core, group).worker is kept
        core.succeeded(kept, None, float(now))


@pytest.mark.parametrize(("pick", "chosen"), [("longest_idle", 0), ("last_used", 1)])
def test_of_the_workers_that_its_group_has_for_itself_a_job_goes_to_the_preferred_one(pick: Pick, chosen: int) -> None:
    core = make_core(pick=pick)
    workers = [core.add_worker() for _ in range(3)]
    group = core.open_group(reserve=2)
    assert workers_of(group) == workers[:2]
    assert submit(core, group).worker is workers[chosen]


def test_a_job_goes_to_another_worker_if_those_that_its_group_has_lack_its_tags() -> None:
    core = make_core()
    kept, fit = core.add_worker(), core.add_worker("a")
    group = core.open_group(reserve=1)
    assert workers_of(group) == [kept]
    assert submit(core, group, requires=["a"]).worker is fit


def test_a_bounced_job_goes_to_another_worker_though_that_which_its_group_has_is_idle() -> None:
    core, (kept, free), group = core_with_group()
    job = submit(core, group)
    assert job.worker is kept
    fail(core, kept, "other")
    assert job.worker is free


def test_a_job_that_asks_for_a_worker_gets_it_though_one_that_its_group_has_is_idle() -> None:
    core, (_, free), group = core_with_group()
    assert submit(core, group, worker=free).worker is free


def test_a_slow_attempt_is_started_on_a_worker_that_its_group_has_rather_than_on_another() -> None:
    core, (first, second, free), group = core_with_group(number=3, reserve=2)
    job = submit(core, group, hedge=Hedge(1.0))
    core.scheduler.pause(second, 0.0)
    core.scheduler.resume(second, 0.0)  # so that the other has been idle for longer
    core.scheduler.advance(1.0)
    assert [job_on(worker) for worker in (first, second, free)] == [job, job, None]


def test_what_waits_for_a_place_goes_to_a_worker_that_its_group_has_rather_than_to_another() -> None:
    core = make_core(max_queue=0)
    free, kept = core.add_worker(), core.add_worker()
    core.scheduler.pause(free, 0.0)
    group = core.open_group(reserve=1, max_running=1)
    first = submit(core, group)
    core.scheduler.resume(free, 0.0)
    job = make_job(group=group)
    assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    assert first.worker is kept
    core.scheduler.cancel(first, 1.0)
    core.cut_short(kept, ERROR, 1.0)
    assert job.worker is kept


def test_a_worker_that_is_not_set_aside_takes_the_groups_jobs_in_their_turn() -> None:
    core, (kept, free), group = core_with_group()
    submit(core, group)
    submit(core)
    first, second = submit(core), submit(core, group)
    assert core.succeeded(free, None, 1.0) is first
    assert core.succeeded(kept, None, 2.0) is second


def test_a_worker_set_aside_has_the_tags_that_it_has() -> None:
    core = make_core()
    worker, _ = core.add_worker("a"), core.add_worker("b")
    group = core.open_group(reserve=1)
    core.scheduler.pause(worker, 0.0)
    job = submit(core, group, requires=["a"])
    assert state_of(job) is JobState.QUEUED
    core.scheduler.resume(worker, 1.0)
    assert job.worker is worker


def test_a_job_that_only_workers_set_aside_may_take_waits_and_is_not_an_orphan() -> None:
    core = make_core()
    worker = core.add_worker("a")
    group = core.open_group(reserve=1)
    job = submit(core, requires=["a"])
    core.scheduler.close_group(group, 1.0)
    assert job.worker is worker


def test_a_submitter_finds_no_idle_worker_in_one_that_is_set_aside() -> None:
    core, _, group = core_with_group(number=1)
    assert core.scheduler.submit(make_job(), Door.IF_IDLE, 0.0) is Admission.FULL
    assert core.scheduler.submit(make_job(group=group), Door.IF_IDLE, 0.0) is Admission.ENTERED


def test_submitters_in_line_with_jobs_of_the_group_go_to_its_workers() -> None:
    core = make_core(max_queue=0)
    worker = core.add_worker()
    group = core.open_group(reserve=1)
    submit(core, group)
    other, own = make_job(), make_job(group=group)
    for job in (other, own):
        assert core.scheduler.submit(job, Door.QUEUE_UP, 0.0) is Admission.WAITING
    assert core.succeeded(worker, None, 1.0) is own
    core.succeeded(worker, None, 2.0)
    core.scheduler.close_group(group, 3.0)
    assert other.worker is worker


# The bounce.


def test_the_bounce_does_not_wait_for_workers_that_are_set_aside_for_others() -> None:
    core, (_, free), _ = core_with_group()
    job = submit(core)
    assert job.worker is free
    fail(core, free, "other")
    assert job.worker is free


def test_the_bounce_goes_to_a_worker_that_is_set_aside_for_the_jobs_group() -> None:
    core, (kept, free), group = core_with_group()
    job = submit(core, group)
    fail(core, kept, "other")
    assert job.worker is free
    fail(core, free, "other")
    assert job.worker is kept


def test_a_bounced_job_waits_no_longer_for_a_worker_that_is_set_aside_for_others() -> None:
    core = make_core()
    kept, busy = core.add_worker(), core.add_worker()
    group = core.open_group(reserve=1)
    job = submit(core, group)
    submit(core)
    fail(core, kept, "other")
    assert state_of(job) is JobState.QUEUED  # the other worker is busy, but it will be tried
    core.open_group(reserve=1)
    core.succeeded(busy, None, 1.0)
    assert job.worker is kept


def test_a_bounced_job_goes_to_a_worker_that_is_given_back() -> None:
    core, (kept, free), group = core_with_group()
    core.scheduler.pause(kept, 0.0)
    blocker, job = submit(core), submit(core)
    core.succeeded(free, None, 0.0)
    assert (state_of(blocker), job.worker) == (JobState.SUCCEEDED, free)
    submit(core, priority=-1)
    fail(core, free, "other")
    assert state_of(job) is JobState.QUEUED
    core.scheduler.resume(kept, 1.0)
    assert state_of(job) is JobState.QUEUED
    core.scheduler.close_group(group, 2.0)
    assert job.worker is kept
