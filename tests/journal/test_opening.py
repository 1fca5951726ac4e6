"""What can't be opened as a journal is an error at once, which names the file."""

from __future__ import annotations

import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import warnings
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from tests.journal.batches import Calls, collect, results_in, run_batch
from trio_pool import PoolError, open_pool
from trio_pool.journal import Journal, JournalError, _lock, open_journal

if TYPE_CHECKING:
    from pathlib import Path


LOOPED: list[Any] = []
LOOPED.append(LOOPED)


async def refused(path: Any) -> str:
    with pytest.raises(JournalError) as caught:
        async with open_journal(path):
            pass
    assert isinstance(caught.value, PoolError)
    assert str(path) in str(caught.value)
    return str(caught.value)


async def test_a_path_may_be_a_str_or_a_path(tmp_path: Path) -> None:
    for path in (tmp_path / "run.sqlite", str(tmp_path / "run.sqlite")):
        async with open_journal(path) as journal:
            assert await run_batch(journal, Calls().double, [1]) == [2]


@pytest.mark.parametrize("content", [b"this is no database", b"SQLite format 3\0" + b"x" * 4096])
async def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.sqlite"
    path.write_bytes(content)
    await refused(path)
    assert path.read_bytes() == content


async def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (x)")
    content = path.read_bytes()
    assert "is no journal of trio_pool" in await refused(path)
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["run.sqlite"]


@pytest.mark.parametrize("mark", ["application_id", "user_version"])
async def test_an_empty_database_that_is_marked_by_something_else_is_refused(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "run.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {mark} = 7")
    assert "is no journal of trio_pool" in await refused(path)


async def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    assert "is a journal of a newer version" in await refused(path)


async def test_a_truncated_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, range(1000))
    os.truncate(path, path.stat().st_size // 2)
    await refused(path)


async def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    path.touch()
    async with open_journal(path) as journal:
        assert await run_batch(journal, Calls().double, [1]) == [2]


async def test_a_directory_is_refused(tmp_path: Path) -> None:
    await refused(tmp_path)


async def test_a_file_in_no_directory_is_refused(tmp_path: Path) -> None:
    await refused(tmp_path / "nowhere" / "run.sqlite")


async def test_the_names_that_mean_something_to_sqlite_are_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with open_journal(":memory:") as journal:
        assert await run_batch(journal, Calls().double, [1], step="double") == [2]
    assert results_in(tmp_path / ":memory:") == {("double", "1"): "2"}


async def test_a_journal_is_open_once_in_a_process_by_whatever_name(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    (tmp_path / "other.sqlite").symlink_to(path)
    async with open_journal(path):
        with pytest.raises(JournalError, match=f"is open already, in this process .pid {os.getpid()}"):
            async with open_journal(tmp_path / "other.sqlite"):
                pass
    async with open_journal(tmp_path / "other.sqlite"):
        pass


async def test_a_journal_leaves_one_file(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        await run_batch(journal, Calls().double, range(10))
    assert os.listdir(tmp_path) == ["run.sqlite"]


async def test_a_lock_that_somebody_holds_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.05, other.execute, ["COMMIT"])
        timer.start()
        async with open_journal(path) as journal:
            assert await run_batch(journal, Calls().double, [1]) == [2]
        timer.join()


async def test_a_lock_that_is_held_for_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trio_pool.journal import _store

    monkeypatch.setattr(_store, "_PATIENCE_AT_OPENING", 0.01)
    path = tmp_path / "run.sqlite"
    async with open_journal(path):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked" in await refused(path)
    async with open_journal(path):
        pass


async def test_others_may_read_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM results").fetchone()
            await run_batch(journal, Calls().double, range(100))
            assert other.execute("SELECT count(*) FROM results").fetchone() == (0,)
            other.execute("COMMIT")
            assert other.execute("SELECT count(*) FROM results").fetchone() == (100,)


async def test_no_thread_and_no_connection_is_left(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        async with open_journal(tmp_path / "run.sqlite") as journal:
            await run_batch(journal, Calls().double, range(10))
        assert not [
            thread for thread in threading.enumerate() if thread.name.startswith("<journal") and thread.is_alive()
        ]
        import gc

        gc.collect()
    assert not [each for each in caught if "sqlite" in str(each.message)]


async def test_the_body_does_not_begin_if_the_caller_is_cancelled(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_journal(tmp_path / "run.sqlite"):
            raise AssertionError
    assert scope.cancelled_caught
    assert os.listdir(tmp_path) == []


async def test_the_error_of_the_body_comes_out(tmp_path: Path) -> None:
    error = ValueError("of the body")
    with pytest.raises(ValueError, match="of the body") as caught:
        async with open_journal(tmp_path / "run.sqlite"):
            raise error
    assert caught.value is error


@pytest.mark.parametrize("option", ["dumps", "loads"])
async def test_dumps_and_loads_must_be_plain_functions(tmp_path: Path, option: str) -> None:
    async def dumps(value: object) -> str:
        return ""

    for wrong in (None, dumps):
        with pytest.raises(TypeError, match=f"{option} must be"):
            open_journal(tmp_path, **cast("Any", {option: wrong}))


@pytest.mark.parametrize("path", [b"run.sqlite", 7, None])
def test_a_path_is_text(path: Any) -> None:
    with pytest.raises(TypeError):
        open_journal(path)


NAMELESS: Any = eval("lambda item: item")


def as_it_is(item: int) -> int:
    return item


def no_unicode(item: int) -> str:
    return "\ud800"


def fails(item: int) -> str:
    raise ZeroDivisionError("division by zero")


async def test_wrong_arguments_are_errors_at_once(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        double: Any = Calls().double
        wrong: Any = journal.map
        for error, match, call in [
            (TypeError, "must be a pool or a group", partial(wrong, "pool", double, [])),
            (TypeError, "an async function", partial(wrong, pool, 7, [])),
            (TypeError, "items must be an iterable", partial(wrong, pool, double, 7)),
            (ValueError, "buffer must be", partial(wrong, pool, double, [], buffer=0)),
            (TypeError, "step must be a str", partial(wrong, pool, double, [], step=7)),
            (ValueError, "step must not be empty", partial(wrong, pool, double, [], step="")),
            (TypeError, "item_id must be callable", partial(wrong, pool, double, [], item_id=7)),
            (TypeError, "retry_dead must be a bool", partial(wrong, pool, double, [], retry_dead=1)),
            (TypeError, "unexpected keyword argument 'color'", partial(wrong, pool, double, [], color=1)),
            (ValueError, "step is required", partial(wrong, pool, NAMELESS, [])),
        ]:
            with pytest.raises(error, match=match):
                call()


async def test_ids_must_be_text(tmp_path: Path) -> None:
    async def ends_with(match: str, error: type[Exception] = TypeError, **options: Any) -> None:
        with pytest.raises(error, match=match):
            async with open_pool(1) as pool, journal.map(pool, Calls().double, [1], **options) as results:
                await collect(results)

    async def later(item: int) -> str:
        return ""

    async with open_journal(tmp_path / "run.sqlite") as journal:
        await ends_with("item_id must make a str of the item 1, got 1", item_id=as_it_is)
        await ends_with("UTF-8", ValueError, item_id=no_unicode)
        await ends_with("division", ZeroDivisionError, item_id=fails)
        await ends_with("not an async one", item_id=later)
    async with open_journal(tmp_path / "other.sqlite", dumps=pickle.dumps, loads=pickle.loads) as journal:
        await ends_with("item_id is required")


@pytest.mark.parametrize(
    ("item", "error", "words"),
    [({1}, TypeError, "the item .1.: .*set is not JSON"), (LOOPED, ValueError, "the item .*Circular")],
)
async def test_an_item_of_which_no_id_can_be_made_is_named(
    tmp_path: Path, item: Any, error: type[Exception], words: str
) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        with pytest.raises(error, match=f"item_id is required, since dumps makes no str of {words}"):
            async with journal.map(pool, Calls().double, [item]) as results:
                await collect(results)


@pytest.mark.parametrize("path", [5, None, b"run.sqlite"])
def test_a_path_must_be_text(path: Any) -> None:
    with pytest.raises(TypeError, match="path must be a str or a path of one, got"):
        open_journal(path)


@pytest.mark.parametrize("path", ["", "run\0.sqlite"])
def test_a_path_must_be_the_name_of_a_file(path: str) -> None:
    with pytest.raises(ValueError, match="path must be the name of a file, got"):
        open_journal(path)


async def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    assert (await refused(tmp_path)).endswith("can't be opened as a journal: it is a folder")


async def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    words = await refused(tmp_path / "missing" / "run.sqlite")
    assert words.endswith("can't be opened as a journal: No such file or directory")


async def test_a_journal_is_no_block(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        assert isinstance(journal, Journal)
        with pytest.raises(TypeError, match="this Journal is open already"):
            async with journal:  # type: ignore[attr-defined]
                pass
        with pytest.raises(TypeError, match="can't be pickled"):
            pickle.dumps(journal)
        assert repr(journal) == f"<trio_pool.journal.Journal {str(tmp_path / 'run.sqlite')!r}>"
    assert repr(journal).endswith(", closed>")


async def test_a_journal_can_not_be_used_after_its_block(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        pass
    async with open_pool(1) as pool:
        with pytest.raises(JournalError, match="is closed"):
            async with journal.map(pool, Calls().double, [1]):
                pass


def test_a_journal_belongs_to_its_trio_run(tmp_path: Path) -> None:
    journals: list[Journal] = []

    async def opens() -> None:
        async with open_journal(tmp_path / "run.sqlite") as journal:
            journals.append(journal)
            await trio.to_thread.run_sync(trio.run, uses)

    async def uses() -> None:
        async with open_pool(1) as pool:
            with pytest.raises(RuntimeError, match="belongs to another Trio run"):
                async with journals[0].map(pool, Calls().double, [1]):
                    pass

    trio.run(opens)


HOLDER = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.lockf(file, fcntl.LOCK_EX)
os.write(file, str(os.getpid()).encode())
print("locked", flush=True)
input()
"""


async def test_a_second_process_gets_the_pid_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    command = [sys.executable, "-c", HOLDER, f"{path}.lock"]
    holder = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    async with holder.stdin, holder.stdout:
        try:
            said = await holder.stdout.receive_some()
            words = await refused(path)
        finally:
            holder.kill()
            await holder.wait()
    assert said.startswith(b"locked")
    assert f"is in use by another process, with the pid {holder.pid}" in words
    async with open_journal(path):
        pass


async def test_a_lock_that_is_removed_at_that_moment_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that had the journal before removes the lock's file while this one waits for it."""
    path = tmp_path / "run.sqlite"
    is_at = _lock._is_at
    looked: list[bool] = []

    def first_not(name: str, file: int) -> bool:
        if not looked:
            os.remove(name)
        looked.append(is_at(name, file))
        return looked[-1]

    monkeypatch.setattr(_lock, "_is_at", first_not)
    async with open_journal(path):
        assert (tmp_path / "run.sqlite.lock").read_text() == f"{os.getpid()}\n"
    assert looked == [False, True]


async def test_a_lock_that_can_not_be_written_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, length: int) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", full)
        assert "No space left on device" in await refused(tmp_path / "run.sqlite")
    async with open_journal(tmp_path / "run.sqlite"):
        pass


async def test_what_is_looked_up_after_the_file_was_closed_is_an_error(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        await run_batch(journal, Calls().double, [1], step="double")
    with pytest.raises(JournalError, match="is closed"):
        journal._book._store.find("double", ["1"], dead=False)


async def test_a_step_must_be_text_that_can_be_stored(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        with pytest.raises(ValueError, match="step must be text that can be stored as UTF-8"):
            journal.map(pool, Calls().double, [1], step="\ud800")
