"""Check all links within a site: a job for each file, which submits the jobs for the files it leads to.

The site is a folder of HTML, by default this library's documentation, which is built for it. ``site_server.py`` serves
it on 127.0.0.1, and it is read from its front page on over a few connections, each file once. A link is broken if the
file can't be had, or if the page has no place that is called like the link's ``#fragment``.

    python crawler.py
    python crawler.py docs/_build/html --connections 8
    python crawler.py --tree

A job submits what its page leads to and nobody has found yet, and ends. All jobs are in one group, whose block ends
when there are no more. With ``--tree`` a job waits for those that it has submitted, and they for theirs: the one of the
front page ends last, and its result is the number of files that were read. All this goes over one connection, which the
jobs that wait lend to the others.

The exit code is 0 if no link is broken, 1 if one is, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

try:
    import httpx
except ImportError:
    sys.exit("This example needs httpx. Install it with: python -m pip install httpx")

from typing import TYPE_CHECKING

from ctrl_c import run_until_interrupted
from site_links import Link, Page, file_url, read_page
from site_server import serve

from trio_pool import (
    GiveUp,
    Job,
    JobFailedError,
    JobGroup,
    JobState,
    Pool,
    Resource,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

DOCS = Path(__file__).resolve().parent.parent / "docs"
FRONT_PAGE = file_url("/")


class Options(argparse.Namespace):
    """What the command line says."""

    folder: Path | None
    connections: int | None
    tree: bool


@asynccontextmanager
async def open_client(address: str, name: str) -> AsyncGenerator[httpx.AsyncClient]:
    """The lifespan of a worker: a client with a single connection, which is kept from job to job."""
    async with httpx.AsyncClient(
        base_url=address,
        follow_redirects=True,
        limits=httpx.Limits(max_connections=1),
        timeout=10.0,  # for each step; an attempt_timeout would go on running while a job waits for others
        trust_env=False,  # a proxy would not find this server
    ) as client:
        yield client


@dataclass
class Crawl:
    """What is to be done, and what has been found so far.

    Attributes:
        tree: Whether a job waits for those that it submits.
        jobs: That of each file that was found, by its URL.
        pages: The files that were read, by their URLs; None for what is no HTML.
        pool: The pool, once it is open.
        elapsed: The seconds that it took.
    """

    tree: bool
    jobs: dict[str, Job[int]] = field(default_factory=dict[str, Job[int]])
    pages: dict[str, Page | None] = field(default_factory=dict[str, "Page | None"])
    pool: Pool[httpx.AsyncClient] | None = None
    elapsed: float = 0.0

    async def run(self, address: str, connections: int) -> None:
        names = [f"connection-{number}" for number in range(1, connections + 1)]
        async with (
            trio.open_nursery() as nursery,
            open_pool(
                [Resource(name, name=name) for name in names],
                lifespan=partial(open_client, address),
                retry=RetryPolicy(retry_on=httpx.HTTPError),
                on_dead="keep",
            ) as self.pool,
        ):
            nursery.start_soon(self.show_progress, self.pool)
            started = time.perf_counter()
            try:
                async with self.pool.open_group() as group:
                    self.submit(group, FRONT_PAGE)
            finally:
                self.elapsed = time.perf_counter() - started
                self.pool.dead.pop_all()  # the list of broken links will tell

    def submit(self, group: JobGroup[httpx.AsyncClient], url: str) -> Job[int]:
        # Of the jobs of a pool it takes any number, so those need not wait for a place.
        self.jobs[url] = group.submit_nowait(self.visit, group, url, name=url)
        return self.jobs[url]

    async def visit(self, client: httpx.AsyncClient, group: JobGroup[httpx.AsyncClient], url: str) -> int:
        """Read a file and submit what it leads to: the function of every job. The pool fills in the client.

        Returns:
            How many files were read by this job, and by those that it has waited for.
        """
        page = self.pages[url] = await read(client, url)
        links = page.links if page is not None else ()
        found = [self.submit(group, link.url) for link in links if link.url not in self.jobs]
        if not self.tree:
            return 1
        async with current_job().lend():
            return 1 + sum([await files_read(job) for job in found])

    def broken_links(self) -> Iterator[tuple[str, Link, str]]:
        """The page that each is on, where it leads, and what is wrong with it."""
        for source, link in self.links():
            job, target = self.jobs.get(link.url), self.pages.get(link.url)
            if job is not None and job.state is JobState.DEAD:
                yield source, link, job.reason
            elif target is not None and link.fragment not in target.anchors:
                yield source, link, "no such place in that page"

    def links(self) -> Iterator[tuple[str, Link]]:
        yield "(start)", Link(FRONT_PAGE, "")
        for url, page in self.pages.items():
            for link in page.links if page is not None else ():
                yield url, link

    # What is shown.

    async def show_progress(self, pool: Pool[httpx.AsyncClient]) -> None:
        async for now in pool.snapshots(1.0):
            print(
                f"{len(self.pages):>5} of {len(self.jobs)} files read, {now.running} under way, {now.queued} waiting",
                file=sys.stderr,
                flush=True,
            )

    def lines(self) -> Iterator[str]:
        if self.pool is None:
            yield "stopped before the pool was open"
            return
        pages = [page for page in self.pages.values() if page is not None]
        broken = list(self.broken_links())
        yield f"{'':<20}{'files':>8}{'failed':>8}{'busy':>10}"
        for worker in self.pool.statistics().workers:
            yield f"{worker.name:<20}{worker.succeeded:>8}{worker.failed:>8}{worker.busy_seconds:>8.2f} s"
        yield ""
        yield f"{'files found':<20}{len(self.jobs):>8}"
        yield f"{'files read':<20}{len(self.pages):>8}"
        yield f"{'pages':<20}{len(pages):>8}"
        yield f"{'links':<20}{sum(1 for _ in self.links()):>8}"
        yield f"{'links elsewhere':<20}{sum(page.external for page in pages):>8}"
        yield f"{'broken links':<20}{len(broken):>8}"
        if self.tree and (front := self.jobs.get(FRONT_PAGE)) and front.state is JobState.SUCCEEDED:
            yield f"{'files in the tree':<20}{front.result():>8}"
        yield f"{'elapsed':<20}{self.elapsed:>8.2f} s"
        for page, link, reason in broken:
            yield f"{page} -> {link}: {reason}"


async def read(client: httpx.AsyncClient, url: str) -> Page | None:
    """Fetch a file. If it is no HTML, there is no more to it."""
    response = await client.get(url)
    if response.is_client_error:
        raise GiveUp(f"{response.status_code} {response.reason_phrase}")  # it would be the same on another connection
    response.raise_for_status()
    if not response.headers.get("Content-Type", "").startswith("text/html"):
        return None
    page = read_page(response.text, str(response.url))
    if response.history:  # it was redirected, so this is the page of another file
        return Page((Link(file_url(response.url.raw_path.decode()), ""),), 0, page.anchors)
    return page


async def files_read(job: Job[int]) -> int:
    try:
        return await job.wait()
    except JobFailedError:
        return 0


# The program around it.


def build_docs(folder: Path) -> None:
    print("building the documentation ...", file=sys.stderr, flush=True)
    sphinx = subprocess.run([sys.executable, "-m", "sphinx", "-q", "-b", "html", DOCS, folder], check=False)
    if sphinx.returncode:
        sys.exit("The documentation could not be built.")


def run(options: Options) -> int:
    """Check the links, print the table and return the exit code."""
    crawl = Crawl(options.tree)
    connections = options.connections or (1 if options.tree else 4)
    with ExitStack() as stack:
        folder = options.folder
        if folder is None:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            build_docs(folder)
        address = stack.enter_context(serve(folder))
        interrupted = trio.run(run_until_interrupted, partial(crawl.run, address, connections))
    print(*crawl.lines(), sep="\n")
    if interrupted:
        return 130
    return 1 if any(crawl.broken_links()) else 0


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description="Check all links within a site, from its front page on.")
    parser.add_argument(
        "folder", type=Path, nargs="?", help="where its files are (default: build this library's documentation)"
    )
    parser.add_argument("--tree", action="store_true", help="let each job wait for those that it submits")
    parser.add_argument("--connections", type=positive, help="how many (default: 4, but with --tree 1)")
    options = parser.parse_args(namespace=Options())
    if options.folder is None and find_spec("sphinx") is None:
        parser.error(
            "name a folder, or have the documentation built: python -m pip install sphinx furo sphinxcontrib-trio"
        )
    if options.folder is not None and not Path(options.folder, "index.html").is_file():
        parser.error(f"there is no index.html in {options.folder}")
    try:
        return run(options)
    except KeyboardInterrupt:  # before there is anything to report
        return 130


if __name__ == "__main__":
    sys.exit(main())
