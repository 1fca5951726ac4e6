"""The results as a chart: how much of what is allowed each figure takes up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from .rows import amount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .rows import Measured

WITHIN, BEYOND = "#4878a8", "#c44e52"

# The same results give the same file, and its text stays text.
mpl.rcParams.update({"svg.hashsalt": "trio_pool", "svg.fonttype": "none"})


def draw(path: Path, measured: Sequence[Measured]) -> None:
    """Draw a bar for each row that has something to reach, with its spread."""
    shown = [(each, each.row.bound) for each in measured if each.row.bound]
    # Matplotlib's own types are complete in part only.
    figure: Any = Figure(figsize=(9, 1.2 + 0.35 * len(shown)), layout="constrained")
    axes = figure.subplots()
    longest = 1.0
    for place, (each, bound) in enumerate(shown):
        median = each.figure.median / bound
        low, high = (end / bound for end in each.figure.spread)
        longest = max(longest, high)
        color = WITHIN if each.met else BEYOND
        axes.barh(place, median, xerr=[[median - low], [high - median]], color=color, capsize=3)
        axes.text(max(high, 1) + 0.02, place, f"{amount(each.figure.median, each.row.unit)} of {bound:g}", va="center")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_yticks(range(len(shown)), [each.row.name for each, _ in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, longest + 0.3)
    axes.set_xlabel("share of what is allowed: median and quartiles")
    figure.savefig(path, format="svg", metadata={"Date": None})
