"""What seldom happens, and needs the right moment."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.journal.batches import Calls, collect, entries_of, run_batch, slots
from trio_pool import PerKey, open_pool
from trio_pool.journal import JournalError, _book, open_journal
from trio_pool.journal._items import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path


async def test_a_stream_whose_items_have_failed_says_so_though_its_journal_is_closed_since(tmp_path: Path) -> None:
    async def items() -> AsyncGenerator[int]:
        yield 1
        raise ValueError("of the items")

    async with slots() as pool, AsyncExitStack() as journals:
        journal = await journals.enter_async_context(open_journal(tmp_path / "run.sqlite"))
        async with journal.map(pool, Calls().double, items()) as results:
            assert await anext(results) == 2
            await trio.testing.wait_all_tasks_blocked()
            await journals.aclose()
            with pytest.raises(ValueError, match="of the items"):
                await anext(results)


async def test_keys_that_have_no_rate_limits_are_left_alone(tmp_path: Path) -> None:
    release = trio.Event()
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(2, per_key=PerKey(max_running=1)) as pool,
    ):
        job = await pool.submit(release.wait, key="early")
        async with journal.map(pool, Calls().double, [1], key="late") as results:
            assert await collect(results) == [2]
        release.set()
        await job.wait()


@pytest.mark.parametrize("is_read_first", [True, False])
async def test_a_look_up_beside_a_commit_gets_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_read_first: bool
) -> None:
    path, calls = tmp_path / "run.sqlite", Calls()
    async with open_journal(path) as journal:
        [entry] = await entries_of(journal, calls.fails_for_odd, [1], step="step")
        assert entry.error is not None
    find, looks_up, go_on = _book.Book.find, trio.Event(), trio.Event()

    async def find_slowly(book: _book.Book, step: str, item_ids: Sequence[str]) -> Any:
        monkeypatch.setattr(_book.Book, "find", find)  # for the first stream only
        found = await find(book, step, item_ids) if is_read_first else None
        looks_up.set()
        await go_on.wait()
        return found or await find(book, step, item_ids)

    monkeypatch.setattr(_book.Book, "find", find_slowly)
    async with open_journal(path) as journal, trio.open_nursery() as nursery:

        async def read_late() -> None:
            [late] = await entries_of(journal, calls.fails_for_odd, [1], step="step")
            assert (late.result, late.error, late.is_new) == (2, None, False)

        nursery.start_soon(read_late)
        await looks_up.wait()
        assert await run_batch(journal, calls.double, [1], step="step") == [2]
        go_on.set()


async def test_a_stream_can_be_left_while_it_looks_items_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks_up, calls = trio.Event(), Calls()

    async def find(book: _book.Book, step: str, item_ids: Sequence[str]) -> Any:
        looks_up.set()
        await trio.sleep_forever()

    async with open_journal(tmp_path / "run.sqlite") as journal:
        with monkeypatch.context() as patch:
            patch.setattr(_book.Book, "find", find)
            async with slots() as pool, journal.map(pool, calls.double, [1]):
                await looks_up.wait()
        assert calls.items == []
        assert await run_batch(journal, calls.double, [1]) == [2]


async def test_a_second_journal_can_be_opened_right_after_an_opening_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    path.write_text("no database")
    for _ in range(2):
        with pytest.raises(JournalError):
            async with open_journal(path):
                pass


def test_a_result_is_no_error() -> None:
    with pytest.raises(AssertionError):
        Outcome("1", 1).error()
