"""What the parts of a job cost, each for itself: ``python -m benchmarks.parts``.

In microseconds on this machine, the best of several rounds. They are for finding out where the
time goes; for comparing anything with anything there are the ratios of the catalogue.
"""

from __future__ import annotations

import math
import time
from collections import deque
from contextvars import copy_context
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import trio

from trio_pool import open_pool
from trio_pool._core.admission import Door
from trio_pool._core.commands import START
from trio_pool._core.core import Core
from trio_pool._core.state import CoreSettings
from trio_pool._core.worker_index import WorkerIndex
from trio_pool._model.dead_letters import DeadLetters
from trio_pool._model.handles import Job
from trio_pool._model.records import JobSpec, Run, WorkerRecord
from trio_pool._runtime.job_runner import run_job

from .programs import give_back

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 20_000
ROUNDS = 7


async def repeat(call: Callable[[], Awaitable[object]]) -> float:
    """Microseconds for each of many calls that are awaited."""
    best = math.inf
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            await call()
        best = min(best, time.perf_counter() - start)
    return best / CALLS * 1e6


async def call(fn: Callable[[], object]) -> float:
    """Microseconds for each of many calls, what it takes to call nothing taken off."""

    async def many(fn: Callable[[], object]) -> float:
        best = math.inf
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(CALLS):
                fn()
            best = min(best, time.perf_counter() - start)
        return best / CALLS * 1e6

    return await many(fn) - await many(lambda: None)


class Bench:
    """A core without a shell, and jobs for it."""

    def __init__(self) -> None:
        self.commands: deque[Any] = deque()
        roster = WorkerIndex("longest_idle", Random(0))
        self.core = Core(roster, DeadLetters(1000, self.refuse), self.commands, [], CoreSettings())
        self.workers = deque(WorkerRecord(roster, number, f"worker-{number}", frozenset()) for number in range(1, 5))
        for worker in self.workers:
            self.core.join(worker, 0.0)
            self.core.opened(worker, 0.0)
        self.ids = count(1)
        self.host: Any = None
        self.options = JobSpec()
        self.context = copy_context()

    def refuse(self, job: Job[Any], options: object) -> Job[Any]:
        """Nothing is queued again here."""
        raise AssertionError(job)

    def make_job(self) -> Job[Any]:
        """A job as ``submit`` makes it."""
        return Job(self.host, next(self.ids), give_back, (1,), self.options, 1.0, math.inf, self.context)

    def through_an_idle_worker(self) -> None:
        """A job is submitted, is handed over, succeeds, and the worker has nothing to do."""
        self.core.submit(self.make_job(), Door.AT_ONCE, 1.0)
        kind, run = self.commands.popleft()
        assert kind == START
        self.core.succeeded(run, None, 1.0)
        self.commands.clear()

    def through_the_queue(self) -> None:
        """A job is queued, and the next worker that ends an attempt gets the next one."""
        self.core.submit(self.make_job(), Door.AT_ONCE, 1.0)
        self.core.succeeded(next(iter(self.workers[0]._runs)), None, 1.0)
        self.workers.rotate(1)


async def measure() -> dict[str, float]:
    """The parts and what each costs."""
    found: dict[str, float] = {}
    bench = Bench()
    found["the handle: Job(...)"] = await call(bench.make_job)
    found["copying the context"] = await call(copy_context)
    found["reading Trio's clock"] = await call(trio.current_time)
    found["the core: submit, hand over, success"] = await call(bench.through_an_idle_worker)
    for _ in bench.workers:
        bench.core.submit(bench.make_job(), Door.AT_ONCE, 1.0)
    bench.commands.clear()
    found["the core: submit, queue, success, next"] = await call(bench.through_the_queue)
    found["a cancel scope: entering and leaving it"] = await call(enter_scope)
    with trio.CancelScope() as scope:
        times = count(1)

        def move() -> None:
            scope.deadline = 1e9 + next(times)

        found["a cancel scope: setting its deadline"] = await call(move)
    found["a checkpoint, with one turn of Trio's loop"] = await repeat(trio.lowlevel.checkpoint)
    function = await repeat(lambda: give_back(1))
    run = Run(bench.make_job(), bench.workers[0], 0.0, math.inf)
    found["the function of the benchmarks, by itself"] = function
    found["the driver: its context, current_job, its steps"] = await repeat(lambda: run_job(run, (1,))) - function
    async with open_pool(1) as pool:
        found["run(), alone in the pool"] = await repeat(lambda: pool.run(give_back, 1))
    return found


def enter_scope() -> None:
    """Enter and leave a cancel scope with a timeout."""
    with trio.move_on_after(10):  # noqa: ASYNC100  # that it holds nothing is the point
        pass


def main() -> None:
    """Print them."""
    for name, microseconds in trio.run(measure).items():
        print(f"{microseconds:7.2f}  {name}")


if __name__ == "__main__":
    main()
