"""Fetch hundreds of files with four tokens that are on two machines, of which one may die.

It is ``api_tokens.py`` once more, against the same server, but with two worker processes that have two of the tokens
each. Between them and what submits the files is streaQ, over Valkey. All of it is started here, on 127.0.0.1.

    python run.py --files 200
    python run.py --kill

With ``--kill`` one of the two workers is killed in the middle, by SIGKILL, with jobs under way. Every file arrives all
the same: after a while the engine gives those jobs to the other worker.

The exit code is 0 if every file arrived whole, 1 if one did not, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio

sys.path.append(str(Path(__file__).resolve().parent.parent))  # where api_tokens.py and its modules are

from typing import TYPE_CHECKING

import broker
import worker
from api_tokens import Source, list_sources, positive, run_server
from ctrl_c import run_until_interrupted
from engine import GRACE_PERIOD, connect_submitter
from fleet import FleetReport, count_files, read_accounts
from server_process import receive_line
from submit import print_report, submit_all
from token_report import Report

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BROKER, WORKER = broker.__file__, worker.__file__

MACHINES = {"worker-1": ("token-a", "token-d"), "worker-2": ("token-b", "token-c")}
"""The tokens that each machine has. Those of the second one have together half the quota of the first one's."""

VICTIM = "worker-2"


class Options(argparse.Namespace):
    """What the command line says."""

    files: int | None
    seed: int
    kill: bool


async def fetch_all(sources: list[Source], options: Options, report: FleetReport) -> None:
    server = Report(wanted=len(sources))
    try:
        async with run_server(options.seed, len(sources), server) as api, run_broker() as url:
            try:
                await run_fleet(url, api, sources, options, report)
            finally:
                # By now the workers have ended, and have said how much they did.
                with trio.move_on_after(5.0, shield=True):
                    engine = connect_submitter(url, waiters=0)
                    async with engine:
                        await report.complete(engine)
    finally:
        report.refused = server.refused


async def run_fleet(url: str, api: str, sources: list[Source], options: Options, report: FleetReport) -> None:
    async with run_workers(url, api) as workers, trio.open_nursery() as nursery:
        for name, process in workers.items():
            nursery.start_soon(watch, name, process, report, nursery.cancel_scope)
        if options.kill:
            nursery.start_soon(kill_in_the_middle, workers[VICTIM], url, report)
        await submit_all(url, sources, report)
        nursery.cancel_scope.cancel()


async def kill_in_the_middle(victim: trio.Process, url: str, report: FleetReport) -> None:
    """Kill a worker as soon as half of the files have been fetched, whether that has been heard of here or not."""
    engine = connect_submitter(url, waiters=0)
    async with engine:
        while True:
            if count_files(await read_accounts(engine)) >= report.wanted / 2:
                break
            await trio.sleep(0.05)
    victim.kill()
    report.killed_at[VICTIM] = time.time()


async def watch(name: str, process: trio.Process, report: FleetReport, scope: trio.CancelScope) -> None:
    """Give up if a worker ends that should not: without it the rest might be waited for in vain."""
    code = await process.wait()
    if name not in report.killed_at:
        report.lost.append(f"{name} has ended with exit code {code}")
        scope.cancel()


@asynccontextmanager
async def run_broker() -> AsyncGenerator[str]:
    """Run the broker in a process of its own; yields its URL."""
    process = await start(BROKER, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield (await receive_line(process.stdout)).strip()
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.wait()


@asynccontextmanager
async def run_workers(url: str, api: str) -> AsyncGenerator[dict[str, trio.Process]]:
    """Run a process for each machine, until the block ends; they then finish what they have begun."""
    workers: dict[str, trio.Process] = {}
    try:
        for name, tokens in MACHINES.items():
            arguments = ["--broker", url, "--api", api, "--name", name, "--tokens", *tokens, "--stop-with-input"]
            workers[name] = await start(WORKER, *arguments)
        yield workers
    finally:
        for process in workers.values():
            process.terminate()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(GRACE_PERIOD + 5.0):
                for process in workers.values():
                    await process.wait()
            for process in workers.values():
                process.kill()
                await process.wait()


async def start(program: str, *arguments: str, stdout: int | None = None) -> trio.Process:
    """Start one of the programs here, which ends when this process does, however that ends."""
    return await trio.lowlevel.open_process(
        [sys.executable, program, *arguments],
        stdin=subprocess.PIPE,  # never written to: its end tells the program that this process is gone
        stdout=stdout,
        start_new_session=True,  # Ctrl-C is for this process alone
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the standard library's source files with two workers.")
    parser.add_argument("--files", type=positive, help="how many files to fetch (default: all, some hundreds)")
    parser.add_argument("--seed", type=int, default=0, help="repeats the server's failures (default: 0)")
    parser.add_argument("--kill", action="store_true", help="kill one of the workers in the middle")
    options = parser.parse_args(namespace=Options())
    sources = list_sources(options.files)
    report = FleetReport(wanted=len(sources))
    try:
        interrupted = trio.run(run_until_interrupted, partial(fetch_all, sources, options, report))
    except KeyboardInterrupt:  # before there is anything to report
        return 130
    return print_report(report, interrupted)


if __name__ == "__main__":
    sys.exit(main())
