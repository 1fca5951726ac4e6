"""Jobs that no worker may take any more, where a worker has left or the pool ends."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from tests.core.makers import make_core, make_job
from trio_pool import DeadReason, Elastic, JobState, PerKey, RateLimit
from trio_pool._core.admission import Door


def test_a_graph_in_line_whose_first_job_is_refused_goes_as_a_whole() -> None:
    core = make_core(max_queue=0)
    core.add_worker()
    special = core.add_worker("special")
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    jobs = [make_job(requires=["special"]), make_job(requires=["special"], priority=1)]
    core.scheduler.submit_graph(jobs[0], jobs, Door.QUEUE_UP, 0.0)
    assert core.scheduler.waiting == 1
    core.scheduler.depart(special, 1.0, cut=True)
    core.cut_short(special, ValueError(), 1.0)
    core.scheduler.left(special, 1.0)
    assert core.scheduler.waiting == 0
    assert [job._state for job in jobs] == [None, None]


def test_an_elastic_pool_that_ends_does_not_wait_for_its_limit_where_it_would_open_no_worker_then() -> None:
    core = make_core(
        elastic=Elastic(nullcontext[Any], max=5), rate_limit=RateLimit(1, per=10.0), max_running=1, no_worker="wait"
    )
    worker = core.add_worker()
    core.scheduler.begin(0.0)
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    core.succeeded(worker, None, 0.0)
    core.scheduler.submit(held_up := make_job(), Door.ALWAYS, 1.0)
    core.scheduler.submit(nobodys := make_job(requires=["a"]), Door.ALWAYS, 1.0)
    core.scheduler.drain(1.0)
    assert nobodys.dead_reason is None
    core.scheduler.cancel(held_up, 2.0)
    assert nobodys.dead_reason is DeadReason.NO_WORKER


@pytest.mark.parametrize(("uses", "state"), [("x", JobState.QUEUED), ("y", JobState.DEAD)])
def test_the_end_waits_only_for_units_that_queued_jobs_use(uses: str, state: JobState) -> None:
    core = make_core(no_worker="wait", rate_limit=RateLimit(1, unit="x"))
    worker = core.add_worker()
    core.scheduler.submit(make_job(uses={"x": 1}), Door.ALWAYS, 0.0)
    core.begin(0.0)
    core.scheduler.submit(lost := make_job(requires=["a"], uses={uses: 1}), Door.ALWAYS, 0.0)
    core.scheduler.drain(0.0)
    core.succeeded(worker, None, 0.5)
    assert lost.state is state


@pytest.mark.parametrize("per_key", [None, PerKey()])
def test_jobs_that_wait_for_a_leaving_worker_alone_stay_in_the_queue_once(per_key: PerKey | None) -> None:
    core = make_core(no_worker="wait", per_key=per_key)
    worker = core.add_worker()
    core.scheduler.submit(make_job(), Door.ALWAYS, 0.0)
    jobs = [make_job(worker=worker) for _ in range(3)]
    for job in jobs:
        core.scheduler.submit(job, Door.ALWAYS, 0.0)
    core.scheduler.depart(worker, 0.0, cut=False)
    assert list(core.scheduler.state.queue) == jobs
