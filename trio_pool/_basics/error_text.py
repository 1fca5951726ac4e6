"""Errors in one line; for an exception group, the errors in it."""

from __future__ import annotations

from typing import TypeAlias

from .exceptions import CANCELLATIONS, is_group, leaves
from .is_a import is_a
from .text import one_line, said, type_name

MOST_OF_ERROR = 1000
"""The number of characters of an error in words. The error itself is always available too."""


def in_words(error: BaseException, *, raw: bool = False) -> str:
    """Format the error in one line like the last line of a traceback; for a group, its first leaf and a count.

    Arguments:
      error: the error.
      raw: whether the text may contain characters that can't be printed.
    """
    leaf, more = _leaf(error)
    text = said(leaf, MOST_OF_ERROR, raw=raw)
    name = type_name(leaf)
    words = f"{name}: {text}" if text else name
    return f"{words} (and {more} more)" if more else words


def only_leaf(error: Exception) -> Exception:
    """Return the only leaf of a group, at any depth, if there is just one; otherwise the error itself."""
    leaf, more = _leaf(error)
    return leaf if not more and is_a(leaf, Exception) else error


def first_leaf(error: BaseException) -> BaseException:
    """Return the error that represents ``error``: the error itself, or the first leaf of a group."""
    return _leaf(error)[0]


def _leaf(error: BaseException) -> tuple[BaseException, int]:
    """Return the error that represents ``error``, and the number of other leaves.

    Cancellations are ignored if there is any other leaf.
    """
    if not is_group(error):
        return error, 0
    every = leaves(error)
    found = [leaf for leaf in every if not is_a(leaf, CANCELLATIONS)] or every
    return found[0], len(found) - 1


Words: TypeAlias = "str | tuple[object, ...]"
"""A text, or a format string and the values inserted when the text is read: errors, names and numbers."""


def worded(words: tuple[object, ...]) -> str:
    """Return the text with all values inserted, in one line."""
    template, *parts = words
    return str(template).format(*map(_part, parts))


def _part(part: object) -> str:
    return in_words(part) if is_a(part, BaseException) else one_line(str(part))
