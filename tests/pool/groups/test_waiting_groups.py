"""A group that waits for workers of its own holds nobody up forever, and is told if it waits in vain."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, sleeps, state_of, works
from tests.pool.groups.own_workers import named
from trio_pool import (
    DeadReason,
    Elastic,
    Instrument,
    Job,
    JobDeadlockError,
    JobFailedError,
    JobState,
    Pool,
    PoolClosedError,
    Resource,
    Worker,
    open_pool,
)
from trio_pool.testing import assert_settled

QUEUED = JobState.QUEUED
RUNNING = JobState.RUNNING
SUCCEEDED = JobState.SUCCEEDED


class Opener:
    """Opens a group in a task of its own, and knows when it has entered, or that it was turned away."""

    def __init__(self, reserve: int = 2, *, seconds: float = 0.0) -> None:
        self.reserve = reserve
        self.seconds = seconds
        self.entered_at: float | None = None
        self.turned_away_at: float | None = None
        self.names: list[str] = []

    async def __call__(self, pool: Pool[Any]) -> None:
        try:
            async with pool.open_group(reserve=self.reserve) as group:
                self.entered_at = trio.current_time()
                self.names = sorted(worker.name for worker in group.statistics().workers)
                await trio.sleep(self.seconds)
        except PoolClosedError:
            self.turned_away_at = trio.current_time()


async def begins(nursery: trio.Nursery, opener: Opener, pool: Pool[Any]) -> Opener:
    """Let it wait."""
    nursery.start_soon(opener, pool)
    await wait_all_tasks_blocked()
    return opener


# More than there are.


async def test_a_group_that_can_t_have_its_workers_any_more_is_turned_away_at_the_end_of_the_pool(
    autojump_clock: MockClock,
) -> None:
    async with trio.open_nursery() as nursery:
        async with open_pool(list("ab")) as pool:
            await pool.submit(sleeps, 1.0, worker=pool.workers[1])
            opener = await begins(nursery, Opener(), pool)
            await pool.workers[1].remove()
            job = await pool.submit(works)
        assert job.state is SUCCEEDED
    assert (opener.entered_at, opener.turned_away_at) == (None, 1.0)
    assert_settled(pool)


async def test_it_is_turned_away_as_soon_as_the_body_has_ended_whatever_still_runs(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, open_pool(list("abc")) as pool:
        for worker, seconds in zip(pool.workers, (1.0, 9.0, 9.0), strict=True):
            await pool.submit(sleeps, seconds, worker=worker)
        opener = await begins(nursery, Opener(3), pool)
        await pool.workers[0].remove()
        await trio.sleep(2.0)
        assert opener.turned_away_at is None
    assert opener.turned_away_at == 3.0


async def test_it_is_turned_away_if_a_worker_is_removed_while_the_pool_ends(autojump_clock: MockClock) -> None:
    async def removes(worker: Worker) -> None:
        await trio.sleep(2.0)
        await worker.remove(cancel=True)

    async with trio.open_nursery() as nursery, open_pool(list("ab")) as pool:
        jobs = [await pool.submit(sleeps, 9.0) for _ in pool.workers]
        opener = await begins(nursery, Opener(), pool)
        nursery.start_soon(removes, pool.workers[1])
    assert opener.turned_away_at == 2.0
    assert [job.state for job in jobs] == [SUCCEEDED, SUCCEEDED]


async def test_of_several_in_line_only_those_are_turned_away_that_want_too_many(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery, open_pool(list("abc")) as pool:
        for _ in pool.workers:
            await pool.submit(sleeps, 5.0)
        await pool.submit(sleeps, 5.0)
        openers = [await begins(nursery, Opener(reserve), pool) for reserve in (3, 2, 3, 1)]
        nursery.start_soon(pool.workers[0].remove)
        await wait_all_tasks_blocked()
    assert [opener.turned_away_at for opener in openers] == [0.0, None, 0.0, None]
    assert [opener.entered_at for opener in openers] == [None, 5.0, None, 5.0]


async def test_while_the_pool_is_open_it_waits_on_but_keeps_no_worker_from_others(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 5.0, worker=pool.workers[1])
        opener = await begins(nursery, Opener(), pool)
        queued = await pool.submit(sleeps, 1.0)
        assert state_of(queued) is QUEUED
        nursery.start_soon(pool.workers[1].remove)
        await wait_all_tasks_blocked()
        assert state_of(queued) is RUNNING
        await trio.sleep(10.0)
        await pool.add("c", name="c")
        await wait_all_tasks_blocked()
        assert (opener.entered_at, opener.names) == (10.0, ["a", "c"])


async def test_what_it_can_t_have_goes_to_the_next_in_line(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b", "c")) as pool, trio.open_nursery() as nursery:
        for worker, seconds in zip(pool.workers[1:], (5.0, 9.0), strict=True):
            await pool.submit(sleeps, seconds, worker=worker)
        big = await begins(nursery, Opener(3), pool)
        small = await begins(nursery, Opener(1, seconds=100.0), pool)
        nursery.start_soon(pool.workers[2].remove)
        await wait_all_tasks_blocked()
        assert (small.entered_at, small.names) == (0.0, ["a"])
        await trio.sleep(20.0)
        await pool.add("d")
        await trio.sleep(60.0)
        assert big.entered_at is None
    assert big.entered_at == 100.0


async def test_it_keeps_its_turn_while_there_are_too_few(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b", "c")) as pool, trio.open_nursery() as nursery:
        for _ in pool.workers:
            await pool.submit(sleeps, 5.0)
        first = await begins(nursery, Opener(3, seconds=1.0), pool)
        second = await begins(nursery, Opener(2), pool)
        await pool.workers[2].remove(cancel=True)
        await pool.add("d")
        await trio.sleep(7.0)
        assert (first.entered_at, second.entered_at) == (5.0, 6.0)


async def test_groups_that_wait_for_each_other_s_workers_get_them_in_their_turn(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b", "c")) as pool, trio.open_nursery() as nursery:
        for worker, seconds in zip(pool.workers[1:], (3.0, 9.0), strict=True):
            await pool.submit(sleeps, seconds, worker=worker)
        first = await begins(nursery, Opener(3, seconds=1.0), pool)
        second = await begins(nursery, Opener(2), pool)
        nursery.start_soon(pool.workers[2].remove)
        await trio.sleep(1.0)  # now the second one has set aside the first worker
        await pool.add("d")
        await trio.sleep(7.0)
        assert (first.entered_at, second.entered_at) == (3.0, 4.0)


async def test_cancelled_while_there_are_too_few_it_leaves_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool:
        await pool.submit(sleeps, 5.0, worker=pool.workers[1])
        block = pool.open_group(reserve=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.workers[1].remove)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1.0) as scope:
                async with block:
                    pass
            assert scope.cancelled_caught
            assert await pool.run(works) == "done"
        async with pool.open_group(reserve=1) as group:
            assert await group.run(works) == "done"


async def test_an_elastic_pool_opens_another_for_one_that_is_removed(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=2, max=2)) as pool, trio.open_nursery() as nursery:
        for worker in pool.workers:
            await pool.submit(sleeps, 5.0, worker=worker)
        opener = await begins(nursery, Opener(), pool)
        nursery.start_soon(pool.workers[1].remove)
        await trio.sleep(6.0)
        assert opener.entered_at == 5.0


async def test_in_an_elastic_pool_it_can_t_have_more_than_the_most_and_those_that_were_added(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(Elastic(Mint(), min=1, max=1)) as pool, trio.open_nursery() as nursery:
        added = await pool.add(7)
        await pool.submit(sleeps, 5.0, worker=added)
        opener = await begins(nursery, Opener(), pool)
        queued = await pool.submit(sleeps, 1.0)
        assert state_of(queued) is QUEUED
        nursery.start_soon(added.remove)
        await wait_all_tasks_blocked()
        assert state_of(queued) is RUNNING
        await trio.sleep(10.0)
        await pool.add(8)
        await wait_all_tasks_blocked()
        assert opener.entered_at == 10.0


# Where nothing else happens.


async def test_jobs_go_first_while_a_worker_that_it_waits_for_is_paused(autojump_clock: MockClock) -> None:
    async with open_pool(named("a", "b")) as pool, trio.open_nursery() as nursery:
        pool.workers[1].pause()
        opener = await begins(nursery, Opener(), pool)
        jobs = [await pool.submit(sleeps, 1.0) for _ in range(3)]
        await trio.sleep(1.5)
        assert [state_of(job) for job in jobs] == [SUCCEEDED, RUNNING, QUEUED]
        pool.workers[1].resume()
        await jobs[2].wait()
        assert opener.entered_at == 2.0


async def test_whoever_waits_for_a_place_goes_first_too(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab"), max_queue=0) as pool, trio.open_nursery() as nursery:
        pool.workers[1].pause()
        await begins(nursery, Opener(), pool)
        assert await pool.run(works) == "done"
        assert trio.current_time() == 0.0
        pool.workers[1].resume()


async def test_a_worker_that_rests_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        pool.workers[1].rest(3.0)
        opener = await begins(nursery, Opener(), pool)
        job = await pool.submit(works)
        await job.wait()
        assert (opener.entered_at, job.attempts[0].started_at) == (3.0, 3.0)


async def test_what_a_job_waits_for_that_the_group_waits_for_goes_first(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> None:
        await trio.sleep(1.0)
        await pool.run(sleeps, 2.0)

    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(parent)
        opener = await begins(nursery, Opener(), pool)
        await job.wait()
        assert trio.current_time() == 3.0
        await wait_all_tasks_blocked()
        assert opener.entered_at == 3.0


async def test_a_job_that_waits_for_the_start_of_such_a_one_goes_on_at_once(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> None:
        await trio.sleep(1.0)
        child = await pool.submit(sleeps, 2.0)
        assert state_of(child) is QUEUED
        await child.wait_started()
        assert trio.current_time() == 1.0

    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(parent)
        opener = await begins(nursery, Opener(), pool)
        await job.wait()
        await trio.sleep(5.0)
        assert opener.entered_at == 3.0


async def test_what_a_group_of_a_job_waits_for_goes_first(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> None:
        await trio.sleep(1.0)
        async with pool.open_group() as group:
            await group.submit(sleeps, 2.0)

    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(parent)
        opener = await begins(nursery, Opener(), pool)
        await job.wait()
        await wait_all_tasks_blocked()
        assert opener.entered_at == 3.0


class CancelsTheRest(Instrument):
    """Cancels the jobs that wait as soon as one has started."""

    def __init__(self) -> None:
        self.pool: Pool[Any] | None = None

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        if self.pool is not None:
            for other in self.pool.jobs(QUEUED):
                other.cancel()


@pytest.mark.parametrize("kind", ["as_completed", "group"])
async def test_what_a_job_begins_to_wait_for_may_be_over_with_that(kind: str, autojump_clock: MockClock) -> None:
    instrument = CancelsTheRest()

    async def streams(resource: str) -> list[JobState]:
        await trio.sleep(1.0)
        async with pool.as_completed(sleeps, [2.0, 4.0], buffer=2) as jobs:
            instrument.pool = pool
            return [job.state async for job in jobs]

    async def groups(resource: str) -> list[JobState]:
        await trio.sleep(1.0)
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps, 2.0) for _ in range(2)]
            instrument.pool = pool
        return sorted((job.state for job in jobs), key=lambda state: state.name)

    async with open_pool(list("ab"), instruments=[instrument]) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(streams if kind == "as_completed" else groups)
        await begins(nursery, Opener(), pool)
        assert await job.wait() == [JobState.CANCELLED, SUCCEEDED]
        assert trio.current_time() == 3.0


class MakesRoomForOneOnly(Instrument):
    """Lets no more than one job run as soon as one more has started."""

    def __init__(self) -> None:
        self.pool: Pool[Any] | None = None

    def attempt_started(self, job: Job[Any], worker: Worker) -> None:
        if self.pool is not None:
            self.pool.max_running = 1


@pytest.mark.parametrize("kind", ["job", "group"])
async def test_what_a_job_begins_to_wait_for_may_never_be_on_account_of_that(
    kind: str, autojump_clock: MockClock
) -> None:
    instrument = MakesRoomForOneOnly()

    async def waits(resource: str) -> str:
        await trio.sleep(1.0)
        await pool.submit(sleeps, 2.0)
        job = await pool.submit(sleeps, 2.0)
        instrument.pool = pool
        with pytest.raises(JobDeadlockError):
            await job.wait()
        return f"{trio.current_time():g}"

    async def groups(resource: str) -> str:
        await trio.sleep(1.0)
        await pool.submit(sleeps, 2.0)
        with pytest.raises(JobDeadlockError):  # noqa: PT012  # it is the block's end that raises
            async with pool.open_group() as group:
                await group.submit(sleeps, 2.0)
                instrument.pool = pool
        return f"{trio.current_time():g}"

    async with open_pool(list("ab"), instruments=[instrument]) as pool, trio.open_nursery() as nursery:
        job = await pool.submit(waits if kind == "job" else groups)
        await begins(nursery, Opener(), pool)
        with trio.fail_after(60.0):
            assert await job.wait() == "1"


async def test_a_worker_that_a_group_has_already_is_waited_for_while_jobs_go_first(autojump_clock: MockClock) -> None:
    async with open_pool(list("ab")) as pool, trio.open_nursery() as nursery:
        async with pool.open_group(reserve=1):
            opener = await begins(nursery, Opener(), pool)
            await pool.run(sleeps, 1.0)  # or this group would never end
        await wait_all_tasks_blocked()
        assert opener.entered_at == 1.0


async def test_so_it_is_at_the_end_of_the_pool(autojump_clock: MockClock) -> None:
    async def has_one(pool: Pool[str], job: Job[Any]) -> None:
        async with pool.open_group(reserve=1):
            await job.wait()

    async with trio.open_nursery() as nursery, open_pool(list("ab")) as pool:
        blocker = await pool.submit(sleeps, 2.0)
        job = await pool.submit(sleeps, 1.0, after=[blocker])
        nursery.start_soon(has_one, pool, job)
        await wait_all_tasks_blocked()
        await begins(nursery, Opener(), pool)
    assert job.finished_at == 3.0


async def test_at_the_end_what_nobody_may_take_is_given_up_when_only_those_run_who_wait(
    autojump_clock: MockClock,
) -> None:
    async def parent(resource: str) -> None:
        child.append(await pool.submit(works, requires=["x"]))
        with pytest.raises(JobFailedError):
            await child[0].wait()

    child: list[Job[str]] = []
    async with open_pool([Resource("a"), Resource("b", tags=["x"])], no_worker="wait") as pool:
        await pool.submit(sleeps, 1.0, requires=["x"])
        await pool.submit(parent)
        await wait_all_tasks_blocked()
        await pool.workers[1].remove()
    assert child[0].dead_reason is DeadReason.NO_WORKER
    assert child[0].finished_at == 1.0


async def test_at_the_end_what_a_worker_is_there_for_is_not_given_up_but_who_waits_for_that_worker_is(
    autojump_clock: MockClock,
) -> None:
    async def parent(resource: str) -> Job[str]:
        async with trio.open_nursery() as nursery, pool.open_group(reserve=1):
            child = await pool.submit(works, worker=pool.workers[1])
            nursery.start_soon(child.wait)
            await trio.sleep(5.0)
        return child

    async with trio.open_nursery() as nursery:
        async with open_pool(list("ab")) as pool:
            job = await pool.submit(parent, worker=pool.workers[0])
            await wait_all_tasks_blocked()
            opener = await begins(nursery, Opener(1), pool)
        assert job.result().finished_at == 5.0
    assert opener.turned_away_at == 0.0
