"""The settings that all items of a stream share, and the calls of the program's functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from .._basics.error_text import in_words
from .._basics.text import shown
from .._policies import validate
from ._errors import JournalError
from ._items import Dumped

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._book import Book
    from ._store import Text


_MOST = 240_000_000
"""The maximum number of characters of a result: in UTF-8 these are fewer bytes than SQLite's limit."""


class Terms:
    """The settings that all items of a stream share.

    Arguments:
      book: the journal.
      step: the step.
      item_id: makes an item's id; None for ``dumps``.
      retry_dead: whether dead items run again.
      dumps, loads: convert a result to text, and text to a result.
    """

    __slots__ = ("_dumps", "_item_id", "_loads", "book", "retry_dead", "step")

    def __init__(
        self,
        book: Book,
        step: str,
        item_id: Callable[[Any], str] | None,
        retry_dead: bool,
        dumps: Callable[[Any], Text],
        loads: Callable[[Any], Any],
    ) -> None:
        self.book = book
        self.step = step
        self.retry_dead = retry_dead
        self._item_id = item_id
        self._dumps = dumps
        self._loads = loads

    @trio.lowlevel.disable_ki_protection
    def id_of(self, item: Any) -> str:
        """Return an item's id.

        Raises:
          TypeError, ValueError: if the id is not a str or can't be stored, or if ``dumps`` can't make one.
          BaseException: whatever the function raises.
        """
        found: Any = self._dumped(item) if self._item_id is None else self._item_id(item)
        if type(found) is str and found.isascii():
            return found
        name = "dumps" if self._item_id is None else "item_id"
        if self._item_id is None and isinstance(found, (bytes, bytearray)):
            raise TypeError("item_id is required, a function of the item, since dumps makes bytes of it")
        if not isinstance(found, str):
            validate.answer(name, found)
            raise TypeError(f"{name} must make a str of the item {shown(item)}, {validate.got(found)}")
        check_encodable(name, found)
        return str.__str__(found)

    def _dumped(self, item: Any) -> object:
        try:
            return self._dumps(item)
        except (TypeError, ValueError) as error:
            words = f"item_id is required, since dumps makes no str of the item {shown(item)}: {in_words(error)}"
            raise (TypeError if isinstance(error, TypeError) else ValueError)(words) from error

    def dump(self, value: Any) -> Dumped:
        """Return a result with its text; called within the attempt."""
        text: Any = self._dumps(value)
        plain: Text
        if isinstance(text, str):
            if not text.isascii():
                check_encodable("dumps", text)
            plain = str.__str__(text)
        elif isinstance(text, (bytes, bytearray)):
            plain = bytes(text)
        else:
            raise TypeError(f"dumps must return a str or bytes, {validate.got(text)}")
        if len(plain) > _MOST:  # otherwise nothing else in the transaction could be written either
            raise ValueError(f"dumps must make at most {_MOST:,} characters or bytes of a result, got {len(plain):,}")
        return Dumped(value, plain)

    @trio.lowlevel.disable_ki_protection
    def load(self, item_id: str, text: Text) -> Any:
        """Return the result of a text.

        Raises:
          JournalError: if that is impossible.
        """
        try:
            return self._loads(text)
        except Exception as error:
            where = f"the result of the item {shown(item_id)} of the step {self.step!r} in {self.book.path!r}"
            raise JournalError(f"{where} can't be loaded: {error!r}") from error


def check_encodable(name: str, text: str) -> None:
    """Check that text can be stored."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} must be text that can be stored as UTF-8, {validate.got(text)}") from error
