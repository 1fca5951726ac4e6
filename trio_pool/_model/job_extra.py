"""The part of a job's record that only few jobs need."""

from __future__ import annotations

import math
from typing import Any

import attrs

from .._basics.text import shown


@attrs.frozen
class Progress:
    """The progress that a job's function has reported, see `Job.report`.

    Attributes:
      done: how much is done.
      total: how much there is to do, or None if that is unknown.
      note: what the function has reported in words, or an empty string.
      at: when the function reported this, in seconds on Trio's clock.
    """

    done: float
    total: float | None
    note: str = attrs.field(repr=shown)
    at: float


class JobExtra:
    """The data that only few jobs have, kept apart so that other jobs need no memory for it.

    Attributes:
      caller_deadline: when the caller of run() stops waiting for the job.
      is_start_awaited: whether the watchers are also called after the job's first start.
      label: the job's label in messages, once it has been read.
      cancelled_by: who has cancelled the job while it ran, in words that end a sentence.
      executor: the runtime's half of a job that its caller executes; it receives the job's runs.
      handed_back: seconds after which an engine submits the discarded job again, or None for never.
      metadata: the job's own copy of the metadata, once it has been read.
      progress: the last progress of the last attempt, or None.
      reporter: the number of the run that has reported the progress.
    """

    # fmt: off
    __slots__ = (
        "caller_deadline", "cancelled_by", "executor", "handed_back", "is_start_awaited", "label", "metadata",
        "progress", "reporter",
    )
    # fmt: on

    def __init__(self) -> None:
        self.caller_deadline: float = math.inf
        self.is_start_awaited: bool = False
        self.cancelled_by: str = ""
        self.label: str | None = None
        self.executor: Any = None
        self.handed_back: float | None = None
        self.metadata: dict[str, Any] | None = None
        self.progress: Progress | None = None
        self.reporter: int = 0
