"""Fetch hundreds of files from an HTTP API with four tokens, none of which is any good by itself.

Each token has a quota per second; one of them gets errors, one gets slow answers, and one dies halfway and comes back.
A pool gives each token a worker with an HTTP client of its own, bounces what fails to another token, lets a token rest
when the API says so, and keeps all but now and then a probe away from one that only fails.

The API is ``token_server.py``, which this program starts beside itself on 127.0.0.1. What it serves are the source
files of the standard library, so that each file that arrives can be held against the one on disk.

    python api_tokens.py --files 200
    python api_tokens.py --respect-quotas

With ``--record FILE`` it writes down what the pool does, to be replayed with ``trio_pool.planning``: with other tokens,
limits and retries.

With ``--respect-quotas`` the pool knows the quotas beforehand, and the API never has to refuse a call.

On a terminal, and if rich is installed, it shows what the pool does while it works; with ``--no-live`` a line of
progress instead.

The exit code is 0 if every file arrived whole, 1 if one did not, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import sysconfig
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import trio

try:
    import httpx
except ImportError:
    sys.exit("This example needs httpx. Install it with: python -m pip install httpx")

from ctrl_c import run_until_interrupted
from server_process import run_server_process
from token_report import Report, show_progress
from token_server import TOKENS, Token

from trio_pool import (
    CircuitBreaker,
    GiveUp,
    JobFailedError,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    open_pool,
)
from trio_pool.planning import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rich.console import Console

HAS_RICH = find_spec("rich") is not None
SERVER = Path(__file__).with_name("token_server.py")
STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test"}


@dataclass(frozen=True)
class Source:
    """A file to fetch, and what has to arrive."""

    path: str
    sha256: str


class Options(argparse.Namespace):
    """What the command line says."""

    files: int | None
    seed: int
    respect_quotas: bool
    record: Path | None
    live: bool


class DamagedError(Exception):
    """The body that arrived is not the file."""


async def fetch(client: httpx.AsyncClient, source: Source) -> int:
    """Fetch one file and check it: the function of every job. The pool fills in the client.

    Returns:
        The size of the file in bytes.
    """
    response = await client.get(f"/{source.path}")
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        # It is the token that has to wait, not the file: that goes to another one, and has not used up a try.
        raise RetryAfter.parse(response.headers["Retry-After"], rest=True, counts=False)
    if response.is_client_error:
        raise GiveUp(f"{response.status_code} {response.reason_phrase}")  # no other token would do better
    response.raise_for_status()
    if hashlib.sha256(response.content).hexdigest() != source.sha256:
        raise DamagedError(source.path)
    return len(response.content)


@asynccontextmanager
async def open_client(base_url: str, token: str) -> AsyncGenerator[httpx.AsyncClient]:
    """The lifespan of a worker: a client that sends this token, and keeps its connection from job to job."""
    async with httpx.AsyncClient(
        base_url=base_url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=None,  # attempt_timeout sees to that
        trust_env=False,  # a proxy would not find this server
    ) as client:
        yield client


def declare_quota(token: Token) -> RateLimit:
    """The limit for a worker whose calls shall all be within the quota of its token.

    The quota is a bucket of calls that refills evenly, and so is a rate limit. But one call takes longer to the server
    than another, so they may arrive closer together than they started. A worker makes one call at a time: however late
    one arrives, the next only starts when that has been answered or has timed out. So at worst the server sees one call
    more at once than the limit allows. One less in the burst makes up for that, and the rate needs no margin.
    """
    return RateLimit(token.quota, per=1.0, burst=token.quota - 1)


async def fetch_all(sources: list[Source], options: Options, report: Report, console: Console | None = None) -> None:
    recorders = [] if options.record is None else [Recorder(options.record)]
    async with (
        run_server(options.seed, len(sources), report) as base_url,
        trio.open_nursery() as nursery,
        open_pool(
            [
                Resource(name, name=name, rate_limit=declare_quota(token) if options.respect_quotas else None)
                for name, token in TOKENS.items()
            ],
            lifespan=partial(open_client, base_url),
            retry=RetryPolicy(max_attempts=8, placement="other"),
            breaker=CircuitBreaker(failures=3, reset_after=0.25, max_reset_after=1.0),
            attempt_timeout=0.5,
            instruments=[report, report.causes, report.breakers, *recorders],
            name="api tokens",
            rng=Random(options.seed),
        ) as pool,
    ):
        view: AbstractAsyncContextManager[None] = nullcontext()
        if options.live:
            from trio_pool.rich import live  # not at the top, since rich may be missing

            view = live(pool, total=len(sources), console=console)
        else:
            nursery.start_soon(show_progress, pool, len(sources))
        async with view, pool.as_completed(fetch, sources) as jobs:
            async for job in jobs:
                try:
                    report.size += job.result()
                    report.arrived += 1
                except JobFailedError as error:
                    report.lost.append(f"lost {job.args[0].path}: {error}")


@asynccontextmanager
async def run_server(seed: int, calls: int, report: Report) -> AsyncGenerator[str]:
    """Run the server in a process of its own; yields the URL it listens at, and reports how many calls it refused."""
    # Of so many calls, and some more for what is tried again, a token dies with the middle one for a quarter of them.
    outage = (str(calls // 2), str(calls * 3 // 4))

    def note_refused(line: str) -> None:
        report.refused = int(line)

    async with run_server_process(SERVER, "--seed", str(seed), "--outage", *outage, at_end=note_refused) as port:
        yield f"http://127.0.0.1:{port}"


def list_sources(limit: int | None) -> list[Source]:
    """The first files of the standard library, without its tests, in a stable order."""
    # Debian links some files to others elsewhere, which the server does not give out.
    paths = sorted(path.relative_to(STDLIB) for path in STDLIB.rglob("*.py") if path.resolve().is_relative_to(STDLIB))
    chosen = islice((path for path in paths if SKIPPED.isdisjoint(path.parts)), limit)
    sources = [Source(path.as_posix(), hashlib.sha256((STDLIB / path).read_bytes()).hexdigest()) for path in chosen]
    if not sources:
        sys.exit(f"There are no source files in {STDLIB}.")
    return sources


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def run(options: Options) -> int:
    """Fetch, print the report and return the exit code."""
    sources = list_sources(options.files)
    report = Report(wanted=len(sources))
    interrupted = trio.run(run_until_interrupted, partial(fetch_all, sources, options, report))
    print(*report.lines(), sep="\n")
    if interrupted:
        return 130
    return 0 if report.arrived == report.wanted else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the standard library's source files with four API tokens.")
    parser.add_argument("--files", type=positive, help="how many files to fetch (default: all, some hundreds)")
    parser.add_argument("--seed", type=int, default=0, help="repeats the server's failures (default: 0)")
    parser.add_argument(
        "--respect-quotas", action="store_true", help="declare the tokens' quotas to the pool, so that none is exceeded"
    )
    parser.add_argument("--record", type=Path, metavar="FILE", help="write down what the pool does, for planning")
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        default=HAS_RICH and sys.stderr.isatty(),
        help="show what the pool does, drawn with rich; done anyway on a terminal, if rich is installed",
    )
    options = parser.parse_args(namespace=Options())
    if options.live and not HAS_RICH:
        parser.error("--live needs rich. Install it with: python -m pip install rich")
    try:
        return run(options)
    except KeyboardInterrupt:  # before there is anything to report
        return 130


if __name__ == "__main__":
    sys.exit(main())
