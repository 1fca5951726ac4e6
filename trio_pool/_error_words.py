"""Errors in one line; of an exception group, what is in it."""

from __future__ import annotations

import trio

from ._error_rule import is_group, leaves
from ._shown import said, type_name

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
    return leaf if not more and isinstance(leaf, Exception) else error


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
    found = [leaf for leaf in every if not isinstance(leaf, trio.Cancelled)] or every
    return found[0], len(found) - 1
