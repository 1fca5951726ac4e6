"""Committing waits for nobody and nobody waits for it but the readers; what can't be committed ends the streams."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.journal.batches import (
    EITHER,
    Calls,
    collect,
    entries_of,
    gated_writes,
    read_into,
    result_of,
    results_in,
    run_batch,
    slots,
)
from trio_pool import open_pool
from trio_pool.journal import JournalError, _store, open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

FULL = sqlite3.OperationalError("database or disk is full")


@EITHER
async def test_nothing_is_given_out_before_it_is_committed(tmp_path: Path, name: str) -> None:
    with gated_writes() as gate:
        async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2) as pool:
            gate.close()
            async with getattr(journal, name)(pool, Calls().double, [1]) as results:
                with trio.CancelScope() as scope:
                    await trio.to_thread.run_sync(gate.has_come.wait)
                    await pool.join()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(anext, results)
                        await trio.testing.wait_all_tasks_blocked()
                        scope.cancel()
                gate.open()
                assert result_of(await anext(results)) == 2


async def test_jobs_go_on_while_results_are_committed_up_to_a_thousand(tmp_path: Path) -> None:
    calls = Calls()
    with gated_writes() as gate:
        async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2) as pool:
            gate.close()
            async with journal.map(pool, calls.double, range(5000), buffer=4) as results:
                await trio.to_thread.run_sync(gate.has_come.wait)
                await trio.testing.wait_all_tasks_blocked()
                assert len(calls.items) == 1004
                gate.open()
                assert await collect(results) == [2 * item for item in range(5000)]


async def test_fewer_are_committed_at_a_time_if_the_queue_is_small(tmp_path: Path) -> None:
    calls = Calls()
    with gated_writes() as gate:
        async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2, max_queue=10) as pool:
            gate.close()
            async with journal.map(pool, calls.double, range(500), buffer=4) as results:
                await trio.to_thread.run_sync(gate.has_come.wait)
                await trio.testing.wait_all_tasks_blocked()
                assert len(calls.items) == 14
                gate.open()
                await collect(results)


async def test_what_comes_while_one_transaction_is_written_goes_into_the_next(tmp_path: Path) -> None:
    with gated_writes() as gate:
        async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2) as pool:
            gate.close()
            async with journal.map(pool, Calls().double, range(100), buffer=100) as results:
                await trio.to_thread.run_sync(gate.has_come.wait)
                await pool.join()
                gate.open()
                await collect(results)
    assert len(gate.sizes) <= 2
    assert sum(gate.sizes) == 100


@EITHER
async def test_a_full_disk_ends_the_stream_and_what_was_given_out_is_safe(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.sqlite"
    given: list[int] = []
    with gated_writes() as gate:
        async with (
            open_journal(path) as journal,
            open_pool(2) as pool,
            getattr(journal, name)(pool, Calls().double, range(10_000)) as results,
        ):
            with pytest.raises(JournalError, match=r"run.sqlite.* can't be written: .*full") as caught:
                await read_into(given, results, lambda: gate.fail(FULL) if len(given) == 100 else None)
            assert caught.value.__cause__ is FULL
            with pytest.raises(StopAsyncIteration):
                await anext(results)
    assert len(given) >= 100
    assert set(given) <= {int(text) for text in results_in(path).values()}


async def test_all_streams_end_with_that_error(tmp_path: Path) -> None:
    with gated_writes() as gate:
        gate.fail(FULL)
        async with (
            open_journal(tmp_path / "run.sqlite") as journal,
            open_pool(2) as pool,
            journal.map(pool, trio.sleep, [1000, 1001], step="sleep") as sleeping,
            journal.map(pool, trio.sleep, [1001, 1000], step="sleep") as waiting,
            open_pool(1) as other,
            journal.as_completed(other, Calls().double, [1, 2, 3]) as entries,
        ):
            for stream in (entries, waiting, sleeping):
                with pytest.raises(JournalError, match="full"):
                    await anext(stream)
            with pytest.raises(JournalError, match="full"):
                async with journal.map(pool, Calls().double, [1]):
                    pass


async def leave_what_fails(path: Path, error: Exception | None = None) -> None:
    """Leave a stream whose results will not be committed, and end the body of the journal's block."""
    with gated_writes() as gate:
        async with open_journal(path) as journal, open_pool(2) as pool:
            gate.fail(FULL)
            gate.close()
            async with journal.map(pool, Calls().double, [1]):
                await trio.to_thread.run_sync(gate.has_come.wait)
            gate.open()
            if error is not None:
                raise error


async def test_results_that_could_not_be_committed_are_an_error_of_the_journals_block(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="full"):
        await leave_what_fails(tmp_path / "run.sqlite")


async def test_the_error_of_the_body_goes_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="of the body"):
        await leave_what_fails(tmp_path / "run.sqlite", ValueError("of the body"))
    assert "results could not be committed" in caplog.text


async def test_whatever_goes_wrong_in_the_thread_ends_the_streams(tmp_path: Path) -> None:
    with gated_writes() as gate:
        gate.fail(MemoryError("no more"))
        async with open_journal(tmp_path / "run.sqlite") as journal:
            with pytest.raises(JournalError, match=r"can't be written: MemoryError\('no more'\)"):
                await run_batch(journal, Calls().double, [1])


async def test_a_file_that_can_not_be_read_ends_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        await run_batch(journal, Calls().double, [1], step="double")
        monkeypatch.setattr(_store, "_PATIENCE", 0)
        reading = journal._book._store._reading
        assert reading is not None
        reading.execute("PRAGMA query_only = OFF")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_store.Store, "find", broken_find)
            with pytest.raises(JournalError, match="can't be read"):
                await run_batch(journal, Calls().double, [1], step="double")
        assert await run_batch(journal, Calls().double, [1], step="double") == [2]


def broken_find(store: _store.Store, *_: object, **__: object) -> None:
    raise JournalError(f"{store.path!r} can't be read: disk I/O error")


async def test_a_table_that_is_gone_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, [1], step="double")
        other = sqlite3.connect(path)
        other.execute("DROP TABLE results")
        other.close()
        with pytest.raises(JournalError, match=r"run.sqlite.* can't be read: no such table"):
            await run_batch(journal, Calls().double, [1], step="double")


async def test_what_is_committed_while_others_are_looked_up_does_not_run_again(tmp_path: Path) -> None:
    """Two streams that take the same items at the same time, with results at any moment of a look-up."""
    calls = Calls()

    async def read(part: list[int]) -> None:
        async with journal.map(pool, calls.double, part, step="double") as results:
            assert await collect(results) == [2 * item for item in part]

    items = list(range(2000))
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(3) as pool, trio.open_nursery() as nursery:
        for part in (items, items[::-1], items[::2], items[1000:] + items[:1000]):
            nursery.start_soon(read, part)
    assert sorted(calls.items) == items


async def test_a_slow_reader_holds_the_pool_back(tmp_path: Path) -> None:
    calls = Calls()
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(2) as pool,
        journal.map(pool, calls.double, range(5000), buffer=7) as results,
    ):
        for read in range(1, 5):
            await anext(results)
            await until_committed()
            # Up to a thousand more may be about to be committed, however long that takes.
            assert len(calls.items) <= 7 + 1000 + read


async def until_committed() -> None:
    for _ in range(5):
        await trio.testing.wait_all_tasks_blocked()
        await trio.to_thread.run_sync(lambda: None)


async def test_a_slow_reader_holds_back_what_is_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(5000):
            taken += 1
            yield item

    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, range(5000), step="double", workers=1)
    async with (
        open_journal(path) as journal,
        slots(1) as pool,
        journal.map(pool, Calls().double, items(), step="double") as results,
    ):
        assert await anext(results) == 0
        await until_committed()
        assert taken <= 2700
        assert len(await collect(results)) == 4999
    assert taken == 5000


async def test_entries_of_an_earlier_run_are_not_new(tmp_path: Path) -> None:
    for is_new in (True, False):
        async with open_journal(tmp_path / "run.sqlite") as journal:
            entries = await entries_of(journal, Calls().double, range(3))
            assert [entry.is_new for entry in entries] == [is_new] * 3


async def test_an_error_that_no_reader_has_got_is_one_of_the_journals_block(tmp_path: Path) -> None:
    """A stream is open, but nobody reads it any more."""
    with pytest.raises(JournalError, match="full"):
        await read_nothing(tmp_path / "run.sqlite")


async def read_nothing(path: Path) -> None:
    with gated_writes() as gate:
        gate.fail(FULL)
        async with open_journal(path) as journal, open_pool(2) as pool, journal.map(pool, Calls().double, [1]):
            while journal._book.failure is None:  # noqa: ASYNC110  # it is the disk that is waited for
                await trio.sleep(0.001)


async def run_all(stream: AbstractAsyncContextManager[AsyncIterator[Any]]) -> None:
    async with stream as results:
        await collect(results)


def move(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def delete(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def replace(path: Path) -> None:
    move(path)
    path.touch()


@pytest.mark.skipif(sys.platform == "win32", reason="open files can't be moved there")
@pytest.mark.parametrize("disturb", [move, delete, replace])
async def test_a_file_that_is_no_longer_there_ends_the_stream_and_that_is_said(
    tmp_path: Path, disturb: Callable[[Path], None]
) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal, open_pool(2) as pool:
        async with journal.map(pool, Calls().double, range(3), step="double") as results:
            assert [result async for result in results] == [0, 2, 4]
        disturb(path)
        with pytest.raises(JournalError, match=r"run\.sqlite.* has been moved or deleted while it was open"):
            await run_all(journal.map(pool, Calls().double, range(3, 9), step="double"))


async def test_a_file_that_is_gone_when_it_is_read_is_said(tmp_path: Path) -> None:
    store = _store.Store(str(tmp_path / "run.sqlite"))
    store.open(0.0)
    reading: Any = store._reading
    reading.execute("PRAGMA query_only = OFF")
    reading.execute("DROP TABLE results")
    try:
        with pytest.raises(JournalError, match="can't be read: no such table: results"):
            store.find("step", ["1"], dead=False)
        store._file += ".other"
        with pytest.raises(JournalError, match="can't be read: the file has been moved or deleted"):
            store.find("step", ["1"], dead=False)
    finally:
        store.close()
