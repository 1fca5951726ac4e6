"""What a recorder remembers of what is under way, until it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.retry_decision import Die, Retry
from ._values import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._core.retry_decision import Verdict
    from .._core.stream_window import StreamWindow

Line = dict[str, Any]

MOST_STEPS = 1000
"""Of one attempt that are kept; a function that says every moment how much it has used would fill the memory."""
SHORT = 0.001
"""Seconds between two reads that are not worth a line of their own."""


class Thread:
    """What one task of the program does with the pool, one call after another.

    A step is written with the seconds from the end of the call before, so that a replay can repeat it however long
    that call takes there.

    Arguments:
      number: counts from 1.
      origin: when the recording began.
      orders: counts the steps of all threads.
      done: when the call before ended; at first, the recording's beginning or that of the attempt it is part of.
      write: writes a line.
    """

    __slots__ = ("_asked", "_orders", "_origin", "_read", "_reads", "_think", "_write", "done", "number", "steps")

    def __init__(
        self, number: int, origin: float, done: float, orders: Iterator[int], write: Callable[[Line], object]
    ) -> None:
        self.number = number
        self._origin = origin
        self.done = done
        self._orders = orders
        self.steps = 0
        self._write = write
        # Reads of one stream right after each other are one step.
        self._read: int | None = None
        self._reads = 0
        self._think = 0.0
        self._asked = done

    def step(self, at: float) -> list[float]:
        """A step that begins now: its thread, its number in it, the seconds since the step before, the time, and its number."""
        self.end_reads()
        gap, self.done = max(0.0, at - self.done), max(at, self.done)
        return self._numbered(gap, at)

    def _numbered(self, gap: float, at: float) -> list[float]:
        self.steps += 1
        return [self.number, self.steps, seconds(gap), seconds(at - self._origin), next(self._orders)]

    def asked(self, at: float) -> None:
        """A stream is asked for its next result."""
        self._asked = at

    def has_read(self, stream: int, now: float) -> None:
        """A result of a stream was read."""
        think = max(0.0, self._asked - self.done)
        if self._read != stream or self._think + think >= SHORT:
            self.end_reads()
        self._read = stream
        self._reads += 1
        self._think += think
        self.done = now

    def end_reads(self) -> None:
        """Write the reads so far as a step."""
        if self._reads:
            step = self._numbered(self._think, self._asked)
            self._write({"step": step, "read": self._read, "times": self._reads})
        self._read, self._reads, self._think = None, 0, 0.0


class Coming:
    """How a job came."""

    __slots__ = ("after", "step", "thread")

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.step: list[float] | None = None
        self.after: list[int] = []


class Trace:
    """A job that has not ended.

    Attributes:
      line: what is known of it from the start.
      verdict: the decision about the attempt that is about to end.
      runs: of an attempt on several workers, those that have ended.
      steps: what the attempt has done, in the order of time.
      threads: the tasks in the attempt that have called the pool.
      last: the last attempt, once the job has ended.
    """

    __slots__ = ("last", "line", "runs", "steps", "threads", "verdict")

    def __init__(self, line: Line) -> None:
        self.line = line
        self.verdict: Verdict | None = None
        self.runs: list[list[Any]] = []
        self.steps: list[list[Any]] = []
        self.threads: dict[object, Thread] = {}
        self.last: Line | None = None

    def note(self, offset: float, what: str, value: object) -> None:
        """Keep what the attempt has done so many seconds after its start."""
        if len(self.steps) < MOST_STEPS:
            self.steps.append([seconds(offset), what, value])

    def begin(self) -> None:
        """Forget the attempt before."""
        self.verdict = None
        self.runs = []
        self.steps = []
        for thread in self.threads.values():
            thread.end_reads()
        self.threads = {}


class OpenStream:
    """A stream whose block has not been left."""

    __slots__ = ("number", "took", "window")

    def __init__(self, number: int, window: StreamWindow[Any]) -> None:
        self.number = number
        self.window = window
        # How long the source of the items has taken for the next one.
        self.took = 0.0


def plain_verdict(verdict: Verdict) -> Line:
    """A decision as plain values."""
    fate, line = verdict.fate, dict[str, Any]()
    if isinstance(fate, Retry):
        line["again"] = seconds(fate.delay)
        line |= {"placement": fate.placement, "counts": fate.counts}
    elif isinstance(fate, Die):
        line["dead"] = fate.reason.name
    else:
        line["discarded"] = True
    if verdict.rest:
        line["rest"] = seconds(verdict.rest)
    if verdict.key_rest:
        line["key_rest"] = seconds(verdict.key_rest)
    if verdict.broken:
        line["broken"] = True
    if verdict.is_failure:
        line["failure"] = True
    return line
