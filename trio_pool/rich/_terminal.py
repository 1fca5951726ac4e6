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

# A KeyboardInterrupt could leave rich's state and the terminal inconsistent. So all functions here
# are protected from it, and Trio raises it afterward.


class Stream(FileProxy):
    """A replacement for ``sys.stdout`` or ``sys.stderr`` that prints above the views.

    Unlike rich's own class, this one has the right encoding, and it prints text that is flushed in
    the middle of a line unchanged, without parsing markup.
    """

    _is_unfinished = False

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only on a file, too
        """The encoding of the replaced file."""
        name: str = getattr(self.rich_proxied_file, "encoding", "utf-8")
        return name

    @trio.lowlevel.enable_ki_protection
    def write(self, text: str) -> int:
        """Print the complete lines, and keep the rest."""
        super().write(text)
        if text:
            self._is_unfinished = not text.endswith("\n")
        return len(text)

    @trio.lowlevel.enable_ki_protection
    def flush(self) -> None:
        """Print the kept text as a line of its own."""
        if self._is_unfinished:
            self.write("\n")


class StderrConsole(Console):
    """The console of views without a given console."""

    def __init__(self) -> None:
        # If colors are forced on, rich treats any file as a terminal.
        super().__init__(stderr=True, force_interactive=None if is_terminal(sys.stderr) else False)

    def on_broken_pipe(self) -> None:
        """Called by rich while it handles such an error; rich's own method would exit the program."""
        raise


class Display:
    """Draws the last frames of several views below each other, while there is at least one view.

    Only views draw on it, but these may be in several threads, each with its own Trio run.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._frames: dict[object, SegmentLines] = {}
        self._live = Live(
            console=console,
            auto_refresh=False,  # views draw their own frames, without a thread
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
            get_renderable=lambda: Group(*self._frames.values()),
        )
        self._streams: dict[str, Stream] = {}

    @property
    def height(self) -> int:
        """How many lines each view has; one line is reserved for printed text."""
        return (self.console.height - 1) // max(1, len(self._frames))

    def add(self, view: object) -> None:
        """Add a view."""
        if not self._frames:
            self._live.start()
            self._redirect()
        self._frames[view] = SegmentLines([])

    @property
    def is_in_use(self) -> bool:
        """Whether there is at least one view."""
        return bool(self._frames)

    def show(self, view: object, frame: list[list[Segment]]) -> None:
        """Draw a frame of a view; the other views' frames stay."""
        self._frames[view] = SegmentLines(frame, new_lines=True)
        self._live.refresh()

    def remove(self, view: object) -> None:
        """Remove a view. Its last frame stays on the screen, or is printed above the other views."""
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
                # rich was about to show the cursor again, but couldn't write.
                with suppress(Exception):
                    self.console.file.write(str(Control.show_cursor(True)))
                raise
            finally:
                del self._frames[view]

    def _redirect(self) -> None:
        # Only text that goes to a terminal would appear between the frames; a file gets all of it.
        if not is_terminal(self.console.file):
            return
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if is_terminal(stream) and not isinstance(stream, FileProxy):
                self._streams[name] = Stream(self.console, stream)
                setattr(sys, name, self._streams[name])

    def _restore(self) -> None:
        for name, stream in self._streams.items():
            if getattr(sys, name) is stream:  # otherwise something else has replaced it
                setattr(sys, name, stream.rich_proxied_file)
        while self._streams:
            _, stream = self._streams.popitem()
            stream.flush()


_lock = threading.RLock()
_displays: list[Display] = []
"""The displays in use, each on a console of its own."""


def console_for(given: Console | None) -> Console:
    """Return the given console, or the default console that current views share, or a new one."""
    with _lock:
        if given is not None:
            return given
        shared = (display.console for display in _displays if isinstance(display.console, StderrConsole))
        return next(shared, None) or StderrConsole()


class Place:
    """A view's part of the display of its console."""

    def __init__(self, console: Console) -> None:
        with _lock:
            # Compared by identity, since the program's console may define its own comparison.
            known = next((display for display in _displays if display.console is console), None)
            self._display = Display(console) if known is None else known
            self._display.add(self)
            if known is None:
                _displays.append(self._display)

    @property
    def size(self) -> tuple[int, int]:
        """The current number of columns and lines."""
        return self._display.console.width, self._display.height

    @property
    def encoding(self) -> str:
        """The encoding of the terminal."""
        return self._display.console.encoding

    def show(self, frame: list[list[Segment]]) -> None:
        """Draw this frame."""
        with _lock:
            self._display.show(self, frame)

    def leave(self) -> None:
        """Leave the display; the last frame stays on the screen."""
        with _lock:
            try:
                self._display.remove(self)
            finally:
                if not self._display.is_in_use:
                    _displays.remove(self._display)


def is_terminal(stream: object) -> bool:
    """Whether the stream exists, is open and writes to a terminal."""
    isatty = getattr(stream, "isatty", None)
    try:
        return isatty is not None and isatty()
    except ValueError:  # the stream is closed
        return False
