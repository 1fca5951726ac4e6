"""A worker behind dramatiq, with the tokens of its machine: ``python worker_dramatiq.py TOKEN ...``."""

from __future__ import annotations

import signal
import sys
from typing import Any

import dramatiq
import trio
from dramatiq.brokers.redis import RedisBroker
from files import BROKER, Client, fetch, open_tokens, tell

from trio_pool.dramatiq import PoolQueue

dramatiq.set_broker(RedisBroker(url=BROKER))
queue = PoolQueue(dramatiq.get_broker(), dead_letter="bury")


@queue.actor(total_timeout=60)
async def fetch_file(client: Client, path: str, sha256: str) -> None:
    tell(fetched=path, size=await fetch(client, path, sha256))


@dramatiq.actor
def bury(message: dict[str, Any], reason: str) -> None:
    tell(lost=message["args"][0], reason=reason)


async def main() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with open_tokens(sys.argv[1:]) as pool, queue.consume(pool, grace=10):
            async for _ in signals:
                break


if __name__ == "__main__":
    trio.run(main)
