"""4.9: how many attempts of a group run at once, and which workers it has for itself."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, Mint, fails, sleeps, sleeps_forever, state_of, works
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Elastic,
    Hedge,
    Job,
    JobFailedError,
    JobGroup,
    JobState,
    Pool,
    PoolClosedError,
    RateLimit,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
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


class Meter:
    """A function that takes a second; knows how many of its calls have been under way at once."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.calls: Counter[str] = Counter()

    async def __call__(self, resource: str, name: str = "") -> str:
        self.now += 1
        self.most = max(self.most, self.now)
        self.calls[resource] += 1
        try:
            await trio.sleep(1.0)
        finally:
            self.now -= 1
        return name


def own(group: JobGroup[Any]) -> list[str]:
    """The names of the workers that the group has for itself."""
    return sorted(worker.name for worker in group.statistics().workers)


def worker_of(job: Job[Any]) -> Worker:
    """The worker that runs it."""
    assert job.worker is not None
    return job.worker


def named(*names: str) -> list[Resource[str]]:
    """Resources that are called like their workers."""
    return [Resource(name, name=name) for name in names]


# max_running.


async def test_max_running_bounds_the_attempts_of_the_group(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abcd")) as pool:
        async with pool.open_group(max_running=2) as group:
            for _ in range(6):
                await group.submit(meter)
            await wait_all_tasks_blocked()
            assert (group.statistics().running, group.statistics().queued) == (2, 4)
            assert len(pool.idle_workers) == 2
        assert trio.current_time() == 3.0
    assert meter.most == 2


async def test_max_running_of_one_makes_the_group_sequential(autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool, pool.open_group(max_running=1) as group:
        async with group.map(meter, "uvwxyz") as results:
            assert [name async for name in results] == list("uvwxyz")
        assert trio.current_time() == 6.0
    assert meter.most == 1


@pytest.mark.parametrize("limit", [None, float("inf"), 10])
async def test_more_than_the_workers_is_no_bound(limit: float | None, autojump_clock: MockClock) -> None:
    meter = Meter()
    async with open_pool(list("abc")) as pool, pool.open_group(max_running=limit) as group:
        for _ in range(6):
            await group.submit(meter)
    assert meter.most == 3
    assert trio.current_time() == 2.0


@pytest.mark.parametrize("pick", PICKS)
async def test_a_full_group_does_not_hold_up_jobs_behind_it(pick: Pick, autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), pick=pick, rng=Random(1)) as pool, pool.open_group(max_running=1) as group:
        waiting = [await group.submit(sleeps, 10.0, priority=-1) for _ in range(5)]
        async with pool.open_group() as other:
            for _ in range(5):
                await other.submit(sleeps, 1.0)
        assert trio.current_time() == 5.0
        assert await pool.run(works, priority=5) == "done"
        for job in waiting:
            job.cancel()


async def test_full_groups_do_not_hold_up_each_other(autojump_clock: MockClock) -> None:
    async with open_pool(list("abc")) as pool:
        async with pool.open_group(max_running=1) as one, pool.open_group(max_running=2) as two:
            for _ in range(4):
                await one.submit(sleeps, 1.0)
            for _ in range(4):
                await two.submit(sleeps, 1.0)
            await two.join()
            assert trio.current_time() == 2.0
        assert trio.current_time() == 4.0


async def test_the_jobs_of_a_full_group_start_in_the_order_of_the_queue(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)
        await trio.sleep(1.0)

    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        await group.submit(notes, "first")
        await group.submit(notes, "fourth", priority=1)
        await group.submit(notes, "second", priority=-1)
        await group.submit(notes, "third")
    assert started == ["first", "second", "third", "fourth"]


async def test_a_retry_at_once_goes_behind_those_of_its_group_that_wait(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)
        await trio.sleep(1.0)
        if started == ["first"]:
            raise ValueError

    async with (
        open_pool(list("ab"), retry=RetryPolicy.fixed(0.0)) as pool,
        pool.open_group(max_running=1) as group,
    ):
        await group.submit(notes, "first")
        await group.submit(notes, "second")
    assert started == ["first", "second", "first"]


async def test_a_job_that_backs_off_leaves_room_for_another(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("ab"), retry=RetryPolicy.fixed(10.0)) as pool,
        pool.open_group(max_running=1) as group,
    ):
        flaky = await group.submit(Flaky(1, result="done"))
        await group.submit(sleeps, 4.0)
        await group.submit(sleeps, 4.0)
        await group.submit(sleeps, 4.0)
        assert await flaky.wait() == "done"
        assert trio.current_time() == 12.0  # due at 10, while the group was full


async def test_a_cancelled_job_leaves_room_for_another(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        first = await group.submit(sleeps_forever)
        second = await group.submit(works)
        await trio.sleep(1.0)
        first.cancel()
        assert await second.wait() == "done"
        assert trio.current_time() == 1.0


async def test_a_job_whose_worker_is_removed_goes_on_elsewhere(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        first = await group.submit(sleeps, 2.0)
        await group.submit(sleeps, 2.0)
        await trio.sleep(1.0)
        await worker_of(first).remove(cancel=True)
        await first.wait()
        assert trio.current_time() == 3.0


async def test_the_bound_of_the_group_and_that_of_the_pool_both_hold(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("abcd"), max_running=3) as pool,
        pool.open_group(max_running=2) as group,
        pool.open_group() as other,
    ):
        for _ in range(4):
            await group.submit(sleeps, 1.0)
        for _ in range(4):
            await other.submit(sleeps, 1.0)
        await wait_all_tasks_blocked()
        assert (group.statistics().running, other.statistics().running) == (2, 1)
        pool.max_running = 1
        await trio.sleep(1.5)
        assert pool.statistics().running == 1
        pool.max_running = None
        await wait_all_tasks_blocked()
        assert (group.statistics().running, other.statistics().running) == (2, 2)


async def test_the_bound_of_the_group_and_the_rate_of_the_pool_both_hold(autojump_clock: MockClock) -> None:
    async with (
        open_pool(list("abcd"), rate_limit=RateLimit(1)) as pool,
        pool.open_group(max_running=1) as group,
        pool.open_group() as other,
    ):
        jobs = [await group.submit(sleeps, 1.5) for _ in range(2)]
        jobs += [await other.submit(sleeps, 1.5) for _ in range(2)]
    starts = [job.attempts[0].started_at for job in jobs]
    assert starts == [0.0, 2.0, 1.0, 3.0]


async def test_a_full_group_starts_nothing_with_idle_only(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        assert group.submit_nowait(sleeps, 1.0, idle_only=True).state is RUNNING
        with pytest.raises(trio.WouldBlock):
            group.submit_nowait(works, idle_only=True)
        assert pool.submit_nowait(works, idle_only=True).state is RUNNING


@pytest.mark.parametrize("option", ["worker", "requires"])
async def test_jobs_that_only_one_worker_may_take_wait_for_the_group_too(
    option: str, autojump_clock: MockClock
) -> None:
    async with (
        open_pool([Resource("a"), Resource("b", tags=["x"])]) as pool,
        pool.open_group(max_running=1) as group,
    ):
        options: Any = {option: pool.workers[1] if option == "worker" else ["x"]}
        await group.submit(sleeps, 1.0)
        job = await group.submit(sleeps, 1.0, **options)
        last = await group.submit(sleeps, 1.0)
        await wait_all_tasks_blocked()
        assert state_of(job) is QUEUED
        await job.wait()
        assert trio.current_time() == 2.0
        assert job.attempts[0].worker_id == 2
        assert state_of(last) is RUNNING


async def test_a_bounced_job_of_a_full_group_still_goes_to_another_worker(autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def fails_on_a(resource: str) -> None:
        calls.append(resource)
        await trio.sleep(1.0)
        if resource == "a":
            raise ValueError

    policy = RetryPolicy(base_delay=0, placement="other")
    async with open_pool(list("ab"), retry=policy) as pool, pool.open_group(max_running=1) as group:
        await group.submit(fails_on_a)
        await group.submit(sleeps, 5.0)
    assert calls == ["a", "b"]
    assert trio.current_time() == 7.0


async def test_a_full_group_that_fills_the_queue_does_not_keep_others_from_idle_workers(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(list("ab"), max_queue=2) as pool, pool.open_group(max_running=1) as group:
        for _ in range(3):
            await group.submit(sleeps, 10.0)
        with pytest.raises(trio.WouldBlock):
            group.submit_nowait(works)
        assert pool.submit_nowait(works).state is RUNNING
        assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0


async def test_whoever_waits_for_a_place_behind_a_full_group_gets_the_next_free_worker(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(list("ab"), max_queue=1) as pool, pool.open_group(max_running=1) as group:
        await group.submit(sleeps, 10.0)
        await pool.submit(sleeps, 1.0)
        await group.submit(sleeps, 10.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.submit, works)
            await wait_all_tasks_blocked()
            assert await pool.run(works) == "done"  # past the one that waits for its group
            assert trio.current_time() == 1.0


async def test_whoever_waits_for_a_place_in_a_full_group_gets_in_when_it_has_room(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=0) as pool, pool.open_group(max_running=1) as group:
        await group.submit(sleeps, 2.0)
        job = await group.submit(works)
        assert trio.current_time() == 2.0
        assert await job.wait() == "done"


async def test_a_parent_does_not_count_in_the_group_that_it_opens(autojump_clock: MockClock) -> None:
    async def divides(resource: str) -> float:
        async with pool.open_group(max_running=1) as inner:
            await inner.submit(sleeps, 1.0)
            await inner.submit(sleeps, 1.0)
        return trio.current_time()

    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as outer:
        assert await outer.run(divides) == 2.0


async def test_of_equal_jobs_the_newest_starts_first_in_a_lifo_pool(autojump_clock: MockClock) -> None:
    started: list[int] = []

    async def notes(resource: str, number: int) -> None:
        started.append(number)
        await trio.sleep(1.0)

    async with open_pool(list("ab"), order="lifo") as pool, pool.open_group(max_running=1) as group:
        for number in range(4):
            await group.submit(notes, number)
    assert started == [0, 3, 2, 1]


async def test_the_pool_ends_only_when_a_full_group_has_run_through(autojump_clock: MockClock) -> None:
    async def opens(pool: Pool[str]) -> None:
        async with pool.open_group(max_running=1) as group:
            for _ in range(3):
                await group.submit(sleeps, 1.0)

    async with trio.open_nursery() as nursery, open_pool(["a", "b"]) as pool:
        nursery.start_soon(opens, pool)
        await wait_all_tasks_blocked()
    assert pool.statistics().succeeded == 3
    assert trio.current_time() == 3.0


async def test_each_worker_of_a_hedged_attempt_counts(autojump_clock: MockClock) -> None:
    async with open_pool(list("abc")) as pool, pool.open_group(max_running=2) as group:
        hedged = await group.submit(sleeps, 10.0, hedge=Hedge(1.0))
        await trio.sleep(2.0)
        job = await group.submit(works)
        await wait_all_tasks_blocked()
        assert [state_of(hedged), state_of(job)] == [RUNNING, QUEUED]
        assert await pool.run(works) == "done"
        hedged.cancel()
        assert await job.wait() == "done"
        assert trio.current_time() == 2.0


async def test_a_full_group_starts_no_hedge(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group(max_running=1) as group:
        job = await group.submit(sleeps, 5.0, hedge=Hedge(1.0))
        await job.wait()
        assert job.attempts[0].hedges == ()


async def test_an_elastic_pool_opens_no_workers_for_jobs_of_a_full_group(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=10)) as pool:
        async with pool.open_group(max_running=2) as group:
            for _ in range(6):
                await group.submit(sleeps, 1.0)
            await trio.sleep(0.5)
            assert len(mint.called) == 2
            await pool.submit(sleeps, 1.0)
            await wait_all_tasks_blocked()
            assert len(mint.called) == 3
        assert trio.current_time() == 3.0


# reserve: entering.


async def test_idle_workers_are_reserved_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b", "c")) as pool:
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 0.0
            assert own(group) == ["a", "b"]
        assert group.statistics().workers == ()


async def test_entering_waits_until_attempts_under_way_have_ended(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 3.0)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 3.0
            assert own(group) == ["a", "b"]


async def test_workers_are_set_aside_one_by_one(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool:
        jobs = [await pool.submit(sleeps, 1.0), await pool.submit(sleeps, 3.0)]
        jobs += [await pool.submit(sleeps, 1.0) for _ in range(2)]
        async with pool.open_group(reserve=2):
            assert trio.current_time() == 3.0
            assert [state_of(job) for job in jobs] == [SUCCEEDED, SUCCEEDED, QUEUED, QUEUED]


async def test_retries_do_not_keep_a_worker_from_being_set_aside(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.immediate(max_attempts=None)) as pool:
        job = await pool.submit(Flaky(1_000_000))
        async with pool.open_group(reserve=1) as group:
            assert await group.run(works) == "done"
        job.cancel()


async def test_groups_get_their_workers_first_come_first_served(autojump_clock: MockClock) -> None:
    entered: list[tuple[str, float]] = []

    async def opens(pool: Pool[str], name: str, reserve: int) -> None:
        async with pool.open_group(reserve=reserve):
            entered.append((name, trio.current_time()))
            await trio.sleep(10.0)

    async with open_pool(list("abc")) as pool, trio.open_nursery() as nursery:
        for seconds in (1.0, 2.0, 3.0):
            await pool.submit(sleeps, seconds)
        for name, reserve in (("big", 2), ("small", 1), ("late", 1)):
            nursery.start_soon(opens, pool, name, reserve)
            await wait_all_tasks_blocked()
    assert entered == [("big", 2.0), ("small", 3.0), ("late", 12.0)]


async def test_a_group_without_workers_of_its_own_need_not_wait(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0)

        async def reserves() -> None:
            async with pool.open_group(reserve=1):
                pass

        nursery.start_soon(reserves)
        await wait_all_tasks_blocked()
        async with pool.open_group():
            assert trio.current_time() == 0.0


async def test_cancelled_while_entering_it_gives_back_what_it_has(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 9.0)
        entered = False
        with trio.move_on_after(2.0) as scope:
            async with pool.open_group(reserve=2):
                entered = True
        assert scope.cancelled_caught
        assert not entered
        assert await pool.run(works) == "done"
        assert trio.current_time() == 2.0


async def test_what_waits_for_a_worker_goes_on_when_entering_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 9.0)
        queued = await pool.submit(works)
        with trio.move_on_after(2.0):
            async with pool.open_group(reserve=2):
                pass
        assert await queued.wait() == "done"
        assert trio.current_time() == 2.0


async def test_the_next_group_goes_on_when_entering_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 9.0)

        async def gives_up() -> None:
            with trio.move_on_after(2.0):
                async with pool.open_group(reserve=2):
                    pass

        nursery.start_soon(gives_up)
        await wait_all_tasks_blocked()
        async with pool.open_group(reserve=1) as group:
            assert trio.current_time() == 2.0
            assert await group.run(works) == "done"


async def test_a_paused_worker_is_not_set_aside_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, trio.open_nursery() as nursery:
        worker = pool.workers[0]
        worker.pause()

        async def resumes() -> None:
            await trio.sleep(4.0)
            worker.resume()

        nursery.start_soon(resumes)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 4.0
            assert own(group) == ["a", "b"]


async def test_a_worker_that_is_added_is_set_aside(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps_forever)

        async def adds() -> None:
            await trio.sleep(4.0)
            await pool.add("c", name="c")

        nursery.start_soon(adds)
        async with pool.open_group(reserve=2) as group:
            assert trio.current_time() == 4.0
            assert own(group) == ["b", "c"]
        for job in pool.jobs():
            job.cancel()


async def test_more_than_the_pool_can_have_is_an_error_at_once() -> None:
    message = r"^reserve must be at most 2, all the workers that the pool can have, got 3$"
    async with open_pool(list("ab")) as pool, open_pool(2) as slots:
        with pytest.raises(ValueError, match=message):
            pool.open_group(reserve=3)
        with pytest.raises(ValueError, match=message):
            slots.open_group(reserve=3)


async def test_workers_that_have_been_added_can_be_reserved_and_those_removed_can_not(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(list("ab")) as pool:
        added = await pool.add("c")
        async with pool.open_group(reserve=3):
            pass
        await pool.submit(sleeps, 1.0, worker=added)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(added.remove)
            await wait_all_tasks_blocked()
            with pytest.raises(ValueError, match="reserve must be at most 2"):
                pool.open_group(reserve=3)


async def test_a_pool_without_workers_has_none_to_reserve() -> None:
    nobody: list[str] = []
    async with open_pool(nobody, no_worker="wait") as pool:
        with pytest.raises(ValueError, match="reserve must be at most 0"):
            pool.open_group(reserve=1)
        async with pool.open_group():
            pass


async def test_the_pool_ends_before_a_group_has_its_workers(autojump_clock: MockClock) -> None:
    async def opens(pool: Pool[str]) -> None:
        await trio.sleep(1.0)
        with pytest.raises(PoolClosedError, match=r"^the pool ended before the group had its workers$"):
            async with pool.open_group(reserve=2):
                pass

    async with trio.open_nursery() as nursery:
        async with open_pool(list("ab")) as pool:
            nursery.start_soon(opens, pool)
            await pool.submit(sleeps_forever)
            await trio.sleep(2.0)
            pool.cancel()
        assert trio.current_time() == 2.0


async def test_the_pool_does_not_wait_for_a_worker_that_a_group_wants_but_no_job(autojump_clock: MockClock) -> None:
    async def opens(pool: Pool[str]) -> None:
        with pytest.raises(PoolClosedError, match=r"^the pool ended before the group had its workers$"):
            async with pool.open_group(reserve=2):
                pass

    async with trio.open_nursery() as nursery, open_pool(["a", "b"]) as pool:
        pool.workers[0].rest(100.0)
        nursery.start_soon(opens, pool)
        await wait_all_tasks_blocked()
    assert trio.current_time() == 0.0


async def test_a_group_of_the_body_that_waits_for_workers_ends_with_the_pool(autojump_clock: MockClock) -> None:
    entered = False
    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:

        async def cancels() -> None:
            await trio.sleep(1.0)
            pool.cancel()

        await pool.submit(sleeps_forever)
        nursery.start_soon(cancels)
        async with pool.open_group(reserve=2):
            entered = True
    assert not entered
    assert trio.current_time() == 1.0


async def test_a_job_may_open_a_group_with_workers_beside_its_own(autojump_clock: MockClock) -> None:
    async def divides(resource: str) -> list[str]:
        async with pool.open_group(reserve=2) as group:
            names = own(group)
            for _ in range(4):
                await group.submit(sleeps, 1.0)
        return names

    async with open_pool(named("a", "b", "c")) as pool:
        assert await pool.run(divides) == ["b", "c"]
        assert trio.current_time() == 2.0


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


# reserve: elastic pools.


async def test_an_elastic_pool_opens_the_workers_that_a_group_wants(autojump_clock: MockClock) -> None:
    mint = Mint(seconds_in=2.0)
    async with open_pool(Elastic(mint, max=5)) as pool, pool.open_group(reserve=3) as group:
        assert trio.current_time() == 2.0
        assert len(group.statistics().workers) == 3
    assert mint.called == [0.0] * 3


async def test_an_elastic_pool_opens_only_what_is_missing(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, min=2, max=5)) as pool, pool.open_group(reserve=3):
        pass
    assert len(mint.called) == 3


async def test_an_elastic_pool_opens_workers_for_others_beside_the_reserved_ones(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=3)) as pool, pool.open_group(reserve=2):
        for _ in range(4):
            await pool.submit(sleeps, 1.0)
        await pool.join()
        assert trio.current_time() == 4.0
        assert len(mint.called) == 3


async def test_an_elastic_pool_has_no_more_to_reserve_than_its_most() -> None:
    async with open_pool(Elastic(Mint(), max=3)) as pool:
        with pytest.raises(ValueError, match="reserve must be at most 3"):
            pool.open_group(reserve=4)


async def test_workers_that_the_program_has_added_to_an_elastic_pool_can_be_reserved_too(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(Elastic(Mint(), max=2)) as pool:
        await pool.add(7)
        async with pool.open_group(reserve=3) as group:
            assert len(group.statistics().workers) == 3
        with pytest.raises(ValueError, match="reserve must be at most 3"):
            pool.open_group(reserve=4)


async def test_reserved_workers_are_not_retired(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5, idle_timeout=10.0)) as pool:
        async with pool.open_group(reserve=2) as group:
            await trio.sleep(100.0)
            assert len(group.statistics().workers) == 2
        await trio.sleep(20.0)
        assert pool.workers == ()
    assert len(mint.called) == 2


async def test_an_elastic_pool_goes_on_trying_for_a_group_that_waits(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=[OSError("no answer") for _ in range(3)])
    async with open_pool(Elastic(mint, max=5), rng=Random(0)) as pool, pool.open_group(reserve=1) as group:
        assert await group.run(works) == "done"
    assert len(mint.called) == 4


async def test_an_elastic_pool_stops_trying_when_the_group_no_longer_waits(autojump_clock: MockClock) -> None:
    mint = Mint(errors_in=[OSError("no answer") for _ in range(1000)])
    async with open_pool(Elastic(mint, max=5), rng=Random(0)) as pool:
        with trio.move_on_after(10.0) as scope:
            async with pool.open_group(reserve=1):
                pass
        assert scope.cancelled_caught
        tried = len(mint.called)
        await trio.sleep(1000.0)
        assert pool.workers == ()
        assert len(mint.called) == tried
