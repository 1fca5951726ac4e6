"""What the disk has of a journal when the power fails is whole up to some commit, and has all that was given out."""

from __future__ import annotations

import sqlite3
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from tests.effort import part_of
from tests.journal_proof.power import PowerLoss
from trio_pool import open_pool
from trio_pool.journal import open_journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


async def test_each_commit_is_on_the_disk_before_its_result_is_given_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[sqlite3.Connection] = []
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect

    def note(path: str, **options: object) -> sqlite3.Connection:
        connection = connect(path, **{**options, "check_same_thread": False})
        connections.append(connection)
        return connection

    async def give_back(item: int) -> int:
        await trio.lowlevel.checkpoint()
        return item

    monkeypatch.setattr(sqlite3, "connect", note)
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        async with journal.map(pool, give_back, [1, 2], step="give back") as results:
            assert [result async for result in results] == [1, 2]
        # SQLite syncs the log at each commit in the modes FULL and EXTRA alone.
        assert {connection.execute("PRAGMA synchronous").fetchone()[0] for connection in connections} <= {2, 3}
        assert {connection.execute("PRAGMA journal_mode").fetchone()[0] for connection in connections} == {"wal"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGSTOP, and no waiting for pipes")
def test_a_copy_of_the_files_at_any_moment_has_all_that_was_given_out_whatever_is_missing_from_its_end(
    tmp_path: Path,
) -> None:
    outcome = PowerLoss(items=150, moments=2 + part_of(4), cuts=3, seed=1, folder=tmp_path).run()

    assert outcome.faults == []
    assert outcome.restarts > 0
