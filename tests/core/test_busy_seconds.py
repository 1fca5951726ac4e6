"""What a worker's attempts have taken, those under way included, is known without looking at them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from tests.core.makers import Core, make_core, make_job, run_of
from trio_pool import JobCancelledError
from trio_pool._core.admission import Door
from trio_pool._core.retry_decision import Retry, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def submit(core: Core, now: float, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    core.scheduler.submit(job, Door.ALWAYS, now)
    return job


def busy_seconds(core: Core, worker: WorkerRecord, now: float) -> float:
    return core.scheduler.accounts.of(worker, now)["running"]


class Unseen(dict[Any, None]):
    """Runs that nobody may look at one by one."""

    def __iter__(self) -> NoReturn:
        raise AssertionError("somebody has looked at each run")


@pytest.mark.parametrize("places", [50, math.inf])
def test_statistics_of_a_worker_look_at_none_of_its_runs(places: float) -> None:
    core = make_core()
    worker = core.add_worker(places=places)
    for second in range(10):
        submit(core, float(second))
    worker._runs = Unseen(worker._runs)
    assert busy_seconds(core, worker, 10.0) == sum(range(1, 11))


@pytest.mark.parametrize("places", [1, 3, math.inf])
def test_each_attempt_counts_from_its_start_to_its_end_however_it_ends(places: float) -> None:
    core = make_core()
    worker = core.add_worker(places=places)

    def busy(now: float) -> float:
        return busy_seconds(core, worker, now)

    job = submit(core, 1.0)
    assert (busy(1.0), busy(3.0)) == (0.0, 2.0)
    core.scheduler.succeeded(run_of(job), None, 4.0)
    assert (busy(4.0), busy(9.0)) == (3.0, 3.0)
    job = submit(core, 10.0)
    core.scheduler.failed(run_of(job), ValueError(), Verdict(Retry(5.0, "any", False, True)), 11.0)
    assert (busy(11.0), busy(14.0)) == (4.0, 4.0)
    core.scheduler.advance(16.0)
    assert busy(18.0) == 6.0
    core.scheduler.cancel(job, 18.0)
    core.scheduler.cut_short(run_of(job), JobCancelledError(job), 19.0)
    assert busy(30.0) == 7.0


@pytest.mark.parametrize("places", [1, 2, math.inf])
def test_lent_time_is_that_of_the_job_that_borrows(places: float) -> None:
    core = make_core()
    worker = core.add_worker(places=places)
    lender = submit(core, 0.0)
    core.scheduler.lend(run_of(lender), 2.0)
    assert busy_seconds(core, worker, 4.0) == 2.0
    borrower = submit(core, 4.0)
    core.scheduler.succeeded(run_of(borrower), None, 5.0)
    core.scheduler.claim(run_of(lender), 7.0)
    assert busy_seconds(core, worker, 8.0) == 4.0
    core.scheduler.succeeded(run_of(lender), None, 9.0)
    assert busy_seconds(core, worker, 9.0) == 5.0


def test_a_worker_that_gets_further_places_while_it_runs_a_job_counts_on() -> None:
    core = make_core()
    worker = core.add_worker()
    first = submit(core, 1.0)
    core.scheduler.set_places(worker, 2, 3.0)
    second = submit(core, 4.0)
    assert busy_seconds(core, worker, 5.0) == 5.0
    core.scheduler.set_places(worker, 1, 5.0)
    core.scheduler.succeeded(run_of(first), None, 6.0)
    core.scheduler.succeeded(run_of(second), None, 7.0)
    assert busy_seconds(core, worker, 8.0) == 8.0
