"""On which worker a job is tried again."""

from __future__ import annotations

from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.pool.jobs.bouncing import BOUNCE, Failing, nap
from trio_pool import Job, JobState, Pool, Resource, RetryPolicy, open_pool


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
