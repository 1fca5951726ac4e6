"""The rows of the table: what is measured, how it is judged, how it is printed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .measure import Figure

Unit: TypeAlias = Literal["times", "bytes", "tasks", "calls", "files"]


@attrs.frozen(kw_only=True)
class Scale:
    """How much of everything is measured."""

    rounds: int
    jobs: int = 20_000
    few_queued: int = 1_000
    many_queued: int = 1_000_000
    some_queued: int = 10_000
    # Jobs whose comparisons are counted: a heap's grow with the logarithm, which doubles
    # from any number to its square.
    few_compared: int = 1_000
    many_compared: int = 1_000_000
    remembered: int = 1_000_000
    many_workers: int = 10_000
    some_workers: int = 100
    counted: int = 2_000
    delayed: int = 100_000
    cancelled: int = 100_000


FULL = Scale(rounds=7)
QUICK = Scale(
    rounds=3,
    jobs=2_000,
    many_queued=20_000,
    few_compared=150,
    many_compared=22_500,
    remembered=20_000,
    many_workers=1_000,
    counted=500,
    delayed=2_000,
    cancelled=5_000,
)


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table.

    Attributes:
      name: what it is asked for by.
      what: what is measured, in words, with names of the scale's fields in braces.
      measure: measures it.
      bound: what is to be reached: at most that; None where it is for comparison only.
      aim: what would be better still.
      unit: what the figure is in: times as much, bytes, and so on.
      counts: whether it is a count, which the machine's mood does not change.
    """

    name: str
    what: str
    measure: Callable[[Scale], Figure]
    bound: float | None
    aim: float | None = None
    unit: Unit = "times"
    counts: bool = False


@attrs.frozen
class Measured:
    """A row with its figure."""

    row: Row
    figure: Figure
    scale: Scale

    @property
    def what(self) -> str:
        """What was measured, in words."""
        return self.row.what.format_map(attrs.asdict(self.scale))

    @property
    def met(self) -> bool:
        """Whether the figure is as the row wants it."""
        return self.row.bound is None or self.figure.median <= self.row.bound

    @property
    def verdict(self) -> str:
        """The same in words."""
        if self.row.bound is None:
            return "-"
        if not self.met:
            return "NOT MET"
        if self.row.aim is None:
            return "met"
        return "met, and the aim" if self.figure.median <= self.row.aim else "met"


def failures(measured: Iterable[Measured], *, quick: bool) -> list[str]:
    """The names of the rows that are not met; of a quick run those that are counts."""
    return [each.row.name for each in measured if not each.met and (each.row.counts or not quick)]


def amount(value: float, unit: Unit) -> str:
    """A figure as it is printed."""
    # Rounded up, so that none looks as if it were within a bound that it is not within.
    return f"{math.ceil(value * 100 - 1e-6) / 100:.2f}" if unit == "times" else f"{value:,.0f}"


def to_reach(bound: float | None, aim: float | None, unit: Unit) -> str:
    """What is to be reached, as it is printed."""
    if bound is None:
        return "-"
    words = f"{bound:g}" if unit == "times" else f"{bound:g} {unit}"
    return words if aim is None else f"{words} (aim {aim:g})"


def in_columns(lines: Sequence[tuple[str, ...]]) -> str:
    """Lines of cells as text, the first of them as a heading."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (lines[0], rule, *lines[1:])
    )


def table(measured: Iterable[Measured]) -> str:
    """All rows as text, in columns."""
    lines = [("what", "figure", "spread", "to reach", "met or not")]
    for each in measured:
        row, figure = each.row, each.figure
        low, high = (amount(end, row.unit) for end in figure.spread)
        lines.append(
            (
                f"{row.name}: {each.what}",
                amount(figure.median, row.unit),
                f"{low} to {high}",
                to_reach(row.bound, row.aim, row.unit),
                each.verdict,
            )
        )
    return in_columns(lines)
