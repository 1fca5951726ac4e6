"""Which lanes workers may serve stands in an index for each set of units that jobs use, and these come and go."""

from __future__ import annotations

from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, indexes_of, job_on, make_core, make_job
from trio_pool import RateLimit
from trio_pool._core.admission import Door

if TYPE_CHECKING:
    from trio_pool._model.handles import Job


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.ALWAYS, 0.0)
    return job


def limits(number: int) -> tuple[RateLimit, ...]:
    """Limits of so many units, which hold nothing back."""
    return tuple(RateLimit(1000, burst=1000, unit=f"unit {each}") for each in range(number))


def test_indexes_of_units_that_no_job_uses_any_more_do_not_pile_up() -> None:
    core = make_core(rate_limit=limits(200))
    worker = core.add_worker()
    submit(core)
    for number in range(200):
        submit(core, uses={f"unit {number}": 1})
        core.succeeded(worker, None, 0.0)
    assert len(indexes_of(core.scheduler.state.queue)) < 20


def test_jobs_of_units_whose_indexes_were_dropped_start_as_before() -> None:
    core = make_core(rate_limit=limits(20))
    worker = core.add_worker()
    submit(core)
    for number in islice(cycle(range(20)), 200):
        waiting = submit(core, uses={f"unit {number}": 1})
        core.succeeded(worker, None, 0.0)
        assert job_on(worker) is waiting


def test_jobs_of_units_whose_indexes_were_dropped_are_found_for_idle_workers_too() -> None:
    core = make_core(max_running=1, rate_limit=limits(20))
    first, other = core.add_worker(), core.add_worker("x")
    submit(core)
    for number in islice(cycle(range(20)), 200):
        waiting = submit(core, uses={f"unit {number}": 1}, requires=["x"] if number % 2 else ())
        busy = first if first._runs else other
        core.succeeded(busy, None, 0.0)
        assert waiting in [job_on(worker) for worker in (first, other) if worker._runs]
