"""Why a job has no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._basics.error_text import Words, worded

if TYPE_CHECKING:
    from .states import DeadReason


class Shortfall:
    """Why a job has ended without a result.

    Attributes:
      words: the reason in words, or the parts from which the words are made when they are read.
      reason: why the job is dead; None if it was cancelled or discarded.
      error: the error that made the job dead, or None.
      is_dealt_with: whether a caller has received the error of a dead job.
    """

    __slots__ = ("error", "is_dealt_with", "reason", "words")

    def __init__(self, words: Words, reason: DeadReason | None = None, error: Exception | None = None) -> None:
        self.words: Words = words
        self.reason: DeadReason | None = reason
        self.error: Exception | None = error
        self.is_dealt_with: bool = False

    def text(self) -> str:
        """Return the words as a text."""
        if not isinstance(self.words, str):
            self.words = worded(self.words)
        return self.words
