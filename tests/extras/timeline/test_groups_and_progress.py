"""What a timeline shows of groups, and of how far attempts came."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps, works
from tests.extras.timeline.pages import A, Page
from tests.traces import Trace, check
from trio_pool import RetryPolicy, current_job, open_pool
from trio_pool.timeline import Timeline


async def test_a_group_is_a_band_with_the_outcomes_of_its_jobs(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline], on_dead="keep") as pool:
        await trio.sleep(1)
        async with pool.open_group(name="pages") as group:
            await group.submit(sleeps, 2)
            await group.submit(fails)
        async with pool.open_group():
            pass
    trace = Trace(timeline)
    assert [(group.brief, group.args) for group in trace.groups] == [
        (("", "pages", 1, 3), {"jobs": "2 jobs: 1 succeeded, 1 dead"}),
        (("", "a group", 3, 3), {"jobs": "0 jobs"}),
    ]
    check(trace)
    assert Page(timeline).data["groups"] == [
        [0, 0, 1_000_000, 3_000_000, 0, None, "2 jobs: 1 succeeded, 1 dead", "pages"],
        [0, 0, 3_000_000, 3_000_000, 0, None, "0 jobs", "a group"],
    ]


async def test_groups_that_overlap_are_bands_in_lanes_of_their_own(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool, pool.open_group(name="one"):
        await trio.sleep(1)
        async with pool.open_group(name="two"):
            await trio.sleep(1)
    assert [(band[1], band[-1]) for band in Page(timeline).data["groups"]] == [(0, "one"), (1, "two")]
    assert list(Trace(timeline).threads.values()) == ["A"]


async def test_a_group_that_is_still_open_ends_now(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool, pool.open_group(name="pages"):
        await trio.sleep(3)
        found = [(group.brief, group.args) for group in Trace(timeline).groups]
        assert found == [(("", "pages", 0, 3), {"jobs": "0 jobs", "unfinished": True})]


async def test_a_group_whose_opening_was_missed_is_left_out(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A]) as pool, pool.open_group():
        pool.add_instrument(timeline)
        await pool.run(works)
    assert Trace(timeline).groups == []


async def test_an_attempt_tells_how_far_it_came(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> None:
        job = current_job()
        if job.attempt_count == 0:
            job.report(1, 4)
            job.report(2, 4, "reading")
            raise ValueError("jammed")
        await trio.sleep(1)

    timeline = Timeline()
    async with open_pool([A], instruments=[timeline], retry=RetryPolicy.fixed(1)) as pool:
        await pool.run(work)
    first, second = Trace(timeline).attempts
    assert first.args["progress"] == "2 of 4 (50 %), reading"
    assert "progress" not in second.args
    assert [attempt[-1] for attempt in Page(timeline).data["attempts"]] == ["2 of 4 (50 %), reading", ""]


async def test_one_that_still_runs_tells_how_far_it_is(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> None:
        current_job().report(1, 4)
        await trio.sleep(2)

    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.submit(work)
        await trio.sleep(1)
        [attempt] = Trace(timeline).attempts
        assert attempt.args["progress"] == "1 of 4 (25 %)"
