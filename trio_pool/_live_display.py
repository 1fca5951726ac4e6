"""The part of a terminal that all live views on one console share."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import trio
from rich.console import Console, Group
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.segment import SegmentLines

if TYPE_CHECKING:
    from rich.segment import Segment

# What is done to the terminal here goes with a state of rich's that a KeyboardInterrupt could
# tear in two. So all of it is protected, whoever calls, and Trio raises it afterwards.


class Stream(FileProxy):
    """Stands in for ``sys.stdout`` or ``sys.stderr``: what is printed comes above the views.

    Unlike rich's own it says what its encoding is, and shows what is flushed in the middle of a
    line as it is, without looking for markup in it.
    """

    _is_unfinished = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # can't be set on a file either
        """That of the file whose place it takes."""
        name: str = getattr(self.rich_proxied_file, "encoding", "utf-8")
        return name

    @trio.lowlevel.enable_ki_protection
    def write(self, text: str) -> int:
        """Print the lines that are complete, and keep the rest."""
        super().write(text)
        if text:
            self._is_unfinished = not text.endswith("\n")
        return len(text)

    @trio.lowlevel.enable_ki_protection
    def flush(self) -> None:
        """Print what is kept as a line of its own."""
        if self._is_unfinished:
            self.write("\n")


class StderrConsole(Console):
    """The console of views that are given none."""

    def __init__(self) -> None:
        # Where colours are forced upon it, rich takes anything for a terminal.
        super().__init__(stderr=True, force_interactive=None if is_terminal(sys.stderr) else False)

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles such an error; its own would end the program."""
        raise


class Display:
    """Draws the last frames of some views below each other, from the first view's coming to the last one's going.

    Only drawn by views, but these may be in several threads, each with a Trio of its own.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._frames: dict[object, SegmentLines] = {}
        self._live = Live(
            console=console,
            auto_refresh=False,  # frames come when a view has one, and not by a thread
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
            get_renderable=lambda: Group(*self._frames.values()),
        )
        self._streams: dict[str, Stream] = {}

    @property
    def height(self) -> int:
        """How many lines there are for each view; one is left for what is printed."""
        return (self.console.height - 1) // max(1, len(self._frames))

    def add(self, view: object) -> None:
        """Make room for a view."""
        if not self._frames:
            self._live.start()
            self._redirect()
        self._frames[view] = SegmentLines([])

    @property
    def is_in_use(self) -> bool:
        """Whether there is a view on it."""
        return bool(self._frames)

    def show(self, view: object, frame: list[list[Segment]]) -> None:
        """Draw a frame of a view, and the others as they were."""
        self._frames[view] = SegmentLines(frame, new_lines=True)
        self._live.refresh()

    def remove(self, view: object) -> None:
        """Leave the view's last frame where it is, or, while there are others, print it above them."""
        if len(self._frames) > 1:
            last = self._frames.pop(view)
            self._live.refresh()
            self.console.print(last)
            return
        try:
            self._restore()
        finally:
            try:
                self._live.stop()
            except BaseException:
                # It had come as far as what shows the cursor again, but could not write it.
                with suppress(Exception):
                    self.console.file.write(str(Control.show_cursor(True)))
                raise
            finally:
                del self._frames[view]

    def _redirect(self) -> None:
        # Only what goes to a terminal would get between the frames; a file shall get all of it.
        if not is_terminal(self.console.file):
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if is_terminal(stream) and not isinstance(stream, FileProxy):
                self._streams[name] = Stream(self.console, stream)
                setattr(sys, name, self._streams[name])

    def _restore(self) -> None:
        for name, stream in self._streams.items():
            if getattr(sys, name) is stream:  # else somebody else has put something in its place
                setattr(sys, name, stream.rich_proxied_file)
        while self._streams:
            _, stream = self._streams.popitem()
            stream.flush()


_lock = threading.RLock()
_displays: list[Display] = []
"""Those that are being drawn, each on a console of its own."""


def console_for(given: Console | None) -> Console:
    """The console given, or that of the views which are being drawn and were given none, or a new one."""
    with _lock:
        if given is not None:
            return given
        shared = (display.console for display in _displays if isinstance(display.console, StderrConsole))
        return next(shared, None) or StderrConsole()


class Place:
    """A view's place on the display of its console."""

    def __init__(self, console: Console) -> None:
        with _lock:
            # By identity, whatever a console of the program's makes of being compared.
            known = next((display for display in _displays if display.console is console), None)
            self._display = Display(console) if known is None else known
            self._display.add(self)
            if known is None:
                _displays.append(self._display)

    @property
    def size(self) -> tuple[int, int]:
        """How many columns and lines it has now."""
        return self._display.console.width, self._display.height

    @property
    def encoding(self) -> str:
        """The encoding of its terminal."""
        return self._display.console.encoding

    def show(self, frame: list[list[Segment]]) -> None:
        """Draw this frame in it."""
        with _lock:
            self._display.show(self, frame)

    def leave(self) -> None:
        """Give it up; the last frame stays on the screen."""
        with _lock:
            try:
                self._display.remove(self)
            finally:
                if not self._display.is_in_use:
                    _displays.remove(self._display)


def is_terminal(stream: object) -> bool:
    """Whether the stream is there, is open and writes to a terminal."""
    isatty = getattr(stream, "isatty", None)
    try:
        return isatty is not None and isatty()
    except ValueError:  # it is closed
        return False
