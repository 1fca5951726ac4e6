"""The items of a stream, looked up in a journal."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import trio

from .._api.stream_source import END
from ._items import Kept, Known, Occurrence

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._api.stream_source import Items
    from ._items import Outcome, Runner
    from ._store import Row
    from ._terms import Terms

AHEAD = 900
"""How many items are looked up at a time, unless they come from an async iterable."""


class LookedUp:
    """The items of a stream, after they have been looked up in the journal.

    Arguments:
      items: the items.
      terms: the settings that all the items share.
      feeder: takes the items.
      check_asked_for: called with the cancellation, if looking items up has been cancelled.
    """

    __slots__ = ("_ahead", "_began", "_check_asked_for", "_dead", "_feeder", "_items", "_line", "_stopped_by", "_terms")

    are_plain = False

    def __init__(
        self, items: Items, terms: Terms, feeder: Runner, check_asked_for: Callable[[trio.Cancelled], object]
    ) -> None:
        self._items = items
        self._check_asked_for = check_asked_for
        self._terms = terms
        self._feeder = feeder
        # Items that have been looked up, with their ids.
        self._line: deque[tuple[str, Any]] = deque()
        # What is known of the items in line, by their ids; None if nothing is known.
        self._ahead: dict[str, Row | Outcome | None] = {}
        # The ids of items in line that are dead and run again.
        self._dead: set[str] = set()
        # Why no more items will come: an error, or `END`.
        self._stopped_by: object = None
        # A death with a higher number comes from this stream, or from one that runs at the same time.
        self._began = 0

    def begin(self) -> None:
        """Create the iterator."""
        self._began = self._terms.book.deaths
        self._items.begin()

    def note(self, item_id: str, outcome: Outcome) -> None:
        """Record an outcome that was committed after the items in line were looked up."""
        if item_id in self._ahead:
            self._ahead[item_id] = outcome

    async def take(self) -> Any:
        """Return the next `Occurrence`, with its outcome if known; or the `Known` items before it; or `END`."""
        line, ahead = self._line, self._ahead
        if not line and self._stopped_by is None:
            await self._look_up()
            ahead = self._ahead
        if not line:
            if isinstance(self._stopped_by, Exception):
                raise self._stopped_by
            return END  # noqa: ASYNC910  # its caller runs checkpoints now and then
        item_id, item = line.popleft()
        found = ahead[item_id]
        if not isinstance(found, tuple):
            occurrence = Occurrence(item, item_id, self._feeder, is_dead=item_id in self._dead)
            occurrence.outcome = found
            return occurrence  # noqa: ASYNC910
        known = Known(found)
        add = known.rows.append
        while line and type(found := ahead[line[0][0]]) is tuple:
            line.popleft()
            add(found)
        return known  # noqa: ASYNC910

    async def close(self) -> None:  # noqa: ASYNC910  # nothing may need closing
        """Close a generator."""
        await self._items.close()

    async def _look_up(self) -> None:  # noqa: ASYNC910  # there may be no more items
        """Take some items, and look them up."""
        ahead = self._ahead = dict[str, "Row | Outcome | None"]()
        self._dead.clear()
        taken: list[Any] = []
        try:
            if self._items.is_async:
                taken.append(await self._items.take())
            else:
                self._items.take_into(taken, AHEAD)
                if len(taken) < AHEAD:
                    taken.append(END)
        except Exception as error:
            self._stopped_by = error  # raised after the items before it
        try:
            for item in taken:
                if item is END:
                    self._stopped_by = END
                else:
                    item_id = self._terms.id_of(item)
                    ahead[item_id] = None
                    self._line.append((item_id, item))
        except Exception as error:
            self._stopped_by = error
        if not ahead:
            return  # noqa: ASYNC910
        try:
            results, dead = await self._terms.book.find(self._terms.step, list(ahead))
        except trio.Cancelled as error:
            self._check_asked_for(error)
            raise
        for found in results:
            if ahead[found[0]] is None:
                ahead[found[0]] = found
        for row in dead:
            if ahead[row.item_id] is not None:
                continue
            if row.number > self._began or not self._terms.retry_dead:
                ahead[row.item_id] = Kept(row)
            else:
                self._dead.add(row.item_id)
