"""What ``api_tokens.py`` shows: a line of progress while it works, and a table of what was done at its end."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import trio
from progress_line import progress_line
from token_server import TOKENS

from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    Instrument,
    Job,
    JobCancelledError,
    Pool,
    PoolStatistics,
    RetryAfter,
    SlotPool,
    Worker,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STEADY = {name: token for name, token in TOKENS.items() if not token.mortal}
"""The tokens that can be relied on: what is possible in theory is worked out from their quotas alone."""


class FailureCauses(Instrument):
    """Counts why attempts failed, by the name of the worker."""

    def __init__(self) -> None:
        self.by_worker: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def attempt_ended(self, job: Job[object], attempt: Attempt) -> None:
        # One that was cut short has neither failed nor succeeded.
        if attempt.error is not None and not isinstance(attempt.error, JobCancelledError):
            self.by_worker[attempt.worker_name][describe_error(attempt.error)] += 1


class BreakerStates(Instrument):
    """Counts the attempts in each state of the workers' breakers, by the name of the worker.

    The state is that at the start of the attempt: "closed", "open" if the worker was to get nothing at all, or "probe"
    if it was to get one attempt as a test of whether it works again.
    """

    def __init__(self) -> None:
        self.by_worker: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._open_until: dict[str, float] = {}

    def worker_quarantined(self, worker: Worker, until: float) -> None:
        self._open_until[worker.name] = until

    def attempt_started(self, job: Job[object], worker: Worker) -> None:
        self.by_worker[worker.name][self._state_of(worker.name)] += 1

    def attempt_ended(self, job: Job[object], attempt: Attempt) -> None:
        if attempt.error is None:  # only success closes a breaker
            self._open_until.pop(attempt.worker_name, None)

    def _state_of(self, name: str) -> str:
        if name not in self._open_until:
            return "closed"
        return "open" if trio.current_time() < self._open_until[name] else "probe"


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


@dataclass(eq=False)
class Report(Instrument):
    """What has been done so far, which can be asked for whenever and however the work ends.

    Attributes:
        wanted: The number of files to fetch.
        arrived: The number of files that have arrived whole.
        size: Their bytes.
        lost: A line for each file that will not arrive.
        refused: The number of calls that the server has answered with 429, by its own account at its end.
    """

    wanted: int
    arrived: int = 0
    size: int = 0
    lost: list[str] = field(default_factory=list[str])
    refused: int | None = None
    causes: FailureCauses = field(default_factory=FailureCauses)
    breakers: BreakerStates = field(default_factory=BreakerStates)
    _pool: Pool[Any] | SlotPool | None = None
    _workers: tuple[Worker, ...] = ()
    _opened_at: float = 0.0
    _elapsed: float = 0.0

    def pool_opened(self, pool: Pool[Any] | SlotPool) -> None:
        self._pool = pool
        self._workers = pool.workers  # to be asked also when they have gone
        self._opened_at = time.perf_counter()

    def pool_closed(self, pool: Pool[Any] | SlotPool) -> None:
        self._elapsed = time.perf_counter() - self._opened_at

    def lines(self) -> Iterator[str]:
        if self._pool is None:
            yield "stopped before the pool was open"
            return
        yield f"{'':<49}{'with the breaker':>22}"
        yield (
            f"{'token':<10}{'attempts':>10}{'succeeded':>11}{'failed':>8}{'busy':>10}"
            f"{'closed':>8}{'open':>7}{'probe':>7}   why they failed"
        )
        tokens = [worker.statistics() for worker in self._workers]
        for token in tokens:
            during = self.breakers.by_worker[token.name]
            causes = ", ".join(f"{count} x {cause}" for cause, count in self.causes.by_worker[token.name].most_common())
            yield (
                f"{token.name:<10}{token.attempts:>10}{token.succeeded:>11}{token.failed:>8}"
                f"{token.busy_seconds:>8.2f} s{during['closed']:>8}{during['open']:>7}{during['probe']:>7}   {causes}"
            ).rstrip()
        total = self._pool.statistics()
        yield ""
        yield f"{'files':<10}{self.arrived:>10} of {self.wanted}"
        yield f"{'bytes':<10}{self.size:>10}"
        yield f"{'attempts':<10}{total.attempts:>10}"
        yield f"{'retries':<10}{total.retries:>10}"
        yield f"{'dead':<10}{total.dead:>10}"
        if self.refused is not None:
            yield f"{'429s':<10}{self.refused:>10}"
        yield from self._lines_on_time(sum(token.succeeded for token in tokens if token.name in STEADY))
        yield from self.lost
        yield ""
        yield self._pool.explain()

    def _lines_on_time(self, files: int) -> Iterator[str]:
        """How long it took, and how long the steady tokens need for their files if nothing but their quotas counts.

        A quota of so many calls a second allows as many at once at the start, and from then on that many each second.
        What fails is not among the files, and makes the ratio worse; what token-d does counts on neither side.
        """
        quota = sum(token.quota for token in STEADY.values())
        theory = max(0.0, (files - quota) / quota)
        yield f"{'elapsed':<10}{self._elapsed:>10.2f} s"
        yield (
            f"{'in theory':<10}{theory:>10.2f} s   "
            f"for {files} files with {', '.join(STEADY)}: {quota} at once, then {quota} a second"
        )
        if theory:
            yield f"{'ratio':<10}{self._elapsed / theory:>10.2f}"


async def show_progress(pool: Pool[httpx.AsyncClient], wanted: int) -> None:
    with progress_line() as show:
        async for now in pool.snapshots(show.interval):
            show(describe_progress(now, wanted))


def describe_progress(now: PoolStatistics, wanted: int) -> str:
    tokens = "  ".join(f"{worker.name[-1]} {worker.state.name.lower():<7}" for worker in now.workers)
    return f"{now.succeeded:>4}/{wanted} files  {now.retries:>4} retries  {tokens}".rstrip()
