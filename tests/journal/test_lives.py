"""Random batches, ended in the middle: nothing that was given out is lost, nothing that was committed runs again."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effort import part_of
from tests.journal.batches import gated_writes, results_in
from trio_pool import Discard, JobCancelledError, JobFailedError, PoolClosedError, RetryPolicy, SlotPool, open_pool
from trio_pool._basics.exceptions import leaves
from trio_pool.journal import Journal, JournalError, open_journal

if TYPE_CHECKING:
    from pathlib import Path

MOST_ITEMS = 40
FULL = sqlite3.OperationalError("database or disk is full")


class Life:
    """One process after another that works at the same items, on copies of one file."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = Random(seed)
        self.path = folder / f"{seed}.sqlite"
        self.given: set[int] = set()
        self.is_killed = False
        # How often this process has begun each item, and how often it has returned a result.
        self.calls: Counter[int] = Counter()
        self.returned: Counter[int] = Counter()
        self.are_bad = {item for item in range(MOST_ITEMS) if self.rng.random() < 0.1}
        self.are_discarded = {item for item in range(MOST_ITEMS) if self.rng.random() < 0.05}

    async def work(self, item: int) -> int:
        self.calls[item] += 1
        for _ in range(self.rng.randrange(3)):
            await trio.sleep(self.rng.choice([0, 0, 1]))
        if item in self.are_discarded and self.rng.random() < 0.5:
            raise Discard
        if item in self.are_bad and self.rng.random() < 0.5:
            raise ValueError(item)
        self.returned[item] += 1
        return item

    def items(self) -> Any:
        rng = self.rng
        items = [rng.randrange(MOST_ITEMS) for _ in range(rng.randrange(2 * MOST_ITEMS))]
        kind = rng.randrange(3)
        if kind == 0:
            return items

        async def slowly() -> Any:
            for item in items:
                await trio.sleep(rng.choice([0, 0, 0, 0.5]))
                yield item

        return slowly() if kind == 1 else iter(items)

    async def process(self, end: str) -> None:
        """Live until the batch is done, or ended in the middle in this way."""
        rng = self.rng
        before = self.done()
        self.is_killed = False
        self.calls.clear()
        self.returned.clear()
        with gated_writes() as gate:
            try:
                async with open_journal(self.path) as journal, open_pool(rng.randint(1, 3), on_dead="keep") as pool:
                    assert journal.statistics().done == len(before)
                    async with trio.open_nursery() as nursery:
                        for _ in range(rng.randint(1, 3)):
                            nursery.start_soon(self.read, journal, pool)
                        await trio.sleep(rng.choice([0.1, 1.2, 2.7, 5.1]))
                        if end == "error":
                            raise KeyError("the end")
                        if end == "cancel":
                            nursery.cancel_scope.cancel()
                        elif end == "cancel pool":
                            pool.cancel()
                        elif end == "full disk":
                            gate.fail(FULL)
                        elif end == "kill":
                            self.kill()
                            nursery.cancel_scope.cancel()
            except BaseException as error:
                for leaf in leaves(error):
                    assert isinstance(leaf, KeyError if end == "error" else JournalError if end == "full disk" else ())
        if end == "kill":
            shutil.move(self.copy, self.path)
        after = self.done()
        assert before <= after
        assert self.given <= after
        assert not before & self.calls.keys()
        assert all(number == 1 for number in self.returned.values())
        if end not in ("full disk", "kill"):
            assert self.returned.keys() | before == after

    @property
    def copy(self) -> Path:
        return self.path.with_suffix(".copy")

    def kill(self) -> None:
        """What another process would find if this one was killed now: what SQLite has committed."""
        with sqlite3.connect(self.path) as source, sqlite3.connect(self.copy) as target:
            source.backup(target)
        source.close()
        target.close()
        self.is_killed = True  # nobody sees what comes from now on

    def note(self, result: int) -> None:
        assert result in self.done()
        if not self.is_killed:
            self.given.add(result)

    def done(self) -> set[int]:
        return {int(text) for text in results_in(self.path).values()} if self.path.exists() else set()

    async def read(self, journal: Journal, pool: SlotPool) -> None:
        rng = self.rng
        options: dict[str, Any] = {
            "buffer": rng.choice([None, 1, 3, 100]),
            "retry": rng.choice([RetryPolicy.never(), RetryPolicy.immediate(max_attempts=2)]),
            "step": "work",
            "retry_dead": rng.random() < 0.7,
        }
        call: Any = rng.choice([journal.map, journal.as_completed])
        most = rng.choice([10_000, 10_000, 10_000, 1, 5])
        try:
            async with call(pool, self.work, self.items(), **options) as results:
                for _ in range(most):
                    if rng.random() < 0.1:
                        await trio.sleep(rng.random())
                    try:
                        result: Any = await anext(results)
                    except (JobFailedError, JobCancelledError):
                        continue
                    except StopAsyncIteration:
                        break
                    if call == journal.map:
                        self.note(result)
                    elif result.error is None:
                        self.note(result.result)
        except PoolClosedError:
            return


ENDS = ["nothing", "nothing", "cancel", "cancel pool", "error", "full disk", "kill"]


def live(seed: int, folder: Path) -> None:
    life = Life(seed, folder)
    for end in life.rng.choices(ENDS, k=4):
        trio.run(life.process, end, clock=trio.testing.MockClock(autojump_threshold=0.01))


@settings(max_examples=part_of(25))
@given(seed=st.integers(0, 2**32))
def test_random_lives(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    live(seed, tmp_path_factory.mktemp("life"))
