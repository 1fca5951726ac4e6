"""4.6: on_cut: what happens to a resource whose attempt was cut short."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import state_of, works
from tests.pool.workers.server import Server
from trio_pool import (
    Elastic,
    Hedge,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    Pool,
    Resource,
    ResourceBroken,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager


def careful(server: Server, *resources: object, **options: Any) -> AbstractAsyncContextManager[Pool[str]]:
    """A pool that reopens what was cut short."""
    opening: Any = open_pool
    pool: AbstractAsyncContextManager[Pool[str]]
    pool = opening(resources or ["a"], lifespan=server.connect, on_cut="reopen", **({"on_dead": "keep"} | options))
    return pool


async def nap(resource: str, seconds: float = 5.0) -> float:
    await trio.sleep(seconds)
    return trio.current_time()


async def raises_when_cancelled(resource: str) -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise OSError("half a reply") from None


async def returns_though_cancelled(resource: str) -> str:
    with trio.CancelScope(shield=True):
        await trio.sleep(5)
    return "done"


async def fails_at_once(resource: str) -> None:
    raise OSError


async def cancel_soon(pool: Pool[str], fn: Any) -> Job[Any]:
    """Cancel a job while it runs, and wait for its end."""
    job: Job[Any] = await pool.submit(fn)
    await wait_all_tasks_blocked()
    job.cancel()
    with pytest.raises((JobCancelledError, JobFailedError)):
        await job.wait()
    return job


@pytest.mark.parametrize("fn", [nap, raises_when_cancelled])
async def test_after_a_cancelled_attempt_the_resource_is_reopened(fn: Any, autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server) as pool:
        following = await pool.submit(nap, priority=1)
        await following.wait()
        assert len(server.tries) == 1
        await cancel_soon(pool, fn)
        assert state_of(pool.workers[0]) is WorkerState.REOPENING
        await pool.run(nap)
        assert len(server.tries) == 2


async def test_it_is_reopened_before_a_job_that_waits_runs_on_it(autojump_clock: MockClock) -> None:
    opened: list[int] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[int]:
        opened.append(len(opened))
        yield opened[-1]

    async def gets(number: int) -> int:
        return number

    async def hangs(number: int) -> None:
        await trio.sleep_forever()

    async with open_pool(["a"], lifespan=lifespan, on_cut="reopen") as pool:
        first, second = await pool.submit(hangs), await pool.submit(gets)
        await wait_all_tasks_blocked()
        first.cancel()
        assert await second.wait() == 1


@pytest.mark.parametrize("option", ["attempt_timeout", "total_timeout"])
async def test_so_it_is_after_a_timeout(option: str, autojump_clock: MockClock) -> None:
    server = Server()
    options: dict[str, Any] = {option: 2.0}
    async with careful(server) as pool:
        for fn in (nap, raises_when_cancelled):
            with pytest.raises(JobFailedError):
                await pool.run(fn, **options)
        assert await pool.run(works)
        assert len(server.tries) == 3


async def test_so_it_is_when_the_caller_of_run_is_cancelled(autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server) as pool:
        with trio.move_on_after(1):
            await pool.run(nap)
        await pool.run(nap)
        assert server.tries == [0, 1]


async def test_so_it_is_after_a_hedge_that_lost(autojump_clock: MockClock) -> None:
    async def fast_on_b(resource: str) -> str:
        await trio.sleep(1 if resource == "b" else 9)
        return resource

    server = Server()
    async with careful(server, "a", "b") as pool:
        first, second = pool.workers
        assert await pool.run(fast_on_b, hedge=Hedge(1)) == "b"
        assert (state_of(first), state_of(second)) == (WorkerState.REOPENING, WorkerState.IDLE)
        await wait_all_tasks_blocked()
        assert len(server.tries) == 3


async def test_a_worker_that_is_removed_is_just_left(autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server, "a", "b") as pool:
        first, _ = pool.workers
        job = await pool.submit(nap)
        await trio.sleep(1)
        await first.remove(cancel=True)
        assert await job.wait() == 6
        assert (server.tries, server.left) == ([0, 0], [1])


async def test_a_value_in_spite_of_the_cancellation_is_none(autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server) as pool:
        job = await pool.submit(returns_though_cancelled)
        await wait_all_tasks_blocked()
        job.cancel()
        assert await job.wait() == "done"
        await pool.run(nap)
        assert len(server.tries) == 1


async def test_an_error_of_the_function_is_no_cut(autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server) as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails_at_once, attempt_timeout=5)
        await pool.run(nap)
        assert len(server.tries) == 1


async def test_an_attempt_whose_function_was_never_called_is_no_cut(autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server) as pool:
        await trio.sleep(1)
        job = pool.submit_nowait(nap)
        job.cancel()
        with pytest.raises(JobCancelledError):
            await job.wait()
        assert JobState.RUNNING in [transition.state for transition in job.history]
        assert len(server.tries) == 1


async def test_by_default_it_is_used_as_it_is(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        await cancel_soon(pool, nap)
        await pool.run(nap)
        assert len(server.tries) == 1


async def test_a_resource_may_have_it_otherwise_than_the_pool(autojump_clock: MockClock) -> None:
    server = Server()
    described = [Resource("a", on_cut="keep")]
    async with careful(server, *described) as pool:
        await cancel_soon(pool, nap)
        added = await pool.add("b", on_cut="reopen")
        kept = await pool.add(Resource("c", on_cut="keep"))
        plain = await pool.add("d")
        assert len(server.tries) == 4
        for worker, tries in ((kept, 4), (added, 5), (plain, 6)):
            job = await pool.submit(nap, worker=worker)
            await wait_all_tasks_blocked()
            job.cancel()
            await wait_all_tasks_blocked()
            assert len(server.tries) == tries


@pytest.mark.parametrize("of_pool", [False, True])
async def test_elastic_workers_too(of_pool: bool, autojump_clock: MockClock) -> None:
    server = Server()
    elastic: Elastic[str] = Elastic(server.connect, max=1, on_cut=None if of_pool else "reopen")
    async with open_pool(elastic, on_cut="reopen" if of_pool else "keep") as pool:
        await cancel_soon(pool, nap)
        await pool.run(nap)
        assert len(server.tries) == 2


async def test_instruments_hear_of_it_without_an_error(autojump_clock: MockClock) -> None:
    told: list[Exception | None] = []

    class Log(Instrument):
        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            told.append(error)

    async with careful(Server(), instruments=[Log()]) as pool:
        await cancel_soon(pool, nap)
        assert told == [None]
        with pytest.raises(JobFailedError):
            await pool.run(nap, attempt_timeout=1)
        assert told == [None, None]


async def test_a_resource_that_says_it_is_broken_when_it_is_cancelled_is_reopened_once(
    autojump_clock: MockClock,
) -> None:
    async def breaks(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ResourceBroken

    server = Server()
    async with careful(server) as pool:
        await cancel_soon(pool, breaks)
        await pool.run(nap)
        assert len(server.tries) == 2


async def test_the_retry_after_a_timeout_runs_on_the_reopened_one(autojump_clock: MockClock) -> None:
    server = Server()

    async def slow_at_first(resource: str) -> int:
        if current_job().attempt_count == 0:
            await trio.sleep_forever()
        return len(server.tries)

    async with careful(server, retry=RetryPolicy.immediate()) as pool:
        assert await pool.run(slow_at_first, attempt_timeout=1) == 2


async def test_a_lender_whose_borrower_is_cut_short_is_told(autojump_clock: MockClock) -> None:
    async def lends(resource: str, pool: Pool[str]) -> str:
        with pytest.raises(ResourceBroken):
            async with current_job().lend():
                await cancel_soon(pool, nap)
        return "told"

    server = Server()
    async with careful(server) as pool:
        assert await pool.run(lends, pool) == "told"
        await pool.run(nap)
        assert len(server.tries) == 2


async def test_the_end_of_the_pool_reopens_nothing(autojump_clock: MockClock) -> None:
    server = Server()
    async with careful(server) as pool:
        await pool.submit(nap)
        await trio.sleep(1)
        pool.cancel()
    assert (server.tries, server.left) == ([0], [])


# Where it can't be.


@pytest.mark.parametrize("resources", [["a"], [], 2])
def test_without_a_lifespan_it_is_refused(resources: Any) -> None:
    with pytest.raises(ValueError, match=r"^on_cut='reopen' needs a lifespan"):
        open_pool(resources, on_cut="reopen")


def test_a_resource_without_a_lifespan_can_not_have_it() -> None:
    with pytest.raises(ValueError, match=r"^on_cut='reopen' needs a lifespan"):
        open_pool(["a", Resource("b", on_cut="reopen")])


async def test_nor_can_a_worker_that_is_added_without_one() -> None:
    async with open_pool(["a"]) as pool, open_pool(1) as slots, open_pool(Elastic(Server().connect, max=1)) as elastic:
        calls: list[Any] = [
            lambda: pool.add("b", on_cut="reopen"),
            lambda: slots.add(on_cut="reopen"),
            lambda: elastic.add("b", on_cut="reopen"),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=r"^on_cut='reopen' needs a lifespan"):
                await call()
        assert len(pool.workers) == len(slots.workers) == 1


async def test_an_added_worker_without_a_lifespan_keeps_its_resource(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Server().connect, max=1), on_cut="reopen") as pool:
        worker = await pool.add("b")
        job = await pool.submit(nap, worker=worker)
        await wait_all_tasks_blocked()
        job.cancel()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.IDLE


def test_what_it_may_be() -> None:
    wrong: Any = "close"
    with pytest.raises(ValueError, match=r"^on_cut must be one of 'keep', 'reopen', got 'close'"):
        Resource("a", on_cut=wrong)
    with pytest.raises(ValueError, match=r"^on_cut must be one of 'keep', 'reopen', got 'close'"):
        open_pool([], on_cut=wrong)


async def test_a_resource_has_its_own() -> None:
    async with open_pool(["b"]) as pool:
        with pytest.raises(ValueError, match="a Resource has its own"):
            await pool.add(Resource("a"), on_cut="keep")
