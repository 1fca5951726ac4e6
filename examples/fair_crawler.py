"""Crawl many hosts with one pool, which is polite to each of them and fair to all.

Each page is a job, and its host is the job's ``key``. ``PerKey`` bounds how many requests to a host are under way, and
how many start in a second. Hosts take turns, so neither the one with ten times as many pages nor the slow one keeps the
others from being done. A job submits the pages that its own leads to and that nobody has found yet. There are as many
slots as hosts.

``hosts_server.py`` serves all hosts on 127.0.0.1, in a process of its own, and sees how it is treated.

    python fair_crawler.py
    python fair_crawler.py --hosts 12 --pages 40
    python fair_crawler.py --unfair

At the end it checks that each page was read exactly once, that no host had more requests at once or in a second than it
allows, and that the small hosts were done long before the big one and the slow one. With ``--unfair`` the pool knows no
keys, to compare: pages are read in the order in which they were found.

On a terminal, and if rich is installed, it shows what the pool does while it works; with ``--no-live`` a line of
progress instead: for each host that has jobs, how many run and how many wait.

The exit code is 0 if all is as it should be, 1 if not, as with ``--unfair``, and 130 after Ctrl-C if nothing was wrong
so far.
"""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import trio

try:
    import httpx
except ImportError:
    sys.exit("This example needs httpx. Install it with: python -m pip install httpx")

from ctrl_c import run_until_interrupted
from hosts_report import Report, show_progress
from server_process import run_server_process
from site_links import PageParser

from trio_pool import GiveUp, PerKey, PoolClosedError, RateLimit, SlotPool, open_pool

if TYPE_CHECKING:
    from trio_pool import SlotJobGroup

HAS_RICH = find_spec("rich") is not None
SERVER = Path(__file__).resolve().with_name("hosts_server.py")
AT_ONCE = 2
RATE = RateLimit(40, burst=2)
PER_SECOND = int(RATE.count) + RATE.burst + AT_ONCE
"""How many requests can reach a host within a second: those that start in it, and those under way when it begins."""


class Options(argparse.Namespace):
    """What the command line says."""

    hosts: int
    pages: int
    seed: int
    unfair: bool
    live: bool


class Crawl:
    """The pages, each of which is read once."""

    def __init__(self, pool: SlotPool, client: httpx.AsyncClient, report: Report) -> None:
        self._pool = pool
        self._client = client
        self._report = report

    async def run(self, url: str) -> None:
        """Read a page and all that can be reached from it."""
        self._report.start()
        async with self._pool.open_group() as group:
            self._submit(group, url)

    def _submit(self, group: SlotJobGroup, url: str) -> None:
        if url not in self._report.found:
            self._report.found.add(url)
            host = urlsplit(url).netloc
            group.submit_nowait(self._visit, group, url, host, key=host, name=url.removeprefix("http://"))

    async def _visit(self, group: SlotJobGroup, url: str, host: str) -> None:
        """Read a page and submit those that it leads to: the function of every job."""
        self._report.look_at(self._pool, host)
        response = await self._client.get(url)
        if not response.is_success:
            raise GiveUp(f"{response.status_code} {response.reason_phrase}")
        self._report.note_read(host)
        for link in find_links(response.text, url):
            self._submit(group, link)


def find_links(html: str, url: str) -> list[str]:
    parser = PageParser()
    parser.feed(html)
    parser.close()
    return [urljoin(url, reference) for reference in parser.references]


async def crawl(options: Options, report: Report) -> None:
    arguments = [f"--{name}={getattr(options, name)}" for name in ("hosts", "pages", "seed")]
    async with (
        run_server_process(SERVER, *arguments, at_end=report.note_hosts) as port,
        httpx.AsyncClient(timeout=30.0, trust_env=False) as client,  # a proxy would not find these hosts
        trio.open_nursery() as nursery,
        open_pool(
            options.hosts,
            per_key=None if options.unfair else PerKey(max_running=AT_ONCE, rate_limit=RATE),
            on_dead="keep",
            name="fair crawler",
        ) as pool,
    ):
        view: AbstractAsyncContextManager[None] = nullcontext()
        if options.live:
            from trio_pool.rich import live  # not at the top, since rich may be missing

            view = live(pool)
        else:
            nursery.start_soon(show_progress, pool, report)
        try:
            async with view:
                await Crawl(pool, client, report).run(f"http://127.0.0.1:{port}/0")
        finally:
            failed = [(job.name, job.attempts[-1].error) for job in pool.dead.pop_all()]
            # After Ctrl-C a page that has just come can't have its links followed any more.
            report.failed = [f"{name}: {error!r}" for name, error in failed if not isinstance(error, PoolClosedError)]


def run(options: Options) -> int:
    """Read all pages, print the report and return the exit code."""
    logging.getLogger("trio_pool").setLevel(logging.ERROR)  # the report names the pages that could not be read
    report = Report(AT_ONCE, PER_SECOND)
    interrupted = trio.run(run_until_interrupted, partial(crawl, options, report))
    print(*report.lines(interrupted), sep="\n")
    if any(report.faults(interrupted)):
        return 1
    return 130 if interrupted else 0


def from_to(least: int, most: int, text: str) -> int:
    if not least <= (number := int(text)) <= most:
        raise argparse.ArgumentTypeError(f"must be from {least} to {most}, not {number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description="Crawl many hosts, politely and in fair turns.")
    parser.add_argument(
        "--hosts", type=partial(from_to, 3, 20), default=6, help="how many: a big, a slow and small ones (default: 6)"
    )
    parser.add_argument(
        "--pages",
        type=partial(from_to, 2, 1000),
        default=20,
        help="how many each has, the big one ten times that (default: 20)",
    )
    parser.add_argument("--seed", type=int, default=0, help="repeats the links between the pages (default: 0)")
    parser.add_argument("--unfair", action="store_true", help="let the pool know no keys, to compare")
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
