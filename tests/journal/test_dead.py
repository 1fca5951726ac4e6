"""Dead items are kept with why they died, and run again unless that isn't wanted."""

from __future__ import annotations

import copy
import pickle
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.journal.batches import Calls, entries_of, results_in, slots
from trio_pool import GiveUp, JobFailedError, RetryPolicy, open_pool
from trio_pool.journal import open_journal

if TYPE_CHECKING:
    from pathlib import Path


async def test_dead_items_run_again_in_the_next_batch(tmp_path: Path) -> None:
    calls = Calls()
    for _ in range(2):
        async with open_journal(tmp_path / "run.sqlite") as journal:
            entries = await entries_of(journal, calls.fails_for_odd, range(4))
            assert [entry.error is None for entry in entries] == [True, False, True, False]
            assert (journal.statistics().done, journal.statistics().dead) == (2, 2)
    assert sorted(calls.items) == [0, 1, 1, 2, 3, 3]


async def test_dead_items_that_do_not_run_again_come_with_the_same_words(tmp_path: Path) -> None:
    calls = Calls()
    policy = RetryPolicy.immediate(max_attempts=2)
    async with open_journal(tmp_path / "run.sqlite") as journal:
        [before] = await entries_of(journal, calls.fails_for_odd, [1], retry=policy)
    async with open_journal(tmp_path / "run.sqlite") as journal:
        [after] = await entries_of(journal, calls.fails_for_odd, [1], retry_dead=False)
    assert calls.items == [1, 1]
    assert isinstance(before.error, JobFailedError)
    assert isinstance(after.error, JobFailedError)
    assert str(after.error) == str(before.error)
    assert after.error.__notes__ == before.error.__notes__
    assert after.error.job is None
    assert (before.is_new, after.is_new) == (True, False)
    assert (before.attempts, after.attempts) == (2, 2)


async def test_the_error_of_a_dead_item_can_be_pickled_and_copied(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        await entries_of(journal, Calls().fails_for_odd, [1])
    async with open_journal(tmp_path / "run.sqlite") as journal:
        [entry] = await entries_of(journal, Calls().fails_for_odd, [1], retry_dead=False)
    for error in (pickle.loads(pickle.dumps(entry.error)), copy.copy(entry.error)):
        assert isinstance(error, JobFailedError)
        assert isinstance(entry.error, JobFailedError)
        assert (str(error), error.__notes__) == (str(entry.error), entry.error.__notes__)


async def test_map_raises_for_dead_items_and_goes_on(tmp_path: Path) -> None:
    calls = Calls()
    for retry_dead in (True, False):
        async with (
            open_journal(tmp_path / "run.sqlite") as journal,
            open_pool(1) as pool,
            journal.map(pool, calls.fails_for_odd, [0, 1, 2], retry_dead=retry_dead) as results,
        ):
            assert await anext(results) == 0
            with pytest.raises(JobFailedError, match="1 is odd"):
                await anext(results)
            assert await anext(results) == 2
    assert calls.items == [0, 1, 2]


async def test_an_item_that_dies_is_not_run_again_in_the_same_stream(tmp_path: Path) -> None:
    calls = Calls()
    items = [1, *range(2, 3000, 2), 1, 1]  # the later ones are taken long after the first has died
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        slots(1) as pool,
        journal.as_completed(pool, calls.fails_for_odd, items) as entries,
    ):
        dead = [entry async for entry in entries if entry.error is not None]
    assert calls.items.count(1) == 1
    assert [entry.item_id for entry in dead] == ["1", "1", "1"]
    assert sum(entry.is_new for entry in dead) == 1


async def test_an_item_that_succeeds_at_last_is_dead_no_more(tmp_path: Path) -> None:
    async def second_time(item: int) -> int:
        tries.append(item)
        if len(tries) == 1:
            raise ValueError("not yet")
        return item

    tries: list[int] = []
    path = tmp_path / "run.sqlite"
    for expected in ((0, 1), (1, 0), (1, 0)):
        async with open_journal(path) as journal:
            await entries_of(journal, second_time, [1], step="try")
            assert (journal.statistics().done, journal.statistics().dead) == expected
    assert tries == [1, 1]
    assert results_in(path) == {("try", "1"): "1"}


async def test_the_deaths_of_streams_that_were_read_count_as_dealt_with(tmp_path: Path) -> None:
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1) as pool,
        journal.as_completed(pool, Calls().fails_for_odd, [1, 3]) as entries,
    ):
        assert len([entry async for entry in entries]) == 2


async def test_the_deaths_of_streams_that_were_left_count_as_dealt_with(tmp_path: Path) -> None:
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1) as pool,
        journal.map(pool, Calls().fails_for_odd, [0, 1, 3, 5]) as results,
    ):
        await anext(results)


async def test_reasons_are_kept_by_their_names(tmp_path: Path) -> None:
    async def gives_up(item: int) -> int:
        raise GiveUp("nothing to be had")

    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await entries_of(journal, gives_up, [1], step="give up")
    with closing(sqlite3.connect(path)) as connection:
        rows: list[Any] = connection.execute("SELECT step, item_id, reason, error, attempts FROM dead").fetchall()
    assert rows == [("give up", "1", "GAVE_UP", "GiveUp: nothing to be had", 1)]


async def test_rows_that_are_deleted_by_hand_run_again_and_are_counted(tmp_path: Path) -> None:
    calls = Calls()
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await entries_of(journal, calls.fails_for_odd, range(4))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM results WHERE item_id = '2'")
        connection.execute("DELETE FROM dead WHERE item_id = '3'")
        connection.commit()
    calls.items.clear()
    async with open_journal(path) as journal:
        assert (journal.statistics().done, journal.statistics().dead) == (1, 1)
        await entries_of(journal, calls.fails_for_odd, range(4), retry_dead=False)
        assert (journal.statistics().done, journal.statistics().dead) == (2, 2)
    assert sorted(calls.items) == [2, 3]
