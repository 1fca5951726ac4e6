"""The levels of limits are kept, so that a restart makes no call too many."""

from __future__ import annotations

import math
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from trio_pool import PerKey, Pool, RateLimit, Resource, current_job, open_pool
from trio_pool.journal import _levels, open_journal

if TYPE_CHECKING:
    from pathlib import Path

    from trio_pool.journal import Journal

DAY = 86_400.0
QUOTA = RateLimit(10, per=DAY, burst=10)


class WallClock:
    """The wall clock of the journal, which a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr(time, "time", self.time)

    def time(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


async def work(resource: str, item: int) -> int:
    return item


async def starts(journal: Journal, pool: Pool[Any], *, fn: Any = work, first: int = 0, **options: Any) -> int:
    """How many items of a batch start before the limits let nothing start any more."""
    number = 0
    with trio.move_on_after(0.3):
        async with journal.map(pool, fn, range(first, first + 100), step=f"batch {first}", **options) as results:
            async for _ in results:
                number += 1
                if number == 10:
                    break
    return number


async def use(path: Path, calls: int, **pool: Any) -> None:
    """Use up some calls of a quota, in a process of its own so to speak."""
    async with (
        open_journal(path) as journal,
        open_pool(["a"], **pool) as each,
        journal.map(each, work, range(calls), step="earlier") as results,
    ):
        assert [result async for result in results] == list(range(calls))


async def after(path: Path, *, resources: Any = ("a",), first: int = 0, **pool: Any) -> int:
    opening = cast("Any", open_pool)
    async with open_journal(path) as journal, opening(resources, **pool) as each:
        return await starts(journal, each, first=first)


async def test_a_used_up_quota_is_used_up_after_a_restart(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 10, rate_limit=QUOTA)
    assert await after(path, rate_limit=QUOTA) == 0


async def test_what_is_left_of_a_quota_is_left(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 7, rate_limit=QUOTA)
    assert await after(path, rate_limit=QUOTA) == 3


async def test_a_quota_grows_again_while_no_process_runs(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 10, rate_limit=QUOTA)
    wall.now += DAY / 2
    assert await after(path, rate_limit=QUOTA) == 5


async def test_a_wall_clock_that_went_back_counts_as_no_time(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 8, rate_limit=QUOTA)
    wall.now -= 10 * DAY
    assert await after(path, rate_limit=QUOTA) == 2


async def test_the_lower_level_counts(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 2, rate_limit=QUOTA)
    async with open_journal(path) as journal, open_pool(["a"], rate_limit=QUOTA) as pool:
        for _ in range(6):
            await pool.run(work, 1)
        assert await starts(journal, pool) == 4


async def test_the_level_of_a_smaller_quota_is_at_most_its_burst(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 1, rate_limit=QUOTA)
    assert await after(path, rate_limit=RateLimit(4, per=DAY, burst=4)) == 4


async def test_workers_are_told_apart_by_their_names(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    tokens = [Resource("a", name="one", rate_limit=QUOTA), Resource("b", name="two", rate_limit=QUOTA)]
    async with open_journal(path) as journal, open_pool(tokens[:1]) as pool:
        assert await starts(journal, pool) == 10
    async with open_journal(path) as journal, open_pool(tokens) as pool:
        used: list[str] = []

        async def note(resource: str, item: int) -> None:
            used.append(resource)

        assert await starts(journal, pool, fn=note, first=100) == 10
    assert used == ["b"] * len(used)


async def test_a_worker_that_comes_later_has_its_level(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    token = Resource("a", name="one", rate_limit=QUOTA)
    async with open_journal(path) as journal, open_pool([token]) as pool:
        assert await starts(journal, pool) == 10
    async with open_journal(path) as journal, open_pool(["b"]) as pool:
        async with journal.map(pool, work, [1], step="first use") as results:
            assert await anext(results) == 1
        await pool.workers[0].remove()
        await pool.add(Resource("a", name="one", rate_limit=QUOTA))
        assert await starts(journal, pool, first=100) == 0


async def test_pools_are_told_apart_by_their_names(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 10, rate_limit=QUOTA, name="one")
    assert await after(path, rate_limit=QUOTA, name="two") == 10
    assert await after(path, rate_limit=QUOTA, name="one", first=100) == 0


async def test_of_two_pools_with_one_name_the_lower_level_is_kept(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    async with (
        open_journal(path) as journal,
        open_pool(["a"], rate_limit=QUOTA) as one,
        open_pool(["b"], rate_limit=QUOTA) as two,
    ):
        for pool, calls, step in [(one, 1, "a"), (two, 1, "b"), (one, 6, "c"), (two, 2, "d")]:
            async with journal.map(pool, work, range(calls), step=step) as results:
                assert len([result async for result in results]) == calls
    assert await after(path, rate_limit=QUOTA) <= 3


async def test_a_pool_takes_over_the_level_of_one_before_it_with_its_name(tmp_path: Path, wall: WallClock) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        async with open_pool(["a"], rate_limit=QUOTA) as pool:
            assert await starts(journal, pool) == 10
        async with open_pool(["a"], rate_limit=QUOTA) as pool:
            assert await starts(journal, pool, first=100) == 0


async def test_units_have_their_levels_with_what_was_really_used(tmp_path: Path, wall: WallClock) -> None:
    async def read(resource: str, item: int) -> int:
        current_job().set_used(tokens=300)
        return item

    path = tmp_path / "run.sqlite"
    limits = [QUOTA, RateLimit(1000, per=DAY, burst=1000, unit="tokens")]
    async with (
        open_journal(path) as journal,
        open_pool(["a"], rate_limit=limits) as pool,
        journal.map(pool, read, range(3), step="earlier", uses={"tokens": 1}) as results,
    ):
        assert [result async for result in results] == [0, 1, 2]
    async with open_journal(path) as journal, open_pool(["a"], rate_limit=limits) as pool:
        assert await starts(journal, pool, fn=read, uses={"tokens": 100}) == 1


async def test_shared_limits_are_told_apart_by_their_names_whoever_holds_them(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 10, rate_limit=QUOTA.shared(name="organization"), name="one")
    other = Resource("a", rate_limit=QUOTA.shared(name="organization"))
    assert await after(path, resources=[other], name="two") == 0
    assert await after(path, rate_limit=QUOTA.shared(name="another"), name="two", first=100) == 10


async def test_a_shared_limit_without_a_name_is_known_by_its_place(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 8, rate_limit=QUOTA.shared())
    assert await after(path, rate_limit=QUOTA.shared()) == 2


@pytest.mark.parametrize("key", ["tenant", 7, ("a", 1), b"x", 1.5, True])
async def test_keys_have_their_levels(tmp_path: Path, wall: WallClock, key: Any) -> None:
    path = tmp_path / "run.sqlite"
    bounds = PerKey(rate_limit=QUOTA)
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        assert await starts(journal, pool, key=key) == 10
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        assert await starts(journal, pool, first=100, key=key) == 0
        assert await starts(journal, pool, first=200, key="other") == 10


async def test_keys_that_are_known_before_the_first_use_have_their_levels(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    bounds = PerKey(rate_limit=[QUOTA, RateLimit(10, per=DAY, burst=10, unit="pages")])
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        assert await starts(journal, pool, key="a", uses={"pages": 1}) == 10
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        await pool.run(work, 1, key="a")
        assert await starts(journal, pool, first=100, key="a") == 0


async def test_keys_that_are_no_plain_values_have_no_levels(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    bounds = PerKey(rate_limit=QUOTA)
    key = object()
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        assert await starts(journal, pool, key=(1, key)) == 10
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        assert await starts(journal, pool, first=100, key=(1, key)) == 10


async def test_levels_are_kept_while_nothing_ends(
    tmp_path: Path, wall: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trio_pool.journal import _writer

    monkeypatch.setattr(_writer, "_SECONDS_BETWEEN_LEVELS", 0.01)
    path = tmp_path / "run.sqlite"

    async def endless(resource: str, item: int) -> None:
        await trio.sleep_forever()

    def level() -> float:
        with closing(sqlite3.connect(path)) as connection:
            return float(connection.execute("SELECT coalesce(min(level), 10) FROM levels").fetchone()[0])

    resource = Resource("a", max_running=4)
    async with (
        open_journal(path) as journal,
        open_pool([resource], rate_limit=QUOTA) as pool,
        journal.map(pool, endless, range(4)),
    ):
        while level() > 6.5:  # noqa: ASYNC110  # it is the disk that is waited for
            await trio.sleep(0.01)
        pool.cancel()
    assert math.isclose(level(), 6, abs_tol=0.01)


async def test_levels_that_are_full_are_forgotten(
    tmp_path: Path, wall: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_levels, "_MOST_KEPT", 3)
    path = tmp_path / "run.sqlite"
    bounds = PerKey(rate_limit=QUOTA)
    async with open_journal(path) as journal, open_pool(["a"], per_key=bounds) as pool:
        for key in range(20):
            wall.now += DAY
            async with journal.map(pool, work, [1], step=f"of {key}", key=key) as results:
                await anext(results)
        assert len(journal._book.levels._known) <= 5
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM levels").fetchone()[0] > 0
        connection.execute("UPDATE levels SET full_at = 0")
        connection.commit()
    async with open_journal(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM levels").fetchone()[0] == 0


async def test_under_a_mock_clock_no_levels_are_kept(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 10, rate_limit=QUOTA)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM levels").fetchone() == (0,)


async def test_a_pool_may_use_two_journals(tmp_path: Path, wall: WallClock) -> None:
    one, two = tmp_path / "one.sqlite", tmp_path / "two.sqlite"
    async with open_journal(one) as first, open_journal(two) as second, open_pool(["a"], rate_limit=QUOTA) as pool:
        for journal, step in [(first, "a"), (second, "b"), (first, "c"), (second, "d")]:
            async with journal.map(pool, work, range(2), step=step) as results:
                assert len([result async for result in results]) == 2
    for path in (one, two):
        assert await after(path, rate_limit=QUOTA) == 2


async def test_names_that_are_no_unicode_are_told_apart_all_the_same(tmp_path: Path, wall: WallClock) -> None:
    path = tmp_path / "run.sqlite"
    await use(path, 8, rate_limit=QUOTA, name="\ud800")
    assert await after(path, rate_limit=QUOTA, name="\ud801") == 10
    assert await after(path, rate_limit=QUOTA, name="\ud800", first=100) == 2


async def test_levels_that_are_due_after_the_end_are_left(tmp_path: Path, wall: WallClock) -> None:
    async with open_journal(tmp_path / "run.sqlite") as journal:
        pass
    journal._book._on_levels_due()
    assert not journal._book.levels._pools
