"""A worker process: a pool over the tokens that this machine has, behind the engine that all machines share.

    python worker.py --broker redis://127.0.0.1:6379 --api http://127.0.0.1:8000 --name west --tokens token-a token-d

At SIGTERM or SIGINT it takes no more jobs, and exits with 0 when those under way have ended. Start one on each machine,
with the tokens that this machine has.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

sys.path.append(str(Path(__file__).resolve().parent.parent))  # where api_tokens.py and its modules are

from addresses import api_url, broker_url, expect_broker
from api_tokens import open_client
from engine import IDLE_TIMEOUT, connect_worker
from fleet import publish, take_account
from parent import cancel_at_end_of_input
from tasks import Machine, Tasks
from token_report import FailureCauses
from token_server import TOKENS

from trio_pool import CircuitBreaker, Resource, RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx

    from trio_pool import Pool


class Options(argparse.Namespace):
    """What the command line says."""

    broker: str
    api: str
    name: str
    tokens: list[str]
    longest_wait: float
    idle_timeout: float
    stop_with_input: bool
    verbose: bool


async def serve(options: Options) -> None:
    """Do jobs until a signal, or the end of the input, says that it is enough."""

    @asynccontextmanager
    async def open_machine() -> AsyncGenerator[Machine]:
        """The lifespan of the engine here: the pool is open for as long as the engine brings jobs."""
        causes = FailureCauses()
        async with trio.open_nursery() as nursery:
            async with open_pool(
                [Resource(token, name=token) for token in options.tokens],
                lifespan=partial(open_client, options.api),
                retry=RetryPolicy(max_attempts=8, placement="other"),
                breaker=CircuitBreaker(failures=3, reset_after=0.25, max_reset_after=1.0),
                attempt_timeout=0.5,
                instruments=[causes],
                name=options.name,
            ) as pool:
                nursery.start_soon(keep_publishing, pool, causes)
                # Cancelling this scope stops the engine, and leaves it its connections for telling that the jobs under
                # way have ended. With `run_async` cancelled from outside they would be gone by then: the job is done,
                # nobody gets to know, and another worker does it again.
                with trio.CancelScope() as stop:
                    if options.stop_with_input:
                        nursery.start_soon(cancel_at_end_of_input, stop)
                    yield Machine(options.name, pool, options.longest_wait, longest_stay=0.8 * options.idle_timeout)
            await publish(engine, options.name, take_account(pool.statistics(), causes))
            nursery.cancel_scope.cancel()

    async def keep_publishing(pool: Pool[httpx.AsyncClient], causes: FailureCauses) -> None:
        async for now in pool.snapshots(0.2):
            await publish(engine, options.name, take_account(now, causes))

    engine = connect_worker(
        options.broker,
        name=options.name,
        # A job has a slot for all its time here, also while it backs off: with two for each token there is one at hand.
        slots=2 * len(options.tokens),
        idle_timeout=options.idle_timeout,
        lifespan=open_machine,
    )
    Tasks(engine)
    # It takes SIGTERM and SIGINT itself, whatever its option handle_signals says: nothing else here may.
    await engine.run_async()


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be more than 0 seconds, not {text}")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch files with the tokens of this machine.")
    parser.add_argument("--broker", required=True, type=broker_url, metavar="URL", help="where Redis or Valkey is")
    parser.add_argument("--api", required=True, type=api_url, metavar="URL", help="where the files are")
    parser.add_argument("--name", required=True, help="what this worker is called; each needs a name of its own")
    parser.add_argument("--tokens", required=True, nargs="+", choices=TOKENS, help="the tokens that this machine has")
    parser.add_argument(
        "--longest-wait",
        type=seconds,
        default=0.5,
        metavar="SECONDS",
        help="a job that would have to wait longer for any token here goes back to the engine (default: 0.5)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=seconds,
        default=IDLE_TIMEOUT,
        metavar="SECONDS",
        help="when jobs of a worker that says nothing more are given to another one: the same for all of them "
        f"(default: {IDLE_TIMEOUT:g})",
    )
    parser.add_argument(
        "--stop-with-input",
        action="store_true",
        help="stop at the end of the input too: for a parent that holds the other end, and must not leave this behind",
    )
    parser.add_argument("--verbose", action="store_true", help="log what the engine does")
    options = parser.parse_args(namespace=Options())
    if options.verbose:
        logging.basicConfig(level=logging.INFO)
    expect_broker(options.broker)
    trio.run(serve, options)


if __name__ == "__main__":
    main()
