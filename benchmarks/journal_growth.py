"""How a journal grows: ``python -m benchmarks.journal_growth`` runs a million items through one, and all of them again.

It takes some minutes, and so is no row of the table. A second run over items that are done has to take at most a tenth
of the first, and opening a journal of a million results at most 1.5 times as long as opening one of ten thousand.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_pool import open_pool
from trio_pool.journal import open_journal

from .programs import WORKERS, give_back

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_SHARE = 0.1
LARGEST_RATIO = 1.5
FEW = 10_000


async def run_all(journal_file: Path, items: int) -> float:
    """The seconds of ``map`` over so many items, each of which has a right result."""
    async with open_journal(journal_file) as journal, open_pool(WORKERS) as pool:
        start = time.perf_counter()
        expected = 0
        async with journal.map(pool, give_back, range(items)) as results:
            async for result in results:
                assert result == expected
                expected += 1
        assert expected == items
        return time.perf_counter() - start


async def open_once(journal_file: Path) -> float:
    """The seconds of opening a journal."""
    start = time.perf_counter()
    async with open_journal(journal_file):
        return time.perf_counter() - start


def measure_openings(many: Path, few: Path, rounds: int) -> tuple[float, float]:
    """The medians of the seconds of opening two journals, measured in turn."""
    for file in (many, few):
        trio.run(open_once, file)
    pairs = [(trio.run(open_once, many), trio.run(open_once, few)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 if a bound is not kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal_growth", description=__doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="how many (default: a million)")
    parser.add_argument("--rounds", type=int, default=31, help="how often each journal is opened (default: 31)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        many, few = Path(folder, "many.sqlite"), Path(folder, "few.sqlite")
        trio.run(run_all, few, FEW)
        first = trio.run(run_all, many, options.items)
        print(f"first run over {options.items:,} items   {first:8.2f} s", flush=True)
        second = trio.run(run_all, many, options.items)
        share = second / first
        print(f"second run over them, all done   {second:8.2f} s, {share:.3f} of the first; at most {LARGEST_SHARE}")
        opening, opening_few = measure_openings(many, few, options.rounds)
        ratio = opening / opening_few
        print(f"opening it                       {opening * 1e3:8.2f} ms")
        print(
            f"opening one of {FEW:,} results  {opening_few * 1e3:8.2f} ms, {ratio:.2f} times as long with all; "
            f"at most {LARGEST_RATIO}"
        )
        print(f"size of its file                 {many.stat().st_size / 1e6:8.1f} MB")
    return 1 if share > LARGEST_SHARE or ratio > LARGEST_RATIO else 0


if __name__ == "__main__":
    sys.exit(main())
