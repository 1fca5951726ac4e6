"""Whatever makes a wait one forever, the job is told: each kind of event that can."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap
from tests.harness import no_hanging
from tests.pool.waiting.fragile import Fragile
from trio_pool import (
    DeadReason,
    Elastic,
    Hedge,
    JobDeadlockError,
    JobFailedError,
    Resource,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio.testing import MockClock


def breaks_first(fragile: Fragile) -> Any:
    """The lifespan of the resource ``a``; others have none."""

    @asynccontextmanager
    async def lifespan(name: str) -> AsyncGenerator[str]:
        if name == "a":
            async with fragile.lifespan(name) as value:
                yield value
        else:
            yield name

    return lifespan


# A lent worker without a job on it


@pytest.mark.parametrize("error", [None, OSError("gone")])
async def test_the_lifespan_of_a_lent_worker_ends_by_itself(autojump_clock: MockClock, error: Exception | None) -> None:
    fragile = Fragile(error)
    told: list[float] = []

    async def lender(resource: str) -> None:
        with trio.CancelScope(shield=True):
            async with current_job().lend():
                job = await pool.submit(nap, 1, after=[blocker], worker=current_job().worker)
                with pytest.raises(JobDeadlockError):
                    await job.wait()
                told.append(trio.current_time())
                job.cancel()

    async with no_hanging(), open_pool(["a", "b"], lifespan=breaks_first(fragile), on_dead="keep") as pool:
        first, second = pool.workers
        blocker = await pool.submit(nap, 5, worker=second)
        await pool.submit(lender, worker=first)
        await trio.sleep(3)
        fragile.breaking.set()
    assert told == [3]


async def test_a_lent_worker_is_removed(autojump_clock: MockClock) -> None:
    told: list[float] = []

    async def lender(resource: object) -> None:
        async with current_job().lend():
            job = await pool.submit(nap, 1, after=[blocker], requires=["x"])
            with pytest.raises(JobDeadlockError):
                await job.wait()
            told.append(trio.current_time())
            job.cancel()

    async with no_hanging(), open_pool([Resource("a", tags=["x"]), "b"], no_worker="wait", on_dead="keep") as pool:
        first, second = pool.workers
        blocker = await pool.submit(nap, 5, worker=second)
        await pool.submit(lender, worker=first)
        await trio.sleep(3)
        await first.remove()
    assert told == [3]


# Groups


@pytest.mark.parametrize("way", ["join", "leave"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_job_comes_into_a_group_that_is_waited_for(autojump_clock: MockClock, way: str, after: bool) -> None:
    async def member(resource: str, group: Any) -> None:
        await trio.sleep(3)
        before = [await group.submit(nap, 2)] if after else []
        await group.submit(nap, 1, worker=first, after=before)

    async def parent(resource: str) -> float:
        try:
            async with pool.open_group() as group:
                await group.submit(member, group, worker=second)
                if way == "join":
                    await group.join()
        except JobDeadlockError:
            return trio.current_time()
        return -1

    async with no_hanging(), open_pool(["a", "b", "c"]) as pool:
        first, second, _ = pool.workers
        job = await pool.submit(parent, worker=first)
        assert await job.wait() == 3


async def test_a_job_that_can_run_comes_into_a_group_that_is_waited_for(autojump_clock: MockClock) -> None:
    async def member(resource: str, group: Any) -> None:
        await trio.sleep(3)
        before = await group.submit(nap, 2)
        await group.submit(nap, 1, after=[before])

    async def parent(resource: str) -> float:
        async with pool.open_group() as group:
            await group.submit(member, group)
        return trio.current_time()

    async with no_hanging(), open_pool(["a", "b"]) as pool:
        assert await pool.run(parent) == 6


async def test_a_group_gets_a_worker_in_place_of_one_that_it_has_lost(autojump_clock: MockClock) -> None:
    told: list[float] = []

    async def needs_the_new_one(resource: str) -> None:
        blocker = await pool.submit(nap, 50, worker=fourth)
        job = await pool.submit(nap, 1, requires=["x"], after=[blocker])
        await job.wait()

    async def opens(resource: str) -> None:
        async with pool.open_group(reserve=1):
            try:
                await other.wait()
            except JobDeadlockError:
                told.append(trio.current_time())

    async with no_hanging(), open_pool(["a", "b", "c", "d"], no_worker="wait") as pool:
        first, second, third, fourth = pool.workers
        other = await pool.submit(needs_the_new_one, worker=third)
        await trio.sleep(1)
        await pool.submit(opens, worker=first)
        await trio.sleep(2)
        await second.remove()
        await trio.sleep(3)
        await pool.add(Resource("e", tags=["x"]))
    assert told == [6]


# Workers


async def test_an_idle_worker_is_retired_that_a_hedge_could_have_taken(autojump_clock: MockClock) -> None:
    opened = 0

    @asynccontextmanager
    async def factory() -> AsyncGenerator[int]:
        nonlocal opened
        opened += 1
        yield opened

    async def parent(resource: int) -> float:
        await pool.submit(nap, 1)  # another worker is opened for that
        with pytest.raises(JobDeadlockError):
            await pool.run(nap, 1, worker=current_job().worker)
        return trio.current_time()

    async with no_hanging(), open_pool(Elastic(factory, min=1, max=2, idle_timeout=5), on_dead="keep") as pool:
        assert await pool.run(parent, hedge=Hedge(30)) == 6


@pytest.mark.parametrize("options", [{"total_timeout": 5}, {"attempt_timeout": 5}], ids=str)
@pytest.mark.parametrize("rest", [0.0, 9.0])
async def test_the_time_of_a_hedged_job_is_up_which_waits_for_itself_behind_a_shield(
    autojump_clock: MockClock, rest: float, options: Any
) -> None:
    told: list[float] = []

    async def parent(resource: str) -> None:
        if resource == "b":
            await trio.sleep(100)
        with trio.CancelScope(shield=True), pytest.raises(JobDeadlockError):
            await current_job().wait()
        told.append(trio.current_time())

    async with no_hanging(), open_pool(["a", "b"], on_dead="keep") as pool:
        pool.workers[1].rest(rest)
        await pool.submit(parent, hedge=Hedge(1), **options)
    assert told == [5]


async def test_a_worker_is_had_back_that_a_job_that_bounces_has_to_try(autojump_clock: MockClock) -> None:
    told: list[str] = []
    flaky = Flaky(1, error=OSError(), result="fine")

    async def bounces(resource: str) -> str:
        return await flaky()

    async def waits(resource: object) -> None:
        try:
            await bouncing.wait()
        except JobDeadlockError:
            told.append(f"{resource} at {trio.current_time():g}")

    async def lends(resource: object) -> None:
        async with trio.open_nursery() as nursery:
            lent = trio.Event()

            @nursery.start_soon
            async def _() -> None:
                async with current_job().lend():
                    lent.set()
                    await trio.sleep(3)

            await lent.wait()
            nursery.start_soon(waits, resource)

    policy = RetryPolicy.fixed(10, max_attempts=2, placement="other")
    async with no_hanging(), open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        bouncing = await pool.submit(bounces, retry=policy)
        await trio.sleep(1)
        assert bouncing.attempts[0].worker_id == first.id
        await pool.submit(lends, worker=second)
    assert told == ["b at 4"]


# The end of the block


async def test_a_job_is_cancelled_that_waits_behind_a_shield_as_the_body_ends(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def parent(resource: str) -> None:
        with trio.CancelScope(shield=True):
            try:
                await pool.run(nap, 1, requires=["x"])
            except JobFailedError as error:
                seen.append(error.job.dead_reason)

    async with no_hanging(), open_pool(["a"], no_worker="wait", on_dead="keep") as pool:
        job = await pool.submit(parent)
        await trio.sleep(3)
        job.cancel()
    assert seen == [DeadReason.NO_WORKER]


async def test_a_worker_is_paused_after_the_end_of_the_body_and_a_job_waits_for_any_of_those_for_it(
    autojump_clock: MockClock,
) -> None:
    flaky = Flaky(1, error=OSError(), result="fine")

    async def fails_once(resource: str, item: int) -> str:
        await trio.sleep(1)
        return await flaky()

    async def reads(resource: str) -> list[str]:
        async with pool.as_completed(fails_once, [1, 2], worker=first, retry=RetryPolicy.immediate()) as jobs:
            return [job.result() async for job in jobs]

    async with no_hanging(), trio.open_nursery() as nursery, open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        await pool.submit(nap, 0.2, worker=first)
        job = await pool.submit(reads, worker=second)

        @nursery.start_soon
        async def _() -> None:
            await trio.sleep(0.5)
            first.pause()

    assert job.result() == ["fine", "fine"]


@pytest.mark.parametrize("is_lent", [False, True])
@pytest.mark.parametrize("seconds", [0.2, 1.5])
async def test_the_only_worker_that_an_elastic_pool_may_have_is_to_leave_and_a_hedge_waits_for_another(
    autojump_clock: MockClock, seconds: float, is_lent: bool
) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        yield "resource"

    async def parent(resource: str) -> None:
        await trio.sleep(1)
        await pool.run(nap, 0)

    async def lender(resource: str) -> None:
        job = await pool.submit(parent, hedge=Hedge(0.5))
        async with current_job().lend():
            await job.wait()

    async with no_hanging(), open_pool(Elastic(factory, min=1, max=1), on_dead="keep") as pool:
        (worker,) = pool.workers
        job = await pool.submit(lender) if is_lent else await pool.submit(parent, hedge=Hedge(0.5))
        await trio.sleep(seconds)
        await worker.remove()
        error: BaseException | None = job.attempts[-1].error
        while isinstance(error, JobFailedError):
            error = error.__cause__
        assert isinstance(error, JobDeadlockError)
