"""3.11, 6: keys cost the same however many there are, at their bounds or without jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, calls_of, make_core, make_job
from trio_pool import Elastic, PerKey, RateLimit, open_pool
from trio_pool._core.admission import Door
from trio_pool._core.lanes import FairLane
from trio_pool._core.retry_decision import Retry, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from trio_pool import Job

LATER = Verdict(Retry(100.0, "any", False, True))


def submit(core: Core, key: Hashable = None, now: float = 0.0, **options: Any) -> Job[Any]:
    job = make_job(key=key, **options)
    core.scheduler.submit(job, Door.ALWAYS, now)
    return job


def act(core: Core, key: Hashable) -> int:
    """What a job costs from its submission to its end, with a retry in between, as the only one that may start."""
    (worker,) = [each for each in core.roster.by_id.values() if not each._runs]
    calls = 0
    for step in (
        lambda: submit(core, key, 1.0),
        lambda: core.failed(worker, ValueError(), LATER, 1.0),
        lambda: core.scheduler.advance(101.0),
        lambda: core.succeeded(worker, None, 101.0),
    ):
        calls += calls_of(step)
        core.commands.clear()
    return calls


def at_bounds(core: Core, number: int) -> None:
    """So many keys with a job that runs, and three that wait."""
    for _ in range(number):
        core.add_worker()
    for key in range(number):
        for _ in range(4):
            submit(core, key)


def limited(core: Core, number: int) -> None:
    """So many keys whose rate limits hold their jobs back."""
    for key in range(number):
        submit(core, ("limited", key))
        submit(core, ("limited", key))
        core.succeeded(core.roster.by_id[1], None, 0.0)


def idle(core: Core, number: int) -> None:
    """So many keys that are only remembered, since their limits are not full."""
    for key in range(number):
        submit(core, ("limited", key))
        core.succeeded(core.roster.by_id[1], None, 0.0)


def bounds() -> PerKey:
    return PerKey(max_running=1, rate_limit=lambda key: RateLimit(1, per=1000) if isinstance(key, tuple) else None)


@pytest.mark.parametrize("elastic", [False, True])
@pytest.mark.parametrize("others", [at_bounds, limited, idle])
def test_no_event_costs_more_with_keys_that_may_start_nothing(
    others: Callable[[Core, int], None], elastic: bool
) -> None:
    def cost(number: int) -> int:
        more: dict[str, Any] = {"elastic": Elastic(lambda: open_pool(1), max=1)} if elastic else {}
        core = make_core(per_key=bounds(), **more)
        core.add_worker()
        others(core, number)
        core.commands.clear()
        act(core, "warm")
        return act(core, "mine")

    assert cost(500) <= 1.2 * cost(10) + 10


def flood(core: Core, keys: list[Hashable]) -> int:
    """The calls to submit a job of each of these keys, and to run them one after the other."""

    def live() -> None:
        for key in keys:
            submit(core, key)
        worker = core.roster.by_id[1]
        while worker._runs:
            core.succeeded(worker, None, 0.0)
            core.commands.clear()

    return calls_of(live)


def test_many_keys_with_a_job_each_cost_about_as_much_as_many_jobs() -> None:
    def cost(keys: list[Hashable]) -> int:
        core = make_core(per_key=PerKey(max_running=1))
        core.add_worker()
        return flood(core, keys)

    assert cost(list(range(2000))) <= 1.1 * 10 * cost(list(range(200)))
    assert cost(list(range(1000))) <= 2 * cost([None] * 1000)


def test_a_key_that_waits_again_and_again_leaves_nothing_behind() -> None:
    core = make_core(per_key=PerKey(max_running=1))
    core.add_worker()
    submit(core, "a")
    for number in range(1000):
        submit(core, "b", priority=-number)
        submit(core, "c", priority=-number)
        submit(core, "a")
        core.succeeded(core.roster.by_id[1], None, 0.0)
        core.commands.clear()
    lane = core.scheduler.state.queue._open
    assert isinstance(lane, FairLane)
    assert len(lane._order) < 100
    assert len(lane._lines) == 3


def test_cancelled_jobs_of_a_key_leave_nothing_behind() -> None:
    core = make_core(per_key=PerKey(max_running=1))
    core.add_worker()
    jobs = [submit(core, "a") for _ in range(1000)]
    for job in jobs[1:900]:
        core.scheduler.cancel(job, 0.0)
    lane = core.scheduler.state.queue._open
    assert isinstance(lane, FairLane)
    (line,) = lane._lines.values()
    assert len(line.heap) < 300
