"""Plain jobs go straight, with the effect of the general way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest

from tests.core.makers import Core, job_of, make_core, make_job, run_on
from tests.general_way import straight_way_forbidden
from tests.lives import in_plain, told_of
from trio_pool import Job, JobState, RateLimit
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Retry, Verdict
from trio_pool._model.records import Run
from trio_pool._model.states import KEPT_FIRST_ATTEMPTS, KEPT_LAST_ATTEMPTS, KEPT_TRANSITIONS

AGAIN = Verdict(Retry(0.0, "any", front=False, counts=True), is_failure=True)


def both_ways(live: Callable[[], list[Job[Any]]]) -> list[Job[Any]]:
    """Do something straight and in the general way, and see that its jobs come to the same; return those of the first."""
    lives: list[list[Job[Any]]] = []
    for way in (nullcontext(), straight_way_forbidden()):
        with way:
            lives.append(live())
    straight, general = ([in_plain(told_of(job)) for job in jobs] for jobs in lives)
    assert straight == general
    return lives[0]


def submit(core: Core, job: Job[Any], now: float = 0.0) -> Run | None:
    """Submit a job as the pool does; return its run if it starts at once."""
    done = core.scheduler.submit_straight(job, now)
    if done is False:
        assert core.scheduler.submit(job, Door.AT_ONCE, now) is Admission.ENTERED
        return job._run
    return None if done is True else done


def states(job: Job[Any]) -> list[JobState]:
    return [transition.state for transition in job.history]


# The history of a job is as long as it may be, and no longer.


def test_the_history_of_a_job_that_was_cut_short_often_and_succeeds_is_bounded() -> None:
    def live() -> list[Job[Any]]:
        core = make_core(instruments=[])
        worker = core.add_worker()
        job = make_job()
        submit(core, job)
        for _ in range(100):
            core.cut_short(worker, TimeoutError(), 0.0)
        core.succeeded(worker, "value", 0.0)
        return [job]

    (job,) = both_ways(live)
    assert len(job.history) == 2 * KEPT_TRANSITIONS
    assert states(job)[-2:] == [JobState.RUNNING, JobState.SUCCEEDED]
