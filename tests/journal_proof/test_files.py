"""What goes wrong with the file of a journal ends the stream or the opening, and takes nothing that was given out."""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.journal_proof import files, program
from tests.journal_proof.killing import PROGRAM
from tests.journal_proof.life import Life
from tests.journal_proof.program import STOPPED, Task, is_poisoned
from tests.journal_proof.record import Line, Record, numbers_of

if TYPE_CHECKING:
    from pathlib import Path

processes = pytest.mark.skipif(sys.platform == "win32", reason="there is no waiting for pipes, and no limit of files")

ITEMS = 120
SLOW = 0.05
FOR_EVER = 10_000.0
KINDS = ("open", "start", "fail", "end", "given", "dead")


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Where there will be one."""
    return tmp_path / "run.sqlite"


def task(journal: Path, **options: float) -> str:
    return Task(str(journal), **{"items": ITEMS, **options}).written()  # type: ignore[arg-type]


def finish(journal: Path, record: Record) -> None:
    """Let the program come to its end, and hold all of its lives against what a journal promises."""
    with Life(PROGRAM, task(journal, items=record.items)) as life:
        code = life.finish()
    record.add(life.lines, files.export(journal))
    record.finish(life.lines)
    assert (code, record.faults) == (0, [])


def live(journal: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[Line]]:
    """The exit code of the program, run within the process of the test, and what it has said."""
    lines: list[Line] = []

    def say(*words: object) -> None:
        lines.append(" ".join(map(str, words)).split(" "))

    monkeypatch.setattr(program, "say", say)
    return program.run(Task(str(journal), ITEMS, longest=0.001)), lines


# A full disk.


@processes
@pytest.mark.parametrize("largest", [80_000, 100_000])
def test_a_full_disk_ends_the_stream_and_a_life_with_more_room_goes_on_from_all_that_was_given_out(
    journal: Path, largest: int
) -> None:
    record = Record(ITEMS)
    for _ in range(2):
        with Life(PROGRAM, task(journal, largest_file=largest)) as life:
            code = life.finish()
        record.add(life.lines, files.export(journal))
        assert (code, life.lines[-1][0]) == (STOPPED, "stopped"), life.errors
        assert len(record.kept) < ITEMS - 2
    assert record.kept
    finish(journal, record)


# Locks of others.


def lock_in_the_middle(life: Life, other: sqlite3.Connection) -> None:
    """Get the lock of those that write while the program stands still between two of its transactions."""
    while True:
        assert life.stop()
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            life.go_on()
            life.wait_for(len(life.lines) + 1, *KINDS)
        else:
            return


@processes
def test_jobs_go_on_while_somebody_else_locks_the_database_and_nothing_is_given_out_that_is_not_committed(
    journal: Path,
) -> None:
    record = Record(ITEMS)
    everything = sum(not is_poisoned(number) for number in range(ITEMS))
    with (
        Life(PROGRAM, task(journal, longest=SLOW)) as life,
        closing(sqlite3.connect(journal, isolation_level=None, timeout=0)) as other,
    ):
        life.wait_for(10, "given")
        lock_in_the_middle(life, other)
        kept = files.export(journal)
        life.go_on()
        assert life.wait_for(everything, "end")
        assert life.stop()
        assert numbers_of(life.lines, "given") <= kept.keys() == files.export(journal).keys()
        life.go_on()
        other.execute("ROLLBACK")
        code = life.finish()
    assert code == 0, life.errors
    assert 10 <= len(kept) < everything
    record.add(life.lines, files.export(journal))
    record.finish(life.lines)
    assert record.faults == []


@processes
def test_a_lock_that_somebody_else_holds_for_a_moment_at_the_opening_is_waited_for(journal: Path) -> None:
    record = Record(ITEMS)
    with Life(PROGRAM, task(journal)) as life:
        life.wait_for(40, "end")
        life.kill()
    record.add(life.lines, files.export(journal))
    with closing(sqlite3.connect(journal, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with Life(PROGRAM, task(journal)) as waiting:
            time.sleep(2 * life.seconds)  # by then it has come to the lock; if it has not, the lock is gone
            assert waiting.stop()
            assert [line for line in waiting.lines if line[0] == "given"] == []
            waiting.go_on()
            other.close()
            code = waiting.finish()
    record.add(waiting.lines, files.export(journal))
    record.finish(waiting.lines)
    assert (code, record.faults) == (0, [])


# Two processes.


@processes
def test_of_processes_that_open_a_journal_at_once_one_gets_it_and_the_others_name_it(journal: Path) -> None:
    arguments = task(journal, longest=FOR_EVER)
    with Life(PROGRAM, arguments) as one, Life(PROGRAM, arguments) as two, Life(PROGRAM, arguments) as three:
        lives = [one, two, three]
        for life in lives:
            life.wait_for(1, "open", "stopped")
        [owner] = [life for life in lives if life.lines[0][0] == "open"]
        for life in lives:
            if life is not owner:
                assert life.finish() == STOPPED
                assert life.lines[0][1] == "JournalError:"
                assert str(owner.pid) in " ".join(life.lines[0][2:])
        assert owner.wait_for(program.PLACES, "start")  # it goes on as if nobody had come
        owner.kill()
    record = Record(ITEMS)
    record.add(owner.lines, files.export(journal))
    finish(journal, record)


@processes
def test_the_command_line_reads_beside_a_running_process_which_goes_on(journal: Path) -> None:
    record = Record(ITEMS)
    with Life(PROGRAM, task(journal, longest=6 * SLOW)) as life:
        life.wait_for(10, "given")
        assert life.stop()
        known = numbers_of(life.lines, "given")
        code, output = files.run_command_line(str(journal), "--export", str(journal.with_name("beside.jsonl")))
        assert code == 0, output
        life.go_on()
        assert life.finish() == 0, life.errors
    lines = journal.with_name("beside.jsonl").read_text().splitlines()
    assert known <= {int(json.loads(line)["item_id"].removeprefix("item ")) for line in lines}
    assert len(lines) < ITEMS - 2
    record.add(life.lines, files.export(journal))
    record.finish(life.lines)
    assert record.faults == []


# What is no journal.


def content_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def make_database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize("kind", ["text", "noise", "database", "database in WAL mode"])
def test_a_file_of_somebody_else_is_refused_by_its_name_and_left_as_it_was(
    journal: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "text":
        journal.write_text("name,price\n" * 1000)
    elif kind == "noise":
        journal.write_bytes(random.Random(1).randbytes(20_000))
    else:
        mode = "WAL" if kind.endswith("WAL mode") else "DELETE"
        make_database(
            journal, f"PRAGMA journal_mode = {mode}", "CREATE TABLE results (id)", "INSERT INTO results VALUES (1)"
        )
    before = content_of(journal.parent)

    code, lines = live(journal, monkeypatch)

    assert (code, lines[0][:2]) == (STOPPED, ["stopped", "JournalError:"])
    assert journal.name in " ".join(lines[0])
    lock = f"{journal.name}.lock"  # which stays where it is
    assert {name: content for name, content in content_of(journal.parent).items() if name != lock} == before


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_truncated_journal_is_refused_by_its_name_or_gives_out_what_is_right(
    journal: Path, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live(journal, monkeypatch)[0] == 0
    whole = journal.read_bytes()
    journal.write_bytes(whole[: int(len(whole) * share)])

    code, lines = live(journal, monkeypatch)

    if code == 0:
        record = Record(ITEMS)
        record.add(lines, files.export(journal))
        assert [fault for fault in record.faults if "wrong" in fault or "before" in fault] == []
    else:
        assert (code, lines[-1][:2]) == (STOPPED, ["stopped", "JournalError:"])
        assert journal.name in " ".join(lines[-1])
