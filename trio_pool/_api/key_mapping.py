"""The keys of a pool and their statistics: ``pool.keys``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from .._model.statistics import KeyStatistics, key_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._core.keys import Keys


class KeyMapping(Mapping[Hashable, KeyStatistics]):
    """A live view of the keys that have jobs that have not ended. Iterating goes over a copy."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys

    def __getitem__(self, key: Hashable) -> KeyStatistics:
        found = None if self._keys is None else self._keys.known(key)
        if found is None or not found.live:
            raise KeyError(key)
        return key_statistics(found)

    def __iter__(self) -> Iterator[Hashable]:
        return iter([] if self._keys is None else [key.value for key in self._keys.with_jobs()])

    def __len__(self) -> int:
        return 0 if self._keys is None else self._keys.active

    def __repr__(self) -> str:
        return f"<trio_pool: {len(self)} keys with jobs>"
