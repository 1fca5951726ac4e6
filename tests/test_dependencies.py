"""4.9: jobs that start after others."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, fails, is_stubborn, sleeps, sleeps_forever, state_of, works
from tests.effort import part_of
from trio_pool import (
    DeadReason,
    Discard,
    Elastic,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFinishedError,
    JobState,
    NoEligibleWorkerError,
    PoolClosedError,
    Resource,
    RetryPolicy,
    SlotPool,
    Worker,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

BLOCKED = JobState.BLOCKED
CANCELLED = JobState.CANCELLED
DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


def states(job: Job[Any]) -> list[JobState]:
    """The states that a job has been in."""
    return [each.state for each in job.history]


def started_at(job: Job[Any]) -> float:
    """When its first attempt began."""
    return job.attempts[0].started_at


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


# Waiting costs nothing.


async def test_a_blocked_job_holds_no_worker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0, worker=pool.workers[0])
        for _ in range(10):
            await pool.submit(sleeps, 1.0, after=[first])
        added = await pool.add("b")
        assert pool.idle_workers == (added,)
        assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0


async def test_a_blocked_job_costs_no_task(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        before = trio.lowlevel.current_statistics().tasks_living
        for _ in range(100):
            await pool.submit(works, after=[first], total_timeout=60.0)
        assert trio.lowlevel.current_statistics().tasks_living == before


async def test_blocked_jobs_are_counted_and_listed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        blocked = [await pool.submit(works, after=[first]) for _ in range(3)]
        queued = await pool.submit(works)
        seen = pool.statistics()
        assert (seen.submitted, seen.blocked, seen.queued, seen.running) == (5, 3, 1, 1)
        assert list(pool.jobs(BLOCKED)) == blocked
        assert list(pool.jobs()) == [first, *blocked, queued]
        await pool.join()
        seen = pool.statistics()
        assert (seen.blocked, seen.succeeded, seen.queue_peak) == (0, 5, 4)


async def test_what_has_ended_is_not_kept_by_what_has_waited_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(works)
        first = weakref.ref(job)
        for _ in range(3):
            job = await pool.submit(works, after=[job])
        await job.wait()
        gc.collect()
        assert first() is None


# What ends without having succeeded.


async def gives_it_up(resource: str) -> None:
    """Ends neither well nor badly."""
    await trio.sleep(1.0)
    raise Discard("not needed")


async def fails_after_a_second(resource: str) -> None:
    """Fails, but not at once."""
    await trio.sleep(1.0)
    raise ValueError("failed")


@pytest.mark.parametrize(
    ("fn", "end"), [(fails_after_a_second, "dead"), (gives_it_up, "discarded"), (sleeps_forever, "cancelled")]
)
async def test_what_waits_for_one_that_does_not_succeed_is_discarded_at_once(
    fn: Any, end: str, autojump_clock: MockClock
) -> None:
    async with open_pool(list("ab"), on_dead="keep") as pool:
        other = await pool.submit(sleeps, 5.0)
        first = await pool.submit(fn, name="the first")
        job = await pool.submit(works, after=[other, first])
        if fn is sleeps_forever:
            await trio.sleep(1.0)
            first.cancel()
        with pytest.raises(JobCancelledError, match=f"was discarded: it waited for the first, which is {end}"):
            await job.wait()
        assert trio.current_time() == 1.0
        assert job.reason == f"it waited for the first, which is {end}"
    assert first.state.value == end
    assert other.state is SUCCEEDED
    assert states(job) == [BLOCKED, DISCARDED]
    assert (job.attempts, job.finished_at) == ((), 1.0)


async def test_everything_behind_it_is_discarded_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        first = await pool.submit(fails_after_a_second, name="first")
        second = await pool.submit(works, after=[first], name="second")
        third = [await pool.submit(works, after=[second], name="third") for _ in range(3)]
        last = await pool.submit(works, after=[*third, first], name="last")
        await first.wait_started()
        await trio.sleep(1.0)
        await wait_all_tasks_blocked()
        assert [job.finished_at for job in (second, *third, last)] == [1.0] * 5
        assert {job.reason for job in third} == {"it waited for second, which is discarded"}
        assert last.reason == "it waited for first, which is dead"


async def test_jobs_beside_it_go_on(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), on_dead="keep") as pool:
        bad = await pool.submit(fails_after_a_second)
        good = await pool.submit(sleeps, 2.0)
        behind = [await pool.submit(works, after=[job]) for job in (bad, good)]
    assert [job.state for job in behind] == [DISCARDED, SUCCEEDED]


async def test_a_discarded_job_is_no_death(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"]) as pool:
            first = await pool.submit(fails_after_a_second)
            for _ in range(5):
                await pool.submit(works, after=[first])
    assert pool.statistics().discarded == 5
    assert len(pool.dead) == 1


@pytest.mark.parametrize(("fn", "end"), [(fails, "dead"), (gives_it_up, "discarded"), (sleeps_forever, "cancelled")])
async def test_after_one_that_has_ended_without_success_a_job_is_discarded_at_once(
    fn: Any, end: str, autojump_clock: MockClock
) -> None:
    async with open_pool(list("ab"), on_dead="keep") as pool:
        first = await pool.submit(fn, name="the first")
        await trio.sleep(2.0)
        first.cancel()
        await pool.join()
        running = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[running, first])
        assert job.state is DISCARDED
        assert job.reason == f"it waited for the first, which is {end}"
        assert pool.submit_nowait(works, after=[first]).state is DISCARDED
        with pytest.raises(JobCancelledError):
            await pool.run(works, after=[first])


async def test_requeueing_the_dead_one_brings_nothing_back(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(Flaky(1, result="done"))
        job = await pool.submit(works, after=[first])
        await pool.join()
        assert await pool.dead.requeue(first).wait() == "done"
        assert job.state is DISCARDED


async def test_with_on_dead_cancel_what_waits_is_discarded_or_cancelled(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            first = await pool.submit(fails_after_a_second)
            behind = await pool.submit(works, after=[first])
            queued = await pool.submit(works)
            beyond = await pool.submit(works, after=[queued])
            await trio.sleep_forever()
    assert [job.state for job in (behind, queued, beyond)] == [DISCARDED, CANCELLED, CANCELLED]
    assert_settled(pool)


# What becomes of a blocked job itself.


async def test_cancel_ends_a_blocked_job_at_once_and_discards_what_waits_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], name="job")
        behind = await pool.submit(works, after=[job])
        job.cancel()
        assert job.state is CANCELLED
        with pytest.raises(JobCancelledError, match="it waited for job, which is cancelled"):
            await behind.wait()
        assert trio.current_time() == 0.0
        assert await first.wait() == 5.0
    assert_settled(pool)


async def test_the_total_timeout_of_a_blocked_job_passes_at_its_time(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], total_timeout=2.0)
        behind = await pool.submit(works, after=[job])
        with pytest.raises(JobFailedError, match="its total timeout passed"):
            await job.wait()
        assert trio.current_time() == 2.0
        assert job.dead_reason is DeadReason.TIMED_OUT
        assert states(job) == [BLOCKED, DEAD]
        assert behind.state is DISCARDED


async def test_the_total_timeout_goes_on_when_the_job_is_no_longer_blocked(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], total_timeout=3.0)
        with pytest.raises(JobFailedError):
            await job.wait()
        assert trio.current_time() == 3.0
        assert states(job) == [BLOCKED, QUEUED, DEAD]


async def test_a_total_timeout_that_ends_with_what_it_waits_for_wins(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[first], total_timeout=2.0)
        with pytest.raises(JobFailedError):
            await job.wait()
        assert first.state is SUCCEEDED


async def test_a_job_whose_time_is_up_at_once_is_dead_and_not_blocked(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        first = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[first], total_timeout=0.0)
        assert states(job) == [DEAD]


async def test_the_attempt_timeout_begins_with_the_attempt(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 9.0)
        assert await pool.run(sleeps, 1.0, after=[first], attempt_timeout=2.0) == 1.0


async def test_a_blocked_job_has_not_finished(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[first])
        with pytest.raises(JobNotFinishedError, match="blocked"):
            job.result()
        with trio.move_on_after(0.5) as scope:
            await job.wait()
        assert scope.cancelled_caught
        assert job.state is BLOCKED


async def test_wait_started_waits_until_it_runs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(sleeps, 1.0, after=[first])
        await job.wait_started()
        assert trio.current_time() == 1.0
        assert job.state is RUNNING


async def test_wait_started_of_one_that_is_discarded_returns(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps_forever)
        job = await pool.submit(works, after=[first])
        first.cancel()
        await job.wait_started()
        assert job.state is DISCARDED


async def test_a_cancelled_run_cancels_its_blocked_job(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 5.0)
        with trio.move_on_after(1.0):
            await pool.run(works, after=[first])
        assert pool.statistics().cancelled == 1
        assert trio.current_time() == 1.0


async def test_the_pool_ends_only_when_blocked_jobs_have_run(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps, 1.0)
        for _ in range(3):
            job = await pool.submit(sleeps, 1.0, after=[job])
    assert job.state is SUCCEEDED
    assert trio.current_time() == 4.0


async def test_join_waits_for_blocked_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        await pool.submit(sleeps, 1.0, after=[first])
        await pool.join()
        assert trio.current_time() == 2.0


async def test_pool_cancel_cancels_blocked_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(is_stubborn, 3.0)
        jobs = [await pool.submit(works, after=[first], total_timeout=60.0)]
        jobs.append(await pool.submit(works, after=jobs))
        await wait_all_tasks_blocked()
        pool.cancel()
    assert first.state is SUCCEEDED
    assert [job.state for job in jobs] == [CANCELLED] * 2


async def test_an_elastic_pool_opens_no_worker_for_a_blocked_job(autojump_clock: MockClock) -> None:
    mint = Mint()
    async with open_pool(Elastic(mint, max=5)) as pool:
        first = await pool.submit(sleeps, 1.0)
        jobs = [await pool.submit(sleeps, 1.0, after=[first]) for _ in range(3)]
        await trio.sleep(0.5)
        assert len(mint.called) == 1
        for job in jobs:
            await job.wait()
        assert len(mint.called) == 3
        assert trio.current_time() == 2.0


# Jobs that no worker may take.


async def test_one_that_no_worker_may_take_is_told_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        first = await pool.submit(sleeps, 1.0)
        with pytest.raises(NoEligibleWorkerError):
            await pool.submit(works, after=[first], requires=["gpu"])
        assert pool.statistics().submitted == 1


async def test_one_that_no_worker_may_take_any_more_dies_when_it_is_queued(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], on_dead="keep") as pool:
        first = await pool.submit(sleeps, 3.0, worker=pool.workers[1])
        job = await pool.submit(works, after=[first], requires=["x"])
        behind = await pool.submit(works, after=[job])
        await pool.workers[0].remove()
        assert job.state is BLOCKED
        await first.wait()
        assert (state_of(job), job.dead_reason) == (DEAD, DeadReason.NO_WORKER)
        assert behind.state is DISCARDED


async def test_one_that_a_worker_may_come_for_waits_for_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="wait") as pool:
        first = await pool.submit(sleeps, 1.0)
        job = await pool.submit(works, after=[first], requires=["x"])
        assert job.state is BLOCKED
        await first.wait()
        assert state_of(job) is QUEUED
        await pool.add("b", tags=["x"])
        assert await job.wait() == "done"


# The bound of the queue.


async def test_blocked_jobs_count_for_the_bound_of_the_queue(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=2) as pool:
        first = await pool.submit(sleeps, 1.0)
        for _ in range(2):
            pool.submit_nowait(works, after=[first])
        for after in ([], [first]):
            with pytest.raises(trio.WouldBlock):
                pool.submit_nowait(works, after=after)
        await pool.submit(works)
        assert trio.current_time() == 1.0


async def test_a_job_that_is_to_wait_for_others_waits_for_a_place_first(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=1) as pool:
        long, short = await pool.submit(sleeps, 9.0), await pool.submit(sleeps, 2.0)
        await pool.submit(works)
        job = await pool.submit(works, after=[long])
        assert trio.current_time() == 2.0
        assert [state_of(job), state_of(short)] == [BLOCKED, SUCCEEDED]
        await job.wait()
        assert trio.current_time() == 9.0


async def test_one_that_may_start_before_there_is_a_place_goes_to_an_idle_worker(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=0) as pool:
        first = await pool.submit(sleeps, 2.0, worker=pool.workers[0])
        await pool.submit(sleeps, 9.0, worker=pool.workers[1])
        job = await pool.submit(works, after=[first])
        assert trio.current_time() == 2.0
        assert await job.wait() == "done"


async def test_one_that_may_start_before_there_is_a_place_waits_on_for_a_worker(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0) as pool:
        await pool.submit(sleeps, 5.0, requires=["x"])
        first = await pool.submit(sleeps, 2.0)
        job = await pool.submit(works, after=[first], requires=["x"])
        assert trio.current_time() == 5.0
        assert await job.wait() == "done"
    assert states(job) == [QUEUED, RUNNING, SUCCEEDED]


@pytest.mark.parametrize("max_queue", [0, 1])
async def test_one_that_is_discarded_before_there_is_a_place_is_returned(
    max_queue: int, autojump_clock: MockClock
) -> None:
    async with open_pool(["a"], max_queue=max_queue, on_dead="keep") as pool:
        first = await pool.submit(fails_after_a_second, name="first")
        for _ in range(max_queue):
            await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first])
        assert trio.current_time() == 1.0
        assert job.state is DISCARDED
        assert job.reason == "it waited for first, which is dead"
        assert pool.statistics().submitters_waiting == 0


async def test_one_whose_time_is_up_before_there_is_a_place_is_returned_dead(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0, on_dead="keep") as pool:
        first = await pool.submit(sleeps, 5.0)
        job = await pool.submit(works, after=[first], total_timeout=2.0)
        assert trio.current_time() == 2.0
        assert (job.state, job.dead_reason) == (DEAD, DeadReason.TIMED_OUT)


async def test_one_that_is_cancelled_before_there_is_a_place_is_none(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool:
        first = await pool.submit(sleeps, 5.0)
        with trio.move_on_after(1.0) as scope:
            await pool.submit(works, after=[first], total_timeout=60.0)
        assert scope.cancelled_caught
        assert pool.statistics().submitters_waiting == 0
        await first.wait()
        assert pool.statistics().submitted == 1


async def test_whoever_waits_for_a_place_is_turned_away_when_the_pool_is_closed(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=0) as pool, trio.open_nursery() as nursery:
        first = await pool.submit(sleeps, 5.0)

        async def waits() -> None:
            with pytest.raises(PoolClosedError):
                await pool.submit(works, after=[first])

        nursery.start_soon(waits)
        await wait_all_tasks_blocked()
        pool.close()
    assert pool.statistics().submitted == 1


async def test_a_worker_that_leaves_turns_away_whoever_waits_for_a_place(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"], max_queue=0) as pool:
        first = await pool.submit(sleeps, 5.0, worker=pool.workers[1])
        await pool.submit(sleeps, 5.0, requires=["x"])
        async with trio.open_nursery() as nursery:

            async def waits() -> None:
                with pytest.raises(NoEligibleWorkerError):
                    await pool.submit(works, after=[first], requires=["x"])

            nursery.start_soon(waits)
            await wait_all_tasks_blocked()
            nursery.start_soon(pool.workers[0].remove)
        assert pool.statistics().submitters_waiting == 0


async def test_a_job_may_submit_blocked_jobs_however_full_the_queue_is(autojump_clock: MockClock) -> None:
    async def has_children(resource: str) -> None:
        for _ in range(5):
            await pool.submit(works, after=[current_job()])

    async with open_pool(["a"], max_queue=0) as pool:
        await pool.run(has_children)
        await pool.join()
    assert pool.statistics().succeeded == 6


async def test_with_idle_only_a_job_does_not_wait_for_others(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        first = await pool.submit(sleeps, 1.0)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(works, after=[first], idle_only=True)
        await first.wait()
        assert pool.submit_nowait(works, after=[first], idle_only=True).state is RUNNING


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
