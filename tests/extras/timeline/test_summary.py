"""The data of the summary of a timeline's page."""

from __future__ import annotations

import gc
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import sleeps
from tests.extras.timeline.pages import A, B, Page
from trio_pool import RetryPolicy, open_pool
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline
from trio_pool.timeline._summary import MOST_BARS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


def summaries(timeline: Timeline) -> list[dict[str, Any]]:
    """The summaries of the page, with the names of the causes, and seconds."""
    data = Page(timeline).data

    def named(time: list[list[int]]) -> dict[str, float]:
        return {data["causes"][cause]: part / 1e6 for cause, part in time}

    for each in data["summaries"]:
        each["bars"] = [(name, bool(left), named(time)) for name, left, time in each["bars"]]
        for part in ("whole", "others"):
            each[part] = named(each[part])
    found: list[dict[str, Any]] = data["summaries"]
    return found


async def test_the_bars_are_the_accounts_of_the_workers_while_the_pool_runs(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        await pool.submit(sleeps, 3, worker=pool.workers[0])
        pool.workers[1].pause()
        await trio.sleep(4)
        [summary] = summaries(timeline)
        assert summary["bars"] == [("A", False, {"running": 3, "idle": 1}), ("B", False, {"paused": 4})]
        assert summary["whole"] == {"running": 3, "paused": 4, "idle": 1}
        assert (summary["others"], summary["hidden"]) == ({}, 0)
        assert summary["bottleneck"] == "Bottleneck: pauses, 50 % of the time."
        assert summary["explanation"] == pool.explain()


async def test_a_worker_that_has_left_keeps_the_account_of_its_leaving(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        await trio.sleep(1)
        await pool.workers[0].remove()
        await trio.sleep(5)
        [summary] = summaries(timeline)
    assert summary["bars"] == [("B", False, {"idle": 6}), ("A", True, {"idle": 1})]
    assert summary["whole"] == {"idle": 7}


async def test_the_summary_of_a_closed_pool_is_that_of_its_end(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(sleeps, 2)
    text = pool.explain()
    await trio.sleep(100)
    reference = weakref.ref(pool)
    del pool
    gc.collect()
    assert reference() is None
    [summary] = summaries(timeline)
    assert summary["bars"] == [("A", True, {"running": 2})]
    assert summary["whole"] == {"running": 2}
    assert summary["explanation"] == text


async def test_workers_whose_records_were_dropped_are_in_the_sum_of_the_others(autojump_clock: MockClock) -> None:
    timeline = Timeline(keep=1)
    async with open_pool([A], instruments=[timeline]) as pool:
        for _ in range(3):
            worker = await pool.add("c", name="C")
            await trio.sleep(1)
            await worker.remove()
        [summary] = summaries(timeline)
    assert summary["bars"] == [("A", False, {"idle": 3}), ("C", True, {"idle": 1})]
    assert (summary["others"], summary["hidden"]) == ({"idle": 2}, 0)


async def test_of_very_many_workers_the_last_are_added_up(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool(MOST_BARS + 5, instruments=[timeline]):
        await trio.sleep(1)
        [summary] = summaries(timeline)
    assert len(summary["bars"]) == MOST_BARS
    assert (summary["others"], summary["hidden"]) == ({"idle": 5}, 5)


async def test_a_worker_that_the_timeline_has_not_seen_yet_has_a_bar(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B]) as pool:
        pool.add_instrument(timeline)
        pool.workers[0].pause()
        await trio.sleep(1)
        [summary] = summaries(timeline)
    assert summary["bars"] == [("A", False, {"paused": 1}), ("B", False, {"idle": 1})]


async def test_each_pool_has_a_summary_of_its_own(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline], name="one") as one:
        await one.run(sleeps, 1)
        async with open_pool([B], instruments=[timeline], name="two"):
            await trio.sleep(2)
        assert [(each["pool"], each["bars"]) for each in summaries(timeline)] == [
            (0, [("A", False, {"running": 1, "idle": 2})]),
            (1, [("B", True, {"idle": 2})]),
        ]


async def test_a_pool_that_could_not_be_opened_has_bars_alone(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def lifespan(name: str) -> AsyncGenerator[object]:
        await trio.sleep(1)
        if name == "b":
            raise OSError(name)
        yield name

    timeline = Timeline()
    with pytest.raises(OSError, match="b"):
        async with open_pool([A, B], lifespan=lifespan, max_opening=1, instruments=[timeline]):
            pass
    gc.collect()
    [summary] = summaries(timeline)
    assert [(name, left) for name, left, _ in summary["bars"]] == [("A", True)]
    assert summary["whole"] == summary["bars"][0][2]
    assert (summary["bottleneck"], summary["explanation"]) == ("", "")


async def test_a_job_waits_from_its_submission_until_its_first_start(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(5), instruments=[timeline]) as pool:
        await pool.submit(sleeps, 1)
        await pool.submit(Flaky(1, error=OSError("jammed")))
        await pool.submit(sleeps, 2)
        await trio.sleep(2)
        [summary] = summaries(timeline)
        assert summary["waiting"] == [3, 1_000_000, 1_000_000, 1_000_000, 1_000_000]
        assert summary["running"] == [2, 0, 1_000_000, 1_000_000, 1_000_000]
        await pool.join()
        [summary] = summaries(timeline)
    assert summary["waiting"][0] == 3
    assert summary["running"] == [4, 0, 2_000_000, 2_000_000, 2_000_000]


async def test_a_job_whose_first_attempt_was_cut_short_has_waited_once(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        job = await pool.submit(sleeps, 3)
        await trio.sleep(1)
        assert job.worker is not None
        await job.worker.remove(cancel=True)
        await job.wait()
        [summary] = summaries(timeline)
    assert summary["waiting"] == [1, 0, 0, 0, 0]
    assert summary["running"] == [2, 1_000_000, 3_000_000, 3_000_000, 3_000_000]


async def test_an_attempt_that_began_before_the_timeline_was_added_has_its_waiting_time(
    autojump_clock: MockClock,
) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(1)) as pool:
        await pool.submit(sleeps, 1)
        await pool.submit(sleeps, 2)
        await trio.sleep(2)
        pool.add_instrument(timeline)
        await pool.join()
        [summary] = summaries(timeline)
    assert summary["waiting"] == [1, *[1_000_000] * 4]
