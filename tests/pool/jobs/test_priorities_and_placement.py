"""Which job starts next, and on which worker."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.pool.jobs.bouncing import BOUNCE, Failing, nap
from trio_pool import DeadReason, JobState, NoEligibleWorkerError, Pool, Resource, RetryPolicy, open_pool


async def whoami(resource: str) -> str:
    return resource


# Which job: priority and order


async def started(
    priorities: list[float], order: Literal["fifo", "lifo"] = "fifo", workers: int = 1
) -> list[tuple[float, int]]:
    """The order in which jobs of these priorities start that wait together, with their numbers."""
    found: list[tuple[float, int]] = []

    async def note(priority: float, number: int) -> None:
        found.append((priority, number))

    async with open_pool(workers, order=order) as pool:
        for _ in range(workers):
            pool.submit_nowait(trio.lowlevel.checkpoint)
        for number, priority in enumerate(priorities):
            pool.submit_nowait(note, priority, number, priority=priority)
    return found


async def test_lower_priorities_start_first() -> None:
    assert await started([3, 1, 2]) == [(1, 1), (2, 2), (3, 0)]


async def test_priorities_may_be_negative_and_fractional() -> None:
    assert await started([0, 0.5, -1, -1.5]) == [(-1.5, 3), (-1, 2), (0, 0), (0.5, 1)]


async def test_equal_priorities_start_in_the_order_in_which_they_entered() -> None:
    assert [number for _, number in await started([0] * 20)] == list(range(20))


async def test_lifo_starts_the_last_to_come_of_equal_priorities_first() -> None:
    assert [number for _, number in await started([0] * 20, order="lifo")] == list(range(20))[::-1]


async def test_lifo_still_starts_lower_priorities_first() -> None:
    assert await started([1, 0, 1, 0], order="lifo") == [(0, 3), (0, 1), (1, 2), (1, 0)]


async def test_a_priority_put_into_an_empty_pool_is_run() -> None:
    async with open_pool(["a"]) as pool:
        assert await pool.run(whoami, priority=-5) == "a"


@pytest.mark.parametrize(
    ("order", "expected"), [("fifo", "first second third first"), ("lifo", "first first third second")]
)
async def test_a_retry_enters_the_queue_anew(order: Literal["fifo", "lifo"], expected: str) -> None:
    starts: list[str] = []

    async def work(name: str) -> None:
        starts.append(name)
        if starts == ["first"]:
            raise ValueError("once")

    async with open_pool(1, order=order, retry=RetryPolicy.fixed(0)) as pool:
        for name in ("first", "second", "third"):
            pool.submit_nowait(work, name)
    assert starts == expected.split()


async def test_a_retry_keeps_its_priority() -> None:
    starts: list[str] = []

    async def work(name: str) -> None:
        starts.append(name)
        if starts == ["urgent"]:
            raise ValueError("once")

    async with open_pool(1, retry=RetryPolicy.fixed(0)) as pool:
        pool.submit_nowait(work, "urgent", priority=-1)
        pool.submit_nowait(work, "usual")
    assert starts == ["urgent", "urgent", "usual"]


async def test_a_job_that_this_worker_may_not_take_blocks_none_behind_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        first, _ = pool.workers
        await pool.submit(nap, 10, worker=first)
        await pool.submit(nap, 10, worker=first, priority=-9)
        assert await pool.run(whoami) == "b"
        assert trio.current_time() == 0


async def test_of_the_jobs_that_a_worker_may_take_the_first_starts_whatever_they_ask_for() -> None:
    starts: list[int] = []

    async def note(resource: str, number: int) -> None:
        starts.append(number)

    async with open_pool([Resource("a", tags=["gpu", "big"])]) as pool:
        [worker] = pool.workers
        pool.submit_nowait(nap, 0)
        pool.submit_nowait(note, 1, requires=["gpu"])
        pool.submit_nowait(note, 2)
        pool.submit_nowait(note, 3, worker=worker)
        pool.submit_nowait(note, 4, requires=["big", "gpu"])
        pool.submit_nowait(note, 0, worker=worker, priority=-1)
        pool.submit_nowait(note, 5, requires=["big"])
    assert starts == [0, 1, 2, 3, 4, 5]


# Which worker: pick


async def test_the_longest_idle_worker_is_picked_by_default(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool:
        a, b, c = pool.workers
        for worker in (b, c, a):
            await pool.run(nap, 1, worker=worker)
        assert [await pool.run(whoami) for _ in range(4)] == ["b", "c", "a", "b"]


async def test_the_last_used_worker_stays_in_use(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"], pick="last_used") as pool:
        await pool.run(nap, 1, worker=pool.workers[1])
        assert [await pool.run(whoami) for _ in range(4)] == ["b"] * 4


async def test_random_picks_each_of_them_now_and_then() -> None:
    async with open_pool(["a", "b", "c"], pick="random", rng=Random(0)) as pool:
        picked = [await pool.run(whoami) for _ in range(300)]
    assert {name: 70 < picked.count(name) < 130 for name in "abc"} == {"a": True, "b": True, "c": True}


@pytest.mark.parametrize("pick", ["longest_idle", "last_used", "random"])
async def test_only_workers_that_may_take_the_job_are_picked_from(
    pick: Literal["longest_idle", "last_used", "random"],
) -> None:
    resources = [Resource(name, tags=["gpu"] if name in "bd" else []) for name in "abcd"]
    async with open_pool(resources, pick=pick) as pool:
        picked = {await pool.run(whoami, requires=["gpu"]) for _ in range(30)}
    assert picked <= {"b", "d"}


async def test_idle_workers_are_listed_the_longest_idle_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        a, b = pool.workers
        await pool.run(nap, worker=a)
        assert pool.idle_workers == (b, a)


# Which worker: requires


async def test_a_job_runs_only_where_all_its_tags_are(autojump_clock: MockClock) -> None:
    resources = [
        Resource("none"),
        Resource("gpu", tags=["gpu"]),
        Resource("both", tags=["gpu", "big"]),
        Resource("big", tags=["big"]),
    ]
    async with open_pool(resources) as pool:
        jobs = [await pool.submit(nap, requires=["gpu", "big"]) for _ in range(4)]
    assert [job.result() for job in jobs] == ["both"] * 4
    assert trio.current_time() == 4


async def test_a_job_without_tags_runs_anywhere(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("gpu", tags=["gpu"]), Resource("plain")]) as pool:
        jobs = [await pool.submit(nap) for _ in range(2)]
    assert {job.result() for job in jobs} == {"gpu", "plain"}


async def test_a_job_waits_for_the_worker_with_its_tags_though_others_are_idle(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("gpu", tags=["gpu"]), Resource("plain")]) as pool:
        await pool.submit(nap, 5, requires=["gpu"])
        assert await pool.run(whoami, requires=["gpu"]) == "gpu"
        assert trio.current_time() == 5


# Which worker: worker=


async def test_worker_names_the_only_one_that_may_run_the_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        _, second = pool.workers
        jobs = [await pool.submit(nap, worker=second) for _ in range(3)]
    assert [job.result() for job in jobs] == ["b"] * 3
    assert trio.current_time() == 3


async def test_worker_goes_before_the_placement_of_a_retry() -> None:
    failing = Failing(3)
    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        await pool.run(failing, worker=pool.workers[1])
    assert failing.places == ["b"] * 4


async def test_worker_and_requires_hold_together() -> None:
    async with open_pool([Resource("gpu", tags=["gpu"]), Resource("plain")]) as pool:
        gpu, plain = pool.workers
        assert await pool.run(whoami, worker=gpu, requires=["gpu"]) == "gpu"
        with pytest.raises(NoEligibleWorkerError):
            await pool.run(whoami, worker=plain, requires=["gpu"])


# Nobody may take it: no_worker


def of_a_tag_nobody_has(pool: Pool[str]) -> dict[str, Any]:
    return {"requires": ["gpu"]}


def of_tags_nobody_has_together(pool: Pool[str]) -> dict[str, Any]:
    return {"requires": ["red", "green"]}


hopeless = pytest.mark.parametrize("wish", [of_a_tag_nobody_has, of_tags_nobody_has_together])
Wish = Callable[[Pool[str]], dict[str, Any]]
COLORS = [Resource("a", tags=["red"]), Resource("b", tags=["green"])]


@hopeless
async def test_reject_turns_away_a_job_that_no_worker_may_take(wish: Wish) -> None:
    async with open_pool(COLORS) as pool:
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(whoami, **wish(pool))
        with pytest.raises(NoEligibleWorkerError):
            pool.submit_nowait(whoami, **wish(pool))
        with pytest.raises(NoEligibleWorkerError):
            await pool.run(whoami, **wish(pool))
    assert pool.statistics().submitted == 0


async def test_reject_turns_away_a_job_of_a_worker_that_has_left() -> None:
    async with open_pool(["a", "b"]) as pool:
        first, _ = pool.workers
        await first.remove()
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(whoami, worker=first)


@hopeless
async def test_bury_makes_such_a_job_dead(wish: Wish) -> None:
    async with open_pool(COLORS, no_worker="bury", on_dead="keep") as pool:
        job = await pool.submit(whoami, **wish(pool))
        assert job.state is JobState.DEAD
    assert job.dead_reason is DeadReason.NO_WORKER
    assert list(pool.dead) == [job]


async def test_bury_buries_what_is_queued_when_the_last_worker_that_may_take_it_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(COLORS, no_worker="bury", on_dead="keep") as pool:
        red, _ = pool.workers
        await pool.submit(nap, 5, worker=red)
        job = await pool.submit(whoami, requires=["red"])
        await red.remove()
        assert job.dead_reason is DeadReason.NO_WORKER


@hopeless
async def test_wait_keeps_such_a_job_for_a_worker_that_may_come(wish: Wish) -> None:
    async with open_pool(COLORS, no_worker="wait") as pool:
        job = await pool.submit(whoami, **wish(pool))
        await wait_all_tasks_blocked()
        assert job.state is JobState.QUEUED
        await pool.add("late", tags=["red", "green", "gpu"])
        assert await job.wait() == "late"


async def test_wait_keeps_what_is_queued_when_the_last_worker_that_may_take_it_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(COLORS, no_worker="wait") as pool:
        red, _ = pool.workers
        await pool.submit(nap, 5, worker=red)
        job = await pool.submit(whoami, requires=["red"])
        await red.remove()
        assert job.state is JobState.QUEUED
        await pool.add("late", tags=["red"])
        assert await job.wait() == "late"


@pytest.mark.parametrize("held_back", ["paused", "resting", "busy"])
async def test_a_worker_that_is_held_back_still_counts(held_back: str, autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        [worker] = pool.workers
        if held_back == "paused":
            worker.pause()
        elif held_back == "resting":
            worker.rest(5)
        else:
            await pool.submit(nap, 5)
        job = await pool.submit(whoami)
        assert job.state is JobState.QUEUED
        worker.resume()
        assert await job.wait() == "a"
