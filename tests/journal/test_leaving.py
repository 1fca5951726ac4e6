"""Streams that are left early, cancelled, or end with their pool; and the end of the journal's block."""

from __future__ import annotations

import signal
import sqlite3
import threading
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from tests.journal.batches import EITHER, Calls, collect, gated_writes, result_of, results_in, run_batch, slots
from trio_pool import (
    JobCancelledError,
    JobDeadlockError,
    NoEligibleWorkerError,
    PoolClosedError,
    current_job,
    open_pool,
)
from trio_pool.journal import JournalError, _store, open_journal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path


async def test_results_that_were_computed_and_not_given_out_are_kept(tmp_path: Path) -> None:
    calls = Calls()
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1) as pool,
        journal.map(pool, calls.double, range(100), step="double", buffer=10) as results,
    ):
        await anext(results)
        await trio.testing.wait_all_tasks_blocked()
    computed = sorted(calls.items)
    assert computed == list(range(len(computed)))
    assert [item for _, item in results_in(tmp_path / "run.sqlite")] == [str(item) for item in computed]


async def test_a_job_that_returns_in_spite_of_its_cancellation_is_kept(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def stubborn(item: int) -> int:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
        return item

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1) as pool,
        journal.map(pool, stubborn, [1], step="stubborn"),
    ):
        await trio.sleep(0.5)
    assert results_in(tmp_path / "run.sqlite") == {("stubborn", "1"): "1"}


@EITHER
async def test_a_stream_that_waits_takes_over_what_another_one_gives_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, name: str
) -> None:
    calls: list[str | None] = []

    async def slow(item: int) -> int:
        group = current_job().group
        calls.append(None if group is None else group.name)
        await trio.sleep(10)
        return item

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(4) as pool,
        pool.open_group(name="second") as second,
    ):
        async with journal.map(pool, slow, [1, 2]):
            await trio.sleep(1)
            stream = getattr(journal, name)(second, slow, [2, 1])
            results = await stream.__aenter__()
            await trio.sleep(1)
        assert sorted([result_of(await anext(results)) for _ in range(2)]) == [1, 2]
        await stream.__aexit__(None, None, None)
    assert calls == [None, None, "second", "second"]


async def test_a_stream_takes_over_an_item_whose_job_waited_for_a_place(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(1, max_queue=1) as pool,
        open_pool(1) as other,
    ):
        await pool.submit(trio.sleep, 10)
        await pool.submit(trio.sleep, 10)
        async with trio.open_nursery() as nursery, journal.map(pool, Calls().double, [1], step="double"):
            await trio.testing.wait_all_tasks_blocked()
            found: list[int] = []

            async def read() -> None:
                async with journal.map(other, Calls().double, [1], step="double") as results:
                    found.extend(await collect(results))

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            assert not found
        assert found == [2]


async def test_an_item_that_no_one_can_run_again_ends_with_the_reason(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(item: int) -> int:
        await trio.sleep(10)
        return item

    def name_of(item: int) -> str:
        names.append(item)
        if len(names) > 1:
            raise OSError("no name")
        return "slow"

    names: list[int] = []
    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(2) as pool,
        journal.map(pool, slow, [1, 1], name=name_of) as results,
    ):
        await trio.sleep(1)
        for job in pool.jobs():
            job.cancel()
        with pytest.raises(JobCancelledError):
            await anext(results)
        with pytest.raises(OSError, match="no name"):
            await anext(results)


async def test_a_step_that_is_cancelled_loses_nothing(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        await run_batch(journal, Calls().double, range(300), step="double")
        found: list[int] = []
        async with open_pool(2) as pool, journal.map(pool, Calls().double, range(600), step="double") as results:
            while True:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await anext(results)
                try:
                    found.append(await anext(results))
                except StopAsyncIteration:
                    break
    assert found == [2 * item for item in range(600)]


async def test_a_pool_that_is_cancelled_ends_the_stream(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    async def slow(item: int) -> int:
        await trio.sleep(item)
        return item

    path = tmp_path / "run.sqlite"
    async with open_journal(path) as journal:
        async with open_pool(2) as pool, journal.map(pool, slow, [1, 2, 3, 4], step="slow") as results:
            assert await anext(results) == 1
            pool.cancel()
        assert await run_batch(journal, slow, [1, 2, 3, 4], step="slow") == [1, 2, 3, 4]


async def test_a_group_that_is_cancelled_ends_its_stream(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async def slow(item: int) -> int:
        await trio.sleep(item)
        return item

    async def items() -> AsyncGenerator[int]:
        yield 1
        await trio.sleep_forever()

    async with (
        open_journal(tmp_path / "run.sqlite") as journal,
        open_pool(2) as pool,
        pool.open_group() as group,
        journal.map(group, slow, items()) as results,
    ):
        assert await anext(results) == 1
        group.close()
        with trio.CancelScope(deadline=trio.current_time() + 5, shield=True):
            group.cancel()
            with pytest.raises(PoolClosedError, match="the group ended before the items did"):
                await anext(results)


async def test_the_block_of_the_journal_waits_for_what_has_been_computed(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with gated_writes() as gate:
        async with trio.open_nursery() as nursery:
            left = trio.Event()

            async def run() -> None:
                async with open_journal(path) as journal, open_pool(1) as pool:
                    gate.close()
                    async with journal.map(pool, Calls().double, [1], step="double"):
                        await trio.to_thread.run_sync(gate.has_come.wait)
                left.set()

            nursery.start_soon(run)
            await trio.to_thread.run_sync(gate.has_come.wait)
            await trio.testing.wait_all_tasks_blocked()
            assert not left.is_set()
            assert results_in(path) == {}
            gate.open()
            await left.wait()
    assert results_in(path) == {("double", "1"): "2"}


async def test_the_block_of_the_journal_waits_also_if_it_is_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with gated_writes() as gate, trio.CancelScope() as scope:
        async with open_journal(path) as journal, open_pool(1) as pool:
            gate.close()
            async with journal.map(pool, Calls().double, [1], step="double"):
                await trio.to_thread.run_sync(gate.has_come.wait)
            scope.cancel()
            trio.lowlevel.current_trio_token().run_sync_soon(gate.open)
    assert scope.cancelled_caught
    assert results_in(path) == {("double", "1"): "2"}


async def test_a_death_that_is_written_as_its_stream_is_left_is_dealt_with(tmp_path: Path) -> None:
    """It is in the journal, and the pool's block doesn't raise it."""
    path = tmp_path / "run.sqlite"
    with gated_writes() as gate:
        async with open_journal(path) as journal, open_pool(1) as pool:
            gate.close()
            async with journal.map(pool, Calls().fails_for_odd, [1], step="odd"):
                await trio.to_thread.run_sync(gate.has_come.wait)
            gate.open()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT step, item_id FROM dead").fetchall() == [("odd", "1")]


async def test_a_stream_that_outlives_its_journal_ends_with_an_error(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_pool(1) as pool:
        async with open_journal(tmp_path / "run.sqlite") as journal:
            stream = journal.map(pool, Calls().double, [1, 2])
            results = await stream.__aenter__()
            assert await anext(results) == 2
            assert await anext(results) == 4
            endless = journal.map(pool, trio.sleep, [1000], step="endless")
            sleeping = await endless.__aenter__()
            await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(JournalError, match="was closed before the stream ended"):
            await anext(sleeping)
        await endless.__aexit__(None, None, None)
        await stream.__aexit__(None, None, None)


async def test_results_that_come_after_the_end_of_the_journal_are_lost(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "run.sqlite"

    async def nap(item: int) -> int:
        await trio.sleep(item)
        return item

    async with open_pool(1) as pool:
        async with open_journal(path) as journal:
            stream = journal.map(pool, nap, [1], step="nap")
            await stream.__aenter__()
            await trio.testing.wait_all_tasks_blocked()
        await pool.join()
        await stream.__aexit__(None, None, None)
    assert results_in(path) == {}


async def test_a_job_that_would_wait_for_its_own_item_is_told(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, slots(2) as pool:

        async def again(item: int) -> int:
            async with journal.map(pool, again, [item], step="again") as results:
                return sum(await collect(results))

        async with journal.as_completed(pool, again, [1], step="again") as entries:
            [entry] = [entry async for entry in entries]
    assert entry.error is not None
    assert isinstance(entry.error.__cause__, JobDeadlockError)


async def test_a_job_may_read_a_stream_of_other_items(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2) as pool:

        async def total(items: list[int]) -> int:
            async with getattr(journal, name)(pool, Calls().double, items, step="double") as results:
                return sum(await collect(results))

        for name in ("map", "as_completed"):
            async with journal.map(pool, total, [[1, 2], [2, 3]], step=f"total of {name}", buffer=1) as results:
                assert await collect(results) == [6, 10]


async def test_jobs_that_read_streams_and_hold_all_workers_are_told(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, slots(1) as pool:

        async def total(items: list[int], name: str) -> int:
            async with getattr(journal, name)(pool, Calls().double, items, step="double") as results:
                return sum(await collect(results))

        for name in ("map", "as_completed"):
            call: Any = partial(total, name=name)
            async with journal.as_completed(pool, call, [[1, 2]], step=name) as entries:
                [entry] = [entry async for entry in entries]
            assert entry.error is not None
            assert isinstance(entry.error.__cause__, JobDeadlockError)


async def test_a_stream_of_results_is_read_in_its_block(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        stream: Any = journal.map(pool, Calls().double, range(600), step="double")
        with pytest.raises(RuntimeError, match="enter the stream"):
            await anext(stream)
        async with stream as results:
            assert await collect(results) == [2 * item for item in range(600)]
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        again: Any = journal.map(pool, Calls().double, range(600), step="double")
        async with again as results:
            assert await anext(results) == 0
        with pytest.raises(trio.ClosedResourceError, match="has been left"):
            await anext(results)


async def test_a_stream_takes_over_an_item_that_was_refused(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        await pool.workers[0].remove()
        async with journal.map(pool, Calls().double, [1], step="double") as results:
            with pytest.raises(NoEligibleWorkerError):
                await anext(results)
        assert await run_batch(journal, Calls().double, [1], step="double") == [2]


async def test_an_item_that_is_refused_when_it_would_run_again_ends_with_the_reason(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, slots(1) as pool, open_pool(1) as other:
        async with journal.map(pool, trio.sleep, [10], step="sleep"):
            await trio.testing.wait_all_tasks_blocked()
            stream = journal.as_completed(other, trio.sleep, [10], step="sleep")
            entries = await stream.__aenter__()
            await trio.testing.wait_all_tasks_blocked()
            await other.workers[0].remove()
        with pytest.raises(NoEligibleWorkerError):
            await anext(entries)
        await stream.__aexit__(None, None, None)


async def test_a_stream_of_a_pool_that_is_closed_can_not_be_entered(tmp_path: Path) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(1) as pool:
        pool.cancel()
        with trio.CancelScope(shield=True), pytest.raises(PoolClosedError):
            async with journal.map(pool, Calls().double, [1]):
                pass


async def test_the_reader_of_a_stream_in_a_job_goes_on_when_a_result_is_committed(tmp_path: Path) -> None:
    """The awaited jobs have ended, and the reader waits for the disk."""
    with gated_writes() as gate:
        async with open_journal(tmp_path / "run.sqlite") as journal, open_pool(2) as pool:

            async def total(items: list[int], name: str) -> int:
                async with getattr(journal, name)(pool, Calls().double, items, step="double") as results:
                    return sum(await collect(results))

            for name in ("map", "as_completed"):
                gate.close()
                job = await pool.submit(total, [len(name), 1], name)
                await trio.to_thread.run_sync(gate.has_come.wait)
                await trio.testing.wait_all_tasks_blocked()
                gate.open()
                assert await job.wait() == 2 * len(name) + 2


def press_ctrl_c_then(fn: Callable[[], object]) -> None:
    """Press Ctrl-C when everything waits, and then call a function."""

    async def press() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)
        await trio.testing.wait_all_tasks_blocked()
        fn()

    trio.lowlevel.spawn_system_task(press)


def test_ctrl_c_at_the_end_of_the_journal_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"

    async def main() -> None:
        async with open_journal(path) as journal, open_pool(1) as pool:
            gate.close()
            async with journal.map(pool, Calls().double, [1], step="double"):
                await trio.to_thread.run_sync(gate.has_come.wait)
            press_ctrl_c_then(gate.open)

    with gated_writes() as gate, pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert results_in(path) == {("double", "1"): "2"}


@pytest.mark.parametrize("fails", [False, True])
def test_ctrl_c_while_the_journal_is_opened_comes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    may_open = threading.Event()
    opens = _store.Store.open

    def waits(store: _store.Store, now: float) -> None:
        may_open.wait()
        if fails:
            raise JournalError("no")
        opens(store, now)

    async def main() -> None:
        press_ctrl_c_then(may_open.set)
        async with open_journal(tmp_path / "run.sqlite"):
            raise AssertionError

    monkeypatch.setattr(_store.Store, "open", waits)
    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    monkeypatch.undo()

    async def again() -> None:
        async with open_journal(tmp_path / "run.sqlite"):
            pass

    trio.run(again)
