"""The results of several Pythons as one table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

from .rows import amount, in_columns, to_reach

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Results: TypeAlias = "dict[str, Any]"
"""What one Python has measured, as ``report`` writes it."""


def load(folders: Sequence[Path]) -> list[Results]:
    """Read the results in these folders.

    Raises:
      ValueError: if they were not all measured alike.
    """
    runs = [json.loads((folder / "benchmarks.json").read_text(encoding="utf-8")) for folder in folders]
    if len({(run["quick"], run["rounds"]) for run in runs}) > 1:
        raise ValueError(f"these were not measured alike: {', '.join(map(str, folders))}")
    return runs


def python(run: Results) -> str:
    """The Python of a run, such as 3.13."""
    name: str = run["surroundings"]["python"]
    return name.split()[-1].rpartition(".")[0]


def by_row(runs: Sequence[Results]) -> dict[str, dict[str, Any]]:
    """For each row's name, the row as each Python has measured it."""
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        for row in run["rows"]:
            rows.setdefault(row["name"], {})[python(run)] = row
    return rows


def verdict(measured: dict[str, Any]) -> str:
    """Whether a row is met on all Pythons, and else on which it is not."""
    row = next(iter(measured.values()))
    if row["to_reach"] is None:
        return "-"
    missed = [name for name, each in measured.items() if not each["met"]]
    if len(missed) == len(measured):
        return "NOT MET"
    if missed:
        return f"NOT MET on {', '.join(missed)}"
    if row["aim"] is None or any(each["figure"] > each["aim"] for each in measured.values()):
        return "met"
    return "met, and the aim"


def table(runs: Sequence[Results]) -> str:
    """All rows as text, with a column for each Python."""
    pythons = [python(run) for run in runs]
    lines = [("what", *pythons, "to reach", "met or not")]
    for name, measured in by_row(runs).items():
        row = next(iter(measured.values()))
        figures = [amount(measured[each]["figure"], row["unit"]) if each in measured else "-" for each in pythons]
        bound = to_reach(row["to_reach"], row["aim"], row["unit"])
        lines.append((f"{name}: {row['what']}", *figures, bound, verdict(measured)))
    return in_columns(lines)


def failures(runs: Sequence[Results]) -> list[str]:
    """The names of the rows that some Python misses; of quick runs those that are counts."""
    return [
        name
        for name, measured in by_row(runs).items()
        if any(not row["met"] and (row["counts"] or not runs[0]["quick"]) for row in measured.values())
    ]


def surroundings(runs: Sequence[Results]) -> str:
    """What was measured with what, in lines."""
    first = runs[0]["surroundings"]
    lines = [
        f"{first['processor']}, {first['processors']} processors, {first['system']}; "
        f"{'a quick run; ' if runs[0]['quick'] else ''}rounds: {runs[0]['rounds']}"
    ]
    for run in runs:
        packages = [f"{name} {version}" for name, version in run["surroundings"]["packages"].items() if version]
        lines.append(f"{run['surroundings']['python']}: {', '.join(packages)}")
        lines += [f"Left out with {python(run)}: {name}, as {why}" for name, why in run["left_out"].items()]
    return "\n".join(lines)
