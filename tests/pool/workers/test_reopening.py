"""3.6: workers that are told to reopen."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import state_of, works
from tests.pool.workers.reopenings import STEADY, Log, nap
from tests.pool.workers.server import Server
from trio_pool import (
    Instrument,
    Pool,
    ResourceBroken,
    Worker,
    WorkerState,
    current_job,
    current_worker,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

# reopen()


async def test_an_idle_worker_reopens_at_once(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        await trio.sleep(3)
        (worker,) = pool.workers
        worker.reopen()
        assert state_of(worker) is WorkerState.REOPENING
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.IDLE
        assert (server.tries, server.left) == ([0, 3], [3])


async def test_a_busy_worker_reopens_after_its_attempt_and_before_the_next(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        first, second = await pool.submit(nap), await pool.submit(nap)
        await trio.sleep(3)
        pool.workers[0].reopen()
        assert state_of(pool.workers[0]) is WorkerState.BUSY
        assert (await first.wait(), await second.wait()) == (5, 10)
        assert server.tries == [0, 5]


async def test_a_function_can_have_its_own_worker_reopened(autojump_clock: MockClock) -> None:
    async def gets_out_of_step(resource: str) -> None:
        await trio.lowlevel.checkpoint()
        current_worker().reopen()

    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        await pool.run(gets_out_of_step)
        await pool.run(nap)
        assert len(server.tries) == 2


async def test_asking_twice_reopens_once(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        job = await pool.submit(nap)
        await trio.sleep(1)
        pool.workers[0].reopen()
        pool.workers[0].reopen()
        await job.wait()
        await trio.sleep(1)
    assert server.tries == [0, 5]


async def test_instruments_hear_of_it_without_an_error(autojump_clock: MockClock) -> None:
    log = Log()
    async with open_pool(["a"], lifespan=Server().connect, instruments=[log]) as pool:
        pool.workers[0].reopen()
        await wait_all_tasks_blocked()
        assert log.told == [("started", "worker-1"), ("reopening", None), ("started", "worker-1")]


async def test_a_paused_worker_reopens_and_stays_paused(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        (worker,) = pool.workers
        worker.pause()
        worker.reopen()
        await wait_all_tasks_blocked()
        assert (len(server.tries), state_of(worker)) == (2, WorkerState.PAUSED)
        assert pool.idle_workers == ()


async def test_a_job_that_has_lent_the_worker_is_told(autojump_clock: MockClock) -> None:
    async def lends(resource: str, pool: Pool[str]) -> str:
        with pytest.raises(ResourceBroken):  # noqa: PT012
            async with current_job().lend():
                await pool.run(works)
                pool.workers[0].reopen()
        return "told"

    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        assert await pool.run(lends, pool) == "told"
        assert await pool.run(nap, 1.0) == trio.current_time()
        assert len(server.tries) == 2


async def test_it_ends_a_pause_between_two_tries(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect, reopening=STEADY) as pool:
        (worker,) = pool.workers
        server.error = OSError("down")
        worker.reopen()
        await trio.sleep(13)
        server.error = None
        worker.reopen()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.IDLE
        assert server.tries == [0, 0, 10, 13]
        await trio.sleep(30)
        assert len(server.tries) == 4


async def test_it_does_not_disturb_a_try_under_way(autojump_clock: MockClock) -> None:
    tries: list[float] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        tries.append(trio.current_time())
        await trio.sleep(10)
        yield resource

    async with open_pool(["a"], lifespan=lifespan) as pool:
        pool.workers[0].reopen()
        await trio.sleep(5)
        pool.workers[0].reopen()
        await trio.sleep(10)
        assert (tries, state_of(pool.workers[0])) == ([0, 10], WorkerState.IDLE)


async def test_a_worker_that_is_starting_or_leaving_or_has_left_is_not_disturbed(autojump_clock: MockClock) -> None:
    tries: list[float] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        tries.append(trio.current_time())
        await trio.sleep(1)
        yield resource
        await trio.sleep(1)

    async with open_pool([], lifespan=lifespan) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(pool.add, "a")
        await wait_all_tasks_blocked()
        (worker,) = pool.workers
        worker.reopen()
        await trio.sleep(2)
        assert state_of(worker) is WorkerState.IDLE
        job = await pool.submit(nap)
        nursery.start_soon(worker.remove)
        await wait_all_tasks_blocked()
        worker.reopen()
        await job.wait()
        await trio.sleep(0.5)
        worker.reopen()
        await trio.sleep(1)
        worker.reopen()
        assert state_of(worker) is WorkerState.STOPPED
    assert tries == [0]


async def test_without_a_lifespan_it_does_no_harm(autojump_clock: MockClock) -> None:
    async with open_pool(2) as pool:
        pool.workers[0].reopen()
        await wait_all_tasks_blocked()
        assert len(pool.idle_workers) == 2


async def test_the_block_waits_for_a_reopening_that_jobs_need(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        pool.workers[0].reopen()
        job = await pool.submit(nap)
    assert job.result() == 5


async def test_a_worker_can_be_told_so_by_an_instrument(autojump_clock: MockClock) -> None:
    class Reopens(Instrument):
        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            worker.reopen()

    server = Server()
    async with open_pool(["a"], lifespan=server.connect, instruments=[Reopens()], reopening=STEADY) as pool:
        server.error = OSError("down")
        pool.workers[0].reopen()
        await trio.sleep(11)
        assert server.tries == [0, 0, 10]
