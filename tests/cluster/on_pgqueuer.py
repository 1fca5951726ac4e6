"""A worker and a submitter on PgQueuer: ``serve CONNINFO FOLDER GRACE HEARTBEAT``, ``submit CONNINFO FOLDER JOBS``."""

from __future__ import annotations

import json
import logging
import signal
import sys
from functools import partial
from typing import Any

import trio

from tests.cluster.work import Log, work
from trio_pool import RetryPolicy, open_pool
from trio_pool.pgqueuer import PoolQueue


def declare(conninfo: str, heartbeat: float = 10.0) -> tuple[PoolQueue, Any]:
    queue = PoolQueue(conninfo, dead_letter="bury", redeliver_after=heartbeat)

    @queue.actor
    async def bury(log: Log, message: dict[str, Any], reason: str) -> None:
        await trio.lowlevel.checkpoint()
        log.write("dead", message["args"][0], reason)

    @queue.actor(total_timeout=60)
    async def job(log: Log, number: int, kind: str = "good", seconds: float = 0.02) -> Any:
        return await work(log, number, kind, seconds)

    return queue, job


async def serve(conninfo: str, folder: str, grace: float, heartbeat: float) -> None:
    queue, _ = declare(conninfo, heartbeat)
    resources = [Log(folder) for _ in range(4)]
    policy = RetryPolicy(max_attempts=2, base_delay=0.05)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async with open_pool(resources, retry=policy) as pool, queue.consume(pool, grace=grace):
            print("ready", flush=True)
            async for _ in signals:
                break


def submit(conninfo: str, folder: str, jobs: str) -> None:
    queue, job = declare(conninfo)
    for each in json.loads(jobs):
        job.send(*each)
    queue.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    what, conninfo, folder, *rest = sys.argv[1:]
    if what == "serve":
        trio.run(partial(serve, conninfo, folder, *map(float, rest)))
    else:
        submit(conninfo, folder, *rest)
