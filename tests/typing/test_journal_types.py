"""What type checkers make of journals: checked by them, and run as tests too."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest

from trio_pool import JobCancelledError, JobFailedError, open_pool
from trio_pool.journal import Entry, Journal, JournalStatistics, open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import assert_type
else:

    def assert_type(value: object, kind: object) -> object:
        """As `typing.assert_type`, which Python 3.10 has not."""
        return value


class Client:
    """A resource."""

    async def size(self, url: str) -> int:
        return len(url)


async def size_of(url: str) -> int:
    return len(url)


async def test_results_have_the_type_of_the_function(tmp_path: Path) -> None:
    block = open_journal(tmp_path / "run.sqlite")
    assert_type(block, AbstractAsyncContextManager[Journal])
    async with block as journal, open_pool([Client()]) as pool, pool.open_group() as group:
        stream = journal.map(pool, Client.size, ["/a"], item_id=lambda url: url, key=lambda url: url[1:])
        assert_type(stream, AbstractAsyncContextManager[AsyncIterator[int]])
        async with stream as sizes:
            async for size in sizes:
                assert_type(size, int)
                assert size == 2
        async with journal.as_completed(group, Client.size, ["/a"], retry_dead=False) as entries:
            assert_type(entries, AsyncIterator[Entry[int]])
            async for entry in entries:
                assert_type(entry.item_id, str)
                assert_type(entry.result, int | None)
                assert_type(entry.error, JobFailedError | JobCancelledError | None)
                assert_type(entry.is_new, bool)
                assert_type(entry.attempts, int)
        statistics = journal.statistics()
        assert_type(statistics, JournalStatistics)
        assert_type(statistics.steps, Mapping[str, JournalStatistics])
        assert_type(statistics.done, int)


async def test_slots_give_no_resource(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite", dumps=str, loads=int) as journal, open_pool(1) as pool:
        async with pool.open_group() as group, journal.map(group, size_of, ["/a"]) as sizes:
            assert_type(sizes, AsyncIterator[int])
            assert [size async for size in sizes] == [2]
        async with journal.as_completed(pool, size_of, ["/a"]) as entries:
            assert_type(entries, AsyncIterator[Entry[int]])


async def read_one(block: AbstractAsyncContextManager[AsyncIterator[Any]]) -> None:
    async with block as results:
        await anext(results)


async def test_items_must_be_those_of_the_function(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1, on_dead="keep") as pool:
        with pytest.raises(JobFailedError, match="TypeError"):
            await read_one(journal.map(pool, size_of, [3]))  # type: ignore[arg-type]


async def test_the_id_of_an_item_is_text(tmp_path: Path) -> None:
    def number_of(url: str) -> int:
        return len(url)

    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        with pytest.raises(TypeError, match="item_id must make a str"):
            await read_one(journal.map(pool, size_of, ["/a"], item_id=number_of))  # type: ignore[arg-type]


async def test_what_is_kept_is_text_or_bytes(tmp_path: Path) -> None:
    def number_of(value: Any) -> int:
        return 1

    async with open_journal(tmp_path / "run.sqlite", dumps=number_of) as journal:  # type: ignore[arg-type]
        assert repr(journal)
