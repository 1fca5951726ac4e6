"""Workers that are paused, or that rest."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.actors import sleeps, state_of, works
from tests.pool.workers.users_of_resources import gets
from trio_pool import Instrument, JobState, RetryAfter, RetryPolicy, Worker, WorkerState, open_pool

# Pausing.


async def test_a_paused_worker_finishes_its_attempt_and_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        running = await pool.submit(sleeps, 2.0)
        queued = await pool.submit(works)
        worker.pause()
        assert state_of(worker) is WorkerState.BUSY
        await trio.sleep(5)
        assert running.finished_at == 2.0
        assert state_of(worker) is WorkerState.PAUSED
        assert queued.state is JobState.QUEUED
        worker.resume()
        assert await queued.wait() == "done"


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


async def test_a_worker_paused_and_resumed_while_busy_goes_on(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        await pool.submit(sleeps, 1.0)
        queued = await pool.submit(works)
        worker.pause()
        worker.resume()
        await queued.wait()
        assert queued.finished_at == 1.0


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


async def test_a_worker_told_to_rest_finishes_its_attempt_first(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        running = await pool.submit(sleeps, 2.0)
        queued = await pool.submit(works)
        worker.rest(5.0)
        await pool.join()
    assert (running.finished_at, queued.finished_at) == (2.0, 5.0)


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


async def test_resuming_does_not_end_a_rest(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.rest(3.0)
        worker.pause()
        assert state_of(worker) is WorkerState.PAUSED
        worker.resume()
        assert state_of(worker) is WorkerState.RESTING
        await pool.run(works)
        assert trio.current_time() == 3.0


async def test_the_end_of_a_rest_does_not_end_a_pause(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        (worker,) = pool.workers
        worker.pause()
        worker.rest(3.0)
        await trio.sleep(5)
        assert worker.state is WorkerState.PAUSED


async def test_a_job_that_stays_with_its_worker_waits_for_the_end_of_its_rest(autojump_clock: MockClock) -> None:
    used: list[tuple[str, float]] = []

    async def is_told_to_wait(resource: str) -> None:
        used.append((resource, trio.current_time()))
        if len(used) == 1:
            raise RetryAfter(10, rest=True, placement="same")

    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        await pool.run(is_told_to_wait)
    assert used == [("a", 0.0), ("a", 10.0)]


async def test_a_job_whose_worker_rests_goes_on_at_once_with_another(autojump_clock: MockClock) -> None:
    used: list[tuple[str, float]] = []

    async def is_told_to_wait(resource: str) -> None:
        used.append((resource, trio.current_time()))
        if len(used) == 1:
            raise RetryAfter(10, rest=True)

    async with open_pool(["a", "b"], retry=RetryPolicy()) as pool:
        await pool.run(is_told_to_wait)
        assert used == [("a", 0.0), ("b", 0.0)]
        assert pool.workers[0].state is WorkerState.RESTING


async def test_a_job_whose_only_worker_rests_goes_on_afterwards(autojump_clock: MockClock) -> None:
    used: list[float] = []

    async def is_told_to_wait(resource: str) -> None:
        used.append(trio.current_time())
        if len(used) == 1:
            raise RetryAfter(10, rest=True)

    async with open_pool(["a"], retry=RetryPolicy()) as pool:
        await pool.run(is_told_to_wait)
    assert used == [0.0, 10.0]
