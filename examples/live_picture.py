"""Makes ``docs/pictures/live.svg``: a frame of the live view out of the middle of a run of ``api_tokens.py``.

    python live_picture.py

It needs what that needs, httpx and rich. Each run is another one, and so is its picture.
"""

from __future__ import annotations

import io
from pathlib import Path

import trio
from api_tokens import Options, fetch_all, list_sources
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text
from token_report import Report

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "live.svg"
FILES = 300
WIDTH, HEIGHT = 96, 26

THEME = TerminalTheme(
    background=(30, 31, 41),
    foreground=(222, 224, 230),
    # Black, red, green, yellow, blue, magenta, cyan, white.
    normal=[
        (30, 31, 41),
        (255, 107, 107),
        (98, 209, 122),
        (240, 198, 92),
        (122, 162, 247),
        (205, 141, 232),
        (90, 205, 222),
        (222, 224, 230),
    ],
)

# As rich's own, but without its fonts, which would have to be fetched: the texts have their places and lengths in
# columns of the terminal, whatever the font is.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="The live view">
<style>
.{unique_id}-matrix, .{unique_id}-title {{
  font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px;
  line-height: {line_height}px;
}}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


class Tape(io.StringIO):
    """Keeps the first frame that is written once so many files have come."""

    def __init__(self, report: Report, files: float) -> None:
        super().__init__()
        self.frame: str | None = None
        self._report = report
        self._files = files
        self._full = trio.Event()

    def write(self, text: str) -> int:
        if self.frame is None and self._report.arrived >= self._files:
            self.frame = text
            self._full.set()
        return len(text)

    async def wait(self) -> None:
        await self._full.wait()


async def record() -> Text:
    """A frame from the middle of a run, with its colors."""
    sources = list_sources(FILES)
    report = Report(wanted=len(sources))
    tape = Tape(report, FILES * 0.6)  # one of the tokens only fails then
    console = Console(file=tape, force_terminal=True, color_system="standard", width=WIDTH, height=HEIGHT)
    options = Options(seed=0, respect_quotas=False, live=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fetch_all, sources, options, report, console)
        await tape.wait()
        nursery.cancel_scope.cancel()
    assert tape.frame is not None
    return Text.from_ansi(tape.frame)


def main() -> None:
    frame = trio.run(record)
    console = Console(record=True, file=io.StringIO(), force_terminal=True, width=WIDTH)
    console.print(frame)
    console.save_svg(
        str(PICTURE),
        title="python examples/api_tokens.py",
        theme=THEME,
        code_format=SVG,
        unique_id="live",
    )
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
