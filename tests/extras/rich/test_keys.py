"""What the live view shows of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from tests.actors import sleeps
from tests.extras.rich.watch import A, B, Watch, says
from trio_pool import PerKey, RetryAfter, RetryPolicy, open_pool

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_the_ten_busiest_keys_are_shown_with_their_jobs(autojump_clock: MockClock) -> None:
    async with open_pool([A, B], per_key=PerKey(max_running=1)) as pool:
        watch = Watch(pool)
        for key in range(12):
            for _ in range(12 - key):
                await pool.submit(sleeps, 1, key=key)
        lines = [" ".join(line.split()) for line in watch.lines()]
        at = lines.index("key running queued delayed held back")
        waiting = [f"{key} 0 {12 - key} 0" for key in range(2, 10)]
        assert lines[at + 1 :] == ["0 1 11 0", "1 1 10 0", *waiting]
        pool.cancel()


async def test_a_key_that_rests_is_shown_with_how_long_it_rests_still(autojump_clock: MockClock) -> None:
    async with open_pool([A], per_key=PerKey(), retry=RetryPolicy(), on_dead="keep") as pool:
        watch = Watch(pool)
        job = await pool.submit(says, RetryAfter(30, rest="key"), key="acme")
        await trio.sleep(10)
        assert watch.line("acme") == "acme 0 0 1 20.0 s left"
        job.cancel()


async def test_without_keys_there_is_no_table_of_them() -> None:
    async with open_pool([A], per_key=PerKey()) as pool:
        assert not any(line.startswith("key ") for line in Watch(pool).lines())
    async with open_pool([A]) as pool:
        await pool.submit(sleeps, 0, key="acme")
        assert not any(line.startswith("key ") for line in Watch(pool).lines())


async def test_a_low_terminal_shows_as_many_keys_as_fit(autojump_clock: MockClock) -> None:
    async with open_pool([A], per_key=PerKey()) as pool:
        watch = Watch(pool)
        for key in range(12):
            await pool.submit(sleeps, 1, key=key)
        lines = watch.lines(height=16)
        assert [" ".join(line.split()) for line in lines[-4:]] == ["0 1 0 0", "1 0 1 0", "2 0 1 0", "3 0 1 0"]
        pool.cancel()
