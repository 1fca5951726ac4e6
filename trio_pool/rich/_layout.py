"""The layout of lines and tables in the cells of a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs
from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from ._text import encodable

if TYPE_CHECKING:
    from collections.abc import Sequence

# rich's tables aren't used. They measure the widths of their columns, which are known here, and
# take seven times as long, in the thread that runs the pool. The texts aren't parsed for markup
# either, since names may contain it.

Piece: TypeAlias = tuple[str, str]
"""A text and its style."""

PLAIN, FAINT = "none", "dim"
GAP = "  "


@attrs.frozen
class Column:
    """A column of a table. Its width doesn't depend on the content, so that the table doesn't move.

    Attributes:
      header: the column's header.
      width: the number of terminal columns. 0 for a name, whose width depends on the terminal's;
          None for the one column that gets the remaining width.
      is_number: whether the column is aligned to the right.
      from_width: the minimum width of the terminal to show the column.
    """

    header: str
    width: int | None
    is_number: bool = False
    from_width: int = 0


def table(columns: Sequence[Column], width: int, rows: Sequence[Sequence[Piece]]) -> list[list[Piece]]:
    """An empty line, the headers and the rows, with each cell as wide as its column."""
    shown = [index for index, column in enumerate(columns) if width >= column.from_width]
    name = max(12, width // 6)
    widths = {index: name if columns[index].width == 0 else columns[index].width for index in shown}
    fixed = sum(taken for taken in widths.values() if taken is not None) + len(GAP) * (len(shown) - 1)
    headers = [(column.header, FAINT) for column in columns]
    lines: list[list[Piece]] = [[]]
    for row in (headers, *rows):
        line: list[Piece] = []
        for index in shown:
            text, style = row[index]
            taken = widths[index]
            cell = fit(text, max(0, width - fixed) if taken is None else taken, to_right=columns[index].is_number)
            line += [(cell, style), (GAP, PLAIN)]
        lines.append(cut(line[:-1], width))
    return lines


def apart(left: list[Piece], right: Piece, width: int) -> list[Piece]:
    """A line with a left and a right part; if both don't fit, the left part is cut."""
    end = cell_len(right[0])
    room = max(0, width - end - (len(GAP) if end else 0))
    used = sum(cell_len(text) for text, _ in left)
    return cut([*cut(left, room), (" " * (width - end - min(used, room)), PLAIN), right], width)


def cut(pieces: list[Piece], width: int) -> list[Piece]:
    """Cut a line to the given width."""
    line: list[Piece] = []
    for text, style in pieces:
        taken = cell_len(text)
        line.append((text if taken <= width else fit(text, width), style))
        width = max(0, width - taken)
    return line


def fit(text: str, width: int, *, to_right: bool = False) -> str:
    """Cut or pad the text to exactly ``width`` cells."""
    taken = cell_len(text)
    if taken <= width:
        return " " * (width - taken) + text if to_right else text + " " * (width - taken)
    # rich replaces half of a wide character with a blank.
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def segment(piece: Piece, encoding: str) -> Segment:
    text, style = piece
    return Segment(encodable(text, encoding), Style.parse(style))
