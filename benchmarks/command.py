"""The command line: what to measure, and what to do with it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from . import joined
from .catalogue import CATALOGUE
from .features import FEATURES
from .measure import NotMeasured
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
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder for what is written")
    parser.add_argument(
        "--join",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="measure nothing, but join the results in these folders, of one Python each, into one table and one chart",
    )
    return parser.parse_args(arguments)


def positive(text: str) -> int:
    """A number of the command line."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def measure(rows: Sequence[Row], scale: Scale) -> tuple[list[Measured], dict[str, str]]:
    """Measure them one after the other, and say where it has got to.

    Returns:
      what was measured, and why which of the rows could not be.
    """
    measured: list[Measured] = []
    left_out: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        start = time.perf_counter()
        print(f"[{number}/{len(rows)}] {row.name} ...", end=" ", file=sys.stderr, flush=True)
        try:
            measured.append(Measured(row, row.measure(scale), scale))
        except NotMeasured as reason:
            left_out[row.name] = str(reason)
            print(f"left out: {reason}", file=sys.stderr)
        else:
            print(f"{time.perf_counter() - start:.1f} s", file=sys.stderr)
    return measured, left_out


def draw(folder: Path, runs: Sequence[joined.Results]) -> None:
    """Draw the results, where there is something to draw them with."""
    try:
        from .chart import draw
    except ModuleNotFoundError as error:
        print(f"There is no chart, since {error.name} is not installed.", file=sys.stderr)
    else:
        draw(folder / "benchmarks.svg", runs)


def join(folders: Sequence[Path], output: Path) -> list[str]:
    """Print and write the results in these folders as one table; returns the rows that are not met."""
    runs = joined.load(folders)
    text = f"{joined.table(runs)}\n\n{joined.surroundings(runs)}\n"
    print(text, end="")
    output.mkdir(parents=True, exist_ok=True)
    (output / "table.txt").write_text(text, encoding="utf-8")
    draw(output, runs)
    return joined.failures(runs)


def run(rows: Sequence[Row], scale: Scale, output: Path, *, quick: bool) -> list[str]:
    """Measure, print and write these rows; returns those that are not met."""
    measured, left_out = measure(rows, scale)
    print(table(measured))
    data = as_data(measured, scale, quick=quick, left_out=left_out)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "benchmarks.json", data)
    draw(output, [data])
    return failures(measured, quick=quick)


def main(arguments: Sequence[str] | None = None, catalogue: Sequence[Row] = CATALOGUE) -> int:
    """Do what the command line says; returns the exit code."""
    options = parse(arguments, catalogue)
    if options.join:
        failed = join(options.join, options.output)
    else:
        scale = QUICK if options.quick else FULL
        if options.rounds is not None:
            scale = attrs.evolve(scale, rounds=options.rounds)
        rows = [
            row
            for row in (FEATURES if options.features else catalogue)
            if options.only is None or row.name in options.only
        ]
        failed = run(rows, scale, options.output, quick=options.quick)
    if failed:
        print(f"Not met: {', '.join(failed)}")
    return 1 if failed else 0
