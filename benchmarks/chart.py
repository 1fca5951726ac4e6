"""The results as a chart: how much of what is allowed each figure takes up, on each Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .joined import by_row, python
from .rows import to_reach

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .joined import Results

# The same results give the same file, and its text stays text.
mpl.rcParams.update({"svg.hashsalt": "trio_pool", "svg.fonttype": "none"})


def draw(path: Path, runs: Sequence[Results]) -> None:
    """Draw a line for each row that has something to reach, with a point and its spread for each Python."""
    pythons = [python(run) for run in runs]
    shown = [rows for rows in by_row(runs).values() if next(iter(rows.values()))["to_reach"]]
    # Matplotlib's own types are complete in part only.
    figure: Any = Figure(figsize=(9, 1.5 + 0.35 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(pythons):
        places: list[float] = []
        medians: list[float] = []
        spreads: list[tuple[float, float]] = []
        for place, rows in enumerate(shown):
            if (row := rows.get(name)) is not None:
                median, low, high = (value / row["to_reach"] for value in (row["figure"], *row["spread"]))
                places.append(place + 0.6 * ((number + 0.5) / len(pythons) - 0.5))
                medians.append(median)
                spreads.append((median - low, high - median))
        axes.errorbar(medians, places, xerr=list(zip(*spreads, strict=True)), fmt="o", markersize=3, label=name)
    labels: list[str] = []
    for place, rows in enumerate(shown):
        row = next(iter(rows.values()))
        labels.append(f"{row['name']}: {to_reach(row['to_reach'], row['aim'], row['unit'])}")
        if row["aim"] is not None:
            axes.plot(row["aim"] / row["to_reach"], place, "|", color="gray", markersize=12)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), labels)
    axes.grid(axis="y", alpha=0.3)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("share of what is allowed: median and quartiles; the gray stroke is the aim")
    axes.margins(y=0.01)
    figure.legend(loc="outside upper center", ncols=len(runs), title="Python")
    figure.savefig(path, format="svg", metadata={"Date": None})
