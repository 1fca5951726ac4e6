"""What a recorder keeps of jobs and streams that are under way, until it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.retry_decision import Die, Retry, control_of
from ._values import seconds

if TYPE_CHECKING:
    from .._core.retry_decision import Verdict
    from .._core.stream_window import StreamWindow
    from ._threads import Thread

Line = dict[str, Any]

MOST_STEPS = 1000
"""How many steps of one attempt are kept. Otherwise a function that often reports its use would fill the memory."""


class Coming:
    """How a job was submitted."""

    __slots__ = ("after", "step", "thread")

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.step: list[float] | None = None
        self.after: list[int] = []


class Trace:
    """A job that has not ended.

    Attributes:
      line: what is known of the job from the start.
      verdict: the decision about the attempt that is about to end.
      runs: the ended runs, if the attempt runs on several workers.
      steps: what the attempt has done, in chronological order.
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
        """Record what the attempt has done ``offset`` seconds after its start."""
        if len(self.steps) < MOST_STEPS:
            self.steps.append([seconds(offset), what, value])

    def begin(self) -> None:
        """Forget the previous attempt."""
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
        # How long the source of the items has taken for the next item.
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


def is_told(error: Exception) -> bool:
    """Whether the function itself has decided about its job."""
    try:
        return control_of(error) is not None
    except BaseException:  # a class of the program can define its own attributes, which may fail
        return False
