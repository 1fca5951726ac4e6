"""3.7: limits with units delay the jobs that use the unit, whatever their amounts, and nobody else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool import (
    Elastic,
    Hedge,
    Job,
    JobState,
    Pool,
    RateLimit,
    Resource,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio.testing import MockClock

TOKENS = RateLimit(10, per=1.0, burst=100, unit="tokens")


async def when(_: object) -> float:
    """When it was called."""
    return trio.current_time()


async def uses(_: object, amounts: Mapping[str, float], seconds: float = 0.0) -> float:
    """Says what it uses, and ends later."""
    started_at = trio.current_time()
    current_job().set_used(amounts)
    await trio.sleep(seconds)
    return started_at


async def started(jobs: list[Job[float]]) -> list[float]:
    """When these jobs started, in seconds since the first start of all."""
    times = [await job.wait() for job in jobs]
    return [round(time, 6) for time in times]


# Which jobs wait.


async def test_at_a_level_of_one_a_job_starts_whatever_it_uses(autojump_clock: MockClock) -> None:
    async with open_pool(4, rate_limit=TOKENS) as pool:
        jobs = [await pool.submit(when, None, uses={"tokens": amount}) for amount in (99, 1000, 1, 1)]
        # The level is 1, then -999; it is 1 again after a hundred seconds.
        assert await started(jobs) == [0.0, 0.0, 100.0, 100.1]


async def test_a_large_job_is_not_starved_by_small_ones(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, unit="tokens")) as pool:
        small = [await pool.submit(when, None, uses={"tokens": 1}) for _ in range(3)]
        large = await pool.submit(when, None, uses={"tokens": 50})
        after = await pool.submit(when, None, uses={"tokens": 1})
        assert await started([*small, large, after]) == [0.0, 1.0, 2.0, 3.0, 53.0]


async def test_jobs_that_do_not_use_the_unit_start_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, per=10, unit="tokens")) as pool:
        first, second = [await pool.submit(when, None, uses={"tokens": 1}) for _ in range(2)]
        others = [await pool.submit(when, None, uses=amounts) for amounts in (None, {}, {"calls": 5})]
        assert await started([first, *others]) == [0.0, 0.0, 0.0, 0.0]
        assert second.state is JobState.QUEUED
        assert await started([second]) == [10.0]


async def test_a_job_that_uses_nothing_of_a_unit_that_it_names_waits_for_it_and_draws_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, per=10, unit="tokens")) as pool:
        first = await pool.submit(when, None, uses={"tokens": 1})
        free = [await pool.submit(when, None, uses={"tokens": 0}) for _ in range(3)]
        assert await started([first, *free]) == [0.0, 10.0, 10.0, 10.0]


async def test_several_limits_all_hold(autojump_clock: MockClock) -> None:
    limits = [RateLimit(2, burst=2), RateLimit(3, per=10, burst=3), RateLimit(100, per=100, burst=4, unit="tokens")]
    async with open_pool(4, rate_limit=limits) as pool:
        assert pool.rate_limit == tuple(limits)
        jobs = [await pool.submit(when, None, uses={"tokens": 1} if number > 2 else None) for number in range(5)]
        assert await started(jobs) == [0.0, 0.0, 0.5, pytest.approx(10 / 3), pytest.approx(20 / 3)]


async def test_a_worker_whose_unit_is_used_up_is_free_for_other_jobs(autojump_clock: MockClock) -> None:
    resource = Resource("a", rate_limit=RateLimit(1, per=10, unit="tokens"))
    async with open_pool([resource]) as pool:
        await pool.run(when, uses={"tokens": 1})
        (worker,) = pool.workers
        assert pool.idle_workers == pool.free_workers == (worker,)
        assert worker.statistics().available_at is None
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(when, uses={"tokens": 1}, idle_only=True)
        assert await pool.submit_nowait(when, idle_only=True).wait() == 0.0
        assert await pool.run(when, uses={"tokens": 1}) == 10.0


async def test_jobs_go_to_the_workers_whose_units_allow_it(autojump_clock: MockClock) -> None:
    resources = [Resource(name, rate_limit=RateLimit(1, per=10, unit="tokens")) for name in "ab"]
    async with open_pool(resources) as pool:
        jobs = [await pool.submit(when, uses={"tokens": 1}) for _ in range(6)]
        assert await started(jobs) == [0.0, 0.0, 10.0, 10.0, 20.0, 20.0]
        names = [job.attempts[0].worker_name for job in jobs]
        assert all({names[at], names[at + 1]} == {"worker-1", "worker-2"} for at in (0, 2, 4))


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
async def test_however_workers_are_picked_those_with_used_up_units_are_left_out(
    autojump_clock: MockClock, pick: Any
) -> None:
    limited = [Resource(name, rate_limit=RateLimit(1, per=100, unit="tokens"), tags=["t"]) for name in "abc"]
    async with open_pool([*limited, Resource("free", tags=["t"])], pick=pick) as pool:
        for _ in range(12):
            await pool.run(when, uses={"tokens": 1}, requires=["t"])
        assert trio.current_time() == 0.0
        assert pool.workers[3].statistics().attempts >= 9
        for _ in range(4):
            await pool.run(when)


async def test_a_job_for_one_worker_waits_for_its_unit_there(autojump_clock: MockClock) -> None:
    resources = [Resource(name, rate_limit=RateLimit(1, per=10, unit="tokens")) for name in "ab"]
    async with open_pool(resources) as pool:
        first, second = pool.workers
        jobs = [await pool.submit(when, uses={"tokens": 1}, worker=first) for _ in range(2)]
        other = await pool.submit(when, uses={"tokens": 1}, worker=second)
        assert await started([*jobs, other]) == [0.0, 10.0, 0.0]


async def test_a_bounced_job_waits_for_the_unit_of_a_worker_that_it_has_not_failed_on(
    autojump_clock: MockClock,
) -> None:
    seen: list[tuple[str, float]] = []

    async def fails(name: str) -> None:
        seen.append((name, trio.current_time()))
        raise ValueError

    resources = [Resource("a"), Resource("b", rate_limit=RateLimit(1, per=10, unit="tokens"))]
    retry = RetryPolicy.immediate(max_attempts=2, placement="other")
    async with open_pool(resources, on_dead="keep", retry=retry) as pool:
        await pool.run(when, uses={"tokens": 1}, worker=pool.workers[1])
        await pool.submit(fails, uses={"tokens": 1}, worker=None)
    # For the bounce, a worker that a limit holds back counts as available.
    assert seen == [("a", 0.0), ("b", 10.0)]


async def test_a_group_at_its_bound_and_units_hold_back_each_their_own(autojump_clock: MockClock) -> None:
    limit = RateLimit(1, per=10, unit="tokens")
    async with open_pool(4, rate_limit=limit) as pool, pool.open_group(max_running=1) as group:
        slow = await group.submit(trio.sleep, 5)
        in_group = await group.submit(when, None, uses={"tokens": 1})
        outside = [await pool.submit(when, None, uses={"tokens": 1}) for _ in range(2)]
        free = await pool.submit(when, None)
        # The group's job has waited for longer, and no longer for its group.
        assert await started([*outside, free, in_group]) == [0.0, 20.0, 0.0, 10.0]
        await slow.wait()


@pytest.mark.parametrize("amounts", [3, None, "ab", [("tokens", 1)]])
async def test_what_was_used_is_a_mapping(amounts: Any, autojump_clock: MockClock) -> None:
    async def says(_: None) -> None:
        with pytest.raises(TypeError, match=r"^amounts must be a mapping, got "):
            current_job().set_used(amounts)
        with pytest.raises(TypeError, match=r"^amounts\['tokens'\] must be a number, got '1'"):
            current_job().set_used(tokens="1")  # type: ignore[arg-type]

    async with open_pool(1) as pool:
        await pool.run(says, None)
        assert pool.statistics().used == {}


async def test_each_run_of_a_hedged_job_draws(autojump_clock: MockClock) -> None:
    resources = [Resource(name, rate_limit=RateLimit(1, per=100, unit="tokens")) for name in "ab"]
    async with open_pool(resources) as pool:
        job = await pool.submit(trio_sleep, 5, hedge=Hedge(1), uses={"tokens": 2})
        await job.wait()
        assert job.attempts[0].used == {"tokens": 4}
        assert pool.statistics().used == {"tokens": 4}
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(when, uses={"tokens": 1}, idle_only=True)


async def trio_sleep(_: object, seconds: float) -> None:
    """Sleeps."""
    await trio.sleep(seconds)


async def test_a_total_timeout_holds_while_a_job_waits_for_a_unit(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, per=100, unit="tokens"), on_dead="keep") as pool:
        await pool.run(when, None, uses={"tokens": 1})
        job = await pool.submit(when, None, uses={"tokens": 1}, total_timeout=5)
        await job.wait_started()
        assert (job.state, trio.current_time()) == (JobState.DEAD, 5.0)


async def test_the_end_of_the_block_waits_for_units(autojump_clock: MockClock) -> None:
    async with open_pool(2, rate_limit=RateLimit(1, per=10, unit="tokens")) as pool:
        jobs = [await pool.submit(when, None, uses={"tokens": 1}) for _ in range(3)]
    assert [job.result() for job in jobs] == [0.0, 10.0, 20.0]


async def test_no_worker_is_opened_for_jobs_that_wait_for_a_unit_of_the_pool(autojump_clock: MockClock) -> None:
    elastic = Elastic(lambda: trio.open_nursery(), min=1, max=5)
    async with open_pool(elastic, rate_limit=RateLimit(1, per=10, unit="tokens")) as pool:
        assert await pool.run(when, uses={"tokens": 1}) == 0.0
        busy = await pool.submit(trio_sleep, 60)
        jobs = [await pool.submit(when, uses={"tokens": 1}) for _ in range(3)]
        await trio.sleep(9)
        assert len(pool.workers) == 1
        assert await started(jobs) == [10.0, 20.0, 30.0]
        busy.cancel()


# What is said of it afterwards.


async def test_what_was_not_used_is_given_back_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(2, rate_limit=RateLimit(1, burst=10, unit="tokens")) as pool:
        long = await pool.submit(uses, None, {"tokens": 2}, 50, uses={"tokens": 1000})
        next_one = await pool.submit(when, None, uses={"tokens": 1})
        assert await started([next_one]) == [0.0]
        assert pool.statistics().used == {"tokens": 3}
        long.cancel()


async def test_what_was_used_in_addition_is_drawn_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, burst=10, unit="tokens")) as pool:
        await pool.run(uses, None, {"tokens": 21}, uses={"tokens": 1})
        assert await pool.run(when, None, uses={"tokens": 1}) == 12.0


async def test_it_may_be_said_again_and_the_last_word_counts(autojump_clock: MockClock) -> None:
    async def says(_: None) -> None:
        job = current_job()
        job.set_used(tokens=50)
        job.set_used({"tokens": 5}, calls=2)
        job.set_used({"files": 0.5})
        job.set_used(tokens=7)

    async with open_pool(1) as pool:
        job = await pool.submit(says, None, uses={"tokens": 1, "bytes": 8})
        await job.wait()
        assert job.attempts[0].used == {"tokens": 7, "bytes": 8, "calls": 2, "files": 0.5}
        assert pool.statistics().used == pool.workers[0].statistics().used == dict(job.attempts[0].used)


async def test_a_job_that_named_no_unit_may_have_used_some(autojump_clock: MockClock) -> None:
    resource = Resource("a", rate_limit=RateLimit(1, unit="tokens"))
    async with open_pool([resource], rate_limit=RateLimit(1, per=2, unit="tokens")) as pool:
        await pool.run(uses, {"tokens": 5})
        assert await pool.run(when, uses={"tokens": 1}) == 10.0


async def test_what_was_estimated_and_never_corrected_counts_as_estimated(autojump_clock: MockClock) -> None:
    async with open_pool(1, on_dead="keep", retry=RetryPolicy.fixed(1, max_attempts=2)) as pool:
        job = await pool.submit(fails_to_say, None, uses={"tokens": 3})
        async with pool.open_group(name="g") as group:
            await group.run(when, None, uses={"tokens": 1.5})
            assert group.statistics().used == {"tokens": 1.5}
        await pool.join()
        assert [attempt.used for attempt in job.attempts] == [{"tokens": 3}] * 2
        assert pool.statistics().used == {"tokens": 7.5}
    with pytest.raises(TypeError):
        pool.statistics().used["tokens"] = 0  # type: ignore[index]


async def fails_to_say(_: None) -> None:
    """Fails."""
    raise ValueError


async def test_a_run_that_was_cut_before_its_function_was_called_gives_all_back(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, per=10, burst=5, unit="tokens")) as pool:
        job = pool.submit_nowait(when, None, uses={"tokens": 500})
        assert job.state is JobState.RUNNING
        job.cancel()
        later = await pool.submit(when, None, uses={"tokens": 5})
        assert await started([later]) == [0.0]
        assert pool.statistics().used == {"tokens": 5}


async def test_a_sum_that_no_float_can_hold_is_infinite(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(when, None, uses={"tokens": 10**308})
        await pool.run(when, None, uses={"tokens": 10**308})
        assert job.attempts[0].used == {"tokens": 1e308}
        assert pool.statistics().used == {"tokens": math.inf}


async def test_one_that_was_cut_while_it_ran_has_used_what_was_drawn(autojump_clock: MockClock) -> None:
    async with open_pool(1, rate_limit=RateLimit(1, unit="tokens")) as pool:
        job = await pool.submit(trio_sleep, None, 50, uses={"tokens": 5})
        await trio.sleep(1)
        job.cancel()
        assert await pool.run(when, None, uses={"tokens": 1}) == 5.0
        assert pool.statistics().used == {"tokens": 6}


async def test_it_is_for_the_inside_of_the_function(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        job = await pool.submit(trio_sleep, None, 5)
        with pytest.raises(RuntimeError, match=r"^set_used\(\) must be called inside the job's function"):
            job.set_used(tokens=1)

        async def says_of_another(_: None) -> None:
            with pytest.raises(RuntimeError, match=r"^set_used\(\) must be called inside"):
                job.set_used(tokens=1)

        await pool.run(says_of_another, None)
        await job.wait()
        with pytest.raises(RuntimeError, match=r"^set_used\(\) must be called inside"):
            job.set_used(tokens=1)


async def test_each_run_of_a_hedged_job_says_it_for_itself(autojump_clock: MockClock) -> None:
    async def says(name: str) -> str:
        current_job().set_used(tokens=1 if name == "a" else 10)
        await trio.sleep(5)
        return name

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(says, hedge=Hedge(1), uses={"tokens": 100})
        assert await job.wait() == "a"
        assert job.attempts[0].used == {"tokens": 11}
        assert [worker.statistics().used for worker in pool.workers] == [{"tokens": 1}, {"tokens": 10}]


@pytest.mark.parametrize(
    ("amounts", "kind", "words"),
    [
        (5, TypeError, "uses must be a mapping, got 5"),
        ({"": 1}, ValueError, "uses must not have an empty unit"),
        ({5: 1}, TypeError, "uses must have units as keys, which are strings, got 5"),
        ({"tokens": -1}, ValueError, r"uses\['tokens'\] must not be negative, got -1"),
        ({"tokens": float("inf")}, ValueError, r"uses\['tokens'\] must be finite, got inf"),
        ({"tokens": float("nan")}, ValueError, r"uses\['tokens'\] must not be NaN"),
        ({"tokens": "1"}, TypeError, r"uses\['tokens'\] must be a number, got '1'"),
        ({"tokens": True}, TypeError, r"uses\['tokens'\] must be a number, got True"),
        ({"tokens": 10**400}, ValueError, r"uses\['tokens'\] must not be so large"),
    ],
)
async def test_bad_amounts(amounts: Any, kind: type[Exception], words: str) -> None:
    async with open_pool(1) as pool:
        with pytest.raises(kind, match=f"^{words}"):
            await pool.submit(when, None, uses=amounts)


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ([5], TypeError, "rate_limit must hold limits, got 5"),
        ([RateLimit(1), None], TypeError, "rate_limit must hold limits, got None"),
    ],
)
async def test_bad_sets_of_limits(given: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=f"^{words}"):
        open_pool(1, rate_limit=given)
    with pytest.raises(kind, match=f"^{words}"):
        Resource("a", rate_limit=given)
    with pytest.raises(TypeError, match=r"^unit must be a str or None, got 5"):
        RateLimit(1, unit=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^unit must not be empty"):
        RateLimit(1, unit="")
    assert Resource("a", rate_limit=iter([])).rate_limit is None


async def test_items_of_streams_use_what_a_function_of_them_says(autojump_clock: MockClock) -> None:
    async with open_pool(2, rate_limit=RateLimit(1, unit="bytes")) as pool:
        async with pool.map(when, [5, 3, 1], uses=lambda size: {"bytes": size}) as times:
            assert [time async for time in times] == [0.0, 5.0, 8.0]
        assert pool.statistics().used == {"bytes": 9}


# Assignments.


async def test_the_limits_of_a_worker_can_be_assigned_without_a_fresh_burst(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=10))]) as pool:
        (worker,) = pool.workers
        assert worker.rate_limit == RateLimit(1, per=10)
        await pool.run(when)
        waiting = await pool.submit(when)
        worker.rate_limit = [RateLimit(1, per=4), RateLimit(1, unit="tokens")]
        assert worker.rate_limit == (RateLimit(1, per=4), RateLimit(1, unit="tokens"))
        assert await started([waiting]) == [4.0]
        worker.rate_limit = None
        assert worker.rate_limit is None
        assert await pool.run(when) == 4.0
        worker.rate_limit = RateLimit(1, per=4)
        assert await pool.run(when) == 8.0


async def test_a_worker_without_limits_can_be_given_some(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        assert worker.rate_limit is None
        worker.rate_limit = RateLimit(1, per=10, unit="tokens")
        assert [await pool.run(when, uses={"tokens": 1}) for _ in range(3)] == [0.0, 10.0, 20.0]
        with pytest.raises(TypeError, match=r"^rate_limit must be a RateLimit, got 5"):
            worker.rate_limit = 5  # type: ignore[assignment]


async def test_on_assignment_the_nth_of_a_unit_takes_over_from_the_nth_of_that_unit(
    autojump_clock: MockClock,
) -> None:
    tokens, other = RateLimit(1, per=10, burst=10, unit="tokens"), RateLimit(1, unit="calls")
    async with open_pool(1, rate_limit=[other, tokens]) as pool:
        await pool.run(when, None, uses={"tokens": 15})
        pool.rate_limit = None
        assert await pool.run(when, None, uses={"tokens": 1}) == 0.0  # drawn from nothing
        pool.rate_limit = [tokens, RateLimit(100, unit="tokens"), other]
        # The first one owes 5 and needs 6; the second begins full.
        assert await pool.run(when, None, uses={"tokens": 1}) == 60.0


async def test_a_closed_unit_opens_when_its_limit_is_taken_away(autojump_clock: MockClock) -> None:
    async def take_away(pool: Pool[Any]) -> None:
        await trio.sleep(3)
        pool.rate_limit = RateLimit(5)

    async with open_pool(["a"], rate_limit=RateLimit(1, per=100, unit="tokens")) as pool:
        await pool.run(when, uses={"tokens": 1})
        job = await pool.submit(when, uses={"tokens": 1})
        await take_away(pool)
        assert await started([job]) == [3.0]


async def test_a_worker_that_leaves_is_waited_for_no_longer(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", rate_limit=RateLimit(1, per=100, unit="tokens"))]) as pool:
        await pool.run(when, uses={"tokens": 1})
        job = await pool.submit(when, uses={"tokens": 1})
        await pool.workers[0].remove()
        assert job.state is JobState.DEAD
        pool.dead.pop_all()
    assert trio.current_time() == 0.0
