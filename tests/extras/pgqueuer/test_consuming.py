"""The block in which a pool does the jobs of PostgreSQL, and what each way of leaving it means."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from tests.extras.pgqueuer.memory import MemoryQueue, processed, until
from tests.threads import PlainThread
from trio_pool import open_pool
from trio_pool.engines._under_way import UnderWay
from trio_pool.pgqueuer import PoolActor, PoolQueue, _consumption


class Calls:
    """An actor whose jobs wait until they are let go."""

    def __init__(self, queue: PoolQueue) -> None:
        self.go_on = trio.Event()
        self.starts: list[int] = []
        self.ends: list[int] = []

        @queue.actor
        async def call(token: str, number: int) -> None:
            self.starts.append(number)
            await self.go_on.wait()
            self.ends.append(number)

        self.actor = call


def left(queue: MemoryQueue) -> list[bytes]:
    return sorted(payload or b"" for _, payload in queue.tables.jobs("queued"))


async def test_at_the_end_what_has_started_has_some_time_and_the_rest_goes_back(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    for number in (1, 2):
        calls.actor.send(number)
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:

        async def let_go() -> None:
            await until(lambda: left(queue))  # the second has gone back
            calls.go_on.set()

        async with queue.consume(pool, jobs=2, grace=60):
            await until(lambda: pool.statistics().submitted == 2)
            await until(lambda: calls.starts)
            nursery.start_soon(let_go)
    assert (calls.starts, calls.ends) == ([1], [1])
    assert left(queue) == [b"[[2], {}]"]


async def test_what_takes_longer_goes_back_at_once(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool:
        async with queue.consume(pool, grace=0):
            await until(lambda: calls.starts)
        assert (calls.ends, left(queue)) == ([], [b"[[1], {}]"])
        calls.go_on.set()
        async with queue.consume(pool):
            await processed(queue)
    assert calls.ends == [1]


async def test_an_error_of_the_block_comes_out_unwrapped_and_gives_no_grace(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    error = KeyError("oops")

    async def fail() -> None:
        async with open_pool(["a"]) as pool, queue.consume(pool, grace=1e6):
            await until(lambda: calls.starts)
            raise error

    with pytest.raises(KeyError) as caught:
        await fail()
    assert caught.value is error
    assert left(queue) == [b"[[1], {}]"]


@pytest.mark.parametrize("is_running", [True, False])
async def test_a_job_that_is_cancelled_in_the_database_is_cancelled_in_the_pool(
    queue: MemoryQueue, is_running: bool
) -> None:
    calls = Calls(queue)
    for number in (1, 2):
        calls.actor.send(number)
    async with open_pool(["a"]) as pool, queue.consume(pool, jobs=2):
        await until(lambda: calls.starts and pool.statistics().submitted == 2)
        queue.cancel(1 if is_running else 2)
        await until(lambda: pool.statistics().cancelled)
        calls.go_on.set()
        await processed(queue)
    assert calls.starts == ([1, 2] if is_running else [1])
    assert calls.ends == ([2] if is_running else [1])
    assert sorted(queue.tables.ends()) == ["canceled", "successful"]


async def test_being_cancelled_ends_the_block_and_its_time_of_grace(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            async with queue.consume(pool, grace=1e6):
                await until(lambda: calls.starts)
                scope.deadline = trio.current_time() + 0.01
        assert scope.cancelled_caught
    assert left(queue) == [b"[[1], {}]"]


async def test_a_pool_that_is_closed_takes_no_more_jobs_and_loses_none(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool, queue.consume(pool):
        pool.close()
        assert queue._consumption is not None
        await trio.to_thread.run_sync(queue._consumption._thread.join)
    assert (calls.starts, left(queue)) == ([], [b"[[1], {}]"])


async def test_a_job_that_waits_for_a_place_in_the_pools_queue_goes_back_at_the_end(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    for number in range(4):
        calls.actor.send(number)
    async with open_pool(["a"], max_queue=1) as pool, queue.consume(pool, jobs=4, grace=0):
        await until(lambda: pool.statistics().submitters_waiting)
    assert len(left(queue)) == 4


async def test_an_error_of_the_worker_cancels_the_body_and_comes_out(queue: MemoryQueue) -> None:
    Calls(queue)
    error = RuntimeError("The required table is missing")
    queue.tables.error = error

    async def consume() -> None:
        async with open_pool(["a"]) as pool, queue.consume(pool):
            await trio.sleep_forever()

    with pytest.raises(RuntimeError) as caught:
        await consume()
    assert caught.value is error


async def test_an_error_of_the_worker_at_the_end_is_logged(
    queue: MemoryQueue, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(queue)
    async with open_pool(["a"]) as pool, queue.consume(pool, grace=0):
        assert queue._consumption is not None
        consumption = queue._consumption
        await trio.to_thread.run_sync(consumption._running.wait)
        consumption._under_way.is_ending = True
        queue.tables.error = ConnectionError("away")
        await trio.to_thread.run_sync(consumption._thread.join)
    assert calls.starts == []
    assert "PgQueuer's worker did not end well: ConnectionError: away" in caplog.text


async def test_a_database_that_can_not_be_reached_at_the_end_is_given_up(
    queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_consumption, "_PATIENCE", 0.01)
    Calls(queue)
    waiting = threading.Event()
    driver: Any = queue.tables.driver
    closed: list[bool] = []

    async def never(*args: Any, **options: Any) -> Any:
        import asyncio

        abandoned = asyncio.Event()
        driver.abandon, driver.stranded = abandoned.set, 1
        waiting.set()
        await abandoned.wait()
        raise ConnectionError("away")

    async def close() -> None:
        closed.append(True)

    driver.close = close
    monkeypatch.setattr(queue.tables, "dequeue", never)
    async with open_pool(["a"]) as pool, queue.consume(pool, grace=0):
        await trio.to_thread.run_sync(waiting.wait)
    assert "did not end well: ConnectionError: away" in caplog.text
    assert closed == [True]


async def test_a_job_whose_task_in_pgqueuer_is_cancelled_is_cancelled_and_goes_back(queue: MemoryQueue) -> None:
    import asyncio

    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool, queue.consume(pool, grace=0):
        await until(lambda: calls.starts)
        assert queue._consumption is not None
        loop = queue._consumption._loop

        def cancel() -> None:
            for task in asyncio.all_tasks(loop):
                if "_dispatch" in repr(task.get_coro()):
                    task.cancel()

        loop.call_soon_threadsafe(cancel)
        await until(lambda: queue.tables.returned)
    assert calls.ends == []
    assert len(left(queue)) == 1


async def test_the_block_can_be_entered_again_but_not_twice_at_once(queue: MemoryQueue) -> None:
    Calls(queue)
    async with open_pool(["a"]) as pool:
        async with queue.consume(pool):
            with pytest.raises(RuntimeError, match="is being consumed already"):
                async with queue.consume(pool):
                    raise AssertionError
        async with queue.consume(pool):
            pass


async def test_a_queue_can_not_be_consumed_from_another_thread(queue: MemoryQueue) -> None:
    Calls(queue)
    async with open_pool(["a"]) as pool:
        with pytest.raises(RuntimeError, match="another Trio run or thread"):
            await PlainThread(queue.consume, pool).wait()


# Declarations


async def fetch(token: str, path: str) -> None:
    await trio.lowlevel.checkpoint()


def test_an_actor_is_declared_with_or_without_options(queue: MemoryQueue) -> None:
    plain = queue.actor(fetch)
    other = queue.actor(actor_name="other", resource=False)(fetch)
    assert isinstance(plain, PoolActor)
    assert (plain.name, plain.fn, other.name) == ("fetch", fetch, "other")
    assert repr(plain).startswith("<PoolActor 'fetch' of ")
    with pytest.raises(ValueError, match="there is an actor named 'fetch' already"):
        queue.actor(fetch)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"priority": 0.5}, "priority must be an int for PgQueuer, got 0.5"),
        ({"worker": None}, "worker is no option of an actor"),
        ({"total_timeout": -1}, "total_timeout must "),
    ],
)
def test_options_of_an_actor_are_checked(queue: MemoryQueue, options: dict[str, Any], words: str) -> None:
    actor: Any = queue.actor
    with pytest.raises((ValueError, TypeError), match=words):
        actor(**options)(fetch)


@pytest.mark.parametrize(
    "options",
    [
        {"max_crashes": 0},
        {"max_overstays": 0},
        {"dead_letter": fetch},
        {"redeliver_after": 900},
        {"redeliver_after": 0.5},
        {"redeliver_after": "soon"},
    ],
)
def test_settings_of_the_queue_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{next(iter(options))} must be "):
        PoolQueue("postgresql://", **options)


async def test_arguments_of_consume_are_checked(queue: MemoryQueue) -> None:
    async with open_pool(["a"]) as pool, open_pool(2) as slots:
        with pytest.raises(ValueError, match="the queue has no actors"):
            queue.consume(pool)
        queue.actor(fetch)
        with pytest.raises(ValueError, match=r"^jobs must be at least 2"):
            queue.consume(pool, jobs=1)
        with pytest.raises(ValueError, match=r"^grace must "):
            queue.consume(pool, grace=-1)
        with pytest.raises(TypeError, match="doesn't fit the pool: declare it with resource=False"):
            queue.consume(slots)


async def test_a_job_that_comes_after_the_end_has_begun_goes_back(queue: MemoryQueue) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    queue.tables.is_held = True
    async with open_pool(["a"]) as pool, queue.consume(pool):
        assert queue._consumption is not None
        queue._consumption._under_way.is_ending = True
        queue.tables.is_held = False
        await until(lambda: queue.tables.returned)
    assert calls.starts == []
    assert queue.tables.returned[0] == (0.0, "the process ends")


async def test_a_worker_that_can_not_be_set_up_cancels_the_body(
    queue: MemoryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    Calls(queue)

    def fail(jobs: int) -> None:
        raise OSError("no such schema")

    monkeypatch.setattr(queue, "_open_queries", fail)

    async def consume() -> None:
        async with open_pool(["a"]) as pool, queue.consume(pool):
            await trio.sleep_forever()

    with pytest.raises(OSError, match="no such schema"):
        await consume()


async def test_a_job_can_be_cancelled_before_it_is_in_the_pool() -> None:
    async with open_pool(["a"]) as pool:
        order = _consumption.CancelOrder(UnderWay(pool))
        order.cancel()
        assert order.cancel_called
