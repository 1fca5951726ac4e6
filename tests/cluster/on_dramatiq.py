"""A worker and a submitter on dramatiq: ``serve URL FOLDER GRACE HEARTBEAT`` or ``submit URL FOLDER JOBS``."""

from __future__ import annotations

import json
import logging
import signal
import sys
from functools import partial
from typing import Any

import dramatiq
import trio
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends.redis import RedisBackend

from tests.cluster.work import Log, work
from trio_pool import RetryPolicy, open_pool
from trio_pool.dramatiq import PoolQueue, RedisStarts


def connect(url: str, heartbeat: float) -> dramatiq.Broker:
    if url.startswith("redis"):
        untyped: Any = (RedisBroker, Results, RedisBackend)
        kind, results, backend = untyped
        broker: dramatiq.Broker = kind(url=url, heartbeat_timeout=round(heartbeat * 1000))
        broker.add_middleware(results(backend=backend(url=url)))
        return broker
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    return RabbitmqBroker(url=url.partition("+")[0], confirm_delivery=True)


def declare(url: str, folder: str, heartbeat: float = 10.0) -> tuple[PoolQueue, Any]:
    broker = connect(url, heartbeat)
    dramatiq.set_broker(broker)
    starts = None
    if "+" in url:
        from redis import Redis

        client: Any = Redis
        starts = RedisStarts(client.from_url(url.partition("+")[2]))
    queue = PoolQueue(broker, dead_letter="bury", starts=starts)
    log = Log(folder)

    @dramatiq.actor
    def bury(message: dict[str, Any], reason: str) -> None:
        log.write("dead", message["args"][0], reason)

    stored = {"store_results": True} if url.startswith("redis") else {}

    @queue.actor(total_timeout=60, broker_options=stored)
    async def job(log: Log, number: int, kind: str = "good", seconds: float = 0.02) -> Any:
        return await work(log, number, kind, seconds)

    return queue, job


async def serve(url: str, folder: str, grace: float, heartbeat: float) -> None:
    queue, _ = declare(url, folder, heartbeat)
    resources = [Log(folder) for _ in range(4)]
    policy = RetryPolicy(max_attempts=2, base_delay=0.05)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_pool(resources, retry=policy) as pool, queue.consume(pool, grace=grace):
            print("ready", flush=True)
            async for _ in signals:
                break


def submit(url: str, folder: str, jobs: str) -> None:
    _, job = declare(url, folder)
    for each in json.loads(jobs):
        job.send(*each)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    what, url, folder, *rest = sys.argv[1:]
    if what == "serve":
        trio.run(partial(serve, url, folder, *map(float, rest)))
    else:
        submit(url, folder, *rest)
