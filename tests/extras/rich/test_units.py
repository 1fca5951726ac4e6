"""What the live view shows of units: what was used lately, and what the limits let through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import Mint, sleeps, works
from tests.extras.rich.watch import A, B, Watch
from tests.terminal import Terminal
from trio_pool import Elastic, Pool, RateLimit, Resource, current_job, open_pool
from trio_pool.rich import live
from trio_pool.rich._units import SHORTEST
from trio_pool.rich._window import SAMPLES

if TYPE_CHECKING:
    from trio.testing import MockClock

    from trio_pool import SharedRateLimit

CHAPTER = Path(__file__).resolve().parents[3] / "docs" / "watching" / "units.txt"


def limit(count: float, per: float = 60, unit: str = "tokens") -> RateLimit:
    """A limit that lets everything start at once."""
    return RateLimit(count, per=per, burst=10**9, unit=unit)


def key(name: str, *limits: RateLimit | SharedRateLimit) -> Resource[str]:
    return Resource(name, name=name, rate_limit=limits)


async def use(pool: Pool[Any], worker: int = 0, **uses: float) -> None:
    await pool.run(works, worker=pool.workers[worker], uses=uses)


async def corrects(resource: object, amount: float) -> None:
    current_job().set_used(tokens=amount)


def usage(watch: Watch, beginning: str) -> str:
    """The end of a line: what stands in the columns of units."""
    words = watch.line(beginning).split(" ")
    return " ".join(words[words.index("of") - 1 :] if "of" in words else words[-1:])


def heads(watch: Watch, width: int) -> list[str]:
    """The headers of the workers' columns."""
    return next(line for line in watch.lines(width) if line.startswith("worker")).split()


# A limit of a worker


async def test_a_worker_is_shown_with_what_it_used_of_its_limit(autojump_clock: MockClock) -> None:
    async with open_pool([key("A", limit(90_000)), key("B", limit(15_000))]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=71_200)
        assert usage(watch, "A") == "71.2k of 90k/min"
        assert usage(watch, "B") == "0 of 15k/min"


async def test_only_what_was_used_in_the_last_period_is_shown(autojump_clock: MockClock) -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        watch = Watch(pool)
        seen: list[str] = []
        for _ in range(3):
            await use(pool, tokens=1000)
            for _ in range(10):
                await trio.sleep(3)
                watch.read()
            seen.append(usage(watch, "A"))
        for _ in range(2):
            await trio.sleep(30)
            seen.append(usage(watch, "A"))
        assert seen == [f"{amount} of 90k/min" for amount in ("1k", "2k", "2k", "1k", "0")]


async def test_what_was_used_before_the_view_began_is_not_shown() -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        await use(pool, tokens=1000)
        watch = Watch(pool)
        assert usage(watch, "A") == "0 of 90k/min"
        await use(pool, tokens=500)
        assert usage(watch, "A") == "500 of 90k/min"


async def test_a_very_short_period_is_an_average_over_some(autojump_clock: MockClock) -> None:
    async with open_pool([key("A", limit(500, per=1))]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=2000)
        assert usage(watch, "A") == "2k of 500/s"
        await trio.sleep(SHORTEST)
        assert usage(watch, "A") == "400 of 500/s"


async def test_an_estimate_is_shown_until_it_is_corrected() -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        watch = Watch(pool)
        await pool.run(corrects, 12.5, uses={"tokens": 4000})
        assert usage(watch, "A") == "12.5 of 90k/min"


async def test_corrections_of_what_was_used_before_are_no_use_below_nothing(autojump_clock: MockClock) -> None:
    async def corrects_late(resource: object) -> None:
        await trio.sleep(1)
        current_job().set_used(tokens=10)

    async with open_pool([key("A", limit(90_000))]) as pool:
        await pool.submit(corrects_late, uses={"tokens": 4000})
        await trio.sleep(0.5)
        watch = Watch(pool)
        await pool.join()
        assert usage(watch, "A") == "0 of 90k/min"


async def test_of_several_limits_the_one_is_shown_that_is_used_most(autojump_clock: MockClock) -> None:
    day = limit(100_000, per=86_400)
    async with open_pool([key("A", limit(1000), limit(2000), day)]) as pool:
        watch = Watch(pool)
        assert usage(watch, "A") == "0 of 1k/min"
        await use(pool, tokens=900)
        assert usage(watch, "A") == "900 of 1k/min"
        for _ in range(12):
            await trio.sleep(60)
            await use(pool, tokens=900)
            watch.read()
        await trio.sleep(60)
        assert usage(watch, "A") == "11.7k of 100k/d"


async def test_another_limit_is_shown_once_it_is_assigned(autojump_clock: MockClock) -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        watch = Watch(pool)
        worker = pool.workers[0]
        await use(pool, tokens=1000)
        worker.rate_limit = limit(50_000)
        assert usage(watch, "A") == "1k of 50k/min"
        worker.rate_limit = limit(500_000, per=3600)
        assert usage(watch, "A") == "0 of 500k/h"
        await use(pool, tokens=70)
        assert usage(watch, "A") == "70 of 500k/h"


async def test_limits_that_come_and_go_are_forgotten(autojump_clock: MockClock) -> None:
    async with open_pool([key("A")]) as pool:
        watch = Watch(pool)
        for number in range(1, 20):
            pool.workers[0].rate_limit = [limit(1, per=number), limit(1, per=number + 0.5).shared()]
            await use(pool, tokens=1)
            await trio.sleep(10 * number)
            watch.read()
        units = watch.readings._units
        assert len(units._accounts) == 1
        assert len(units._windows) <= 6
        assert all(len(window._kept) <= SAMPLES + 2 for window in units._windows.values())


# Workers come and go


async def test_what_a_worker_used_that_has_come_meanwhile_is_shown_in_full(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        await trio.sleep(2)
        await pool.add("b", name="B", rate_limit=limit(90_000))
        await use(pool, 1, tokens=300)
        assert usage(watch, "B") == "300 of 90k/min"


async def test_what_a_worker_used_that_has_left_still_counts_for_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool([key("A", limit(90_000)), B]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=300)
        await trio.sleep(60)
        await pool.workers[0].remove()
        assert watch.line("tokens") == "tokens 300/min"
        assert watch.line("worker").endswith("rate tokens")
        assert not any(line.startswith("A") for line in watch.lines())


async def test_the_period_stays_when_the_only_worker_with_a_limit_leaves(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=0, max=1, idle_timeout=5, rate_limit=limit(500, per=30))) as pool:
        watch = Watch(pool)
        await pool.run(works, uses={"tokens": 200})
        assert watch.line("tokens") == "tokens 1.2k/30 s"
        await trio.sleep(10)
        assert not pool.workers
        assert watch.line("tokens") == "tokens 600/30 s"


async def test_the_workers_of_a_pool_that_is_over_keep_their_limits() -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=300)
    assert usage(watch, "A") == "300 of 90k/min"


async def test_of_a_pool_that_was_over_before_the_limits_of_workers_are_not_known() -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        await use(pool, tokens=300)
    watch = Watch(pool)
    assert watch.line("tokens") == "tokens 0/min"
    assert usage(watch, "A") == "0/min"


# A limit of the pool


async def test_the_pool_is_shown_with_what_all_workers_used_of_its_limit() -> None:
    async with open_pool([A, B], rate_limit=limit(300_000)) as pool:
        watch = Watch(pool)
        assert watch.lines()[4].rstrip() == "tokens 0 of 300k/min"
        await use(pool, 0, tokens=1500)
        await use(pool, 1, tokens=2000)
        assert watch.lines()[4].rstrip() == "tokens 3.5k of 300k/min"
        pool.rate_limit = limit(100_000)
        assert watch.lines()[4].rstrip() == "tokens 3.5k of 100k/min"


async def test_limits_without_a_unit_are_not_among_them() -> None:
    limits = RateLimit(60, per=60, burst=10)
    async with open_pool([Resource("a", name="A", rate_limit=[limits])], rate_limit=limits) as pool:
        watch = Watch(pool)
        await use(pool)
        assert watch.line("worker") == "worker state job attempts ok failed rate"
        assert watch.lines(height=8)[4] == ""
        assert watch.plain().endswith("; workers: 1 idle")


async def test_what_is_used_without_a_limit_is_shown_as_a_rate_per_minute(autojump_clock: MockClock) -> None:
    async with open_pool([A, B]) as pool:
        watch = Watch(pool)
        await use(pool, 0, tokens=3000)
        await trio.sleep(30)
        assert watch.line("tokens") == "tokens 6k/min"
        assert usage(watch, "A") == "6k/min"
        assert watch.line("B") == "B idle 0 0 0 0/s"
        await trio.sleep(30)
        assert watch.line("tokens") == "tokens 3k/min"


async def test_the_first_moments_make_no_enormous_rate(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=100)
        assert watch.line("tokens") == "tokens 1.2k/min"
        await trio.sleep(0.25)
        assert watch.line("tokens") == "tokens 1.2k/min"


# Shared limits


async def test_a_shared_limit_is_shown_with_what_all_its_workers_used(autojump_clock: MockClock) -> None:
    acme = limit(13_500).shared(name="acme")
    async with open_pool([key("A", limit(9000), acme), key("B", acme), key("C", limit(9000))]) as pool:
        watch = Watch(pool)
        for number in range(3):
            await use(pool, number, tokens=1000 * (number + 1))
        await trio.sleep(60)
        assert watch.line("tokens") == "tokens 6k/min acme 3k of 13.5k/min"
        assert usage(watch, "A") == "1k of 9k/min"
        assert usage(watch, "B") == "2k/min"
        assert usage(watch, "C") == "3k of 9k/min"
        acme.limit = limit(20_000)
        assert watch.line("tokens") == "tokens 6k/min acme 3k of 20k/min"


async def test_a_shared_limit_that_a_worker_holds_twice_counts_once() -> None:
    shared = limit(13_500).shared()
    async with open_pool([key("A", shared, shared)]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=1000)
        assert watch.line("tokens").endswith(" shared 1k of 13.5k/min")


async def test_a_shared_limit_of_the_pool_is_shown_as_a_limit_of_the_pool() -> None:
    shared = limit(13_500).shared(name="acme")
    async with open_pool([key("A", shared)], rate_limit=shared) as pool:
        watch = Watch(pool)
        await use(pool, tokens=1000)
        assert watch.line("tokens") == "tokens 1k of 13.5k/min"


async def test_what_workers_used_of_a_shared_limit_counts_after_they_have_left(autojump_clock: MockClock) -> None:
    acme = limit(13_500).shared(name="acme")
    async with open_pool(Elastic(Mint(), min=0, max=2, idle_timeout=5, rate_limit=acme)) as pool:
        watch = Watch(pool)
        await pool.submit(sleeps, 1, uses={"tokens": 1000})
        await trio.sleep(0.5)
        watch.read()
        await pool.submit(corrects, 3000)
        await trio.sleep(0.25)
        watch.read()
        await trio.sleep(20)
        assert not pool.workers
        assert watch.line("tokens").endswith(" acme 4k of 13.5k/min")
        await trio.sleep(20)
        await pool.run(works, uses={"tokens": 500})
        assert watch.line("tokens").endswith(" acme 4.5k of 13.5k/min")
        for _ in range(20):
            await trio.sleep(6)
            watch.read()
        assert watch.line("tokens") == "tokens 0/min"
        await pool.run(works, uses={"tokens": 70})
        assert watch.line("tokens").endswith(" acme 70 of 13.5k/min")


async def test_a_shared_limit_that_no_worker_has_any_more_is_shown_until_its_period_is_over(
    autojump_clock: MockClock,
) -> None:
    acme = limit(13_500).shared(name="acme")
    async with open_pool([key("A", acme)]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=1000)
        watch.read()
        pool.workers[0].rate_limit = None
        await use(pool, tokens=200)
        for _ in range(11):
            await trio.sleep(5)
            assert watch.line("tokens").endswith(" acme 1k of 13.5k/min")
        await trio.sleep(10)
        assert "acme" not in watch.line("tokens")


# Several units


async def test_each_unit_has_a_line_and_a_column_those_with_limits_first(autojump_clock: MockClock) -> None:
    async with open_pool([key("A", limit(90_000), limit(500, per=86_400, unit="pages")), B]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=100, pages=3, bytes=2048)
        await use(pool, 1, bytes=2048)
        await trio.sleep(60)
        assert [line.rstrip() for line in watch.lines()[4:8]] == [
            "pages 4.32k/d",
            "tokens 100/min",
            "bytes 4.1k/min",
            "bottleneck: the jobs. The places had nothing to run for 100 % of the time.",
        ]
        assert heads(watch, 120)[-3:] == ["pages", "tokens", "bytes"]
        assert watch.line("A").endswith(" 3 of 500/d 100 of 90k/min 2.05k/min")
        assert watch.line("B").endswith(" 2.05k/min")


async def test_few_lines_have_room_for_few_units() -> None:
    async with open_pool([key("A", limit(1), limit(1, unit="pages"), limit(1, unit="bytes"))]) as pool:
        watch = Watch(pool)
        for height, units in ((3, 0), (7, 0), (8, 1), (12, 2), (16, 3)):
            lines = watch.lines(height=height)
            assert sum(line.rstrip().endswith("/min") and not line.startswith("A") for line in lines) == units
            assert len(lines) <= max(4, height)


# Narrow terminals


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (130, "worker state job attempts ok failed rate tokens"),
        (100, "worker state job ok failed rate tokens"),
        (80, "worker state job ok failed tokens"),
        (60, "worker state job tokens"),
        (59, "worker state job ok failed"),
        (40, "worker state job"),
    ],
)
async def test_the_column_of_a_unit_goes_before_some_others_and_needs_room(width: int, columns: str) -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=71_200)
        assert " ".join(heads(watch, width)) == columns
        (row,) = (line for line in watch.lines(width) if line.startswith("A"))
        assert row.endswith("  71.2k of 90k/min") == columns.endswith("tokens")
        assert len(row) == width


@pytest.mark.parametrize("width", range(1, 130))
async def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    acme = limit(13_500).shared(name="東" * 9)
    async with open_pool([key("A", limit(90_000), acme, limit(7, per=33, unit="unité"))]) as pool:
        watch = Watch(pool)
        await use(pool, tokens=71_200)
        assert all(len(line) <= width for line in watch.lines(width, encoding="ascii"))


async def test_units_of_which_there_is_no_room_for_a_column_have_only_a_line() -> None:
    async with open_pool([key("A", *(limit(90_000, unit=unit) for unit in "abcd"))]) as pool:
        watch = Watch(pool)
        assert heads(watch, 80)[-2:] == ["a", "b"]
        assert watch.line("d") == "d 0/min"


async def test_a_unit_with_a_long_name_takes_not_much_more_room() -> None:
    async with open_pool([key("A", limit(1, unit="\x1b[31m" + "x" * 50))]) as pool:
        watch = Watch(pool)
        assert heads(watch, 120)[-1] == "\\x1b[31mxxxxxxx…"
        assert watch.line("\\x1b[31mxx").endswith("xx 0/min")


async def test_the_columns_don_t_move_with_the_amounts() -> None:
    async with open_pool([key("A", limit(90_000))]) as pool:
        watch = Watch(pool)
        before = watch.lines(80)[6]
        await use(pool, tokens=71_234)
        assert watch.lines(80)[6] == before


# The line of plain text, and the terminal


async def test_a_line_says_what_was_used_at_its_end(autojump_clock: MockClock) -> None:
    acme, other = limit(13_500).shared(name="acme"), limit(500).shared()
    async with open_pool([key("A", acme), key("B", other)], rate_limit=limit(20, unit="pages")) as pool:
        watch = Watch(pool)
        await use(pool, tokens=1000, pages=2)
        await trio.sleep(60)
        end = "workers: 2 idle; used: pages 2 of 20/min, tokens 1k/min (acme 1k of 13.5k/min, shared 0 of 500/min)"
        assert watch.plain().endswith(end)


async def test_the_lines_of_units_come_on_the_screen(autojump_clock: MockClock) -> None:
    terminal = Terminal()
    async with open_pool([key("A", limit(90_000))]) as pool, live(pool, total=4, console=terminal.console()):
        await pool.submit(sleeps, 3, name="print", uses={"tokens": 1200})
        await trio.sleep(2)
    assert terminal.line("tokens") == "tokens 14.4k/min"
    assert terminal.line("A").endswith("1.2k of 90k/min")


@pytest.mark.parametrize("amount", [1e308, 1e20, 0.1])
async def test_whatever_amounts_there_are_can_be_shown(amount: float) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        for _ in range(30):
            await use(pool, tokens=amount)
            watch.read()
        assert "/m" in usage(watch, "A")
        assert watch.plain().endswith("/min")


# The chapter


async def test_the_chapter_shows_a_frame_of_keys_with_quotas(autojump_clock: MockClock) -> None:
    calls, tokens = RateLimit(60, per=60, burst=10), RateLimit(90_000, per=60, burst=3000, unit="tokens")
    acme = RateLimit(135_000, per=60, burst=3000, unit="tokens").shared(name="acme")
    keys = [Resource(name, name=name, max_running=20, rate_limit=[calls, tokens]) for name in ("key-a", "key-b")]
    keys += [Resource(name, name=name, max_running=20, rate_limit=[calls, tokens, acme]) for name in ("key-c", "key-d")]
    async with open_pool(keys, name="llm batch") as pool:
        watch = Watch(pool, total=600)
        for number in range(600):
            worker = pool.workers[number % 4]
            uses = {"tokens": (900, 2000, 1700, 1800)[number % 4]}
            seconds = 8 + number / 317  # so that no two ends are at the same instant
            pool.submit_nowait(sleeps, seconds, worker=worker, name=f"prompt {number}", uses=uses)
        await trio.sleep(0.43)  # so that no reading is at the same instant as a start either
        for _ in range(100):
            await trio.sleep(1)
            watch.read()
        seen = [line.rstrip() for line in watch.lines(98)]
        pool.cancel()
    assert seen == CHAPTER.read_text(encoding="utf-8").splitlines()
