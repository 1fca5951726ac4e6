"""Who has lent a worker is cancelled, or the worker removed: nobody is left with half of it."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, nap
from tests.lenders import lends, lends_and_works, lends_forever
from tests.pool.waiting.fragile import Fragile, cause_of
from trio_pool import (
    DeadReason,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Pool,
    ResourceBroken,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


# Cancelling and timeouts


@pytest.mark.parametrize("when", [1, 6])
async def test_a_lender_that_is_cancelled_waits_to_get_its_worker_back(autojump_clock: MockClock, when: float) -> None:
    # At 1 it is in its block, at 6 it waits to get the worker back already.
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        await pool.submit(nap, 10)
        await trio.sleep(when)
        lender.cancel()
        with pytest.raises(JobCancelledError):
            await lender.wait()
        assert trio.current_time() == 10


@pytest.mark.parametrize("limit", ["attempt_timeout", "total_timeout"])
@pytest.mark.parametrize("when", [1, 6])
async def test_timeouts_go_on_while_the_worker_is_lent(autojump_clock: MockClock, when: float, limit: str) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        options: Any = {limit: when}
        lender = await pool.submit(lends, 5, **options)
        await pool.submit(nap, 10)
        with pytest.raises(JobFailedError, match="took longer than"):
            await lender.wait()
        assert trio.current_time() == 10


async def test_a_timeout_after_the_block_counts_from_the_attempts_beginning(autojump_clock: MockClock) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(lends_and_works, 5, 100, attempt_timeout=8)
        with pytest.raises(JobFailedError, match="took longer than"):
            await lender.wait()
        assert trio.current_time() == 8


async def test_the_timeout_of_one_on_a_lent_worker_is_its_own(autojump_clock: MockClock) -> None:
    async with open_pool(1, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(lends, 5)
        late = await pool.submit(nap, 100, attempt_timeout=2)
        with pytest.raises(JobFailedError, match="took longer than"):
            await late.wait()
        assert trio.current_time() == 2
        assert await lender.wait() == 5


async def test_cancelling_one_on_a_lent_worker_leaves_the_lender_alone(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(nap, 100)
        await trio.sleep(1)
        other.cancel()
        assert await lender.wait() == 5


async def test_a_lender_that_is_cancelled_may_fail(autojump_clock: MockClock) -> None:
    async def sulks() -> None:
        try:
            await lends_forever()
        except trio.Cancelled:
            raise OSError("so there") from None

    async with open_pool(1, on_dead="keep") as pool:
        lender = await pool.submit(sulks)
        await wait_all_tasks_blocked()
        lender.cancel()
        with pytest.raises(JobFailedError, match="so there"):
            await lender.wait()


@pytest.mark.parametrize("when", [0.5, 1.5])
async def test_cancelling_the_pool_ends_lenders_and_those_on_their_workers(
    autojump_clock: MockClock, when: float
) -> None:
    async with open_pool(1) as pool:
        jobs = [await pool.submit(lends, 1), await pool.submit(lends_forever), await pool.submit(nap, 100)]
        await trio.sleep(when)
        pool.cancel()
    assert [job.state for job in jobs] == [JobState.CANCELLED] * 3
    assert trio.current_time() == when


async def test_the_pools_block_waits_for_lenders(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(nap, 10)
    assert (lender.result(), other.result()) == (10, 10)


async def test_the_pools_block_resumes_a_paused_worker_that_is_lent(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        lender = await pool.submit(lends, 5)
        pool.workers[0].pause()
        other = await pool.submit(nap, 1)
    assert (lender.result(), other.result()) == (5, 1)


async def test_a_keyboard_interrupt_of_one_on_a_lent_worker_ends_the_pool(autojump_clock: MockClock) -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    jobs: list[Job[Any]] = []
    with pytest.RaisesGroup(KeyboardInterrupt):
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(lends_forever))
            await pool.submit(interrupted)
    assert jobs[0].state is JobState.CANCELLED


# The worker leaves


async def test_a_worker_that_is_removed_is_given_back_before_it_leaves(autojump_clock: MockClock) -> None:
    async def lends_at_first(_: object) -> int:
        if not current_job().attempt_count:
            async with current_job().lend():
                await trio.sleep(5)
        return current_job().attempt_count

    doors = Doors()
    async with open_pool(["a", "b"], lifespan=doors.lifespan, retry=RetryPolicy.immediate()) as pool:
        lender = await pool.submit(lends_at_first)
        await trio.sleep(1)
        assert lender.worker is not None
        await lender.worker.remove()
        assert (trio.current_time(), doors.left) == (5, ["a"])
        assert await lender.wait() == 1
        assert isinstance(lender.attempts[0].error, ResourceBroken)
        assert str(lender.attempts[0].error) == "worker-1 was removed while it was lent"


async def test_a_worker_that_is_removed_while_it_is_lent_takes_no_more_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(2, retry=RetryPolicy.never(), on_dead="keep") as pool:
        first, second = pool.workers
        lender = await pool.submit(lends, 5, worker=first)
        under_way = await pool.submit(nap, 7, worker=first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first.remove)
            await wait_all_tasks_blocked()
            assert await pool.run(nap, 1) == 1
        assert (trio.current_time(), pool.workers) == (7, (second,))
        assert under_way.result() == 7
        assert isinstance(cause_of(lender), ResourceBroken)


async def test_the_error_of_the_body_goes_before_that_of_the_removed_worker(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with current_job().lend():
            await trio.sleep(5)
            raise OSError("mine")

    async with open_pool(2, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(parent)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove()
        assert isinstance(cause_of(lender), OSError)


@pytest.mark.parametrize("when", [1, 6])
async def test_a_lender_is_evicted_with_its_worker(autojump_clock: MockClock, when: float) -> None:
    async with open_pool(2, on_dead="keep") as pool:
        first, second = pool.workers
        lender = await pool.submit(lends, 5)
        await wait_all_tasks_blocked()
        other = await pool.submit(nap, 10, worker=first) if when > 5 else None
        await pool.submit(nap, 20, worker=second, priority=-1)
        await trio.sleep(when)
        await first.remove(cancel=True)
        assert trio.current_time() == when
        assert (lender.state, lender.attempt_count) == (JobState.QUEUED, 0)
        assert await lender.wait() == 25
        assert other is None or other.dead_reason is DeadReason.NO_WORKER


async def test_a_lender_can_not_remove_its_worker(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        async with current_job().lend():
            worker = current_job().worker
            assert worker is not None
            with pytest.raises(RuntimeError, match="can't be removed by the job that runs on it"):
                await worker.remove()

    async with open_pool(1) as pool:
        await pool.run(parent)


async def test_a_child_on_another_worker_can_not_remove_that_of_its_lender(autojump_clock: MockClock) -> None:
    async def child(worker: Worker) -> None:
        with pytest.raises(RuntimeError, match="can't be removed"):
            await worker.remove()

    async def parent() -> None:
        worker = current_job().worker
        assert worker is not None
        async with current_job().lend():
            await pool.run(child, worker, worker=pool.workers[1])

    async with open_pool(2) as pool:
        await pool.run(parent, worker=pool.workers[0])


async def test_a_lender_may_lend_once_more_though_its_worker_is_about_to_leave(autojump_clock: MockClock) -> None:
    async def parent() -> int:
        broken = 0
        for _ in range(2):
            try:
                async with current_job().lend():
                    await trio.sleep(5)
            except ResourceBroken:
                broken += 1
        return broken

    async with open_pool(2) as pool:
        lender = await pool.submit(parent)
        await wait_all_tasks_blocked()
        await pool.workers[0].remove()
        assert (await lender.wait(), trio.current_time()) == (2, 10)


# All of it together


seconds = st.integers(0, 5)
programs = st.lists(st.tuples(st.sampled_from(["work", "lend", "break", "stubborn"]), seconds), max_size=4)
meddling = st.tuples(
    seconds, st.sampled_from(["cancel", "pause", "resume", "rest", "remove", "evict", "break"]), st.integers(0, 5)
)


@given(
    scripts=st.lists(programs, max_size=6),
    workers=st.integers(1, 2),
    meddlings=st.lists(meddling, max_size=4),
    options=st.fixed_dictionaries({}, optional={"max_running": st.just(1), "attempt_timeout": st.just(7)}),
)
def test_however_jobs_lend_their_workers_each_worker_serves_one_at_a_time_and_all_jobs_end(
    scripts: list[list[tuple[str, int]]],
    workers: int,
    meddlings: list[tuple[int, str, int]],
    options: dict[str, Any],
) -> None:
    fragiles: dict[str, Fragile] = {name: Fragile() for name in "ab"[:workers]}
    users: dict[str, Job[Any]] = {}

    @asynccontextmanager
    async def use(resource: str) -> AsyncGenerator[None]:
        """Nobody else may do this with the same resource at the same time."""
        assert resource not in users
        users[resource] = current_job()
        try:
            yield
        finally:
            del users[resource]

    async def follows(resource: str, script: list[tuple[str, int]]) -> str:
        for what, duration in script:
            if what == "lend":
                async with current_job().lend():
                    await trio.sleep(duration)
                continue
            async with use(resource):
                with trio.CancelScope(shield=what == "stubborn"):
                    await trio.sleep(duration)
            if what == "break":
                raise ResourceBroken
        return "done"

    async def meddle(pool: Pool[str], jobs: list[Job[Any]], what: str, which: int) -> None:
        worker = pool.workers[which % len(pool.workers)] if pool.workers else None
        if what == "cancel" and jobs:
            jobs[which % len(jobs)].cancel()
        elif what == "break":
            fragiles["ab"[which % workers]].breaking.set()
        elif worker is not None and what in ("remove", "evict"):
            await worker.remove(cancel=what == "evict")
        elif worker is not None and what == "rest":
            worker.rest(3)
        elif worker is not None and what in ("pause", "resume"):
            getattr(worker, what)()

    async def main() -> None:
        retry = RetryPolicy(max_attempts=2)
        with trio.fail_after(10_000):
            async with open_pool(
                list(fragiles),
                lifespan=lambda name: fragiles[name].lifespan(name),
                retry=retry,
                on_dead="keep",
                **options,
            ) as pool:
                jobs = [await pool.submit(follows, script) for script in scripts]
                async with trio.open_nursery() as nursery:
                    for after, what, which in meddlings:
                        await trio.sleep(after)
                        nursery.start_soon(meddle, pool, jobs, what, which)
        assert all(job.state.is_final for job in jobs)
        for job in jobs:
            assert not any(isinstance(attempt.error, AssertionError) for attempt in job.attempts)

    logger = logging.getLogger("trio_pool")
    logger.disabled = True
    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    finally:
        logger.disabled = False
