"""What the programs of the fleet share: the tokens of a machine as a pool, and how they tell what they do.

Where the broker and the API are stands in the environment, as ``BROKER`` and ``API``.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

sys.path.append(str(Path(__file__).resolve().parent.parent))  # where api_tokens.py and its modules are

import api_tokens
from api_tokens import Source, list_sources, open_client
from httpx import AsyncClient as Client
from token_report import FailureCauses

from trio_pool import CircuitBreaker, Pool, Resource, RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

__all__ = ["BROKER", "Client", "fetch", "list_sources", "open_tokens", "tell"]

BROKER = os.environ["BROKER"]
API = os.environ.get("API", "")


async def fetch(client: Client, path: str, sha256: str) -> int:
    """Fetch a file with a token, and return its size."""
    return await api_tokens.fetch(client, Source(path, sha256))


def tell(**what: Any) -> None:
    """Write a line for ``run.py``. Thread-safe, since it is written at once."""
    os.write(sys.stdout.fileno(), json.dumps(what).encode() + b"\n")


@asynccontextmanager
async def open_tokens(tokens: Iterable[str]) -> AsyncGenerator[Pool[Client]]:
    """A pool over the tokens of this machine, which tells five times a second how it is doing."""
    causes = FailureCauses()
    async with trio.open_nursery() as nursery:
        async with open_pool(
            [Resource(token, name=token) for token in tokens],
            lifespan=partial(open_client, API),
            retry=RetryPolicy(max_attempts=8, placement="other"),
            breaker=CircuitBreaker(failures=3, reset_after=0.25, max_reset_after=1.0),
            attempt_timeout=0.5,
            instruments=[causes],
        ) as pool:
            nursery.start_soon(keep_telling, pool, causes)
            yield pool
        nursery.cancel_scope.cancel()
    tell_all(pool, causes)


async def keep_telling(pool: Pool[Client], causes: FailureCauses) -> None:
    while True:
        tell_all(pool, causes)
        await trio.sleep(0.2)


def tell_all(pool: Pool[Client], causes: FailureCauses) -> None:
    """Tell what has been done with each token."""
    now = pool.statistics()
    tell(
        under_way=now.queued + now.delayed + now.running,
        tokens={
            worker.name: {
                "state": worker.state.value,
                "attempts": worker.attempts,
                "succeeded": worker.succeeded,
                "failed": worker.failed,
                "busy": worker.busy_seconds,
                "causes": dict(causes.by_worker[worker.name].most_common()),
            }
            for worker in now.workers
        },
    )
