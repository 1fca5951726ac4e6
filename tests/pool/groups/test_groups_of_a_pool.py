"""4.9: groups side by side and in one another; what becomes of them when their pool ends."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import signal
from contextlib import nullcontext

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import cleans_up, sleeps, sleeps_forever, works
from trio_pool import (
    DeadReason,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobGroup,
    JobState,
    Pool,
    PoolClosedError,
    Worker,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

CANCELLED = JobState.CANCELLED
SUCCEEDED = JobState.SUCCEEDED


# Side by side, and one in another.


async def test_groups_run_side_by_side_and_share_the_queue(autojump_clock: MockClock) -> None:
    done: list[str] = []

    async def notes(resource: str, name: str) -> None:
        await trio.sleep(1.0)
        done.append(name)

    async def fills(pool: Pool[str], name: str) -> None:
        async with pool.open_group() as group:
            for _ in range(3):
                await group.submit(notes, name)
                await trio.sleep(0.1)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(fills, pool, "x")
        await trio.sleep(0.05)
        nursery.start_soon(fills, pool, "y")
    assert done == ["x", "y"] * 3


async def test_priorities_hold_across_groups(autojump_clock: MockClock) -> None:
    done: list[str] = []

    async def notes(resource: str, name: str) -> None:
        done.append(name)

    async with open_pool(["a"]) as pool, pool.open_group() as one, pool.open_group(max_running=1) as other:
        await pool.submit(sleeps, 1.0)
        await one.submit(notes, "second", priority=1)
        await other.submit(notes, "first")
        await pool.submit(notes, "third", priority=2)
    assert done == ["first", "second", "third"]


async def test_groups_end_in_any_order(autojump_clock: MockClock) -> None:
    ended: list[tuple[str, float]] = []

    async def opens(pool: Pool[str], name: str, seconds: float) -> None:
        async with pool.open_group() as group:
            await group.submit(sleeps, seconds)
        ended.append((name, trio.current_time()))

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(opens, pool, "long", 5.0)
        nursery.start_soon(opens, pool, "short", 1.0)
    assert ended == [("short", 1.0), ("long", 5.0)]


async def test_a_group_in_the_body_of_another_ends_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as outer:
            await outer.submit(sleeps, 2.0)
            async with pool.open_group() as inner:
                await inner.submit(sleeps, 1.0)
            assert trio.current_time() == 1.0
        assert trio.current_time() == 2.0


async def test_cancel_of_the_outer_group_cancels_the_inner_one(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as outer, pool.open_group() as inner:
            jobs = [await outer.submit(sleeps_forever), await inner.submit(sleeps_forever)]
            outer.cancel()
        assert [job.state for job in jobs] == [CANCELLED] * 2


async def test_a_job_may_open_a_group_of_its_own_pool(autojump_clock: MockClock) -> None:
    async def divides(resource: str, pool: Pool[str]) -> float:
        async with pool.open_group() as group:
            for _ in range(2):
                await group.submit(sleeps, 1.0)
        return trio.current_time()

    async with open_pool(["a", "b"], max_queue=0) as pool:
        assert await pool.run(divides, pool) == 2.0


async def test_a_job_may_open_a_group_after_the_pool_is_closed(autojump_clock: MockClock) -> None:
    async def divides(resource: str, pool: Pool[str]) -> str:
        await trio.sleep(1.0)
        async with pool.open_group() as group:
            return await group.run(works)

    async with open_pool(["a", "b"]) as pool:
        job = await pool.submit(divides, pool)
    assert job.result() == "done"


async def test_groups_nest_over_three_generations(autojump_clock: MockClock) -> None:
    async def divides(resource: str, pool: Pool[str], depth: int) -> int:
        if not depth:
            await trio.sleep(1.0)
            return 1
        async with pool.open_group() as group:
            jobs = [await group.submit(divides, pool, depth - 1) for _ in range(2)]
        return sum(job.result() for job in jobs)

    async with open_pool(list("abcdefgh")) as pool:
        assert await pool.run(divides, pool, 3) == 8


async def test_a_job_that_is_cancelled_takes_its_group_with_it(autojump_clock: MockClock) -> None:
    children: list[Job[None]] = []

    async def divides(resource: str, pool: Pool[str]) -> None:
        async with pool.open_group() as group:
            children.append(await group.submit(cleans_up))

    async with open_pool(["a", "b"]) as pool:
        parent = await pool.submit(divides, pool)
        await wait_all_tasks_blocked()
        parent.cancel()
        with pytest.raises(JobCancelledError):
            await parent.wait()
        assert trio.current_time() == 2.0
        assert [child.state for child in children] == [CANCELLED]


async def test_other_tasks_may_submit_to_a_group(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as group, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(group.submit, sleeps, 1.0)
        assert group.statistics().succeeded == 3
        assert trio.current_time() == 2.0


async def test_a_job_of_the_group_is_never_held_up_by_the_bound_of_the_queue(autojump_clock: MockClock) -> None:
    async def has_children(resource: str, group: JobGroup[str]) -> int:
        for _ in range(5):
            await group.submit(works)
        return current_job().id

    async with open_pool(["a"], max_queue=0) as pool:
        async with pool.open_group() as group:
            await group.submit(has_children, group)
        assert group.statistics().succeeded == 6


# The pool ends.


async def test_a_group_can_not_be_opened_in_a_closed_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pool.close()
        manager = pool.open_group()
        with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
            await manager.__aenter__()


async def test_a_group_can_not_be_opened_after_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pass
    manager = pool.open_group()
    with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
        await manager.__aenter__()


async def test_when_the_pool_is_closed_its_groups_take_no_more_jobs_but_end_as_ever(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps, 1.0) for _ in range(2)]
            pool.close()
            with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
                await group.submit(works)
        assert [job.state for job in jobs] == [SUCCEEDED] * 2


async def test_pool_cancel_ends_groups_too(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        jobs = [await group.submit(sleeps_forever), await group.submit(works)]
        pool.cancel()
    assert [job.state for job in jobs] == [CANCELLED] * 2


async def test_pool_cancel_ends_the_jobs_of_a_group_whose_body_is_elsewhere(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def opens(pool: Pool[str]) -> None:
            async with pool.open_group() as group:
                job = await group.submit(sleeps_forever)
                with pytest.raises(JobCancelledError):
                    await job.wait()
                with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
                    await group.submit(works)

        async with open_pool(["a"]) as pool:
            nursery.start_soon(opens, pool)
            await wait_all_tasks_blocked()
            pool.cancel()


async def test_the_pool_waits_for_the_jobs_of_a_group_whose_body_is_elsewhere(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        jobs: list[Job[float]] = []

        async def opens(pool: Pool[str]) -> None:
            async with pool.open_group() as group:
                jobs.extend([await group.submit(sleeps, 1.0), await group.submit(sleeps, 1.0)])

        async with open_pool(["a"]) as pool:
            nursery.start_soon(opens, pool)
            await wait_all_tasks_blocked()
        assert [job.state for job in jobs] == [SUCCEEDED] * 2
        assert trio.current_time() == 2.0


async def test_a_group_may_be_left_after_the_pool(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def opens(pool: Pool[str], reserve: int) -> None:
            async with pool.open_group(reserve=reserve) as group:
                await trio.sleep(5.0)
                with pytest.raises(PoolClosedError, match=r"^the pool is closed$"):
                    await group.submit(works)

        async with open_pool(["a", "b"]) as pool:
            nursery.start_soon(opens, pool, 0)
            nursery.start_soon(opens, pool, 1)
            await wait_all_tasks_blocked()
        assert trio.current_time() == 0.0
    assert trio.current_time() == 5.0


# Ctrl-C.


@trio.lowlevel.enable_ki_protection
def press_ctrl_c() -> None:
    """As if it came while Trio itself is running: the main task is told."""
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_the_body_of_a_group_comes_out_of_it() -> None:
    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(["a"]) as pool:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                async with pool.open_group() as group:
                    jobs.append(await group.submit(sleeps_forever))
                    signal.raise_signal(signal.SIGINT)
            assert jobs[0].state is CANCELLED
            assert await pool.run(works) == "done"

    trio.run(main)


def test_ctrl_c_while_the_jobs_of_a_group_end_cancels_them() -> None:
    jobs: list[Job[None]] = []

    async def presses(resource: str) -> None:
        await trio.sleep(1.0)
        press_ctrl_c()
        await trio.sleep_forever()

    async def main() -> None:
        async with open_pool(["a"]) as pool, pool.open_group() as group:
            jobs.append(await group.submit(presses))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert jobs[0].state is CANCELLED


def test_ctrl_c_twice_still_waits_for_the_functions_of_a_group_to_end() -> None:
    ended: list[float] = []

    async def presses_twice(resource: str) -> None:
        press_ctrl_c()
        with trio.CancelScope(shield=True):
            await trio.sleep(1.0)
            press_ctrl_c()
            await trio.sleep(1.0)
            ended.append(trio.current_time())

    async def main() -> None:
        async with open_pool(["a"]) as pool, pool.open_group() as group:
            await group.submit(presses_twice)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert ended == [2.0]


def test_ctrl_c_while_a_cancelled_group_ends_comes_out_of_it() -> None:
    ended: list[float] = []

    async def presses_late(resource: str) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1.0)
            press_ctrl_c()
            await trio.sleep(1.0)
            ended.append(trio.current_time())

    async def main() -> None:
        async with open_pool(["a"]) as pool:
            with pytest.raises(KeyboardInterrupt):  # noqa: PT012
                async with pool.open_group() as group:
                    await group.submit(presses_late)
                    await wait_all_tasks_blocked()
                    group.cancel()
            assert ended == [2.0]

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_ctrl_c_in_a_job_of_a_group_ends_the_pool(autojump_clock: MockClock) -> None:
    async def presses(resource: str) -> None:
        raise KeyboardInterrupt

    with pytest.RaisesGroup(KeyboardInterrupt):
        async with open_pool(["a"]) as pool, pool.open_group() as group:
            job = await group.submit(presses)
            await trio.sleep_forever()
    assert job.state is CANCELLED


# Dead letters of a group.


async def test_a_dead_job_that_is_requeued_is_a_job_of_its_group_again(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            dead = await group.submit(Flaky(1, result="done"))
            await group.join()
            again = pool.dead.requeue(dead)
        assert again.result() == "done"
        assert group.statistics().submitted == 2


@pytest.mark.parametrize("must_succeed", [False, True])
async def test_a_dead_job_that_is_requeued_after_its_group_is_a_job_of_the_pool(
    must_succeed: bool, autojump_clock: MockClock
) -> None:
    reopened: list[Worker] = []

    class Watch(Instrument):
        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            reopened.append(worker)

    async with open_pool(["a"], instruments=[Watch()], on_dead="keep") as pool:
        flaky, hopeless = Flaky(1, result="done"), Flaky(9)
        for fn in (flaky, hopeless):
            with pytest.RaisesGroup(JobFailedError) if must_succeed else nullcontext():
                async with pool.open_group(must_succeed=must_succeed, max_running=1) as group:
                    await group.submit(fn)
        first, second = pool.dead
        again = pool.dead.requeue(first)
        assert await again.wait() == "done"
        again = pool.dead.requeue(second)
        with pytest.raises(JobFailedError):
            await again.wait()
        assert group.statistics().submitted == 1
    assert reopened == []


async def test_a_dead_job_that_is_requeued_while_its_group_is_cancelled_is_a_job_of_the_pool(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            dead = await group.submit(Flaky(1, result="done"))
            await group.join()
            group.cancel()
            again = pool.dead.requeue(dead)
        assert group.statistics().submitted == 1
        assert await again.wait() == "done"


async def test_at_the_end_of_the_pool_a_job_that_nobody_may_take_dies_though_its_group_has_a_worker(
    autojump_clock: MockClock,
) -> None:
    async def opens(pool: Pool[str]) -> None:
        async with pool.open_group(reserve=1) as group:
            jobs.append(await group.submit(works, requires=["x"]))
            jobs.append(await group.submit(sleeps, 1.0))

    jobs: list[Job[object]] = []
    async with trio.open_nursery() as nursery, open_pool(["a"], no_worker="wait", on_dead="keep") as pool:
        nursery.start_soon(opens, pool)
        await wait_all_tasks_blocked()
    lost, other = jobs
    assert (lost.dead_reason, lost.finished_at) == (DeadReason.NO_WORKER, 1.0)
    assert (other.state, trio.current_time()) == (SUCCEEDED, 1.0)
