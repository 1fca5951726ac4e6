"""The resource of a lent worker breaks: who is told of it, and when it is reopened."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, nap, of_any_arguments, state_of, works
from tests.lenders import lends, lends_forever
from tests.pool.waiting.fragile import Fragile, cause_of
from trio_pool import DeadReason, JobState, Resource, ResourceBroken, RetryPolicy, current_job, open_pool


@of_any_arguments
async def breaks(*_: object) -> None:
    """Finds its resource broken."""
    raise ResourceBroken("no use")


async def test_a_resource_that_another_job_breaks_is_given_back_broken(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(lends, 5)
        other = await pool.submit(breaks)
        await trio.sleep(1)
        assert (state_of(other), doors.left) == (JobState.DEAD, [])
        waiting = await pool.submit(works)
        assert await waiting.wait() == "done"
        assert str(cause_of(lender)) == "the resource of worker-1 broke while it was lent"
        assert (doors.entered, doors.left, trio.current_time()) == (["a", "a"], ["a"], 5)


async def test_a_broken_resource_is_told_of_once(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        for _ in range(3):
            await pool.submit(lends, 5)
        await pool.submit(breaks)
        await trio.sleep(6)
        assert (doors.entered, doors.left) == (["a", "a"], ["a"])


async def test_a_worn_resource_is_opened_anew_only_when_its_lender_is_done(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([Resource("a", max_jobs=2)], lifespan=doors.lifespan) as pool:
        lender = await pool.submit(lends, 5)
        others = [await pool.submit(nap, 1) for _ in range(3)]
        assert [await job.wait() for job in (*others, lender)] == [1, 2, 3, 5]
        assert doors.entered == ["a"]
        await pool.run(works)
        assert (doors.entered, doors.left) == (["a", "a"], ["a"])


async def test_an_old_resource_is_opened_anew_only_when_its_lender_is_done(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([Resource("a", max_age=2)], lifespan=doors.lifespan) as pool:
        lender = await pool.submit(lends, 5)
        await trio.sleep(4)
        assert doors.entered == ["a"]
        assert await lender.wait() == 5
        await wait_all_tasks_blocked()
        assert (doors.entered, doors.left) == (["a", "a"], ["a"])


async def test_the_queue_goes_on_where_the_resource_breaks_before_its_next_job_has_begun(
    autojump_clock: MockClock,
) -> None:
    # What ends is another's task than the one that would begin the next.
    fragile = Fragile()

    async def breaks_it(_: object) -> None:
        async with current_job().lend():
            await trio.sleep(2)
        with trio.CancelScope(shield=True):
            fragile.breaking.set()
            await trio.sleep(1)

    async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never()) as pool:
        await pool.submit(lends, 1)
        await pool.submit(breaks_it)
        await trio.sleep(1.5)
        blocker = await pool.submit(nap, 2)
        waiting = await pool.submit(works)
        assert await waiting.wait() == "done"
        assert blocker.state is JobState.SUCCEEDED
        assert fragile.entered == 2


BREAKING: dict[str, tuple[list[tuple[Any, float]], list[tuple[Any, float]]]] = {
    "the lender is in its block": ([(lends, 30)], []),
    "a stand-in runs a job": ([(lends, 30)], [(nap, 20)]),
    "the lender waits to get it back": ([(lends, 5)], [(nap, 20)]),
    "two lend it": ([(lends, 30), (lends, 40)], []),
    "two lend it and a third runs": ([(lends, 30), (lends, 40)], [(nap, 20)]),
    "two wait to get it back": ([(lends, 3), (lends, 4)], [(nap, 20)]),
    "one has come back, and another lends it": ([(lends, 30), (lends, 5)], [(nap, 1)]),
    "nobody lends it any more": ([(lends, 1)], [(nap, 20)]),
}


@pytest.mark.parametrize("error", [None, OSError("gone")])
@pytest.mark.parametrize("case", BREAKING)
async def test_a_resource_that_breaks_by_itself_while_it_is_lent_fails_all_who_had_it(
    autojump_clock: MockClock, case: str, error: Exception | None
) -> None:
    lenders, others = BREAKING[case]
    fragile = Fragile(error)
    options: Any = {"lifespan": fragile.lifespan, "retry": RetryPolicy.never(), "on_dead": "keep"}
    with trio.fail_after(20):
        async with open_pool(["a"], **options) as pool:
            jobs = [await pool.submit(*call) for call in (*lenders, *others)]
            await trio.sleep(10)
            under_way = [job for job in jobs if not job.state.is_final]
            fragile.breaking.set()
            await wait_all_tasks_blocked()
            assert await pool.run(works) == "done"
            assert [job.dead_reason for job in under_way] == [DeadReason.ATTEMPTS_EXHAUSTED] * len(under_way)
            assert all(isinstance(cause_of(job), ResourceBroken) for job in under_way)
            assert fragile.entered == 2


async def test_a_resource_that_breaks_by_itself_while_it_is_lent_is_given_no_more_jobs(
    autojump_clock: MockClock,
) -> None:
    async def is_slow_to_leave(_: object) -> None:
        async with current_job().lend():
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(3)

    fragile = Fragile()
    async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        lender = await pool.submit(is_slow_to_leave)
        await trio.sleep(1)
        fragile.breaking.set()
        await wait_all_tasks_blocked()
        waiting = await pool.submit(works)
        with trio.fail_after(10):
            await waiting.wait()
        assert 4 <= trio.current_time() < 5  # it backs off for a moment
        assert isinstance(cause_of(lender), ResourceBroken)


async def test_a_stubborn_one_on_a_broken_resource_leaves_no_job_behind_in_it(autojump_clock: MockClock) -> None:
    # The worker's own task is free, since its job has ended, while the others' go on.
    async def back_and_stubborn(_: object) -> None:
        async with current_job().lend():
            await trio.sleep(2)
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    fragile = Fragile()
    async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
        await pool.submit(lends, 1)
        stubborn = await pool.submit(back_and_stubborn)
        lender = await pool.submit(lends_forever)
        await trio.sleep(5)
        fragile.breaking.set()
        await wait_all_tasks_blocked()
        waiting = await pool.submit(works)
        with trio.fail_after(20):
            await waiting.wait()
        assert stubborn.state is JobState.SUCCEEDED
        assert 12 <= trio.current_time() < 13  # it backs off for a moment
        assert isinstance(cause_of(lender), ResourceBroken)
