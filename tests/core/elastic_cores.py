"""The core of an elastic pool, and what it has ordered and recalled."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from tests.core.commands import Hire, Recall
from tests.core.makers import Core, make_core, make_job
from trio_pool import Elastic, PerKey, RateLimit
from trio_pool._core.admission import Admission, Door
from trio_pool._core.commands import HIRE

if TYPE_CHECKING:
    from trio_pool._model.handles import Job
    from trio_pool._model.records import WorkerRecord


def make_elastic_core(
    *,
    least: int = 0,
    most: int = 5,
    idle_timeout: float = 10.0,
    tags: tuple[str, ...] = (),
    max_queue: float = math.inf,
    max_running: float = math.inf,
    rate_limit: RateLimit | None = None,
    per_key: PerKey | None = None,
) -> Core:
    """A core that sees to the number of its workers; none has been opened yet."""
    elastic = Elastic(nullcontext[Any], min=least, max=most, idle_timeout=idle_timeout, tags=tags)
    core = make_core(
        elastic=elastic, max_queue=max_queue, max_running=max_running, rate_limit=rate_limit, per_key=per_key
    )
    core.scheduler.begin(0.0)
    return core


def ordered(core: Core) -> int:
    """How many workers are ordered; they are not opened."""
    return len(core.commands_of(Hire))


def hired(core: Core) -> list[WorkerRecord]:
    """The workers that were ordered have joined; their resources are not open yet."""
    workers: list[WorkerRecord] = []
    while (HIRE, None) in core.commands:
        core.commands.remove((HIRE, None))
        worker = core.make_worker(*core_tags(core))
        worker._elastic = True
        core.scheduler.join(worker, 0.0, ordered=True)
        workers.append(worker)
    return workers


def core_tags(core: Core) -> frozenset[str]:
    autoscaler = core.scheduler._features.autoscaler
    assert autoscaler is not None
    return autoscaler._elastic.tags


def staffed(core: Core, now: float = 0.0) -> list[WorkerRecord]:
    """The workers that were ordered are open."""
    workers = hired(core)
    for worker in workers:
        core.scheduler.opened(worker, now)
    return workers


def submitted(core: Core, number: int = 1, *, now: float = 0.0, **options: Any) -> list[Job[Any]]:
    jobs = [make_job(now=now, **options) for _ in range(number)]
    for job in jobs:
        assert core.scheduler.submit(job, Door.ALWAYS, now) is Admission.ENTERED
    return jobs


def recalled(core: Core) -> list[WorkerRecord]:
    """Those that are to leave, the first to be told so first."""
    told = (command.worker for command in core.commands_of(Recall))
    return list(dict.fromkeys(worker for worker in told if worker._is_leaving))


def end_all(core: Core, workers: list[WorkerRecord], now: float) -> None:
    for worker in workers:
        core.succeeded(worker, None, now)
