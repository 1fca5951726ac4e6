"""Errors in one line; of an exception group, what is in it."""

from __future__ import annotations

from typing import TypeAlias

from .exceptions import CANCELLATIONS, is_group, leaves
from .is_a import is_a
from .text import said, type_name

MOST_OF_ERROR = 1000
"""Characters of an error in words. The error itself is never far."""


def in_words(error: BaseException, *, raw: bool = False) -> str:
    """The error in one line, as the last line of a traceback shows it; of a group the first leaf, and how many more.

    Arguments:
      raw: whether it may hold what can't be printed.
    """
    leaf, more = _leaf(error)
    text = said(leaf, MOST_OF_ERROR, raw=raw)
    name = type_name(leaf)
    words = f"{name}: {text}" if text else name
    return f"{words} (and {more} more)" if more else words


def only_leaf(error: Exception) -> Exception:
    """What a group holds if that is a single error, at whatever depth, else the error itself."""
    leaf, more = _leaf(error)
    return leaf if not more and is_a(leaf, Exception) else error


def first_leaf(error: BaseException) -> BaseException:
    """What an error is called by: itself, or of a group the first error in it."""
    return _leaf(error)[0]


def _leaf(error: BaseException) -> tuple[BaseException, int]:
    """What an error is called by, and how many more there are of the kind.

    Cancellations count only where there is nothing else.
    """
    if not is_group(error):
        return error, 0
    every = leaves(error)
    found = [leaf for leaf in every if not is_a(leaf, CANCELLATIONS)] or every
    return found[0], len(found) - 1


Words: TypeAlias = "str | tuple[str, BaseException]"
"""A text, or one with a gap for an error that is put into words when somebody reads it."""


def worded(words: tuple[str, BaseException]) -> str:
    """The text, with the gap filled."""
    text, error = words
    return text.format(in_words(error))
