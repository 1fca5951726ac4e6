"""What a timeline shows of attempts, delays, and what keeps workers from jobs."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.actors import Doors, fails, sleeps, sleeps_forever, works
from tests.extras.timeline.pages import A, B
from tests.threads import in_plain_thread
from tests.traces import Slice, Trace
from trio_pool import (
    Attempt,
    CircuitBreaker,
    Discard,
    GiveUp,
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
