"""``Timeline``: what it records, in how much memory, and the trace and the page that it writes."""

from __future__ import annotations

import gc
import json
import re
import weakref
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.actors import Doors, Mint, fails, sleeps, sleeps_forever, works
from tests.effort import part_of
from tests.threads import in_plain_thread
from tests.traces import Slice, Trace, check
from trio_pool import (
    Attempt,
    CircuitBreaker,
    Discard,
    Elastic,
    GiveUp,
    Instrument,
    Job,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    open_pool,
)
from trio_pool._spans import Row, Span, nested_lanes, separate_lanes
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline

A, B = Resource("a", name="A"), Resource("b", name="B")


async def sleeps_and_raises(resource: object, seconds: float, error: Exception) -> None:
    """Fails after a while."""
    await trio.sleep(seconds)
    raise error


def run(main: Any, *args: Any) -> Any:
    """Run it in a Trio of its own, on a clock that costs no time."""
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


# Attempts.


async def test_an_attempt_is_a_slice_on_its_workers_row(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        await pool.submit(sleeps, 2, name="long")
        await pool.submit(sleeps, 1, name="short")
    trace = Trace(timeline)
    assert [attempt.brief for attempt in trace.attempts] == [("A", "long", 0, 2), ("B", "short", 0, 1)]
    assert trace.attempts[0].args == {"job": 1, "name": "long", "attempt": 1, "outcome": "succeeded"}


async def test_times_are_counted_from_the_timelines_beginning(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    await trio.sleep(100)
    async with open_pool([A], instruments=[timeline]) as pool:
        await trio.sleep(0.000_5)
        await pool.run(sleeps, 1)
    assert [attempt.brief for attempt in Trace(timeline).attempts] == [("A", "sleeps(1)", 0.000_5, 1.000_5)]


async def test_a_failed_attempt_tells_its_error(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(1), instruments=[timeline]) as pool:
        await pool.run(Flaky(1, error=OSError("jammed\nagain")), name="print")
    first, second = Trace(timeline).attempts
    assert (first.args["outcome"], first.args["error"]) == ("failed", "OSError: jammed again")
    assert (second.args["outcome"], second.args["attempt"]) == ("succeeded", 2)
    assert "error" not in second.args


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ValueError("no"), "failed"),
        (RetryAfter(5), "put off"),
        (GiveUp("hopeless"), "dead"),
        (Discard("not needed"), "discarded"),
    ],
)
async def test_an_attempt_tells_what_its_error_meant(error: Exception, outcome: str, autojump_clock: MockClock) -> None:
    timeline = Timeline()
    policy = RetryPolicy.fixed(5)
    async with open_pool([A], retry=policy, on_dead="keep", instruments=[timeline]) as pool:
        await pool.submit(Flaky(1, error=error))
    assert Trace(timeline).outcomes[0] == outcome


async def test_the_last_attempt_of_a_dead_job_shows_that_it_was_the_last(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    policy = RetryPolicy.fixed(1, max_attempts=3)
    async with open_pool([A], retry=policy, on_dead="keep", instruments=[timeline]) as pool:
        await pool.submit(fails)
        await trio.sleep(5)
        await pool.submit(sleeps_forever, attempt_timeout=3)
    assert Trace(timeline).outcomes == ["failed", "failed", "dead"] * 2


async def test_an_attempt_that_is_cancelled_was_cut_short(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        job = await pool.submit(sleeps, 9)
        moved = await pool.submit(sleeps, 5, name="moved")
        await trio.sleep(1)
        job.cancel()
        await pool.workers[1].remove(cancel=True)
    trace = Trace(timeline)
    assert trace.outcomes == ["cut short", "cut short", "succeeded"]
    assert [attempt.args["attempt"] for attempt in trace.attempts if attempt.args["job"] == moved.id] == [1, 1]


async def test_an_attempt_that_was_told_of_anothers_cancellation_has_failed(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], on_dead="keep", instruments=[timeline]) as pool:
        other = await pool.submit(sleeps_forever)

        async def waits(resource: str) -> None:
            await other.wait()

        await pool.submit(waits)
        await trio.sleep(1)
        other.cancel()
    assert Trace(timeline).outcomes == ["cut short", "dead"]


async def test_an_attempt_names_those_who_hedged_it(autojump_clock: MockClock) -> None:
    timeline = Timeline()

    class Hedged(Instrument):
        def attempt_ended(self, job: Job[Any], attempt: Attempt) -> None:
            timeline.attempt_ended(job, attrs.evolve(attempt, hedges=((2, "B"), (7, "C"))))

    async with open_pool([A], instruments=[Hedged()]) as pool:
        await pool.run(works)
    [attempt] = Trace(timeline).attempts
    assert attempt.thread == "A"
    assert attempt.args["hedges"] == ["B", "C"]


async def test_an_attempt_under_way_is_shown_up_to_now_and_marked(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        job = await pool.submit(sleeps, 9, name="endless")
        await trio.sleep(2)
        trace = Trace(timeline)
        job.cancel()
    [attempt] = trace.attempts
    assert attempt.args == {"job": 1, "name": "endless", "attempt": 1, "outcome": "running", "unfinished": True}
    assert (attempt.start, attempt.end) == (0, 2)
    assert Trace(timeline).outcomes == ["cut short"]


# How the attempts of a job are joined.


async def test_a_flow_joins_the_attempts_of_a_job(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    policy = RetryPolicy.fixed(1, max_attempts=3, placement="other")
    async with open_pool([A, B], retry=policy, on_dead="keep", instruments=[timeline]) as pool:
        await pool.submit(fails)
    assert Trace(timeline).flows == [[("s", "A", 0), ("t", "B", 1), ("f", "A", 2)]]


async def test_a_job_with_one_attempt_has_no_flow(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(works)
    assert Trace(timeline).flows == []


async def test_jobs_of_two_pools_with_the_same_id_have_a_flow_each(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    policy = RetryPolicy.fixed(1)
    async with (
        open_pool([A], retry=policy, instruments=[timeline]) as one,
        open_pool([B], retry=policy, instruments=[timeline]) as other,
    ):
        await one.submit(Flaky(1))
        await other.submit(Flaky(1))
    trace = Trace(timeline)
    assert [attempt.args["job"] for attempt in trace.attempts] == [1, 1, 1, 1]
    assert trace.flows == [[("s", "A", 0), ("f", "A", 1)], [("s", "B", 0), ("f", "B", 1)]]


# Delays.


async def test_a_delay_lasts_until_the_job_may_be_tried_again(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(2), instruments=[timeline], name="P") as pool:
        await pool.submit(Flaky(1), name="flaky")
        await pool.submit(sleeps, 9)
    [delay] = Trace(timeline).delays
    assert delay == Slice("P", "", "flaky", 0, 2, {"job": 1, "name": "flaky", "attempt": 1})


async def test_a_delay_ends_with_its_job(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(9), instruments=[timeline]) as pool:
        job = await pool.submit(fails)
        await trio.sleep(1)
        job.cancel()
    assert [(delay.start, delay.end) for delay in Trace(timeline).delays] == [(0, 1)]


async def test_seen_from_another_thread_it_goes_as_far_as_its_last_record(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(sleeps, 1)
        job = await pool.submit(sleeps, 9)
        await trio.sleep(2)
        page = await in_plain_thread(timeline.html)
        job.cancel()
    assert '"end":1000000' in page.replace(" ", "")


async def test_a_pool_that_is_over_is_shown_up_to_its_end(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool(["a"], instruments=[timeline]) as pool:
        await pool.run(sleeps, 1)
    page = timeline.html()
    await trio.sleep(3600)
    assert timeline.html() == page


async def test_a_delay_that_is_not_over_is_shown_up_to_now_and_marked(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(9), on_dead="keep", instruments=[timeline]) as pool:
        job = await pool.submit(fails)
        await trio.sleep(1)
        [delay] = Trace(timeline).delays
        job.cancel()
    assert (delay.start, delay.end) == (0, 1)
    assert (delay.args["unfinished"], delay.args["until"]) == (True, 9_000_000)


async def test_a_job_whose_delay_is_over_and_that_waits_for_a_worker_backs_off_no_longer(
    autojump_clock: MockClock,
) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.fixed(2), on_dead="keep", instruments=[timeline]) as pool:
        await pool.submit(Flaky(1))
        await trio.sleep(1)
        await pool.submit(sleeps, 9)
        await trio.sleep(4)
        [delay] = Trace(timeline).delays
    assert (delay.start, delay.end) == (0, 2)
    assert "unfinished" not in delay.args


async def test_a_job_that_is_tried_again_at_once_has_no_delay(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], retry=RetryPolicy.immediate(), instruments=[timeline]) as pool:
        await pool.run(Flaky(2))
    trace = Trace(timeline)
    assert len(trace.attempts) == 3
    assert trace.delays == []


# What keeps workers from taking jobs.


async def test_a_rest_is_a_slice_on_its_workers_row(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(Flaky(1, error=RetryAfter(3, rest=True, counts=False)))
        await trio.sleep(2)
    trace = Trace(timeline)
    assert [hold.brief for hold in trace.holds] == [("A", "resting", 0, 3)]
    assert [attempt.start for attempt in trace.attempts] == [0, 3]


async def test_a_rest_whose_end_is_moved_is_one_rest(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        [worker] = pool.workers
        worker.rest(2)
        await trio.sleep(1)
        worker.rest(5)
        await trio.sleep(7)
        worker.rest(1)
        await trio.sleep(2)
    assert [hold.brief for hold in Trace(timeline).holds] == [("A", "resting", 0, 6), ("A", "resting", 8, 9)]


async def test_a_rest_ends_when_its_worker_leaves(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        pool.workers[0].rest(9)
        await trio.sleep(2)
        await pool.workers[0].remove()
        await trio.sleep(2)
    assert [hold.brief for hold in Trace(timeline).holds] == [("A", "resting", 0, 2)]


async def test_a_rest_that_is_not_over_is_shown_up_to_now_and_marked(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], instruments=[timeline]) as pool:
        pool.workers[0].rest(9)
        pool.workers[1].rest(1)
        await trio.sleep(2)
        trace = Trace(timeline)
    assert [hold.brief for hold in trace.holds] == [("A", "resting", 0, 2), ("B", "resting", 0, 1)]
    assert [hold.args for hold in trace.holds] == [{"unfinished": True, "until": 9_000_000}, {}]


async def test_a_quarantine_lasts_until_the_probe_and_follows_a_failed_one_anew(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    breaker = CircuitBreaker(failures=1, reset_after=10)
    async with open_pool([A], breaker=breaker, retry=RetryPolicy.immediate(), instruments=[timeline]) as pool:
        await pool.run(Flaky(2))
    trace = Trace(timeline)
    assert [hold.brief for hold in trace.holds] == [("A", "quarantined", 0, 10), ("A", "quarantined", 10, 20)]
    assert [(attempt.start, attempt.args["outcome"]) for attempt in trace.attempts] == [
        (0, "failed"),
        (10, "failed"),
        (20, "succeeded"),
    ]


async def test_a_pause_lasts_until_the_worker_is_resumed(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        [worker] = pool.workers
        worker.pause()
        await trio.sleep(3)
        [hold] = Trace(timeline).holds
        worker.resume()
        await trio.sleep(1)
    assert (hold.brief, hold.args) == (("A", "paused", 0, 3), {"unfinished": True})
    assert [hold.brief for hold in Trace(timeline).holds] == [("A", "paused", 0, 3)]


async def test_each_failure_to_reopen_a_resource_is_one_of_its_own(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    doors = Doors(seconds_in=1)
    pool = open_pool([A], lifespan=doors.lifespan, retry=RetryPolicy.fixed(1), instruments=[timeline], rng=Random(0))
    async with pool as opened:
        doors.errors_in["a"] = [OSError("locked")]
        await opened.run(Flaky(1, error=ResourceBroken("jammed")))
    first, second = Trace(timeline).holds
    assert (first.name, first.args) == ("reopening", {"error": "ResourceBroken: jammed"})
    assert (second.name, second.args) == ("reopening", {"error": "OSError: locked"})
    assert (first.start, first.end) == (0, 1)
    assert second.start == first.end
    assert second.end == Trace(timeline).attempts[1].start


async def test_reopening_a_resource_that_has_done_its_jobs_has_no_error(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    doors = Doors(seconds_in=1)
    resource = Resource("a", name="A", max_jobs=1)
    async with open_pool([resource], lifespan=doors.lifespan, instruments=[timeline]) as pool:
        await pool.run(works)
        await pool.run(works)
        await trio.sleep(1)
    assert [(hold.brief, hold.args) for hold in Trace(timeline).holds] == [
        (("A", "reopening", 0, 1), {}),
        (("A", "reopening", 1, 2), {}),
    ]


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
    return [Span(ROW, "resting", start, start + length, 0, "", 0, "", (), False, None) for start, length in pairs]


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


# Memory.


async def test_the_oldest_records_are_dropped_and_counted(autojump_clock: MockClock) -> None:
    timeline = Timeline(keep=3)
    async with open_pool([A], instruments=[timeline]) as pool:
        for number in range(5):
            await pool.run(sleeps, 1, name=f"job {number}")
        trace = Trace(timeline)
        assert timeline.dropped == 2
    assert [attempt.name for attempt in trace.attempts] == ["job 2", "job 3", "job 4"]
    assert trace.attempts[0].start == 2
    assert trace.whole["otherData"]["dropped_records"] == 2
    assert [event["name"] for event in trace.of("i")] == ["2 older records were dropped"]
    assert Page(timeline).data["dropped"] == 3  # the worker's leaving is a record, too
    check(trace)


async def test_nothing_is_said_of_dropped_records_if_there_are_none(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]):
        pass
    trace = Trace(timeline)
    assert trace.of("i") == []
    assert trace.whole["otherData"]["dropped_records"] == timeline.dropped == 0


async def test_only_the_record_of_a_leaving_worker_may_be_left(autojump_clock: MockClock) -> None:
    timeline = Timeline(keep=1)
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(sleeps, 1)
    trace = Trace(timeline)
    assert (trace.attempts, list(trace.threads.values())) == ([], ["A"])
    assert [event["ts"] for event in trace.of("i")] == [1_000_000]
    check(trace)


async def test_a_delay_may_be_left_of_a_worker_that_is_forgotten(autojump_clock: MockClock) -> None:
    timeline = Timeline(keep=1)
    async with open_pool([A, B], retry=RetryPolicy.fixed(3), instruments=[timeline], name="shop") as pool:
        job = await pool.submit(Flaky(1))
        await trio.sleep(1)
        await pool.workers[0].remove()
        await job.wait_started()
        pool.workers[0].pause()
        await trio.sleep(1)
        job.cancel()
        trace = Trace(timeline)
    assert [(delay.pool, delay.start, delay.end) for delay in trace.delays] == [("shop", 0, 2)]
    assert list(trace.threads.values()) == ["B"]
    check(trace)


async def test_memory_is_bounded(autojump_clock: MockClock) -> None:
    timeline = Timeline(keep=100)
    policy = RetryPolicy.fixed(1)
    async with open_pool(2, retry=policy, instruments=[timeline], name="slots") as pool:
        async with pool.as_completed(fails_now_and_then(), range(1000)) as jobs:
            async for job in jobs:
                assert job.result() is not None
        assert len(Trace(timeline).attempts) + len(Trace(timeline).delays) == 100
    assert timeline.dropped >= 1000


def fails_now_and_then() -> Any:
    """A function that fails with each item's first attempt if that can be divided by three."""
    seen: set[int] = set()

    async def work(item: int) -> int:
        if item % 3 == 0 and item not in seen:
            seen.add(item)
            raise ValueError(item)
        await trio.sleep(0.1)
        return item

    return work


@pytest.mark.parametrize(
    ("keep", "error", "message"),
    [
        (0, ValueError, "keep must be at least 1, got 0"),
        (1.5, TypeError, "keep must be an int, got 1.5"),
    ],
)
def test_at_least_one_record_is_kept(keep: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Timeline(keep=keep)


async def test_it_keeps_neither_jobs_nor_errors_nor_resources_alive(autojump_clock: MockClock) -> None:
    class Thing(OSError):
        pass

    async def breaks(resource: object, thing: Thing) -> None:
        raise Thing("broken") from thing

    timeline = Timeline()
    thing, resource = Thing(), Thing()
    async with open_pool([resource], on_dead="keep", instruments=[timeline]) as pool:
        job = await pool.submit(breaks, thing)
        with trio.move_on_after(1):
            await trio.sleep_forever()
        pool.dead.pop_all()
    assert Trace(timeline).outcomes == ["dead"]
    references = [weakref.ref(each) for each in (thing, resource, job, pool)]
    del thing, resource, job, pool
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


async def test_it_keeps_nothing_of_a_pool_that_could_not_be_opened() -> None:
    class Thing:
        pass

    @asynccontextmanager
    async def lifespan(thing: object) -> AsyncGenerator[object]:
        if isinstance(thing, str):
            raise OSError(thing)
        yield thing

    timeline = Timeline()
    thing = Thing()
    with pytest.raises(OSError, match="closed"):
        async with open_pool([thing, "closed"], lifespan=lifespan, instruments=[timeline]):
            pass
    reference = weakref.ref(thing)
    del thing
    gc.collect()
    assert reference() is None
    assert Trace(timeline).attempts == []


async def test_long_texts_are_cut_off(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], on_dead="keep", retry=RetryPolicy.fixed(1), instruments=[timeline]) as pool:
        await pool.submit(Flaky(1, error=OSError("x" * 1000)), name="y" * 1000)
    trace = Trace(timeline)
    assert trace.attempts[0].args["error"] == "OSError: " + "x" * 290 + "…"
    assert {each.args["name"] for each in trace.attempts + trace.delays} == {"y" * 299 + "…"}


async def test_an_error_that_cannot_be_told_is_called_by_its_type(autojump_clock: MockClock) -> None:
    class SpeechlessError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        job = await pool.submit(Flaky(1, error=SpeechlessError()), retry=RetryPolicy.fixed(1))
        await job.wait()
    assert [attempt.args.get("error") for attempt in Trace(timeline).attempts] == [
        "SpeechlessError: <its text can't be had>",
        None,
    ]


# Writing.


class Page(HTMLParser):
    """The page that a timeline would write now, as a browser takes it apart."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.text = timeline.html()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._inside: str | None = None
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = dict(attrs).get("type") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._inside == "application/json":
            self.data: dict[str, Any] = json.loads(data)
            self._inside = None


NASTY = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "\u2028\u2029",
    "'\"`${x}\\",
    "\ud800 \x00",
    "&lt;&amp;",
    "{the data}/* the script */",
    "ünïcödé 🚀",
]


@pytest.mark.parametrize("text", NASTY)
async def test_names_and_errors_arrive_in_the_page_whatever_is_in_them(text: str, autojump_clock: MockClock) -> None:
    timeline = Timeline()
    resource = Resource("a", name=text)
    policy = RetryPolicy.fixed(1)
    async with open_pool([resource], retry=policy, instruments=[timeline], name=text) as pool:
        await pool.run(Flaky(1, error=OSError(f"({text})")), name=text)
    page = Page(timeline)
    assert page.data["pools"] == [text]
    assert [name for _, name, *_ in page.data["rows"]] == [text]
    assert page.data["jobs"] == [[1, text]]
    assert "OSError: " + " ".join(f"({text})".split()) in page.data["attempts"][0]
    assert page.tags.count("script") == 2
    assert page.text.isascii()


async def test_the_page_holds_what_the_trace_does(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A, B], retry=RetryPolicy.fixed(2), instruments=[timeline], name="shop") as pool:
        await pool.submit(Flaky(1, error=OSError("jammed")), name="flaky")
        await trio.sleep(1)
        pool.workers[0].rest(4)
        await pool.submit(sleeps, 9, name="long")
        await trio.sleep(3)
        data = Page(timeline).data
    assert data["end"] == 4_000_000
    assert data["rows"] == [[0, "A", 0, None], [0, "B", 0, None]]
    assert data["jobs"] == [[1, "flaky"], [2, "long"]]
    named = [[*attempt[:2], data["outcomes"][attempt[2]], *attempt[3:]] for attempt in data["attempts"]]
    assert sorted(named) == [
        [0, 0, "failed", 0, 0, 0, None, "OSError: jammed", 0, 1, []],
        [1, 0, "running", 1_000_000, 4_000_000, 1, None, "", 1, 1, []],
    ]
    assert data["delays"] == [[0, 0, 0, 2_000_000, 0, None, "", 0, 1]]
    assert data["holds"] == [[0, data["hindrances"].index("resting"), 1_000_000, 4_000_000, 1, 5_000_000, ""]]


async def test_attempts_that_overlap_on_one_worker_are_in_lanes_of_their_own(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        job = await pool.submit(sleeps, 3)
        await job.wait()
        [attempt] = job.attempts
        # As of one that goes on elsewhere, by a hedge.
        timeline.attempt_ended(job, attrs.evolve(attempt, started_at=1.0, ended_at=5.0))
        timeline.attempt_ended(job, attrs.evolve(attempt, started_at=3.0, ended_at=3.0))
    data = Page(timeline).data
    assert [(lane, start, end) for _, lane, _, start, end, *_ in data["attempts"]] == [
        (0, 0, 3_000_000),
        (1, 1_000_000, 5_000_000),
        (0, 3_000_000, 3_000_000),
    ]
    check(Trace(timeline))


def test_a_timeline_of_nothing_can_be_written() -> None:
    timeline = Timeline()
    trace = Trace(timeline)
    assert trace.events == []
    check(trace)
    assert Page(timeline).data["attempts"] == []


async def test_the_page_needs_nothing_from_elsewhere(autojump_clock: MockClock) -> None:
    page = Page(Timeline())
    assert not [name for name, _ in page.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|import\(", page.text)


@pytest.mark.parametrize("kind", [str, Path])
async def test_it_writes_to_a_path(kind: Any, tmp_path: Path, autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(works)
    timeline.write_trace(kind(tmp_path / "trace.json"))
    timeline.write_html(kind(tmp_path / "page.html"))
    assert json.loads((tmp_path / "trace.json").read_bytes()) == timeline.trace()
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == timeline.html()


async def test_it_writes_to_an_open_file_and_leaves_it_open(autojump_clock: MockClock) -> None:
    timeline = Timeline()
    async with open_pool([A], instruments=[timeline]) as pool:
        await pool.run(works)
    trace, page = StringIO(), StringIO()
    timeline.write_trace(trace)
    timeline.write_html(page)
    assert json.loads(trace.getvalue()) == timeline.trace()
    assert page.getvalue() == timeline.html()


def test_a_path_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Timeline().write_html(tmp_path / "missing" / "page.html")
