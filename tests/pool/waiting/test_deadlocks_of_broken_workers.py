"""A job that waits is told so when the worker that it has lent turns out to be broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap
from tests.pool.waiting.late_failures import breaks, fails_once
from tests.ways_to_wait import WAYS
from trio_pool import (
    Job,
    JobDeadlockError,
    JobFailedError,
    Resource,
    ResourceBroken,
    RetryPolicy,
    SlotPool,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


@pytest.mark.parametrize("way", WAYS[:-1])
@pytest.mark.parametrize("what", ["breaks", "is to leave"])
async def test_a_wait_for_a_job_that_only_the_waiters_lent_worker_may_run_ends_when_that(
    autojump_clock: MockClock, what: str, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async def parent() -> None:
        async with current_job().lend():
            await way(pool)

    async def has_the_worker() -> None:
        await trio.sleep(9)
        if what == "breaks":
            raise ResourceBroken

    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool, trio.open_nursery() as nursery:
        job = await pool.submit(parent)
        await pool.submit(has_the_worker)
        await trio.sleep(5)
        if what == "is to leave":
            nursery.start_soon(pool.workers[0].remove)
        with trio.fail_after(60), pytest.raises(JobFailedError) as caught:
            await job.wait()
        assert isinstance(caught.value.__cause__, JobDeadlockError)
        assert trio.current_time() == 9


async def test_the_error_tells_that_a_lent_worker_is_broken(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> None:
        async with current_job().lend():
            await pool.run(fails_once(ResourceBroken("gone")), retry=RetryPolicy.fixed(5), name="child")

    async with open_pool([Resource("a", name="a")], on_dead="keep") as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(parent, name="parent")
        assert str(caught.value.__cause__) == (
            "the job parent would wait forever for child: that can't happen while these jobs wait: "
            "parent (has lent a, whose resource is broken)"
        )


async def test_a_parent_whose_worker_was_broken_is_tried_again_on_the_mended_one(autojump_clock: MockClock) -> None:
    child = fails_once(ResourceBroken("gone"))

    async def parent(resource: str) -> str:
        async with current_job().lend():
            return await pool.run(child, retry=RetryPolicy.fixed(5))

    async with open_pool(["a"]) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent, retry=RetryPolicy.fixed(10)) == "mended"
        assert trio.current_time() == 12
        assert pool.statistics().cancelled == 1


@pytest.mark.parametrize("bound", ["", "worker", "tags"])
async def test_a_wait_that_begins_after_a_lent_worker_was_broken_is_found(
    autojump_clock: MockClock, bound: str
) -> None:
    async def parent(resource: str) -> None:
        job = current_job()
        assert job.worker is not None
        options: dict[str, Any] = {"worker": job.worker} if bound == "worker" else {}
        if bound == "tags":
            options = {"requires": ["x"]}
        async with job.lend():
            with pytest.raises(JobFailedError):
                await pool.run(breaks, **options)
            with pytest.raises(JobDeadlockError):
                await pool.run(nap, 1, **options)

    resources = [Resource("a", tags=["x"]), Resource("b")]
    async with open_pool(resources if bound else resources[:1], on_dead="keep") as pool:
        job = await pool.submit(parent, worker=pool.workers[0])
        with trio.fail_after(60), pytest.raises(JobFailedError):
            await job.wait()


async def test_a_job_for_a_broken_lent_worker_may_be_waited_for_where_another_can_take_it(
    autojump_clock: MockClock,
) -> None:
    async def parent(resource: str) -> float:
        job = current_job()
        try:
            async with job.lend():
                with pytest.raises(JobFailedError):
                    await pool.run(breaks, worker=job.worker)
                await pool.run(nap, 1)
        except ResourceBroken:
            return trio.current_time()
        raise AssertionError("not reached")

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        await pool.submit(nap, 9, worker=pool.workers[1])
        assert await pool.run(parent, worker=pool.workers[0]) == 10


async def test_a_job_that_waits_for_one_that_runs_on_a_broken_lent_worker_is_left_alone(
    autojump_clock: MockClock,
) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(8)

    async def parent(resource: str, lender: Job[Any]) -> float:
        with pytest.raises(JobFailedError):
            await lender.wait()
        return trio.current_time()

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        first, second = pool.workers
        lender = await pool.submit(lends, worker=first)
        waiter = await pool.submit(parent, lender, worker=second)
        broken = await pool.submit(breaks, worker=first)
        later = await pool.submit(nap, 1, worker=first)
        with trio.fail_after(60):
            assert await waiter.wait() == 8
            assert await later.wait() == 9
        pool.dead.pop(broken)


async def test_of_several_lenders_of_a_broken_worker_all_are_told_who_need_it(autojump_clock: MockClock) -> None:
    told: list[tuple[int, float]] = []

    async def lends(resource: str, number: int) -> None:
        async with current_job().lend():
            await trio.sleep(number)
            try:
                await pool.run(nap, 1)
            except JobDeadlockError:
                told.append((number, trio.current_time()))

    async def has_the_worker(resource: str) -> None:
        await trio.sleep(9)
        raise ResourceBroken

    async with open_pool(["a"], on_dead="keep") as pool:
        for number in (3, 1, 2):
            await pool.submit(lends, number)
        await pool.submit(has_the_worker)
    assert sorted(told) == [(1, 9), (2, 9), (3, 9)]


async def test_who_waits_for_one_that_was_told_is_told_too_when_that_is_to_be_tried_again(
    autojump_clock: MockClock,
) -> None:
    breaks_once = fails_once(ResourceBroken("gone"))

    async def family(resource: str, generations: int) -> str:
        async with current_job().lend():
            if generations:
                return await pool.run(family, generations - 1)
            return await pool.run(breaks_once)

    policy = RetryPolicy.fixed(1, max_attempts=2)
    with trio.fail_after(60):
        async with open_pool(["the only one"], retry=policy) as pool:
            assert await pool.run(family, 2) == "mended"
