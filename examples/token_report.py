"""What ``api_tokens.py`` shows: a line of progress while it works, and a table of what was done at its end."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx

from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    Instrument,
    Job,
    JobCancelledError,
    Pool,
    PoolStatistics,
    RetryAfter,
    Worker,
)


class FailureCauses(Instrument):
    """Counts why attempts failed, by the name of the worker."""

    def __init__(self) -> None:
        self.by_worker: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def attempt_ended(self, job: Job[object], attempt: Attempt) -> None:
        # One that was cut short has neither failed nor succeeded.
        if attempt.error is not None and not isinstance(attempt.error, JobCancelledError):
            self.by_worker[attempt.worker_name][describe_error(attempt.error)] += 1


def describe_error(error: BaseException) -> str:
    match error:
        case RetryAfter():
            return "429"
        case httpx.HTTPStatusError():
            return str(error.response.status_code)
        case AttemptTimeoutError():
            return "timeout"
        case _:
            return type(error).__name__


@dataclass
class Report:
    """What has been done so far, which can be asked for whenever and however the work ends.

    Attributes:
        wanted: The number of files to fetch.
        arrived: The number of files that have arrived whole.
        size: Their bytes.
        lost: A line for each file that will not arrive.
    """

    wanted: int
    arrived: int = 0
    size: int = 0
    lost: list[str] = field(default_factory=list[str])
    causes: FailureCauses = field(default_factory=FailureCauses)
    _pool: Pool[httpx.AsyncClient] | None = None
    _workers: tuple[Worker, ...] = ()
    _started_at: float = field(default_factory=time.perf_counter)

    def watch(self, pool: Pool[httpx.AsyncClient]) -> None:
        """Report on this pool and the workers it has now, also when they have gone."""
        self._pool = pool
        self._workers = pool.workers

    def lines(self) -> Iterator[str]:
        if self._pool is None:
            yield "stopped before the pool was open"
            return
        yield f"{'token':<10}{'attempts':>10}{'succeeded':>11}{'failed':>8}{'busy':>10}   why they failed"
        for token in (worker.statistics() for worker in self._workers):
            causes = ", ".join(f"{count} x {cause}" for cause, count in self.causes.by_worker[token.name].most_common())
            yield (
                f"{token.name:<10}{token.attempts:>10}{token.succeeded:>11}{token.failed:>8}"
                f"{token.busy_seconds:>8.2f} s   {causes}"
            ).rstrip()
        total = self._pool.statistics()
        yield ""
        yield f"{'files':<10}{self.arrived:>10} of {self.wanted}"
        yield f"{'bytes':<10}{self.size:>10}"
        yield f"{'attempts':<10}{total.attempts:>10}"
        yield f"{'retries':<10}{total.retries:>10}"
        yield f"{'dead':<10}{total.dead:>10}"
        yield f"{'elapsed':<10}{time.perf_counter() - self._started_at:>10.2f} s"
        yield from self.lost


async def show_progress(pool: Pool[httpx.AsyncClient], wanted: int) -> None:
    """Keep one line up to date on a terminal; anywhere else, as in a log, write a line now and then."""
    on_terminal = sys.stderr.isatty()
    try:
        async for now in pool.snapshots(0.1 if on_terminal else 1.0):
            line = describe_progress(now, wanted)
            if on_terminal:
                width = shutil.get_terminal_size().columns - 1  # a full line would wrap
                print(f"\r{line[:width]:<{width}}", end="", file=sys.stderr, flush=True)
            else:
                print(line, file=sys.stderr, flush=True)
    finally:
        if on_terminal:
            print(file=sys.stderr)


def describe_progress(now: PoolStatistics, wanted: int) -> str:
    tokens = "  ".join(f"{worker.name} {worker.state.name.lower():<7}" for worker in now.workers)
    return f"{now.succeeded:>4}/{wanted} files  {now.attempts:>4} attempts  {now.retries:>4} retries  {tokens}".rstrip()
