"""What the live view shows of workers and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from tests.actors import Doors, Mint, fails, sleeps, sleeps_forever, works
from tests.extras.rich.watch import A, B, Watch, says
from tests.terminal import Terminal
from trio_pool import CircuitBreaker, Elastic, RateLimit, Resource, ResourceBroken, RetryPolicy, open_pool
from trio_pool.rich import live
from trio_pool.rich._window import RATE_OVER, SAMPLES, Window

if TYPE_CHECKING:
    from trio.testing import MockClock


# The workers


async def test_a_busy_worker_is_shown_with_its_job_and_for_how_long(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        await pool.submit(sleeps, 10, name="print")
        await trio.sleep(3)
        assert watch.line("A").startswith("A busy 3.0 s 1 print")


async def test_an_idle_worker_is_shown_as_idle() -> None:
    async with open_pool([A]) as pool:
        assert Watch(pool).line("A").startswith("A idle 0 0 0")


async def test_an_idle_worker_that_is_kept_for_a_group_is_shown_with_its_name() -> None:
    async with open_pool([A]) as pool, pool.open_group(reserve=1, name="urgent"):
        assert Watch(pool).line("A").startswith("A idle reserved for the group 'urgent' 0 0 0")


async def test_a_resting_worker_is_shown_with_how_long_it_rests_still(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        pool.workers[0].rest(5)
        await trio.sleep(2)
        assert watch.line("A").startswith("A resting 3.0 s left")


async def test_a_quarantined_worker_is_shown_with_how_long_it_still_is(autojump_clock: MockClock) -> None:
    async with open_pool([A], breaker=CircuitBreaker(1, reset_after=100), on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.submit(fails)
        await trio.sleep(30)
        assert watch.line("A").startswith("A quarantined 1:10 left")


async def test_a_paused_worker_is_shown_as_paused_though_it_rests(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        pool.workers[0].rest(5)
        pool.workers[0].pause()
        assert watch.line("A").startswith("A paused 0 0 0")


async def test_an_idle_worker_is_shown_with_how_long_its_rate_limit_holds_it_back(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", name="A", rate_limit=RateLimit(1, per=8))]) as pool:
        watch = Watch(pool)
        await pool.run(works)
        await pool.submit(works)
        await trio.sleep(2)
        assert watch.line("A").startswith("A idle 6.0 s until its rate limit allows a job")


async def test_a_reopening_worker_is_shown_with_what_keeps_it_from_opening(autojump_clock: MockClock) -> None:
    doors = Doors()
    async with open_pool([A], lifespan=doors.lifespan, on_dead="keep") as pool:
        watch = Watch(pool)
        doors.errors_in["a"] = [OSError("no paper")] * 9
        await pool.submit(says, ResourceBroken("jammed"))
        await trio.sleep(1)
        assert watch.line("A").startswith("A reopening OSError: no paper")
        pool.cancel()


async def test_a_worker_that_is_opened_anew_without_an_error_is_shown_as_reopening(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_in=5)
    async with open_pool([Resource("a", name="A", max_jobs=1)], lifespan=doors.lifespan) as pool:
        watch = Watch(pool)
        await pool.run(works)
        await trio.sleep(1)
        assert watch.line("A").startswith("A reopening 1 1 0")


async def test_the_attempts_of_a_worker_are_counted_by_how_they_ended(autojump_clock: MockClock) -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        for fn in (works, fails, works):
            await pool.submit(fn)
        await pool.join()
        await trio.sleep(2)
        assert watch.line("A") == "A idle 3 2 1 1.5/s"


async def test_the_rate_of_a_worker_is_that_of_the_last_seconds(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        await pool.submit(works)
        for _ in range(10):
            await trio.sleep(RATE_OVER / 10)
            watch.read()
        assert watch.line("A").endswith("0.1/s")
        for _ in range(10):
            await trio.sleep(RATE_OVER / 10)
            watch.read()
        assert watch.line("A").endswith("0/s")


async def test_the_rate_of_a_worker_that_has_come_meanwhile_counts_from_nothing(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        await trio.sleep(2)
        added = await pool.add("b", name="B")
        await pool.run(works, worker=added)
        assert watch.line("B") == "B idle 1 1 0 0.5/s"


async def test_workers_of_an_elastic_pool_come_and_go(autojump_clock: MockClock) -> None:
    async with open_pool(Elastic(Mint(), min=1, max=2, idle_timeout=5)) as pool:
        watch = Watch(pool)
        await pool.submit(sleeps, 2)
        await pool.submit(sleeps, 2)
        await trio.sleep(1)
        assert [watch.line(worker.name).split()[1] for worker in pool.workers] == ["busy", "busy"]
        names = {worker.name for worker in pool.workers}
        await trio.sleep(10)
        (left,) = pool.workers
        (gone,) = names - {left.name}
        assert watch.line(left.name).split()[1] == "idle"
        assert not any(line.startswith(gone) for line in watch.lines())


async def test_of_more_workers_than_fit_those_are_shown_that_do_and_the_others_are_counted_by_state(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(30) as pool:
        for _ in range(20):
            await pool.submit(trio.sleep, 1)
        lines = Watch(pool).lines(height=16)
        assert len(lines) == 16
        shown = [line for line in lines if line.startswith(pool.workers[0].name.rstrip("1"))]
        assert len(shown) == 9
        rest = 30 - 9
        idle = 10 - sum("idle" in line for line in shown)
        assert lines[-1].rstrip() == f"and {rest} more: {idle} idle, {rest - idle} busy"


async def test_as_many_workers_as_there_are_lines_are_all_shown() -> None:
    async with open_pool(10) as pool:
        lines = Watch(pool).lines(height=16)
        assert len(lines) == 16
        assert not any("more" in line for line in lines)


async def test_a_pool_without_workers_says_so() -> None:
    nothing: list[str] = []
    async with open_pool(nothing) as pool:
        watch = Watch(pool)
        assert "no workers" in watch.lines()
        assert watch.plain().endswith("workers: none")


async def test_the_workers_of_a_pool_that_is_over_are_shown_as_they_ended() -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        await pool.run(works)
    assert watch.line("A").startswith("A stopped 1 1 0")


# The jobs


async def test_the_jobs_in_the_pool_are_counted_by_state(autojump_clock: MockClock) -> None:
    async with open_pool([A, B], retry=RetryPolicy.fixed(100)) as pool:
        watch = Watch(pool)
        await pool.submit(fails)
        await trio.sleep(1)
        for _ in range(5):
            await pool.submit(sleeps_forever)
        top = " ".join(watch.lines()[2].split())
        assert top.startswith("2 running 3 queued 1 delayed 0 blocked")
        pool.cancel()


async def test_the_jobs_that_have_ended_are_counted_by_outcome() -> None:
    async with open_pool([A], on_dead="keep") as pool:
        watch = Watch(pool)
        await pool.run(works)
        await pool.submit(fails)
        (await pool.submit(sleeps_forever)).cancel()
        await pool.join()
        top = " ".join(watch.lines()[3].split())
        assert top == "1 succeeded 1 dead 1 cancelled 0 discarded 3 of 3 so far"


async def test_large_counts_keep_their_columns() -> None:
    async with open_pool([A], max_queue=None) as pool:
        watch = Watch(pool)
        for _ in range(12345):
            pool.submit_nowait(works)
        above, below = watch.lines()[2:4]
        assert above.startswith("   1 running   12344 queued    0 delayed")
        assert below.startswith("   0 succeeded     0 dead      0 cancelled")
        pool.cancel()


async def test_the_bar_is_filled_by_what_has_ended_and_then_by_what_is_in_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool, total=10)
        for _ in range(4):
            await pool.run(works)
        await pool.submit(sleeps, 1)
        await pool.submit(sleeps, 1)
        assert watch.lines(width=50)[1] == "━" * 20 + "─" * 10 + "┈" * 20


async def test_the_bar_without_a_total_is_of_the_jobs_so_far(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        assert watch.lines(width=40)[1] == "┈" * 40
        await pool.run(works)
        await pool.submit(sleeps, 1)
        assert watch.lines(width=40)[1] == "━" * 20 + "─" * 20
        assert watch.lines(width=40, encoding="ascii")[1] == "#" * 20 + "=" * 20


@pytest.mark.parametrize("width", range(1, 40))
async def test_the_parts_of_the_bar_fill_the_line_whatever_they_are(width: int, autojump_clock: MockClock) -> None:
    async with open_pool([A, B], on_dead="keep") as pool:
        watch = Watch(pool, total=17)
        for fn in (works, fails, works):
            await pool.submit(fn)
        await pool.join()
        for _ in range(5):
            await pool.submit(sleeps, 1)
        assert len(watch.lines(width)[1]) == width


async def test_the_rate_is_that_at_which_jobs_ended_in_the_last_seconds(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        assert "/s" not in watch.lines()[2]
        for _ in range(5):
            await pool.run(sleeps, 2)
            watch.read()
        assert watch.lines()[2].endswith(" 0.5/s")
        assert watch.lines()[2].endswith(" 0.5/s")
        await trio.sleep(RATE_OVER)
        assert watch.lines()[2].endswith(" 0/s")


async def test_the_time_left_is_worked_out_when_the_total_is_known(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool, total=100)
        for _ in range(5):
            await pool.run(sleeps, 2)
        assert watch.lines()[2].endswith(" 0.5/s  3:10 left")
        assert watch.lines()[3].endswith(" 5 of 100 (5 %)")


async def test_the_time_left_knows_a_limit_whose_burst_is_not_used_up_yet(autojump_clock: MockClock) -> None:
    async with open_pool([A], rate_limit=RateLimit(1, per=60, burst=11)) as pool:
        watch = Watch(pool, total=20)
        for _ in range(10):
            await pool.run(sleeps, 1)
        # One more at once, and nine at a minute each; 10 s of the first minute have passed.
        assert watch.lines()[2].endswith("8:51 left")


async def test_no_time_left_is_given_while_nothing_has_ended_or_when_all_has(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool, total=1)
        await pool.submit(sleeps, 2)
        await trio.sleep(1)
        assert "left" not in watch.lines()[2]
        await pool.join()
        assert "left" not in watch.lines()[2]


async def test_jobs_beyond_the_total_count_too(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool, total=1)
        await pool.run(works)
        assert watch.lines()[3].endswith("1 of 1 (100 %)")
        await pool.submit(sleeps, 1)
        assert watch.lines()[3].endswith("1 of 2 (50 %)")


async def test_not_even_the_last_of_very_many_jobs_is_rounded_away(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool, total=1000)
        for _ in range(999):
            pool.submit_nowait(works)
        await pool.join()
        assert watch.lines()[3].endswith("999 of 1000 (99 %)")


async def test_a_total_of_no_jobs_is_no_division_by_zero() -> None:
    async with open_pool([A]) as pool:
        assert Watch(pool, total=0).lines()[3].endswith("0 of 0")


async def test_the_top_shows_the_pool_s_name_and_the_time_since_the_view_began(autojump_clock: MockClock) -> None:
    async with open_pool([A], name="printers") as pool:
        await trio.sleep(1000)
        watch = Watch(pool)
        await trio.sleep(75)
        assert watch.lines(width=40)[0] == f"printers{'1:15':>32}"


async def test_a_window_keeps_few_values_however_many_there_are() -> None:
    window: Window[int] = Window(10)
    for number in range(100_000):
        window.add(number / 1000, number)
    assert len(window._kept) <= SAMPLES + 2


# On a terminal


async def test_the_frame_is_what_comes_on_the_screen(autojump_clock: MockClock) -> None:
    terminal = Terminal()
    async with open_pool([A, B], name="printers") as pool:
        async with live(pool, total=4, console=terminal.console()):
            await pool.submit(sleeps, 3, name="print")
            pool.workers[1].rest(5)
            await trio.sleep(2)
        pool.cancel()
    assert terminal.lines == [
        f"printers{'0:02':>92}",
        "─" * 25 + "┈" * 75,
        "   1 running      0 queued    0 delayed      0 blocked" + f"{'0/s':>46}",
        "   0 succeeded    0 dead      0 cancelled    0 discarded" + f"{'0 of 4 (0 %)':>44}",
        "bottleneck: the number of places, 50 % of the time.",
        "",
        "worker            state                 job                       attempts      ok  failed      rate",
        "A                 busy           2.0 s  1 print                          0       0       0       0/s",
        "B                 resting        3.0 s  left                             0       0       0       0/s",
        "",
    ]


# The whole pool


async def test_a_paused_pool_is_shown_as_paused_though_it_rests(autojump_clock: MockClock) -> None:
    async with open_pool([A], name="shop") as pool:
        watch = Watch(pool)
        pool.rest(5)
        pool.pause()
        assert watch.line("shop").startswith("shop paused 0:00")
        assert watch.plain().endswith(", paused; workers: 1 idle")


async def test_a_resting_pool_is_shown_with_how_long_it_rests_still(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        pool.rest(5)
        await trio.sleep(2)
        assert watch.line("pool").startswith("pool resting, 3.0 s left 0:02")
        assert watch.plain().endswith(", resting, 3.0 s left; workers: 1 idle")


async def test_of_a_pool_that_is_not_held_back_nothing_is_said(autojump_clock: MockClock) -> None:
    async with open_pool([A]) as pool:
        watch = Watch(pool)
        pool.rest(1)
        await trio.sleep(2)
        assert watch.line("pool").startswith("pool 0:02")
