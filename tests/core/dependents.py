"""Jobs of a core that come after others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, make_job
from trio_pool import DeadReason, JobState
from trio_pool._core.admission import Admission, Door
from trio_pool._core.retry_decision import Die, Verdict

if TYPE_CHECKING:
    from trio_pool._model.handles import Job

ERROR = ValueError("no")
DEAD = Verdict(Die(DeadReason.GAVE_UP, "it is so", ERROR))


def submit(core: Core, *, now: float = 0.0, door: Door = Door.ALWAYS, **options: Any) -> Job[Any]:
    job = make_job(now=now, **options)
    assert core.scheduler.submit(job, door, now) is Admission.ENTERED
    return job


def state_of(job: Job[Any]) -> JobState | None:
    """Its state now, None while it waits for a place."""
    return job._state


def states_of(*jobs: Job[Any]) -> list[JobState | None]:
    return [job._state for job in jobs]


def chain(core: Core, length: int, **options: Any) -> list[Job[Any]]:
    """Jobs each of which waits for the one before it; the first one waits for nothing."""
    jobs = [submit(core, **options)]
    for _ in range(length - 1):
        jobs.append(submit(core, after=jobs[-1:], **options))
    return jobs


def nothing_is_left(core: Core) -> bool:
    """Whether nobody waits for anybody, and nothing is to come due."""
    dependencies = core.scheduler.state.dependencies
    entries = core.scheduler.deadlines._stale == len(core.scheduler.deadlines)
    return not (dependencies.missing or dependencies.dependents or core.lifecycle.news) and entries
