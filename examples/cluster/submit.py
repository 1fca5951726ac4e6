"""The submitting program: hands the files to the fleet, waits for all of them, and shows what became of them.

    python submit.py --broker redis://127.0.0.1:6379 --files 200

It knows nothing of tokens, and needs none of the workers to be there yet.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

sys.path.append(str(Path(__file__).resolve().parent.parent))  # where api_tokens.py and its modules are

from addresses import broker_url, expect_broker
from api_tokens import Source, list_sources, positive
from ctrl_c import run_until_interrupted
from engine import connect_submitter
from fleet import FleetReport, read_accounts
from progress_line import ProgressLine, progress_line
from streaq import TaskStatus, Worker
from tasks import Delivery, Tasks

from trio_pool import open_pool

if TYPE_CHECKING:
    from streaq.task import Task, TaskResult

WAITERS = 100
"""The results that are waited for at once."""


class Options(argparse.Namespace):
    """What the command line says."""

    broker: str
    files: int | None


async def submit_all(broker: str, sources: list[Source], report: FleetReport) -> None:
    """Submit the files, and put into the report what comes of them, until the last is there."""
    engine = connect_submitter(broker, waiters=WAITERS)
    fetch_file = Tasks(engine).fetch_file
    # Waiting is work for slots: of these there are as many as there are connections for.
    async with engine, open_pool(WAITERS) as waiters, trio.open_nursery() as nursery:
        jobs = [fetch_file.enqueue(source.path, source.sha256) for source in sources]
        await engine.enqueue_many(jobs)
        with progress_line() as show:
            nursery.start_soon(show_progress, engine, report, show)
            async with waiters.as_completed(wait_for, jobs) as waits:
                async for wait in waits:
                    report.count(wait.result())
            await report.complete(engine)
            nursery.cancel_scope.cancel()
            show(report.progress())


async def wait_for(job: Task[..., Delivery]) -> TaskResult[Delivery]:
    """Wait for the end of a job.

    ``job.result()`` can return the result of another job, of one that was waited for over the same connection before: a
    message that is late by more than a tenth of a second gets to whoever has that connection by then. So here it only
    tells that something has ended. Of a job that is done it returns what is stored for it, which is the right one.
    """
    while await job.status() is not TaskStatus.DONE:
        await job.result()
    return await job.result()


async def show_progress(engine: Worker[Any], report: FleetReport, show: ProgressLine) -> None:
    while True:
        report.accounts = await read_accounts(engine)
        show(report.progress())
        await trio.sleep(show.interval)


def print_report(report: FleetReport, interrupted: bool) -> int:
    """Print the table; returns the exit code."""
    print(*report.lines(), sep="\n")
    if interrupted:
        return 130
    return 0 if report.arrived == report.wanted else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Submit the standard library's source files, and wait for them.")
    parser.add_argument("--broker", required=True, type=broker_url, metavar="URL", help="where Redis or Valkey is")
    parser.add_argument("--files", type=positive, help="how many files (default: all, some hundreds)")
    options = parser.parse_args(namespace=Options())
    sources = list_sources(options.files)
    report = FleetReport(wanted=len(sources))
    expect_broker(options.broker)
    interrupted = trio.run(run_until_interrupted, partial(submit_all, options.broker, sources, report))
    return print_report(report, interrupted)


if __name__ == "__main__":
    sys.exit(main())
