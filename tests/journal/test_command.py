"""``python -m trio_pool.journal``."""

from __future__ import annotations

import json
import math
import runpy
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.journal.batches import Calls, entries_of, run_batch
from trio_pool import RetryPolicy
from trio_pool.journal import open_journal
from trio_pool.journal.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path


async def fill(path: Path) -> None:
    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, range(3), step="double", workers=1)
        policy = RetryPolicy.immediate(max_attempts=2)
        await entries_of(journal, Calls().fails_for_odd, [0, 1], step="odd ones", retry=policy)


EXPECTED = """\
double: 3 done, 0 dead
odd ones: 1 done, 1 dead
dead: odd ones 1, ATTEMPTS_EXHAUSTED after 2 attempts: ValueError: 1 is odd
"""


async def test_it_prints_counts_and_the_dead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.sqlite"
    await fill(path)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == EXPECTED


async def test_it_reads_beside_a_process_that_has_the_journal_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.sqlite"
    await fill(path)
    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, range(5), step="double")
        assert main([str(path)]) == 0
    assert capsys.readouterr().out == EXPECTED.replace("3 done", "5 done")


async def test_it_exports_results_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, target = tmp_path / "run.sqlite", tmp_path / "out.jsonl"
    await fill(path)
    assert main([str(path), "--export", str(target)]) == 0
    assert capsys.readouterr().out == f"{EXPECTED}4 results written to {target}\n"
    assert [json.loads(line) for line in target.read_text().splitlines()] == [
        {"step": "double", "item_id": "0", "result": 0},
        {"step": "double", "item_id": "1", "result": 2},
        {"step": "double", "item_id": "2", "result": 4},
        {"step": "odd ones", "item_id": "0", "result": 0},
    ]


def in_brackets(value: object) -> str:
    return f"<{value}>"


def two_bytes(value: object) -> bytes:
    return b"\xff\0"


@pytest.mark.parametrize(("dumps", "expected"), [(str, 2), (in_brackets, "<2>"), (two_bytes, "/wA=")])
async def test_it_exports_what_is_no_json_as_text_and_bytes_in_base_64(
    tmp_path: Path, dumps: Any, expected: object
) -> None:
    path, target = tmp_path / "run.sqlite", tmp_path / "out.jsonl"
    async with open_journal(path, dumps=dumps, loads=len) as journal:
        await run_batch(journal, Calls().double, [1], step="double", item_id=str)
    assert main([str(path), "--export", str(target)]) == 0
    assert json.loads(target.read_text()) == {"step": "double", "item_id": "1", "result": expected}


async def test_it_exports_what_json_has_not_as_text(tmp_path: Path) -> None:
    path, target = tmp_path / "run.sqlite", tmp_path / "out.jsonl"
    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, [math.inf], step="double")
    assert main([str(path), "--export", str(target)]) == 0
    assert json.loads(target.read_text()) == {"step": "double", "item_id": "Infinity", "result": "Infinity"}


async def test_an_empty_journal_has_no_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.sqlite"
    async with open_journal(path):
        pass
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == ""


def make_nothing(path: Path) -> None:
    pass


def make_text(path: Path) -> None:
    path.write_text("this is no database" * 100)


def make_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (x)")


def make_empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (make_nothing, "is no file"),
        (make_text, "can't be read: file is not a database"),
        (make_database, "is no journal of trio_pool"),
        (make_empty, "is no journal of trio_pool"),
    ],
)
def test_what_is_no_journal_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Any, words: str
) -> None:
    path = tmp_path / "run.sqlite"
    make(path)
    assert main([str(path)]) == 1
    assert f"{str(path)!r} {words}" in capsys.readouterr().err


async def test_an_export_that_can_not_be_written_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.sqlite"
    await fill(path)
    for target, reason in [(tmp_path, "Is a directory"), (tmp_path / "no" / "out", "No such file or directory")]:
        assert main([str(path), "--export", str(target)]) == 1
        assert capsys.readouterr().err == f"{str(target)!r} can't be written: {reason}\n"


@pytest.mark.parametrize("ending", ["", ".lock", "-wal"])
async def test_an_export_onto_the_journal_itself_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    path = tmp_path / "run.sqlite"
    await fill(path)
    async with open_journal(path):
        assert main([str(path), "--export", f"{path}{ending}"]) == 1
    assert "is a file of the journal itself" in capsys.readouterr().err
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == EXPECTED


async def test_an_export_replaces_a_file(tmp_path: Path) -> None:
    path, export = tmp_path / "run.sqlite", tmp_path / "results.jsonl"
    await fill(path)
    export.write_text("of an earlier export")
    assert main([str(path), "--export", str(export)]) == 0
    assert len(export.read_text(encoding="utf-8").splitlines()) == 4


async def test_it_is_run_as_a_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.sqlite"
    await fill(path)
    monkeypatch.setattr(sys, "argv", ["journal", str(path)])
    monkeypatch.delitem(sys.modules, "trio_pool.journal.__main__")
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("trio_pool.journal", run_name="__main__")
    assert caught.value.code == 0
    assert capsys.readouterr().out == EXPECTED
