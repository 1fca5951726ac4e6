"""Results are in the journal before they are given out, and what is there doesn't run again."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.journal.batches import EITHER, Calls, collect, entries_of, read_into, results_in, run_batch, slots
from trio_pool import (
    Discard,
    Instrument,
    Job,
    JobCancelledError,
    JobFailedError,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.journal import JournalError, _terms, open_journal
from trio_pool.planning import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path


def name_of(item: int) -> str:
    return f"item {item}"


async def test_results_come_in_the_order_of_the_items(tmp_path: Path) -> None:
    calls = Calls()
    async with open_journal(tmp_path / "run.sqlite") as journal:
        assert await run_batch(journal, calls.double, range(1000)) == [2 * item for item in range(1000)]
    assert sorted(calls.items) == list(range(1000))


async def test_what_is_in_the_journal_does_not_run_again(tmp_path: Path) -> None:
    calls = Calls()
    for last in (300, 700, 700):
        async with open_journal(tmp_path / "run.sqlite") as journal:
            assert await run_batch(journal, calls.double, range(last)) == [2 * item for item in range(last)]
    assert sorted(calls.items) == list(range(700))


@EITHER
async def test_each_result_is_in_the_file_before_it_is_given_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run.sqlite"
    given = 0
    async with (
        open_journal(path) as journal,
        open_pool(3) as pool,
        getattr(journal, name)(pool, Calls().double, range(50)) as results,
    ):
        async for _ in results:
            given += 1
            assert len(results_in(path)) >= given


async def test_what_is_given_out_has_been_through_the_file_new_or_not(tmp_path: Path) -> None:
    async def pair(item: int) -> tuple[int, int]:
        return item, item

    for _ in range(2):
        async with open_journal(tmp_path / "run.sqlite") as journal:
            assert await run_batch(journal, pair, [1]) == [[1, 1]]


async def test_the_pickled_result_of_a_job_is_bytes_in_the_file(tmp_path: Path) -> None:
    async def pair(item: int) -> tuple[int, int]:
        return item, item

    path = tmp_path / "run.sqlite"
    for _ in range(2):
        async with open_journal(path, dumps=pickle.dumps, loads=pickle.loads) as journal:
            assert await run_batch(journal, pair, [1], item_id=str, step="pair") == [(1, 1)]
    assert results_in(path) == {("pair", "1"): pickle.dumps((1, 1))}


async def test_results_belong_to_a_step_and_an_item(tmp_path: Path) -> None:
    calls = Calls()
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await run_batch(journal, calls.double, [1], step="first")
        await run_batch(journal, calls.double, [1], step="second")
        await run_batch(journal, calls.double, [1], step="second", item_id=name_of)
    assert calls.items == [1, 1, 1]
    assert results_in(path) == {("first", "1"): "2", ("second", "1"): "2", ("second", "item 1"): "2"}


async def test_the_step_is_the_name_of_the_function_and_the_id_what_dumps_makes_of_the_item(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with (
        open_journal(path) as journal,
        open_pool([Calls()]) as pool,
        journal.map(pool, Calls.double, [1]) as results,
    ):
        assert await collect(results) == [2]
    assert results_in(path) == {("Calls.double", "1"): "2"}


async def test_an_item_that_occurs_twice_runs_once(tmp_path: Path) -> None:
    calls = Calls()
    async with open_journal(tmp_path / "run.sqlite") as journal:
        assert await run_batch(journal, calls.double, [1, 2, 1, 1, 2]) == [2, 4, 2, 2, 4]
    assert sorted(calls.items) == [1, 2]


async def test_each_occurrence_of_an_item_has_an_entry_and_one_of_them_is_new(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        entries = await entries_of(journal, Calls().double, [1] * 10)
    assert [(entry.item_id, entry.result) for entry in entries] == [("1", 2)] * 10
    assert sum(entry.is_new for entry in entries) == 1


async def test_an_item_that_is_in_two_streams_at_once_runs_once(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    seen: list[int] = []

    async def slow(item: int) -> int:
        seen.append(item)
        await trio.sleep(1)
        return item

    async def read(found: list[int], items: list[int]) -> None:
        async with journal.map(pool, slow, items) as results:
            found += await collect(results)

    first: list[int] = []
    second: list[int] = []
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(read, first, [1, 2, 3])
        nursery.start_soon(read, second, [3, 2, 1])
    assert (first, second) == ([1, 2, 3], [3, 2, 1])
    assert sorted(seen) == [1, 2, 3]


async def test_streams_of_two_pools_share_what_is_under_way(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    seen: list[int] = []

    async def slow(item: int) -> int:
        seen.append(item)
        await trio.sleep(1)
        return item

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1) as one,
        open_pool(1) as two,
        journal.map(one, slow, [1]) as left,
        journal.map(two, slow, [1]) as right,
    ):
        assert await collect(right) == [1]
        assert await collect(left) == [1]
    assert seen == [1]


async def test_a_stream_may_be_of_a_group(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(["a"]) as pool, pool.open_group() as group:

        async def fetch(resource: str, item: int) -> str:
            assert current_job().group is group
            return f"{resource}{item}"

        async with journal.map(group, fetch, [1, 2]) as results:
            assert await collect(results) == ["a1", "a2"]


async def test_a_job_looks_as_in_a_stream_of_the_pool(tmp_path: Path) -> None:
    labels: list[str] = []

    async def fetch(url: str) -> int:
        job = current_job()
        labels.append(repr(job))
        assert (job.fn, job.args) == (fetch, (url,))
        return 1

    async with open_journal(tmp_path / "run.sqlite") as journal:
        await run_batch(journal, fetch, ["/page/17"], workers=1)
    assert "fetch('/page/17'), running" in labels[0]


async def test_what_instruments_see_as_the_result_of_a_job_is_that_of_its_function(tmp_path: Path) -> None:
    class Watch(Instrument):
        def job_finished(self, job: Job[Any]) -> None:
            seen.append(job.result())

    async def pair(item: int) -> tuple[int, int]:
        return item, item

    seen: list[object] = []
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1, instruments=[Watch()]) as pool,
        journal.map(pool, pair, [1]) as results,
    ):
        await collect(results)
    assert seen == [(1, 1)]


async def test_options_may_be_functions_of_the_item(tmp_path: Path) -> None:
    names: list[str] = []

    async def note(item: int) -> int:
        names.append(current_job().name)
        return item

    async with open_journal(tmp_path / "run.sqlite") as journal:
        await run_batch(journal, note, [1, 2], name=name_of, workers=1)
    assert names == ["item 1", "item 2"]


async def test_items_may_come_from_an_async_iterable(tmp_path: Path) -> None:
    async def items() -> AsyncGenerator[int]:
        for item in range(5):
            await trio.lowlevel.checkpoint()
            yield item

    for _ in range(2):
        async with open_journal(tmp_path / "run.sqlite") as journal:
            assert await run_batch(journal, Calls().double, items()) == [0, 2, 4, 6, 8]  # type: ignore[arg-type]


async def test_a_slow_source_holds_nothing_back(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def items() -> AsyncGenerator[int]:
        yield 1
        await trio.sleep_forever()

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1) as pool,
        journal.map(pool, Calls().double, items()) as results,
    ):
        assert await anext(results) == 2


async def test_items_may_be_endless(tmp_path: Path) -> None:
    def items() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    for _ in range(2):
        async with (
            open_journal(tmp_path / "run.sqlite") as journal,
            open_pool(2) as pool,
            journal.map(pool, Calls().double, items()) as results,
        ):
            assert [await anext(results) for _ in range(1500)] == [2 * item for item in range(1500)]


async def test_the_error_of_the_items_comes_after_the_results_of_those_before(tmp_path: Path) -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("no more")

    found: list[int] = []
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(2) as pool,
        journal.map(pool, Calls().double, items()) as results,
    ):
        with pytest.raises(OSError, match="no more"):
            await read_into(found, results)
    assert found == [2, 4]


async def test_a_job_that_was_discarded_has_no_result_and_the_next_occurrence_runs(tmp_path: Path) -> None:
    tries: list[int] = []

    async def discards_once(item: int) -> int:
        tries.append(item)
        if len(tries) == 1:
            raise Discard("not today")
        return item

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        slots(1) as pool,
        journal.as_completed(pool, discards_once, [1, 1]) as entries,
    ):
        first, second = [entry async for entry in entries]
    assert isinstance(first.error, JobCancelledError)
    assert (second.result, second.error, second.is_new) == (1, None, True)


async def test_map_raises_for_a_discarded_job_and_goes_on(tmp_path: Path) -> None:
    async def discards(item: int) -> int:
        if item == 1:
            raise Discard("not today")
        return item

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        slots(1) as pool,
        journal.map(pool, discards, [1, 2]) as results,
    ):
        with pytest.raises(JobCancelledError, match="not today"):
            await anext(results)
        assert await anext(results) == 2


async def test_what_dumps_refuses_fails_the_attempt(tmp_path: Path) -> None:
    async def unfit(item: int) -> object:
        tries.append(item)
        return object() if len(tries) < 3 else item

    tries: list[int] = []
    async with open_journal(tmp_path / "run.sqlite") as journal:
        [entry] = await entries_of(journal, unfit, [1], retry=RetryPolicy.immediate(max_attempts=3))
        assert (entry.result, entry.attempts) == (1, 3)
        tries.clear()
        [entry] = await entries_of(journal, unfit, [2])
    assert isinstance(entry.error, JobFailedError)
    assert "not JSON serializable" in str(entry.error)


@pytest.mark.parametrize("made", [None, 7, ["a"]])
async def test_dumps_must_return_text_or_bytes(tmp_path: Path, made: Any) -> None:
    async with open_journal(tmp_path / "run.sqlite", dumps=lambda _: made) as journal:
        [entry] = await entries_of(journal, Calls().double, [1], item_id=str)
    assert "dumps must return a str or bytes, got" in str(entry.error)


async def test_text_that_is_no_unicode_fails_the_attempt(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite", dumps=lambda _: "\ud800") as journal:
        [entry] = await entries_of(journal, Calls().double, [1], item_id=str)
    assert "can be stored as UTF-8" in str(entry.error)


async def test_a_result_that_can_not_be_loaded_names_item_step_and_file(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    async with (
        open_journal(path, dumps=str, loads=lambda text: 1 // int(text)) as journal,
        open_pool(1) as pool,
        journal.map(pool, Calls().double, [0, 1], step="double") as results,
    ):
        with pytest.raises(JournalError, match=r"item '0' of the step 'double' in .*run.sqlite.* ZeroDivisionError"):
            await anext(results)
        assert await anext(results) == 0


async def test_statistics_count_by_steps(tmp_path: Path) -> None:
    calls = Calls()
    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await run_batch(journal, calls.double, range(3), step="a")
        await entries_of(journal, calls.fails_for_odd, range(5), step="b")
    async with open_journal(path) as journal:
        await run_batch(journal, calls.double, range(4), step="a")
        statistics = journal.statistics()
    assert (statistics.done, statistics.dead, statistics.new) == (7, 2, 1)
    assert {step: (each.done, each.dead, each.new) for step, each in statistics.steps.items()} == {
        "a": (4, 0, 1),
        "b": (3, 2, 0),
    }


async def test_unusual_texts_are_kept_as_they_are(tmp_path: Path) -> None:
    async def same(item: str) -> str:
        return item

    items = ["", "a\0b", "ä", "\U0001f600", "'", "\n"]
    for _ in range(2):
        async with open_journal(tmp_path / "run.sqlite", dumps=str, loads=str) as journal:
            assert await run_batch(journal, same, items) == items


async def test_several_readers_share_what_is_at_hand(tmp_path: Path) -> None:
    async def read(found: list[int]) -> None:
        async for result in results:
            found.append(result)
            await trio.lowlevel.checkpoint()

    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        await run_batch(journal, Calls().double, range(1000), step="double")
    parts: list[list[int]] = [[], [], []]
    async with (
        open_journal(path) as journal,
        open_pool(2) as pool,
        journal.map(pool, Calls().double, range(1000), step="double") as results,
        trio.open_nursery() as nursery,
    ):
        for part in parts:
            nursery.start_soon(read, part)
    assert sorted(result for part in parts for result in part) == [2 * item for item in range(1000)]
    assert [len(part) > 100 for part in parts] == [True] * 3
    assert [part == sorted(part) for part in parts] == [True] * 3


async def test_a_partial_needs_a_name_for_its_results(tmp_path: Path) -> None:
    async def add(more: int, item: int) -> int:
        return more + item

    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        with pytest.raises(ValueError, match="step is required"):
            journal.map(pool, partial(add, 1), [1])
        async with journal.map(pool, partial(add, 1), [1], step="add") as results:
            assert await collect(results) == [2]


async def test_a_result_that_is_too_large_to_be_stored_fails_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_terms, "_MOST", 10)
    async with open_journal(tmp_path / "run.sqlite", dumps=lambda value: b"x" * value, loads=len) as journal:
        entries = await entries_of(journal, Calls().double, [5, 6], item_id=str)
    assert entries[0].error is None
    assert "at most 10 characters or bytes of a result, got 12" in str(entries[1].error)


async def test_items_that_are_cancelled_while_they_are_looked_up_end_the_stream(tmp_path: Path) -> None:
    async def items() -> AsyncGenerator[int]:
        with trio.CancelScope() as scope:
            yield 0
            scope.cancel()
            yield 1

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        slots() as pool,
        journal.map(pool, Calls().double, items()) as results,
    ):
        assert await anext(results) == 0
        with pytest.raises(RuntimeError, match="the items of a stream were cancelled"):
            await anext(results)


async def test_an_item_that_died_is_given_out_where_it_was_looked_up_before(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Items stand in line for room when one of them dies in another stream."""

    async def fails(item: int) -> int:
        calls.append(item)
        await trio.sleep(1)
        raise ValueError(item)

    calls: list[int] = []
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        slots(2) as pool,
        journal.as_completed(pool, fails, [1, 2], step="fails") as first,
        journal.as_completed(pool, fails, [3, 2, 1], step="fails", buffer=1) as second,
    ):
        assert [type(entry.error) async for entry in first] == [JobFailedError] * 2
        assert [type(entry.error) async for entry in second] == [JobFailedError] * 3
    assert sorted(calls) == [1, 2, 3]


async def test_a_recorder_sees_a_stream_of_the_pool(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def nap(item: int) -> int:
        await trio.sleep(item)
        return item

    recorder = Recorder(tmp_path / "run.jsonl")
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2, instruments=[recorder]) as pool:
        for _ in range(2):
            async with journal.map(pool, nap, [1, 2, 3], step="nap") as results:
                assert await collect(results) == [1, 2, 3]
    replay = await trio.to_thread.run_sync(recorder.recording().replay)
    assert replay.statistics.succeeded == 3
