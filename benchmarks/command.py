"""The command line: what to measure, and what to do with it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .catalogue import CATALOGUE
from .features import FEATURES
from .report import as_data, write_json
from .rows import FULL, QUICK, Measured, failures, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .rows import Row, Scale

RESULTS = Path(__file__).parent / "results"


def parse(arguments: Sequence[str] | None, catalogue: Sequence[Row]) -> argparse.Namespace:
    """Read the command line."""
    names = [row.name for row in (*catalogue, *FEATURES)]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure what the pool costs. Exits with 1 where something is not as it should be.",
    )
    parser.add_argument("--quick", action="store_true", help="a small version, which fails only on what is a count")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"only these of: {', '.join(names)}")
    parser.add_argument("--features", action="store_true", help="what each feature costs, instead: for comparison only")
    parser.add_argument("--rounds", type=positive, help="how often each program runs")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder for the JSON and the chart")
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A number of the command line."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def measure(rows: Sequence[Row], scale: Scale) -> list[Measured]:
    """Measure them one after the other, and say where it has got to."""
    measured: list[Measured] = []
    for number, row in enumerate(rows, 1):
        start = time.perf_counter()
        print(f"[{number}/{len(rows)}] {row.name} ...", end=" ", file=sys.stderr, flush=True)
        measured.append(Measured(row, row.measure(scale), scale))
        print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    return measured


def write(folder: Path, measured: Sequence[Measured], scale: Scale, *, quick: bool) -> None:
    """Write the results into a folder, the chart only where there is something to draw it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "benchmarks.json", as_data(measured, scale, quick=quick))
    try:
        from .chart import draw
    except ModuleNotFoundError as error:
        print(f"There is no chart, since {error.name} is not installed.", file=sys.stderr)
    else:
        draw(folder / "benchmarks.svg", measured)


def main(arguments: Sequence[str] | None = None, catalogue: Sequence[Row] = CATALOGUE) -> int:
    """Do what the command line says; returns the exit code."""
    options = parse(arguments, catalogue)
    if options.features:
        catalogue = FEATURES
    scale = QUICK if options.quick else FULL
    if options.rounds is not None:
        scale = attrs.evolve(scale, rounds=options.rounds)
    rows = [row for row in catalogue if options.only is None or row.name in options.only]
    measured = measure(rows, scale)
    print(table(measured))
    write(options.output, measured, scale, quick=options.quick)
    failed = failures(measured, quick=options.quick)
    if failed:
        print(f"Not met: {', '.join(failed)}")
    return 1 if failed else 0
