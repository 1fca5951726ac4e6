"""Of the running jobs it is counted how many wait for what has not come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.core.makers import Core, job_on, make_core, make_job, run_of
from trio_pool._core.admission import Door
from trio_pool._core.deadlock import DeadlockSearch
from trio_pool._core.waits import Wait

if TYPE_CHECKING:
    import pytest

    from trio_pool import Job


def submit(core: Core, **options: Any) -> Job[Any]:
    job = make_job(**options)
    core.scheduler.submit(job, Door.QUEUE_UP, 0.0)
    return job


def standing(core: Core) -> int:
    return core.scheduler.waits.standing()


def test_a_job_whose_wait_is_for_the_end_of_another_stands_though_that_has_started() -> None:
    core = make_core()
    first, second = core.add_worker(), core.add_worker()
    waiter = submit(core)
    submit(core)
    other = submit(core)
    wait = Wait(run_of(waiter), None, lambda: [other])
    assert core.scheduler.begin_wait(wait, 0.0)
    assert standing(core) == 1
    assert core.succeeded(second, None, 1.0) is other
    assert standing(core) == 1
    core.succeeded(second, None, 2.0)
    assert standing(core) == 0
    assert job_on(first) is waiter


def test_a_job_that_waits_for_the_start_of_another_stands_until_that() -> None:
    core = make_core()
    core.add_worker()
    second = core.add_worker()
    waiter = submit(core)
    submit(core)
    other = submit(core)
    wait = Wait(run_of(waiter), None, lambda: [] if other._started else [other])
    assert core.scheduler.begin_wait(wait, 0.0)
    assert standing(core) == 1
    core.succeeded(second, None, 1.0)
    assert standing(core) == 0


def test_those_who_wait_are_looked_at_once_for_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[DeadlockSearch] = []

    def look_again(search: DeadlockSearch) -> None:
        looked.append(search)

    monkeypatch.setattr(DeadlockSearch, "look_again", look_again)
    core = make_core()
    waiter, other = (submit(core, worker=core.add_worker()) for _ in range(2))
    assert core.scheduler.begin_wait(Wait(run_of(waiter), None, lambda: [other]), 0.0)
    core.scheduler.set_max_running(2, 0.0)
    assert len(looked) == 1
    core.scheduler.set_rate_limit(None, 0.0)
    assert len(looked) == 1
