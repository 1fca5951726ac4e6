"""Workers that are paused or rest: what they show of it, whatever they were doing."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.actors import state_of, works
from tests.pool.workers.users_of_resources import gets
from trio_pool import Instrument, Worker, WorkerState, open_pool

# Pausing.


async def test_a_paused_worker_is_not_idle(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        first.pause()
        assert pool.idle_workers == (second,)
        assert await pool.run(gets) == "b"
        first.resume()
        assert set(pool.idle_workers) == {first, second}


async def test_pausing_twice_is_undone_by_resuming_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.pause()
        worker.pause()
        worker.resume()
        assert worker.state is WorkerState.IDLE
        assert await pool.run(works) == "done"


async def test_a_worker_paused_while_it_starts_is_paused_when_it_has_started(autojump_clock: MockClock) -> None:
    class PausesAtOnce(Instrument):
        def worker_started(self, worker: Worker) -> None:
            worker.pause()

    async with open_pool(["a"], instruments=[PausesAtOnce()]) as pool:
        assert pool.workers[0].state is WorkerState.PAUSED
        assert pool.idle_workers == ()


# Resting.


async def test_a_rest_ends_by_itself(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.rest(3.0)
        assert state_of(worker) is WorkerState.RESTING
        assert worker.statistics().available_at == 3.0
        job = await pool.submit(works)
        await job.wait()
        assert trio.current_time() == 3.0
        assert state_of(worker) is WorkerState.IDLE


async def test_of_two_rests_the_later_end_holds(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.rest(5.0)
        worker.rest(3.0)
        job = await pool.submit(works)
        await job.wait()
        assert trio.current_time() == 5.0
        worker.rest(1.0)
        worker.rest(4.0)
        assert worker.statistics().available_at == 9.0


async def test_the_end_of_a_rest_does_not_end_a_pause(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.pause()
        worker.rest(3.0)
        await trio.sleep(5)
        assert worker.state is WorkerState.PAUSED
