"""What a journal costs: a batch with one against without, a second run against a first, a large file against small."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_pool import open_pool
from trio_pool.journal import open_journal
from trio_pool.journal._store import Changes, Store

from .measure import Figure, Stopwatch, in_turn, ratio, settled
from .programs import WORKERS, give_back, map_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from .measure import Cost, Meter
    from .rows import Scale

OPENINGS = 20
"""How often a file is opened, as once takes a few milliseconds."""


def watch() -> Stopwatch:
    """A stopwatch for what waits for a disk."""
    return Stopwatch(time.perf_counter)


async def run_through(path: Path, items: int, meter: Callable[[], Meter] = watch, max_queue: int = 1000) -> float:
    """Run a batch with a journal, and return the seconds that each item took."""
    async with open_journal(path) as journal, open_pool(WORKERS, max_queue=max_queue) as pool:
        with meter() as taken:
            async with journal.map(pool, give_back, range(items)) as results:
                async for _ in results:
                    pass
    return taken.cost / items


async def run_without(items: int) -> float:
    """Run the same batch without a journal."""
    with watch() as taken:
        await map_all(give_back, range(items), WORKERS)
    return taken.cost / items


def against_map(scale: Scale) -> Figure:
    """The seconds per job through a journal against those through the pool alone."""

    def subject() -> float:
        with tempfile.TemporaryDirectory() as folder:
            return trio.run(run_through, Path(folder) / "run.sqlite", scale.jobs)

    return in_turn(subject, lambda: trio.run(run_without, scale.jobs), scale.rounds)


def again(scale: Scale) -> Figure:
    """The processor time per item of a second run against the first; once, since there are many."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.sqlite"

        def run() -> float:
            return trio.run(run_through, path, scale.remembered, Stopwatch)

        first = settled(run)
        return ratio([(settled(run), first)])


def fill(path: Path, items: int) -> None:
    """Write the results of so many items."""
    store = Store(str(path))
    store.open(0.0)
    store.write(Changes({"step": [(str(item), str(item), 1) for item in range(items)]}, [], [], []))
    store.close()


def opening(scale: Scale) -> Figure:
    """The seconds to open and close a journal of many results against one of some."""

    async def main(path: Path) -> float:
        with watch() as taken:
            for _ in range(OPENINGS):
                async with open_journal(path):
                    pass
        return taken.cost / OPENINGS

    def cost(path: Path) -> Cost:
        return lambda: trio.run(main, path)

    with tempfile.TemporaryDirectory() as folder:
        large, small = Path(folder) / "large.sqlite", Path(folder) / "small.sqlite"
        fill(large, scale.remembered)
        fill(small, scale.some_queued)
        return in_turn(cost(large), cost(small), scale.rounds)


def memory(scale: Scale) -> Figure:
    """The peak of memory in a run and a second one, of many items against some."""

    def peak(items: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "run.sqlite"
            tracemalloc.start()
            for _ in range(2):  # a small queue, so that there are always as many results that are being committed
                trio.run(run_through, path, items, watch, 50)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    peak(scale.few_queued)  # what is made once
    return ratio([(peak(4 * scale.some_queued), peak(scale.some_queued))])
