"""Which job starts next, and on which worker."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_pool import (
    DeadReason,
    Job,
    JobState,
    NoEligibleWorkerError,
    Pool,
    Resource,
    RetryPolicy,
    open_pool,
)

BOUNCE = RetryPolicy.immediate(placement="other", max_attempts=None, front=False)


async def nap(resource: str, seconds: float = 1) -> str:
    await trio.sleep(seconds)
    return resource


async def whoami(resource: str) -> str:
    return resource


class Failing:
    """Fails on the resources given, one call after another, and notes where it was called."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.places: list[str] = []

    async def __call__(self, resource: str) -> str:
        self.places.append(resource)
        await trio.lowlevel.checkpoint()
        if len(self.places) <= self.times:
            raise ValueError("no luck")
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
COLOURS = [Resource("a", tags=["red"]), Resource("b", tags=["green"])]


@hopeless
async def test_reject_turns_away_a_job_that_no_worker_may_take(wish: Wish) -> None:
    async with open_pool(COLOURS) as pool:
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


async def test_reject_buries_what_is_queued_when_the_last_worker_that_may_take_it_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(COLOURS, on_dead="keep") as pool:
        red, _ = pool.workers
        await pool.submit(nap, 5, worker=red)
        by_tag = await pool.submit(whoami, requires=["red"])
        by_worker = await pool.submit(whoami, worker=red)
        anyones = await pool.submit(whoami)
        await red.remove()
    assert by_tag.dead_reason is DeadReason.NO_WORKER
    assert by_worker.dead_reason is DeadReason.NO_WORKER
    assert anyones.result() == "b"


@hopeless
async def test_bury_makes_such_a_job_dead(wish: Wish) -> None:
    async with open_pool(COLOURS, no_worker="bury", on_dead="keep") as pool:
        job = await pool.submit(whoami, **wish(pool))
        assert job.state is JobState.DEAD
    assert job.dead_reason is DeadReason.NO_WORKER
    assert list(pool.dead) == [job]


async def test_bury_buries_what_is_queued_when_the_last_worker_that_may_take_it_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(COLOURS, no_worker="bury", on_dead="keep") as pool:
        red, _ = pool.workers
        await pool.submit(nap, 5, worker=red)
        job = await pool.submit(whoami, requires=["red"])
        await red.remove()
        assert job.dead_reason is DeadReason.NO_WORKER


@hopeless
async def test_wait_keeps_such_a_job_for_a_worker_that_may_come(wish: Wish) -> None:
    async with open_pool(COLOURS, no_worker="wait") as pool:
        job = await pool.submit(whoami, **wish(pool))
        await wait_all_tasks_blocked()
        assert job.state is JobState.QUEUED
        await pool.add("late", tags=["red", "green", "gpu"])
        assert await job.wait() == "late"


async def test_wait_keeps_what_is_queued_when_the_last_worker_that_may_take_it_leaves(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(COLOURS, no_worker="wait") as pool:
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


async def test_a_retry_that_nobody_may_take_any_more_is_buried(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(5), on_dead="keep") as pool:
        first, _ = pool.workers
        job = await pool.submit(Failing(9), worker=first)
        await trio.sleep(1)
        assert job.state is JobState.DELAYED
        await first.remove()
        await trio.sleep(5)
        assert job.dead_reason is DeadReason.NO_WORKER


# Where a retry goes: any, same, other


async def test_anywhere_a_retry_goes_to_whichever_worker_is_free(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(5)) as pool:
        first, second = pool.workers
        job = await pool.submit(failing)
        await trio.sleep(1)
        second.pause()
        assert await job.wait() == "a"
        assert first.job is None


async def test_on_the_same_worker_a_retry_waits_for_it(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(1, placement="same")) as pool:
        first, _ = pool.workers
        job = await pool.submit(failing, worker=None)
        await wait_all_tasks_blocked()
        await pool.submit(nap, 10, worker=first)
        await job.wait()
    assert failing.places == ["a", "a"]
    assert job.attempts[-1].started_at == 10


async def test_on_the_same_worker_a_retry_waits_for_one_that_is_paused(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=RetryPolicy.immediate()) as pool:
        first, _ = pool.workers
        job = await pool.submit(failing)
        first.pause()
        await trio.sleep(3)
        assert job.state is JobState.QUEUED
        first.resume()
        await job.wait()
    assert failing.places == ["a", "a"]


async def test_same_means_the_worker_of_the_last_attempt(autojump_clock: MockClock) -> None:
    failing = Failing(2)
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(1, placement="same")) as pool:
        job = await pool.submit(failing)
        await job.wait()
    assert len(set(failing.places)) == 1


@pytest.mark.parametrize("when", ["delayed", "queued"])
async def test_a_retry_does_not_wait_for_the_same_worker_once_it_has_left(when: str, autojump_clock: MockClock) -> None:
    failing = Failing(1)
    delay = 5 if when == "delayed" else 0
    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(delay, placement="same")) as pool:
        first, _ = pool.workers
        job = await pool.submit(failing)
        first.pause()
        await trio.sleep(1)
        await first.remove()
        assert await job.wait() == "b"


async def test_the_bounce_goes_to_another_worker(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        await pool.run(failing)
    assert failing.places == ["a", "b"]


async def test_the_bounce_waits_for_a_busy_worker_rather_than_fail_in_the_same_place(
    autojump_clock: MockClock,
) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        first, second = pool.workers
        await pool.submit(nap, 10, worker=second)
        job = await pool.submit(failing)
        await trio.sleep(5)
        assert (job.state, first.job) == (JobState.QUEUED, None)
        await job.wait()
    assert failing.places == ["a", "b"]
    assert job.attempts[-1].started_at == 10


async def test_the_bounce_visits_every_worker_in_a_round() -> None:
    failing = Failing(3)
    async with open_pool(["a", "b", "c", "d"], retry=BOUNCE) as pool:
        await pool.run(failing)
    assert sorted(failing.places) == ["a", "b", "c", "d"]


async def test_after_a_round_the_next_one_starts_but_not_with_the_last_worker() -> None:
    failing = Failing(59)
    async with open_pool(["a", "b", "c"], retry=BOUNCE, pick="random", rng=Random(1)) as pool:
        await pool.run(failing)
    rounds = [failing.places[start : start + 3] for start in range(0, 60, 3)]
    assert [sorted(each) for each in rounds] == [["a", "b", "c"]] * 20
    assert all(before != after for before, after in zip(failing.places, failing.places[1:], strict=False))


async def test_the_only_worker_there_is_gets_the_bounced_job_again() -> None:
    failing = Failing(5)
    async with open_pool(["a"], retry=BOUNCE) as pool:
        assert await pool.run(failing) == "a"
    assert failing.places == ["a"] * 6


async def test_the_bounce_knows_only_workers_that_have_the_tags() -> None:
    failing = Failing(4)
    resources = [Resource("a", tags=["gpu"]), Resource("b"), Resource("c", tags=["gpu"])]
    async with open_pool(resources, retry=BOUNCE) as pool:
        await pool.run(failing, requires=["gpu"])
    assert failing.places == ["a", "c", "a", "c", "a"]


async def test_the_bounce_is_on_whatever_other_options_are_there(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    retry = RetryPolicy(placement="other", max_attempts=2)
    async with open_pool(["a", "b"], retry=retry, history=False, pick="last_used", order="lifo") as pool:
        await pool.run(failing)
    assert sorted(failing.places) == ["a", "b"]


@pytest.mark.parametrize("held_back", ["paused", "resting"])
async def test_a_worker_that_is_held_back_is_not_waited_for_by_the_bounce(
    held_back: str, autojump_clock: MockClock
) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        _, second = pool.workers
        if held_back == "paused":
            second.pause()
        else:
            second.rest(100)
        await pool.run(failing)
        assert trio.current_time() == 0
    assert failing.places == ["a", "a"]


async def waiting_bounce(pool: Pool[str], failing: Failing) -> Job[str]:
    """A job that has failed on the first worker and waits for the second, which is busy."""
    first, second = pool.workers[:2]
    await pool.submit(nap, 100, worker=second)
    job = await pool.submit(failing, worker=None)
    await wait_all_tasks_blocked()
    assert job.state is JobState.QUEUED
    assert failing.places == [first.resource]
    return job


@pytest.mark.parametrize("event", ["pause", "rest", "remove"])
async def test_when_the_awaited_worker_becomes_unavailable_the_round_is_over(
    event: str, autojump_clock: MockClock
) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        _, second = pool.workers
        job = await waiting_bounce(pool, failing)
        async with trio.open_nursery() as nursery:
            if event == "pause":
                second.pause()
            elif event == "rest":
                second.rest(1000)
            else:
                nursery.start_soon(second.remove)
            assert await job.wait() == "a"
            assert trio.current_time() == 0


async def test_when_a_new_worker_comes_the_bounced_job_goes_there(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b"], retry=BOUNCE) as pool:
        job = await waiting_bounce(pool, failing)
        await pool.add("c")
        assert await job.wait() == "c"
        assert trio.current_time() == 0


async def test_when_another_worker_is_resumed_the_bounced_job_goes_there(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b", "c"], retry=BOUNCE) as pool:
        third = pool.workers[2]
        third.pause()
        job = await waiting_bounce(pool, failing)
        third.resume()
        assert await job.wait() == "c"


async def test_when_a_rest_ends_the_bounced_job_goes_there(autojump_clock: MockClock) -> None:
    failing = Failing(1)
    async with open_pool(["a", "b", "c"], retry=BOUNCE) as pool:
        pool.workers[2].rest(7)
        job = await waiting_bounce(pool, failing)
        assert await job.wait() == "c"
        assert trio.current_time() == 7


async def test_the_bounce_remembers_a_worker_that_was_away_for_a_while(autojump_clock: MockClock) -> None:
    failing = Failing(2)
    async with open_pool(["a", "b", "c"], retry=RetryPolicy.fixed(1, placement="other")) as pool:
        first, _, third = pool.workers
        third.pause()
        job = await pool.submit(failing)
        await job.wait_started()
        first.pause()
        await trio.sleep(1.5)
        first.resume()
        third.resume()
        await job.wait()
    assert failing.places == ["a", "b", "c"]


async def test_a_job_never_waits_beside_an_idle_worker_that_may_take_it(autojump_clock: MockClock) -> None:
    """Many jobs bounce while workers come and go: nothing ever waits for no reason."""
    rng = Random(3)
    async with open_pool(["a", "b", "c"], retry=BOUNCE, max_queue=None) as pool:

        async def often_in_vain(resource: str) -> None:
            await trio.sleep(rng.random())
            if rng.random() < 0.5:
                raise ValueError("no luck")

        for _ in range(60):
            await pool.submit(often_in_vain)
        while list(pool.jobs()):
            worker = rng.choice(pool.workers)
            worker.pause()
            await trio.sleep(rng.random())
            worker.resume()
            await wait_all_tasks_blocked()
            # Only jobs that wait for a busy worker, having failed on all the idle ones, may wait.
            busy = {each.id for each in pool.workers if each.job is not None}
            for job in pool.jobs(JobState.QUEUED):
                failed_on = {attempt.worker_id for attempt in job.attempts}
                idle = {each.id for each in pool.idle_workers}
                assert idle <= failed_on
                assert busy or not idle
    assert pool.statistics().succeeded == 60
