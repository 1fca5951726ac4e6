"""What workers do that a group has for itself, also when workers come and go and when the pool ends."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, sleeps, sleeps_forever, state_of, works
from tests.pool.groups.meter import Meter
from tests.pool.groups.own_workers import named, own, worker_of
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    JobFailedError,
    JobState,
    Pool,
    PoolClosedError,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    WorkerState,
    open_pool,
)
from trio_pool._model.pool_config import PICKS, Pick
from trio_pool.testing import Flaky, assert_settled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


# reserve: while it is open.


async def test_reserved_workers_serve_nobody_else(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool:
        async with pool.open_group(reserve=2):
            for _ in range(3):
                await pool.submit(meter)
            await pool.join()
            assert trio.current_time() == 3.0
        assert meter.calls == {"c": 3}


async def test_reserved_workers_serve_the_group_past_all_who_wait(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(reserve=1) as group:
        others = [await pool.submit(sleeps, 5.0, priority=-9) for _ in range(3)]
        assert await group.run(works) == "done"
        assert trio.current_time() == 0.0
        assert [state_of(job) for job in others] == [RUNNING, QUEUED, QUEUED]


async def test_the_group_may_use_other_workers_too(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool:
        async with pool.open_group(reserve=1) as group:
            for _ in range(6):
                await group.submit(meter)
        assert trio.current_time() == 2.0
    assert meter.calls == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("pick", PICKS)
async def test_the_group_leaves_other_workers_alone_while_one_of_its_own_is_idle(
    pick: Pick, autojump_clock: MockClock
) -> None:
    async with (
        open_pool(named("a", "b", "c"), pick=pick, rng=Random(2)) as pool,
        pool.open_group(reserve=1) as group,
    ):
        for _ in range(5):
            job = await group.submit(sleeps, 1.0)
            assert [worker_of(job).name] == own(group)
            others = [await pool.submit(sleeps, 1.0) for _ in range(2)]
            assert [state_of(other) for other in others] == [RUNNING, RUNNING]
            await pool.join()


async def test_leaving_gives_the_workers_back(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        async with pool.open_group(reserve=2):
            queued = [await pool.submit(sleeps, 1.0) for _ in range(2)]
            await trio.sleep(3.0)
            assert [state_of(job) for job in queued] == [QUEUED] * 2
        assert [state_of(job) for job in queued] == [RUNNING] * 2


async def test_a_body_that_raises_gives_the_workers_back(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(KeyError):  # noqa: PT012
            async with pool.open_group(reserve=1) as group:
                await group.submit(sleeps_forever)
                queued = await pool.submit(works)
                raise KeyError
        assert await queued.wait() == "done"


async def test_what_the_workers_run_at_the_end_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group(reserve=1) as group:
            await group.submit(sleeps, 1.0)
            other = await pool.submit(sleeps, 1.0)
        assert trio.current_time() == 1.0
        await other.wait()
        assert trio.current_time() == 2.0


async def test_the_limit_of_a_group_holds_for_its_own_workers_too(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool, pool.open_group(reserve=2, max_running=1) as group:
        for _ in range(3):
            await group.submit(meter)
        await pool.submit(works)
    assert meter.most == 1


async def test_two_groups_have_workers_of_their_own(autojump_clock: MockClock) -> None:
    async with (
        open_pool(named("a", "b", "c")) as pool,
        pool.open_group(reserve=1) as one,
        pool.open_group(reserve=1) as two,
    ):
        assert (own(one), own(two)) == (["a"], ["b"])
        await pool.submit(sleeps, 9.0)
        jobs = [await one.submit(sleeps, 1.0), await one.submit(sleeps, 1.0), await two.submit(sleeps, 1.0)]
        await wait_all_tasks_blocked()
        assert [state_of(job) for job in jobs] == [RUNNING, QUEUED, RUNNING]


async def test_no_idle_worker_but_reserved_ones_is_none_for_others(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, pool.open_group(reserve=1) as group:
        for options in ({}, {"idle_only": True}):
            with pytest.raises(trio.WouldBlock):
                pool.submit_nowait(works, **options)  # type: ignore[arg-type]  # for both checkers too general
        assert group.submit_nowait(works, idle_only=True).state is RUNNING


async def test_whoever_waits_for_a_place_gets_the_worker_when_it_is_given_back(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        async with pool.open_group(reserve=1):
            nursery.start_soon(pool.run, works)
            await trio.sleep(2.0)
            assert pool.statistics().submitters_waiting == 1
        assert pool.statistics().submitters_waiting == 0


@pytest.mark.parametrize("option", ["worker", "requires"])
async def test_a_job_for_which_only_a_reserved_worker_will_do_waits_for_the_end_of_the_group(
    option: str, autojump_clock: MockClock
) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"]) as pool:
        options: Any = {option: pool.workers[0] if option == "worker" else ["x"]}
        async with pool.open_group(reserve=1):
            job = await pool.submit(works, **options)
            await trio.sleep(2.0)
            assert state_of(job) is QUEUED
        assert await job.wait() == "done"


@pytest.mark.parametrize("option", ["worker", "requires"])
async def test_a_job_of_the_group_may_ask_for_a_reserved_worker(option: str, autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"]) as pool, pool.open_group(reserve=1) as group:
        options: Any = {option: pool.workers[0] if option == "worker" else ["x"]}
        jobs = [await group.submit(sleeps, 1.0, **options) for _ in range(2)]
        await group.join()
        assert [job.attempts[0].worker_id for job in jobs] == [1, 1]


async def test_the_bounce_does_not_count_on_workers_reserved_for_others(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), retry=RetryPolicy(base_delay=0, placement="other")) as pool:
        async with pool.open_group(reserve=1):
            job = await pool.submit(Flaky(1, result="done"))
            assert await job.wait() == "done"
            assert trio.current_time() == 0.0
        assert [attempt.worker_id for attempt in job.attempts] == [2, 2]


async def test_the_bounce_counts_on_workers_of_the_group_itself(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("ab"), retry=RetryPolicy(base_delay=0, placement="other")) as pool,
        pool.open_group(reserve=1) as group,
    ):
        job = await group.submit(Flaky(1, result="done"), worker=None)
        await job.wait()
        assert {attempt.worker_id for attempt in job.attempts} == {1, 2}


async def test_a_job_that_wants_the_same_worker_again_waits_until_it_is_given_back(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        policy = RetryPolicy.fixed(2.0, placement="same")
        job = await pool.submit(Flaky(1, result="done"), retry=policy, worker=None)
        await wait_all_tasks_blocked()
        async with pool.open_group(reserve=2):
            await trio.sleep(5.0)
            assert state_of(job) is QUEUED
        assert await job.wait() == "done"
        assert [attempt.worker_id for attempt in job.attempts] == [1, 1]


# reserve: when workers come and go.


async def test_a_removed_worker_is_replaced_by_an_idle_one(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b", "c")) as pool, pool.open_group(reserve=2) as group:
        await pool.workers[0].remove()
        assert own(group) == ["b", "c"]


async def test_a_removed_worker_is_replaced_as_soon_as_another_has_ended_its_attempt(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(named("a", "b", "c")) as pool, pool.open_group(reserve=1) as group:
        for seconds in (2.0, 5.0):
            await pool.submit(sleeps, seconds)
        queued = await pool.submit(sleeps, 1.0)
        await pool.workers[0].remove()
        assert own(group) == []
        await trio.sleep(2.5)
        assert own(group) == ["b"]
        assert state_of(queued) is QUEUED
        await queued.wait()
        assert trio.current_time() == 6.0


async def test_a_removed_worker_is_replaced_by_one_that_is_added(autojump_clock: MockClock) -> None:
    async with open_pool(named("a")) as pool, pool.open_group(reserve=1) as group:
        await pool.workers[0].remove()
        assert own(group) == []
        await pool.add("b", name="b")
        assert own(group) == ["b"]
        assert await group.run(works) == "done"


async def test_a_removed_worker_ends_its_attempt_and_its_place_is_filled_meanwhile(autojump_clock: MockClock) -> None:
    async with (
        open_pool(named("a", "b")) as pool,
        pool.open_group(reserve=1) as group,
        trio.open_nursery() as nursery,
    ):
        first = pool.workers[0]
        job = await group.submit(sleeps, 3.0, worker=first)
        nursery.start_soon(first.remove)
        await wait_all_tasks_blocked()
        assert own(group) == ["b"]
        await job.wait()
        assert trio.current_time() == 3.0


async def test_the_group_goes_on_without_a_worker_of_its_own(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool:
        await pool.submit(sleeps, 2.0)
        async with pool.open_group(reserve=1) as group:
            await pool.workers[1].remove()
            assert own(group) == []
            job = await group.submit(works)
            assert await job.wait() == "done"
            assert own(group) == ["a"]
            assert trio.current_time() == 2.0


async def test_a_reserved_worker_that_is_paused_stays_with_the_group(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, pool.open_group(reserve=1) as group:
        pool.workers[0].pause()
        assert own(group) == ["a"]
        other = await pool.submit(sleeps, 1.0)
        assert other.worker is pool.workers[1]
        job = await group.submit(works)
        assert await job.wait() == "done"  # by the other one
        assert trio.current_time() == 1.0
        pool.workers[0].resume()
        await pool.submit(sleeps, 5.0)
        assert await group.run(works) == "done"
        assert trio.current_time() == 1.0


async def test_a_reserved_worker_that_rests_stays_with_the_group(autojump_clock: MockClock) -> None:
    async with open_pool(named("a")) as pool, pool.open_group(reserve=1) as group:
        pool.workers[0].rest(3.0)
        other = await pool.submit(works)
        assert await group.run(works) == "done"
        assert trio.current_time() == 3.0
        assert own(group) == ["a"]
        assert state_of(other) is QUEUED


async def test_a_reserved_worker_in_quarantine_stays_with_the_group(autojump_clock: MockClock) -> None:
    breaker = CircuitBreaker(failures=1, reset_after=7.0)
    async with open_pool(named("a"), breaker=breaker) as pool, pool.open_group(reserve=1) as group:
        with pytest.raises(JobFailedError):
            await group.run(fails)
        assert pool.workers[0].state is WorkerState.QUARANTINED
        assert own(group) == ["a"]
        assert await group.run(works) == "done"
        assert trio.current_time() == 7.0


async def test_a_reserved_worker_whose_resource_is_opened_anew_stays_with_the_group(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=2.0)

    async def breaks(resource: str) -> None:
        raise ResourceBroken

    async with (
        open_pool(named("a"), lifespan=doors.lifespan, on_dead="keep") as pool,
        pool.open_group(reserve=1) as group,
    ):
        await group.submit(breaks)
        await wait_all_tasks_blocked()
        assert pool.workers[0].state is WorkerState.REOPENING
        assert own(group) == ["a"]
        other = await pool.submit(works)
        assert await group.run(works) == "done"
        assert trio.current_time() == 4.0
        assert state_of(other) is QUEUED
    assert doors.entered == ["a", "a"]


async def test_a_worker_that_is_worn_out_is_set_aside_and_opened_anew(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=1.0)
    async with open_pool([Resource("a", name="a", max_jobs=1)], lifespan=doors.lifespan) as pool:
        await pool.submit(works)
        async with pool.open_group(reserve=1) as group:
            assert own(group) == ["a"]
            assert await group.run(works) == "done"
            assert doors.entered == ["a", "a"]


async def test_a_worker_that_its_own_rate_limit_holds_back_can_be_reserved(autojump_clock: MockClock) -> None:
    limited = Resource("a", name="a", rate_limit=RateLimit(1, per=5.0))
    async with open_pool([limited]) as pool:
        await pool.run(works)
        async with pool.open_group(reserve=1) as group:
            other = await pool.submit(works)
            assert await group.run(works) == "done"
            assert trio.current_time() == 5.0
            assert own(group) == ["a"]
        await other.wait()
        assert trio.current_time() == 10.0


async def test_a_reserved_worker_whose_lifespan_breaks_stays_with_the_group(autojump_clock: MockClock) -> None:
    scopes: list[trio.CancelScope] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            yield resource

    async with open_pool(named("a"), lifespan=lifespan) as pool, pool.open_group(reserve=1) as group:
        scopes[0].cancel()
        assert await group.run(works) == "done"
        assert own(group) == ["a"]
    assert len(scopes) == 2


# reserve: the end of the pool.


async def test_at_the_end_a_job_waits_for_the_group_that_has_its_worker(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def opens(pool: Pool[str]) -> None:
            async with pool.open_group(reserve=1):
                await trio.sleep(4.0)

        async with open_pool([Resource("a", tags=["x"]), Resource("b")]) as pool:
            nursery.start_soon(opens, pool)
            await wait_all_tasks_blocked()
            job = await pool.submit(works, requires=["x"])
        assert job.state is SUCCEEDED
        assert trio.current_time() == 4.0


async def test_at_the_end_a_job_that_nobody_may_take_dies_whatever_a_group_has(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def opens(pool: Pool[str]) -> None:
            async with pool.open_group(reserve=1):
                await trio.sleep(4.0)

        resources = ["a"]
        async with open_pool(resources, no_worker="wait", on_dead="keep") as pool:
            nursery.start_soon(opens, pool)
            await wait_all_tasks_blocked()
            job = await pool.submit(works, requires=["x"])
        assert job.dead_reason is DeadReason.NO_WORKER
        assert trio.current_time() == 0.0


async def test_at_the_end_a_group_that_waits_for_workers_gets_them_and_may_end(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def opens(pool: Pool[str]) -> None:
            async with pool.open_group(reserve=2) as group:
                assert trio.current_time() == 3.0
                with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
                    await group.submit(works)

        async with open_pool(list("ab")) as pool:
            await pool.submit(sleeps, 3.0)
            nursery.start_soon(opens, pool)
            await wait_all_tasks_blocked()
            queued = [await pool.submit(sleeps, 1.0) for _ in range(3)]
        assert [job.state for job in queued] == [SUCCEEDED] * 3
        assert_settled(pool)
