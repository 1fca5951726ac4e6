"""How a journal grows: ``python -m benchmarks.journal_growth`` runs a million items through one, and all of them again.

It takes some minutes, and so is no row of the table. A second run over items that are done has to take at most a tenth
of the first, and opening a journal of a million results at most 1.5 times as long as opening one of ten thousand. Both
bounds are about the time that passes, so the machine should have nothing else to do; the processor's time is shown too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from trio_pool import open_pool
from trio_pool.journal import open_journal

from .programs import WORKERS, give_back

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_SHARE = 0.1
LARGEST_RATIO = 1.5
FEW = 10_000


class Seconds(NamedTuple):
    """What something took: the time that passed, and that of the processor, in all threads."""

    passed: float
    busy: float

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Seconds) -> Seconds:
        return Seconds(self.passed - start.passed, self.busy - start.busy)


async def run_all(journal_file: Path, items: int) -> Seconds:
    """The time of ``map`` over so many items, each of which has a right result."""
    async with open_journal(journal_file) as journal, open_pool(WORKERS) as pool:
        start = Seconds.now()
        expected = 0
        async with journal.map(pool, give_back, range(items)) as results:
            async for result in results:
                assert result == expected
                expected += 1
        assert expected == items
        return Seconds.now().since(start)


async def open_once(journal_file: Path) -> Seconds:
    """The time of opening a journal."""
    start = Seconds.now()
    async with open_journal(journal_file):
        return Seconds.now().since(start)


def measure_openings(many: Path, few: Path, rounds: int) -> tuple[Seconds, Seconds]:
    """The medians of the times of opening two journals, measured in turn."""
    for file in (many, few):
        trio.run(open_once, file)
    pairs = [(trio.run(open_once, many), trio.run(open_once, few)) for _ in range(rounds)]
    return median([pair[0] for pair in pairs]), median([pair[1] for pair in pairs])


def median(times: Sequence[Seconds]) -> Seconds:
    return Seconds(statistics.median(each.passed for each in times), statistics.median(each.busy for each in times))


def show(what: str, seconds: Seconds, unit: str = "s", factor: float = 1.0) -> None:
    print(
        f"{what:<42}{seconds.passed * factor:9.2f} {unit} passed,{seconds.busy * factor:9.2f} {unit} busy", flush=True
    )


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
        show(f"first run over {options.items:,} items", first)
        second = trio.run(run_all, many, options.items)
        show("second run over them, all done", second)
        opening, opening_few = measure_openings(many, few, options.rounds)
        show(f"opening a journal of {options.items:,} results", opening, "ms", 1e3)
        show(f"opening a journal of {FEW:,} results", opening_few, "ms", 1e3)
        size = many.stat().st_size / 1e6
    share, ratio = second.passed / first.passed, opening.passed / opening_few.passed
    print(f"the second run took {share:.3f} of the first; at most {LARGEST_SHARE}")
    print(f"opening the large one took {ratio:.2f} times as long as the small one; at most {LARGEST_RATIO}")
    print(f"its file has {size:.1f} MB")
    return 1 if share > LARGEST_SHARE or ratio > LARGEST_RATIO else 0


if __name__ == "__main__":
    sys.exit(main())
