"""What a timeline shows of pools and workers, and of what overlaps."""

from __future__ import annotations

from random import Random
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.actors import Doors, Mint, fails, sleeps, sleeps_forever
from tests.effort import part_of
from tests.extras.timeline.pages import A, B, Page
from tests.traces import Trace, check
from trio_pool import (
    Attempt,
    CircuitBreaker,
    Elastic,
    Instrument,
    Job,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline
from trio_pool.timeline._spans import Row, Span, nested_lanes, separate_lanes


def run(main: Any, *args: Any) -> Any:
    """Run it in a Trio of its own, on a clock that costs no time."""
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


# Pools and workers.


async def test_a_pool_is_a_process_and_a_worker_a_thread_of_its_name(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, "unnamed"], instruments=[timeline], name="shop"):
        pass
    trace = Trace(timeline)
    assert list(trace.pools.values()) == ["shop"]
    assert list(trace.threads.values()) == ["A", "worker-2"]


async def test_two_pools_at_once_are_told_apart(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with (
        open_pool([A], instruments=[timeline], name="one") as one,
        open_pool([A], instruments=[timeline]) as other,
    ):
        await one.submit(sleeps, 1, name="first")
        await other.submit(sleeps, 2, name="second")
    trace = Trace(timeline)
    assert {(attempt.pool, attempt.name, attempt.end) for attempt in trace.attempts} == {
        ("one", "first", 1),
        ("pool 2", "second", 2),
    }
    check(trace)


async def test_pools_of_one_name_one_after_the_other_are_told_apart(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    for _ in range(3):
        async with open_pool([A], instruments=[timeline], name="shop") as pool:
            await pool.run(sleeps, 1)
    trace = Trace(timeline)
    assert [(attempt.pool, attempt.start) for attempt in trace.attempts] == [
        ("shop", 0),
        ("shop (2)", 1),
        ("shop (3)", 2),
    ]


async def test_a_worker_that_comes_with_the_name_of_one_that_left_has_a_row_of_its_own(
    autojump_clock: MockClock,
) -> None:
    timeline = Timeline()
    async with open_pool([A, Resource("x", name="A (2)")], instruments=[timeline]) as pool:
        await pool.run(sleeps, 1, worker=pool.workers[0])
        await pool.workers[0].remove()
        worker = await pool.add("c", name="A")
        await pool.run(sleeps, 1, worker=worker)
    assert [attempt.thread for attempt in Trace(timeline).attempts] == ["A", "A (3)"]


async def test_an_elastic_pool_that_had_no_workers_for_a_while_is_still_one_pool(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool(Elastic(Mint(), max=1, idle_timeout=1), instruments=[timeline], name="shop") as pool:
        await pool.run(sleeps, 1)
        await trio.sleep(5)
        await pool.run(sleeps, 1)
    trace = Trace(timeline)
    assert [(attempt.pool, attempt.thread) for attempt in trace.attempts] == [
        ("shop", "worker-1"),
        ("shop", "worker-2"),
    ]


async def test_a_timeline_that_comes_later_knows_the_pool_and_sees_what_is_under_way_from_its_start(
    autojump_clock: MockClock,
) -> None:
    timeline = Timeline()
    async with open_pool([A, B], name="shop") as pool:
        await trio.sleep(1)
        await pool.submit(sleeps, 4, name="early")
        await trio.sleep(1)
        pool.add_instrument(timeline)
        await pool.submit(sleeps, 1, name="late")
    trace = Trace(timeline)
    assert [(attempt.pool, *attempt.brief) for attempt in trace.attempts] == [
        ("shop", "A", "early", 0, 4),
        ("shop", "B", "late", 1, 2),
    ]
    check(trace)


async def test_a_delay_whose_beginning_was_not_seen_is_left_out(autojump_clock: MockClock) -> None:
    timeline = Timeline()

    class AddsIt(Instrument):
        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            pool.add_instrument(timeline)

    async with open_pool([A], retry=RetryPolicy.fixed(1), instruments=[AddsIt()]) as pool:
        await pool.run(Flaky(1))
    trace = Trace(timeline)
    assert [attempt.args["attempt"] for attempt in trace.attempts] == [2]
    assert trace.delays == []


async def test_a_cancelled_pool_leaves_nothing_unfinished(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    policy = RetryPolicy.fixed(9)
    async with open_pool([A, B], retry=policy, on_dead="keep", instruments=[timeline]) as pool:
        await pool.submit(fails)
        await pool.submit(sleeps_forever)
        await pool.submit(sleeps_forever)
        await trio.sleep(1)
        pool.workers[1].rest(5)
        pool.workers[0].pause()
        pool.cancel()
    trace = Trace(timeline)
    assert sorted(trace.outcomes) == ["cut short", "cut short", "failed"]
    assert not [event for event in trace.events if event.get("args", {}).get("unfinished")]
    check(trace)


def test_a_later_run_of_trio_follows_where_the_earlier_one_ended() -> None:
    timeline = Timeline()

    async def main(before: float) -> None:
        await trio.sleep(before)
        async with open_pool([A], instruments=[timeline], name="shop") as pool:
            await pool.run(sleeps, 1)

    run(main, 500)
    run(main, 3)
    trace = Trace(timeline)
    assert [(attempt.pool, attempt.start, attempt.end) for attempt in trace.attempts] == [
        ("shop", 0, 1),
        ("shop (2)", 1, 2),
    ]


def test_after_the_run_the_end_is_where_all_was_over() -> None:
    timeline = Timeline()

    async def main() -> None:
        async with open_pool([A], instruments=[timeline]) as pool:
            await pool.run(sleeps, 1)
            await trio.sleep(2)

    run(main)
    assert Page(timeline).data["end"] == 3_000_000


# Overlaps.


async def test_what_overlaps_without_being_part_of_the_other_is_on_a_thread_beside(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.submit(sleeps, 3, name="job")
        await trio.sleep(1)
        pool.workers[0].rest(5)
        pool.workers[0].pause()
        await trio.sleep(1)
        pool.workers[0].resume()
        await trio.sleep(5)
    trace = Trace(timeline)
    assert [each.brief for each in trace.slices("attempt") + trace.slices("worker")] == [
        ("A", "job", 0, 3),
        ("A (overlapping)", "resting", 1, 6),
        ("A", "paused", 1, 2),
    ]
    check(trace)


times = st.tuples(st.integers(0, 20), st.integers(0, 8))
ROW = Row(1, None, 1, "A", 0)


def spans_of(pairs: list[tuple[int, int]]) -> list[Span]:
    return [
        Span(ROW, "resting", start, start + length, 0, "", 0, "", (), False, None, "", None) for start, length in pairs
    ]


@given(st.lists(times))
def test_spans_in_a_lane_are_nested(pairs: list[tuple[int, int]]) -> None:
    spans = spans_of(sorted(pairs, key=lambda pair: (pair[0], -pair[1])))
    lanes = nested_lanes(spans)
    for at, (span, lane) in enumerate(zip(spans, lanes, strict=True)):
        for other, its_lane in zip(spans[:at], lanes, strict=False):
            assert lane != its_lane or other.end <= span.start or span.end <= other.end


@given(st.lists(times))
def test_spans_in_a_lane_are_separate_and_there_are_no_more_lanes_than_needed(pairs: list[tuple[int, int]]) -> None:
    spans = spans_of(sorted(pairs))
    lanes = separate_lanes(spans)
    for at, (span, lane) in enumerate(zip(spans, lanes, strict=True)):
        for other, its_lane in zip(spans[:at], lanes, strict=False):
            assert lane != its_lane or other.end <= span.start
        assert lane <= sum(other.end > span.start for other in spans[:at])


@settings(max_examples=part_of(30))
@given(st.integers(0, 2**32))
def test_a_busy_pool_gives_a_valid_trace(seed: int) -> None:
    timeline = Timeline()
    trace = run(busy, timeline, Random(seed))
    check(trace)
    check(Trace(timeline))
    assert timeline.dropped == 0


async def busy(timeline: Timeline, rng: Random) -> Trace:
    """Let a pool have all kinds of trouble; returns the trace in the middle of it."""

    async def work(resource: object) -> None:
        await trio.sleep(rng.choice([0, 0.000_000_4, 1, 2, rng.random()]))
        if rng.random() < 0.4:
            raise rng.choice([OSError("no"), RetryAfter(1.5), RetryAfter(2, rest=True), ResourceBroken("gone")])

    doors = Doors(seconds_in=0.5)
    async with open_pool(
        ["a", "b", "c"],
        lifespan=doors.lifespan,
        retry=RetryPolicy(max_attempts=4, placement="other"),
        breaker=CircuitBreaker(failures=2, reset_after=3),
        on_dead="keep",
        instruments=[timeline],
        rng=rng,
    ) as pool:
        for _ in range(30):
            await pool.submit(work)
            await trio.sleep(rng.choice([0, 0.1, 1]))
            if rng.random() < 0.3:
                rng.choice(pool.workers).rest(rng.choice([1, 4]))
            if rng.random() < 0.3:
                rng.choice(pool.workers).pause()
            if rng.random() < 0.3:
                rng.choice(pool.workers).resume()
        return Trace(timeline)


# The whole pool.


async def test_pauses_and_rests_of_the_whole_pool_have_a_row_of_their_own(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline], name="shop") as pool:
        pool.pause()
        await trio.sleep(2)
        pool.resume()
        await trio.sleep(1)
        pool.rest(4)
        await trio.sleep(9)
        pool.pause()
        assert [hold[3:5] for hold in Page(timeline).data["holds"]] == [[2_000_000, 0], [7_000_000, 0], [12_000_000, 1]]
        await trio.sleep(1)
    data = Page(timeline).data
    assert [row[1] for row in data["rows"]] == ["the whole pool", "A"]
    assert data["workers"] == 1
    kinds = [(data["hindrances"][kind], start, end) for row, kind, start, end, *_ in data["holds"] if row == 0]
    assert kinds == [("paused", 0, 2_000_000), ("resting", 3_000_000, 7_000_000), ("paused", 12_000_000, 13_000_000)]
    trace = Trace(timeline)
    assert list(trace.threads.values()) == ["the whole pool", "A"]
    check(trace)


async def test_the_pause_of_a_pool_without_workers_ends_with_the_pool(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    nothing: list[str] = []
    async with open_pool(nothing, instruments=[timeline]) as pool:
        pool.pause()
        await trio.sleep(2)
        assert Page(timeline).data["end"] == 2_000_000
        pool.cancel()
    assert [hold[3:5] for hold in Page(timeline).data["holds"]] == [[2_000_000, 0]]


async def test_a_pool_without_events_is_not_in_the_timeline() -> None:
    timeline = Timeline()
    async with open_pool([], instruments=[timeline]):
        pass
    assert Page(timeline).data["pools"] == []
