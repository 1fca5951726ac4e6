"""Jobs start when all that they come after have succeeded."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, is_stubborn, sleeps, state_of, works
from tests.effort import part_of
from tests.pool.jobs.waited_for import states
from trio_pool import Instrument, Job, JobState, Resource, RetryPolicy, SlotPool, Worker, current_job, open_pool
from trio_pool.testing import Flaky, assert_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BLOCKED = JobState.BLOCKED
CANCELLED = JobState.CANCELLED
DISCARDED = JobState.DISCARDED
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


# Starting.


async def test_a_job_starts_when_all_that_it_comes_after_have_succeeded(autojump_clock: MockClock) -> None:
    async with open_pool(list("abc")) as pool:
        first = [await pool.submit(sleeps, 1.0), await pool.submit(sleeps, 3.0)]
        job = await pool.submit(works, after=first)
        assert job.state is BLOCKED
        assert await job.wait() == "done"
        assert trio.current_time() == 3.0
    assert states(job) == [BLOCKED, QUEUED, RUNNING, SUCCEEDED]


async def test_it_waits_for_a_job_that_is_tried_again(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), retry=RetryPolicy.fixed(5.0)) as pool:
        first = await pool.submit(Flaky(2, result="done"))
        job = await pool.submit(works, after=[first])
        await job.wait()
        assert trio.current_time() == 10.0


async def test_it_waits_for_one_that_waits_itself(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        job = await pool.submit(sleeps, 1.0)
        for _ in range(4):
            job = await pool.submit(sleeps, 1.0, after=[job])
        await job.wait()
        assert trio.current_time() == 5.0


async def test_two_that_come_after_the_same_run_side_by_side(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        top = await pool.submit(sleeps, 1.0)
        sides = [await pool.submit(sleeps, 1.0, after=[top]) for _ in range(2)]
        bottom = await pool.submit(sleeps, 1.0, after=sides)
        await bottom.wait()
        assert trio.current_time() == 3.0


@pytest.mark.parametrize("after", [None, (), [], set[Job[Any]]()])
async def test_one_that_comes_after_nothing_starts_at_once(after: Any, autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(works, after=after)
        assert job.state is RUNNING


@pytest.mark.parametrize("collect", [list, tuple, set, iter, dict.fromkeys])
async def test_the_others_may_be_given_in_any_iterable(
    collect: Callable[[list[Job[Any]]], Iterable[Job[Any]]], autojump_clock: MockClock
) -> None:
    async with open_pool(list("ab")) as pool:
        first = [await pool.submit(sleeps, 1.0), await pool.submit(sleeps, 2.0)]
        job = await pool.submit(works, after=collect(first))
        await job.wait()
        assert trio.current_time() == 2.0


async def test_to_name_a_job_twice_is_to_name_it_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[first, first])
        assert await job.wait() == "done"


async def test_a_job_after_one_that_has_succeeded_starts_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(works)
        await first.wait()
        job = await pool.submit(works, after=[first])
        assert job.state is RUNNING
        await job.wait()
    assert states(job) == [QUEUED, RUNNING, SUCCEEDED]


async def test_those_that_have_succeeded_already_are_not_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        done = await pool.submit(works)
        await done.wait()
        running = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[done, running])
        assert job.state is BLOCKED
        await job.wait()
        assert trio.current_time() == 2.0


async def test_one_that_succeeds_though_it_is_cancelled_has_succeeded(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(is_stubborn, 2.0)
        job = await pool.submit(works, after=[first])
        await wait_all_tasks_blocked()
        first.cancel()
        assert await job.wait() == "done"


async def test_it_enters_the_queue_when_it_may_start(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)

    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        await pool.submit(notes, "unblocked", after=[first])
        await pool.submit(notes, "unblocked, urgent", after=[first], priority=-1)
        await pool.submit(notes, "queued before")
    assert started == ["unblocked, urgent", "queued before", "unblocked"]


async def test_it_waits_for_a_worker_like_any_other(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"]) as pool:
        first = await pool.submit(sleeps, 1.0, worker=pool.workers[1])
        busy = await pool.submit(sleeps, 5.0, worker=pool.workers[0])
        job = await pool.submit(works, after=[first], requires=["x"])
        await first.wait()
        assert [state_of(busy), state_of(job)] == [RUNNING, QUEUED]
        await job.wait()
        assert trio.current_time() == 5.0


async def test_a_child_may_come_after_its_parent(autojump_clock: MockClock) -> None:
    children: list[Job[str]] = []

    async def has_a_child(resource: str) -> None:
        children.append(await pool.submit(works, after=[current_job()]))
        await trio.sleep(2.0)

    async with open_pool(list("ab")) as pool:
        await pool.submit(has_a_child)
        await wait_all_tasks_blocked()
        (child,) = children
        assert child.state is BLOCKED
        await child.wait()
        assert trio.current_time() == 2.0


async def test_jobs_may_wait_for_jobs_of_other_groups_and_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, pool.open_group() as one, pool.open_group() as other:
        first = await pool.submit(sleeps, 1.0)
        second = await one.submit(sleeps, 1.0, after=[first])
        third = await other.submit(sleeps, 1.0, after=[first, second])
        last = await pool.submit(sleeps, 1.0, after=[third])
        await last.wait()
        assert trio.current_time() == 4.0


async def test_all_calls_that_submit_take_it(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        first = await pool.submit(sleeps, 2.0)
        at_once = pool.submit_nowait(works, after=[first])
        assert at_once.state is BLOCKED
        assert await pool.run(works, after=[first]) == "done"
        assert trio.current_time() == 2.0
        second = await pool.submit(sleeps, 2.0)
        async with pool.map(sleeps, [0.0, 1.0, 0.0], after=[second]) as results:
            assert [result async for result in results] == [0.0, 1.0, 0.0]
        third = await pool.submit(sleeps, 2.0)
        async with pool.as_completed(sleeps, [1.0, 0.0], after=[third]) as jobs:
            assert [job.args async for job in jobs] == [(0.0,), (1.0,)]
        assert trio.current_time() == 8.0


async def test_a_dead_job_can_be_requeued_after_another(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        dead = await pool.submit(Flaky(1, result="done"))
        await pool.join()
        first = await pool.submit(sleeps, 3.0)
        again = pool.dead.requeue(dead, after=[first])
        assert again.state is BLOCKED
        assert await again.wait() == "done"
        assert trio.current_time() == 3.0


# What instruments see.


async def test_instruments_are_told_of_blocked_jobs(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    class Log(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            seen.append(f"{job.name} submitted")

        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            seen.append(f"{job.name} started")

        def job_finished(self, job: Job[Any]) -> None:
            seen.append(f"{job.name} {job.state.value}")

    async with open_pool(["a"], instruments=[Log()], on_dead="keep") as pool:
        one = await pool.submit(sleeps, 1.0, name="one")
        bad = await pool.submit(fails, name="bad", after=[one])
        await pool.submit(works, name="behind", after=[bad])
    assert seen == [
        "one submitted",
        "one started",
        "bad submitted",
        "behind submitted",
        "one succeeded",
        "bad started",
        "bad dead",
        "behind discarded",
    ]


async def test_an_instrument_may_submit_a_job_after_the_one_that_it_is_told_of(autojump_clock: MockClock) -> None:
    followers: list[Job[str]] = []

    class Follows(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            if job.name != "follower":
                followers.append(pool.submit_nowait(works, after=[job], name="follower"))

        def job_finished(self, job: Job[Any]) -> None:
            if job.name != "follower":
                followers.append(pool.submit_nowait(works, after=[job], name="follower"))

    async with open_pool(["a"]) as pool:
        pool.add_instrument(Follows())
        await pool.run(sleeps, 1.0)
    assert [follower.state for follower in followers] == [SUCCEEDED] * 2


async def test_an_instrument_may_cancel_what_is_about_to_be_unblocked(autojump_clock: MockClock) -> None:
    class Cancels(Instrument):
        def job_finished(self, job: Job[Any]) -> None:
            if job is first:
                for blocked in jobs:
                    blocked.cancel()

    async with open_pool(["a"], instruments=[Cancels()]) as pool:
        first = await pool.submit(sleeps, 1.0)
        jobs = [await pool.submit(works, after=[first]) for _ in range(3)]
    assert [job.state for job in jobs] == [CANCELLED] * 3


# Wrong arguments.


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (3, "after must be an iterable of jobs, got 3"),
        ("ab", "after must hold jobs, got 'a'"),
        ([None], "after must hold jobs, got None"),
    ],
)
async def test_after_must_be_jobs(after: Any, message: str) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(TypeError, match=f"^{message}$"):
            await pool.submit(works, after=after)


async def test_after_must_not_be_a_single_job() -> None:
    async with open_pool(["a"]) as pool:
        job: Any = await pool.submit(works)
        with pytest.raises(TypeError, match=r"^after must be an iterable of jobs, not the single <"):
            await pool.submit(works, after=job)


async def test_after_must_be_jobs_of_this_pool() -> None:
    async with open_pool(["a"]) as pool, open_pool(["a"]) as other:
        job = await other.submit(works)
        with pytest.raises(ValueError, match=r"^after must hold jobs of this pool$"):
            await pool.submit(works, after=[job])
        async with pool.open_group() as group:
            with pytest.raises(ValueError, match=r"^after must hold jobs of this pool$"):
                await group.submit(works, after=[job])


# Very many.


MANY = part_of(100_000)
THOUSANDS = 5_000


async def nothing() -> None:
    """Takes no time at all."""


async def settles(pool: SlotPool, jobs: list[Job[Any]]) -> None:
    """Let them run, and let go of them."""
    await pool.join()
    assert_settled(pool)
    jobs.clear()
    gc.collect()


async def test_a_very_long_chain_runs_through(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=None, history=False) as pool:
        first = await pool.submit(trio.sleep, 1.0)
        jobs: list[Job[Any]] = [first]
        for _ in range(MANY):
            jobs.append(pool.submit_nowait(nothing, after=jobs[-1:]))
        await settles(pool, jobs)
    assert pool.statistics().succeeded == MANY + 1


async def test_a_very_long_chain_is_discarded_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=None, history=False) as pool:
        first = await pool.submit(trio.sleep, 1.0)
        jobs: list[Job[Any]] = [first]
        for _ in range(MANY):
            jobs.append(pool.submit_nowait(nothing, after=jobs[-1:]))
        first.cancel()
        await first.wait_started()
        await settles(pool, jobs)
        assert trio.current_time() == 0.0
    assert pool.statistics().discarded == MANY


async def test_a_very_wide_fan_opens_and_closes(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=None, history=False) as pool:
        first = await pool.submit(trio.sleep, 1.0)
        jobs = [pool.submit_nowait(nothing, after=[first]) for _ in range(MANY)]
        last = pool.submit_nowait(nothing, after=jobs)
        await last.wait()
        await settles(pool, jobs)
    assert pool.statistics().succeeded == MANY + 2


async def test_a_chain_of_thousands_is_cancelled_from_its_end(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=None, history=False) as pool:
        jobs: list[Job[Any]] = [await pool.submit(trio.sleep, 1.0)]
        for _ in range(THOUSANDS):
            jobs.append(pool.submit_nowait(nothing, after=jobs[-1:]))
        for job in reversed(jobs):
            job.cancel()
        await settles(pool, jobs)
    assert pool.statistics().cancelled == THOUSANDS + 1


async def test_a_fan_of_thousands_is_discarded_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=None, history=False) as pool:
        first = await pool.submit(trio.sleep, 1.0)
        jobs = [pool.submit_nowait(nothing, after=[first]) for _ in range(THOUSANDS)]
        last = pool.submit_nowait(nothing, after=jobs)
        first.cancel()
        await settles(pool, jobs)
        assert last.state is DISCARDED
    assert pool.statistics().discarded == THOUSANDS + 1


async def test_a_pool_with_thousands_of_blocked_jobs_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(2, max_queue=None, history=False) as pool:
        jobs: list[Job[Any]] = [await pool.submit(trio.sleep, 1.0)]
        for _ in range(THOUSANDS):
            jobs.append(pool.submit_nowait(nothing, after=jobs[-1:], total_timeout=60.0))
        pool.cancel()
    assert pool.statistics().cancelled == THOUSANDS + 1
