"""A start under a rate limit counts when the function begins, not when the job was handed out."""

from __future__ import annotations

import pytest

from tests.core.commands import Start
from tests.core.makers import begun, job_on, make_core, make_job, make_limits, run_on
from trio_pool import JobCancelledError, RateLimit
from trio_pool._core.admission import Door


@pytest.mark.parametrize("whose", ["pool", "worker"])
def test_two_functions_never_begin_closer_than_the_limit_says(whose: str) -> None:
    limit = RateLimit(1, per=10.0)
    core = make_core(rate_limit=limit if whose == "pool" else None)
    worker = core.add_worker(limits=make_limits(rate_limit=limit if whose == "worker" else None))
    jobs = [make_job(), make_job()]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    begun(run_on(worker), 3.0)
    assert core.succeeded(worker, None, 4.0) is None
    core.scheduler.advance(10.0)
    core.scheduler.advance(12.9)
    assert len(core.commands_of(Start)) == 1
    core.scheduler.advance(13.0)
    assert [command.run.job for command in core.commands_of(Start)] == jobs


@pytest.mark.parametrize("whose", ["pool", "worker"])
def test_a_job_that_is_cut_before_its_function_is_called_takes_nothing_from_the_limit(whose: str) -> None:
    limit = RateLimit(1, per=10.0)
    core = make_core(rate_limit=limit if whose == "pool" else None)
    worker = core.add_worker(limits=make_limits(rate_limit=limit if whose == "worker" else None))
    jobs = [make_job(), make_job()]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    core.scheduler.cancel(jobs[0], 1.0)
    core.commands.clear()
    following = core.cut_short(worker, JobCancelledError(jobs[0]), 1.0, begun=False)
    assert (following or core.commands_of(Start)[0].run.job) is jobs[1]


def test_a_worker_that_waits_for_one_that_begins_late_is_idle_as_soon_as_it_may_start() -> None:
    core = make_core(rate_limit=RateLimit(1, per=10.0))
    first, second = core.add_worker(), core.add_worker()
    jobs = [make_job(), make_job()]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    core.scheduler.advance(10.0)  # the first has not begun
    assert job_on(second) is None
    begun(run_on(first), 11.0)
    core.scheduler.advance(20.0)
    assert job_on(second) is None
    core.scheduler.advance(21.0)
    assert job_on(second) is jobs[1]
