"""Brokers for tests: dramatiq's own for that, and what of Redis the pools' queues use."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
from dramatiq.brokers.stub import StubBroker

from trio_pool import open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from trio_pool import Pool
    from trio_pool.dramatiq import PoolQueue

RESOURCES = ("a", "b")


class Stub(StubBroker):
    """A broker in memory, whose delays take no time.

    Attributes:
      delays: the delays of all messages that were enqueued with one, in milliseconds.
      errors: what the next calls of ``enqueue`` raise.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.delays: list[int] = []
        self.errors: list[Exception] = []

    def enqueue(self, message: Any, *, delay: int | None = None) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        if delay is not None:
            self.delays.append(delay)
        base: Any = super()
        return base.enqueue(message)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Any:
        """A consumer that returns messages, as those of real brokers do."""
        consumer: Any = super().consume(queue_name, prefetch, timeout)

        def requeue(messages: Iterable[Any]) -> None:
            for message in messages:
                self.queues[queue_name].put(message.encode())
                consumer.ack(message)

        consumer.requeue = requeue
        return consumer

    def waiting(self, name: str = "default") -> list[dict[str, Any]]:
        """The messages that nobody has taken."""
        return [json.loads(data) for data in self.queues[name].queue]


@asynccontextmanager
async def consuming(queue: PoolQueue, broker: Stub, **options: Any) -> AsyncGenerator[Pool[str]]:
    """A pool that does the jobs; the block waits until all messages have been processed."""
    settings: dict[str, Any] = {"threads": 2, "grace": 0, **options.pop("consume", {})}
    async with open_pool(RESOURCES, **options) as pool, queue.consume(pool, **settings):
        yield pool
        await processed(broker)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that other threads do."""
    while not condition():  # noqa: ASYNC110  # they know of no event of Trio's
        await trio.sleep(0.001)


async def processed(broker: Stub, name: str = "default") -> None:
    await trio.to_thread.run_sync(lambda: broker.join(name, fail_fast=False))
