"""What OpenTelemetry is told of a pool that is watched only for a while."""

from __future__ import annotations

import gc

import trio
from trio.testing import MockClock

from tests.actors import sleeps
from tests.extras.otel.sdk import A, Backend, attributes, is_below, seconds
from trio_pool import JobState, RetryPolicy, open_pool


async def test_an_instrument_added_later_tells_of_what_it_sees_from_then_on(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async with open_pool(A, name="P") as pool:
        with backend.span("request"):
            await pool.submit(sleeps, 3, name="running")
            await pool.submit(sleeps, 1, name="queued")
        await trio.sleep(2)
        pool.add_instrument(backend.telemetry())
    [request] = backend.named("request")
    running, queued = backend.named("job")
    assert [attributes(span)["job.name"] for span in (running, queued)] == ["running", "queued"]
    assert [seconds(span) for span in (running, queued)] == [3, 4]
    assert [seconds(span) for span in backend.named("attempt")] == [3, 1]
    assert is_below(queued, request)
    assert backend.values("finished.jobs", "job.outcome") == {"succeeded": 2}


async def test_an_instrument_added_while_a_job_is_cut_short_counts_no_wait_for_its_next_start(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.submit(sleeps, 3)
        await trio.sleep(1)
        pool.add_instrument(backend.telemetry())
        await pool.workers[0].remove(cancel=True)
    assert [attributes(span)["attempt.outcome"] for span in backend.named("attempt")] == ["cut_short", "succeeded"]
    assert backend.points("job.wait_time") == {}


async def test_end_spans_ends_those_of_jobs_that_go_on_unwatched(backend: Backend, autojump_clock: MockClock) -> None:
    telemetry = backend.telemetry()
    async with open_pool(A, instruments=[telemetry]) as pool:
        await pool.submit(sleeps, 3)
        await pool.submit(sleeps, 3)
        await trio.sleep(1)
        pool.remove_instrument(telemetry)
        telemetry.end_spans()
        await trio.sleep(1)
        assert [attributes(span)["job.outcome"] for span in backend.named("job")] == ["unwatched"] * 2
        assert [attributes(span)["attempt.outcome"] for span in backend.named("attempt")] == ["unwatched"]
        assert [seconds(span) for span in backend.named("")] == [1, 1, 1]
    assert len(backend.named("job")) == 2


async def test_end_spans_tells_of_jobs_that_have_ended_meanwhile_as_they_did(
    backend: Backend, autojump_clock: MockClock
) -> None:
    telemetry = backend.telemetry()
    async with open_pool(A, instruments=[telemetry]) as pool:
        job = await pool.submit(sleeps, 3)
        pool.remove_instrument(telemetry)
        await trio.sleep(9)
        telemetry.end_spans()
    [span] = backend.named("job")
    assert job.finished_at == 3
    assert (attributes(span)["job.outcome"], seconds(span)) == ("succeeded", 3)


async def test_nothing_is_kept_of_the_jobs_of_a_pool_that_an_instrument_was_removed_from(
    backend: Backend, autojump_clock: MockClock
) -> None:
    telemetry = backend.telemetry()
    async with open_pool(A, instruments=[telemetry]) as pool:
        for _ in range(10):
            await pool.submit(sleeps, 1)
        pool.remove_instrument(telemetry)
    del pool
    gc.collect()
    assert len(telemetry._spans) == 0


async def test_an_instrument_may_be_added_again(backend: Backend, autojump_clock: MockClock) -> None:
    telemetry = backend.telemetry()
    retry = RetryPolicy.fixed(3, max_attempts=3)
    async with open_pool(["a", "b", "c"], instruments=[telemetry], retry=retry, on_dead="keep") as pool:
        await pool.submit(sleeps, 5, name="goes on")
        ending = await pool.submit(sleeps, 2, name="ends unseen")
        await pool.submit(sleeps, 9, name="is retried unseen", attempt_timeout=2)
        await trio.sleep(1)
        pool.remove_instrument(telemetry)
        await trio.sleep(3)
        pool.add_instrument(telemetry)
    assert ending.state is JobState.SUCCEEDED  # of a job that nobody has kept there is nothing left to be told
    told = {attributes(span)["job.name"]: attributes(span) for span in backend.named("job")}
    assert {name: each["job.outcome"] for name, each in told.items()} == {
        "goes on": "succeeded",
        "ends unseen": "succeeded",
        "is retried unseen": "dead",
    }
    assert sorted(attributes(span)["attempt.outcome"] for span in backend.named("attempt")) == [
        "failed",
        "failed",
        "succeeded",
        "unwatched",
        "unwatched",
    ]
    assert len(telemetry._spans) == 0


async def test_an_attempt_that_was_missed_does_not_lend_its_span_to_the_next(
    backend: Backend, autojump_clock: MockClock
) -> None:
    telemetry = backend.telemetry()
    retry = RetryPolicy.immediate(max_attempts=2)
    async with open_pool(A, instruments=[telemetry], retry=retry, on_dead="keep") as pool:
        await pool.submit(sleeps, 9, attempt_timeout=2)
        await trio.sleep(1)
        pool.remove_instrument(telemetry)
        await trio.sleep(2)
        pool.add_instrument(telemetry)
    first, second = backend.named("attempt")
    assert [attributes(span)["attempt.outcome"] for span in (first, second)] == ["unwatched", "failed"]
    assert seconds(second) == 2
