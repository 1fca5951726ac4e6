"""The block in which a pool does the jobs of messages: how it begins, and what each way of leaving it means."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
import trio
from dramatiq.middleware import MiddlewareError

from tests.extras.dramatiq.stub import Stub, processed, until
from tests.threads import PlainThread
from trio_pool import Elastic, Resource, open_pool
from trio_pool.dramatiq import PoolQueue

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class Calls:
    """An actor whose jobs wait until they are let go."""

    def __init__(self, queue: PoolQueue) -> None:
        self.started = threading.Event()
        self.go_on = trio.Event()
        self.starts: list[int] = []
        self.ends: list[int] = []

        @queue.actor
        async def call(token: str, number: int) -> None:
            self.starts.append(number)
            self.started.set()
            await self.go_on.wait()
            self.ends.append(number)

        self.actor = call

    async def wait_started(self) -> None:
        await trio.to_thread.run_sync(self.started.wait)
        self.started.clear()


def numbers(broker: Stub) -> list[int]:
    """Of the messages that are in the broker."""
    return sorted(message["args"][0] for message in broker.waiting())


async def test_at_the_end_what_is_under_way_has_some_time_and_what_waits_is_left(
    queue: PoolQueue, broker: Stub
) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:

        async def let_go() -> None:
            await until(lambda: queue._consumption is not None and queue._consumption._under_way.is_ending)
            calls.actor.send(2)
            calls.go_on.set()

        async with queue.consume(pool, threads=1, prefetch=1, grace=60):
            await calls.wait_started()
            nursery.start_soon(let_go)
    assert calls.ends == [1]
    assert 2 not in calls.starts


async def test_what_takes_longer_goes_back_to_the_broker_at_once(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool:
        async with queue.consume(pool, threads=1, grace=0):
            await calls.wait_started()
        assert (calls.starts, calls.ends, numbers(broker)) == ([1], [], [1])
        assert broker.delays == []
        calls.go_on.set()
        async with queue.consume(pool, threads=1):
            await processed(broker)
    assert calls.ends == [1]


async def test_an_error_of_the_block_comes_out_unwrapped_and_gives_no_grace(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    error = KeyError("oops")

    async def fail() -> None:
        async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, grace=1e6):
            await calls.wait_started()
            raise error

    with pytest.raises(KeyError) as caught:
        await fail()
    assert caught.value is error
    assert numbers(broker) == [1]


async def test_being_cancelled_ends_the_block_at_once(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    with trio.CancelScope() as scope:
        async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, grace=1e6):
            await calls.wait_started()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert numbers(broker) == [1]


async def test_being_cancelled_while_it_waits_ends_the_time_of_grace(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            async with queue.consume(pool, threads=1, grace=1e6):
                await calls.wait_started()
                scope.deadline = trio.current_time() + 0.01
        assert scope.cancelled_caught
        assert numbers(broker) == [1]
        assert pool.statistics().running == 0


async def test_cancelling_the_pool_brings_the_messages_back_to_the_broker(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1):
        await calls.wait_started()
        pool.cancel()
    assert numbers(broker) == [1]


async def test_a_pool_that_is_closed_takes_no_more_messages_and_loses_none(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, prefetch=1):
        pool.close()
        calls.actor.send(1)
        calls.actor.send(2)
        for thread in workers():
            await trio.to_thread.run_sync(thread.join)
    assert calls.starts == []
    assert numbers(broker) == [1, 2]


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if type(thread).__name__ == "WorkerThread"]


async def test_a_pool_without_workers_keeps_its_messages_until_one_comes(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.go_on.set()
    calls.actor.send(1)
    none: list[str] = []
    async with open_pool(none, no_worker="wait") as pool, queue.consume(pool, threads=1):
        await pool.add("a")
        await processed(broker)
    assert calls.ends == [1]


async def test_the_block_can_be_entered_again_but_not_twice_at_once(queue: PoolQueue, broker: Stub) -> None:
    async with open_pool(["a"]) as pool:
        async with queue.consume(pool):
            with pytest.raises(RuntimeError, match="is being consumed already"):
                async with queue.consume(pool):
                    raise AssertionError
        middleware = list(broker.middleware)
        async with queue.consume(pool):
            pass
        assert broker.middleware == middleware


async def test_a_queue_can_not_be_consumed_from_another_thread_than_that_of_the_pool(queue: PoolQueue) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(RuntimeError, match="another Trio run or thread"):
            await PlainThread(queue.consume, pool).wait()


async def test_two_queues_of_a_broker_have_a_pool_each(broker: Stub) -> None:
    seen: dict[str, str] = {}
    queues = {name: PoolQueue(broker) for name in ("left", "right")}

    async def note(token: str, name: str) -> None:
        await trio.lowlevel.checkpoint()
        seen[name] = token

    actors = {name: queue.actor(actor_name=name, queue_name=name)(note) for name, queue in queues.items()}
    async with open_pool(["l"]) as left, open_pool(["r"]) as right:
        async with queues["left"].consume(left), queues["right"].consume(right):
            for name, actor in actors.items():
                actor.send(name)
            for name in queues:
                await processed(broker, name)
        actors["right"].send("right")
        async with queues["left"].consume(left):
            pass
        assert len(broker.waiting("right")) == 1
    assert seen == {"left": "l", "right": "r"}


async def test_a_worker_of_dramatiqs_without_a_pool_is_refused(queue: PoolQueue, broker: Stub) -> None:
    worker = dramatiq.Worker(broker)
    with pytest.raises(MiddlewareError, match="this worker has no pool: start a program that enters"):
        worker.start()


@pytest.mark.parametrize(
    ("resources", "options", "threads"),
    [
        ([1, 2, 3], {}, 6),
        ([Resource(1, max_running=5)], {}, 10),
        ([Resource(1, max_running=math.inf)], {}, 200),
        ([Resource(1, max_running=math.inf)], {"max_running": 3}, 6),
        (range(300), {}, 200),
        ([], {}, 2),
    ],
)
async def test_there_are_two_threads_for_each_place(
    queue: PoolQueue, resources: Any, options: dict[str, Any], threads: int
) -> None:
    any_pool: Any = open_pool
    async with any_pool(resources, **options) as pool, queue.consume(pool):
        assert len(workers()) == threads


async def test_the_places_of_an_elastic_pool_are_those_it_may_have(queue: PoolQueue) -> None:
    def factory() -> AbstractAsyncContextManager[str]:
        raise AssertionError

    async with open_pool(Elastic(factory, max=4)) as pool, queue.consume(pool):
        assert len(workers()) == 8


async def test_fewer_threads_than_places_are_mentioned(queue: PoolQueue, caplog: pytest.LogCaptureFixture) -> None:
    async with open_pool([1, 2, 3]) as pool, queue.consume(pool, threads=2):
        pass
    assert "2 threads keep at most that many of the pool's 3 places busy" in caplog.text
    assert {record.levelno for record in caplog.records if record.name == "trio_pool"} == {logging.WARNING}


async def test_a_job_that_has_just_been_sent_is_cut_as_well(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    calls.actor.send(1)
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, grace=0):
        assert queue._consumption is not None
        queue._consumption._under_way.is_cut = True
        await until(lambda: calls.starts or numbers(broker))
    assert (calls.ends, numbers(broker)) == ([], [1])


async def test_a_message_that_comes_after_the_end_has_begun_goes_back(queue: PoolQueue, broker: Stub) -> None:
    calls = Calls(queue)
    returned = threading.Event()
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, prefetch=1):
        assert queue._consumption is not None
        queue._consumption._under_way.is_ending = True
        calls.actor.send(1)

        def enqueue(message: object, *, delay: int | None = None) -> None:
            returned.set()

        vars(broker)["enqueue"] = enqueue
        await trio.to_thread.run_sync(returned.wait)
        queue._consumption._under_way.is_ending = False
    assert calls.starts == []
