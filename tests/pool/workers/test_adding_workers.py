"""Workers that are added while the pool is open."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors
from tests.pool.workers.users_of_resources import gets
from trio_pool import Instrument, PoolClosedError, Worker, open_pool


async def test_a_failing_add_raises_and_leaves_no_worker_behind(autojump_clock: MockClock) -> None:
    error = OSError("no such device")
    doors = Doors(errors_in={"b": [error]})
    stopped: list[Worker] = []

    class Stops(Instrument):
        def worker_stopped(self, worker: Worker) -> None:
            stopped.append(worker)

    async with open_pool(["a"], lifespan=doors.lifespan, instruments=[Stops()]) as pool:
        with pytest.raises(OSError, match="no such device") as caught:
            await pool.add("b")
        assert caught.value is error
        assert [worker.resource for worker in pool.workers] == ["a"]
        assert stopped == []
        assert await pool.run(gets) == "a"
    assert doors.left == ["a"]


async def test_a_cancelled_add_leaves_no_worker_behind(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool(["a"], lifespan=doors.lifespan) as pool:
        doors.seconds_in = 10.0
        with trio.move_on_after(1) as scope:
            await pool.add("b")
        assert scope.cancelled_caught
        assert trio.current_time() == 1.0
        assert len(pool.workers) == 1
    assert doors.entered == doors.left == ["a"]


async def test_a_job_may_add_a_worker_that_outlives_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:

        async def adds(resource: str) -> None:
            await pool.add("b")

        await pool.run(adds)
        assert await pool.run(gets, worker=pool.workers[1]) == "b"


async def test_nobody_is_added_once_the_workers_have_been_stopped(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        pass
    with pytest.raises(PoolClosedError):
        await pool.add("b")
    assert pool.workers == ()


async def test_an_add_under_way_when_the_pool_is_cancelled_is_told_so(autojump_clock: MockClock) -> None:
    doors = Doors()
    told: list[bool] = []
    async with trio.open_nursery() as nursery, open_pool(["a"], lifespan=doors.lifespan) as pool:
        doors.seconds_in = 10.0

        async def adds() -> None:
            with pytest.raises(PoolClosedError):
                await pool.add("b")
            told.append(True)

        nursery.start_soon(adds)
        await wait_all_tasks_blocked()
        pool.cancel()
    assert told
    assert doors.entered == doors.left == ["a"]
