"""The part of a job's record that only few jobs need."""

from __future__ import annotations

import math
from typing import Any


class JobExtra:
    """What only few jobs have, kept apart so that the others need no room for it.

    Attributes:
      caller_deadline: when the caller of run() stops waiting for the job.
      is_start_awaited: whether the watchers are also called after the job's first start.
      label: the job's label in messages, once it has been read.
      executor: the runtime's half of a job that its caller executes, which gets the job's runs.
    """

    __slots__ = ("caller_deadline", "executor", "is_start_awaited", "label")

    def __init__(self) -> None:
        self.caller_deadline: float = math.inf
        self.is_start_awaited: bool = False
        self.label: str | None = None
        self.executor: Any = None
