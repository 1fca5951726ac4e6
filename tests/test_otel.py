"""What OpenTelemetry is told, as its SDK receives it."""

from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import urllib.request
import weakref
from collections.abc import Iterator
from typing import Any, cast

import pytest
import trio
from opentelemetry import baggage, context, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider, StatusCode
from prometheus_client import start_http_server
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Mint, fails, sleeps, sleeps_forever, works
from trio_pool import (
    Discard,
    Elastic,
    GiveUp,
    Job,
    JobState,
    Resource,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.otel import Telemetry

A = [Resource("a", name="A")]


class Backend:
    """An SDK whose spans and metrics stay in memory."""

    def __init__(self, tracers: TracerProvider | None = None) -> None:
        self.spans = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = tracers or TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader])

    def telemetry(self, **options: Any) -> Telemetry:
        return Telemetry(self.tracers, self.meters, **options)

    def span(self, name: str) -> Any:
        """The context manager of a span of the program's own."""
        return self.tracers.get_tracer("program").start_as_current_span(name)

    def named(self, start: str) -> list[ReadableSpan]:
        """The spans that have ended whose name starts so, in the order of their starts."""
        found = [span for span in self.spans.get_finished_spans() if span.name.startswith(start)]
        return sorted(found, key=lambda span: span.start_time or 0)

    def points(self, name: str) -> dict[frozenset[tuple[str, Any]], Any]:
        """What a metric stands at, by its attributes without the library's prefix."""
        data: Any = self.reader.get_metrics_data()
        found: dict[frozenset[tuple[str, Any]], Any] = {}
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == f"trio_pool.{name}":
                        for point in metric.data.data_points:
                            found[frozenset(short(point.attributes).items())] = point
        return found

    def values(self, name: str, *keys: str) -> dict[Any, float]:
        """The sums of a counter by the values of these attributes."""
        found: dict[Any, float] = {}
        for attributes, point in self.points(name).items():
            values = tuple(dict(attributes).get(key) for key in keys)
            key = values[0] if len(keys) == 1 else values
            found[key] = found.get(key, 0) + point.value
        return found


def short(attributes: Any) -> dict[str, Any]:
    return {name.removeprefix("trio_pool."): value for name, value in attributes.items()}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return short(span.attributes)


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def is_below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return child.parent is not None and child.parent.span_id == cast("Any", parent.context).span_id


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


# Spans


async def test_a_job_gets_a_span_and_its_attempt_one_below_it(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], name="P") as pool:
        await pool.run(works, name="print", priority=3)
    [job] = backend.named("job")
    [attempt] = backend.named("attempt")
    assert (job.name, attempt.name) == ("job works", "attempt works")
    assert job.parent is None
    assert is_below(attempt, job)
    assert attributes(job) == {
        "pool.name": "P",
        "job.id": 1,
        "job.name": "print",
        "job.function": "works",
        "job.priority": 3,
        "job.outcome": "succeeded",
        "job.attempts": 1,
    }
    assert attributes(attempt) == {
        "attempt.number": 1,
        "attempt.outcome": "succeeded",
        "worker.id": 1,
        "worker.name": "A",
    }
    assert {job.status.status_code, attempt.status.status_code} == {StatusCode.UNSET}


async def test_the_span_of_a_job_is_below_that_of_its_submitter(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        with backend.span("request"):
            job = await pool.submit(works)
        await job.wait()
    [request] = backend.named("request")
    [span] = backend.named("job")
    assert is_below(span, request)


async def test_a_submitter_that_waited_for_a_place_is_the_parent_too(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async def submit(name: str) -> None:
        with backend.span(name):
            await pool.submit(sleeps, 1, name=name)

    async with open_pool(A, instruments=[backend.telemetry()], max_queue=0) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 1, name="first")
        nursery.start_soon(submit, "left")
        nursery.start_soon(submit, "right")
    for name in ("left", "right"):
        [parent] = backend.named(name)
        [span] = [span for span in backend.named("job") if attributes(span)["job.name"] == name]
        assert is_below(span, parent)


async def test_a_job_that_dies_in_the_call_that_submits_it_is_below_its_submitter(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], no_worker="bury", on_dead="keep") as pool:
        with backend.span("request"):
            await pool.submit(works, requires=["gpu"])
    [request] = backend.named("request")
    [span] = backend.named("job")
    assert is_below(span, request)
    assert attributes(span)["job.dead_reason"] == "no_worker"
    assert backend.named("attempt") == []


async def test_a_job_that_dies_while_it_waits_for_a_place_has_no_parent_rather_than_a_wrong_one(
    backend: Backend, autojump_clock: MockClock
) -> None:
    with backend.span("opener"):
        async with open_pool(A, instruments=[backend.telemetry()], max_queue=0, on_dead="keep") as pool:
            await pool.submit(sleeps, 9)
            with backend.span("request"):
                await pool.submit(works, total_timeout=1)
    [span] = [span for span in backend.named("job") if attributes(span)["job.id"] == 2]
    assert span.parent is None
    assert attributes(span)["job.dead_reason"] == "timed_out"


async def test_the_jobs_of_a_stream_are_below_whoever_entered_it(backend: Backend, autojump_clock: MockClock) -> None:
    async with open_pool([1, 2, 3], instruments=[backend.telemetry()]) as pool:
        with backend.span("request"):
            async with pool.map(sleeps, [1, 2, 3, 4, 5]) as results:
                assert [result async for result in results] == [1, 2, 3, 4, 5]
    [request] = backend.named("request")
    assert [is_below(span, request) for span in backend.named("job")] == [True] * 5


async def test_a_job_that_is_retried_has_a_span_for_each_attempt(backend: Backend, autojump_clock: MockClock) -> None:
    async def flaky(resource: str) -> None:
        await trio.sleep(1)
        if current_job().attempt_count < 2:
            raise OSError("jammed")

    async with open_pool(A, instruments=[backend.telemetry()], retry=RetryPolicy.fixed(5)) as pool:
        await pool.submit(flaky)
    [job] = backend.named("job")
    first, second, third = backend.named("attempt")
    assert [is_below(span, job) for span in (first, second, third)] == [True] * 3
    assert [attributes(span)["attempt.number"] for span in (first, second, third)] == [1, 2, 3]
    assert [attributes(span).get("attempt.delay") for span in (first, second, third)] == [None, 5, 5]
    assert [seconds(span) for span in (first, second, third, job)] == [1, 1, 1, 13]
    assert first.start_time == job.start_time
    assert third.end_time == job.end_time


async def test_an_attempt_that_comes_at_once_had_no_delay(backend: Backend) -> None:
    policy = RetryPolicy.immediate(max_attempts=2)
    async with open_pool(A, instruments=[backend.telemetry()], retry=policy, on_dead="keep") as pool:
        await pool.submit(fails)
    assert ["attempt.delay" in attributes(span) for span in backend.named("attempt")] == [False, False]


async def test_the_error_of_an_attempt_is_recorded_on_its_span(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(fails)
    [attempt] = backend.named("attempt")
    assert attempt.status.status_code is StatusCode.ERROR
    assert attempt.status.description == "ValueError: failed"
    assert attributes(attempt)["attempt.outcome"] == "failed"
    assert attributes(attempt)["error.type"] == "ValueError"
    [event] = attempt.events
    recorded = dict(event.attributes or {})
    assert (event.name, event.timestamp) == ("exception", attempt.end_time)
    assert (recorded["exception.type"], recorded["exception.message"]) == ("ValueError", "failed")
    assert 'raise ValueError("failed")' in str(recorded["exception.stacktrace"])


async def test_tracebacks_can_be_left_out(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry(record_exceptions=False)], on_dead="keep") as pool:
        await pool.submit(fails)
    [attempt] = backend.named("attempt")
    assert attempt.events == ()
    assert attempt.status.status_code is StatusCode.ERROR


async def test_an_error_whose_text_is_at_fault_is_told_without_it(backend: Backend) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    async def fail(resource: str) -> None:
        raise Mute

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(fail)
        await pool.run(works)
    assert [attributes(span)["attempt.outcome"] for span in backend.named("attempt")] == ["failed", "succeeded"]


async def test_the_span_of_a_dead_job_says_why_it_died(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(fails)
    [job] = backend.named("job")
    assert job.status.status_code is StatusCode.ERROR
    assert job.status.description == "no attempts left; last error: ValueError: failed"
    told = attributes(job)
    assert (told["job.outcome"], told["job.dead_reason"]) == ("dead", "attempts_exhausted")
    assert (told["job.reason"], told["error.type"]) == ("no attempts left", "ValueError")
    assert job.events == ()


async def test_a_retry_that_succeeds_leaves_the_span_of_the_job_without_an_error(backend: Backend) -> None:
    async def flaky(resource: str) -> None:
        if not current_job().attempt_count:
            raise OSError("jammed")

    async with open_pool(A, instruments=[backend.telemetry()], retry=RetryPolicy.immediate()) as pool:
        await pool.run(flaky)
    [job] = backend.named("job")
    assert job.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(job)


async def test_a_job_cancelled_while_it_ran_is_no_error(backend: Backend, autojump_clock: MockClock) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        job = await pool.submit(sleeps_forever)
        await trio.sleep(2)
        job.cancel()
    [span] = backend.named("job")
    [attempt] = backend.named("attempt")
    assert {span.status.status_code, attempt.status.status_code} == {StatusCode.UNSET}
    assert attributes(span)["job.outcome"] == "cancelled"
    assert attributes(attempt)["attempt.outcome"] == "cut_short"
    assert seconds(attempt) == 2
    assert attempt.events == ()


async def test_that_another_job_was_cancelled_is_an_error_like_any_other(backend: Backend) -> None:
    async def wait_for(resource: str, other: Job[Any]) -> None:
        await other.wait()

    async with open_pool(["a", "b"], instruments=[backend.telemetry()], on_dead="keep") as pool:
        other = await pool.submit(sleeps_forever)
        await pool.submit(wait_for, other)
        other.cancel()
    outcomes = {span.name: attributes(span)["attempt.outcome"] for span in backend.named("attempt")}
    assert sorted(outcomes.values()) == ["cut_short", "failed"]


async def test_a_discarded_job_is_no_error_of_the_job(backend: Backend) -> None:
    async def discard(resource: str) -> None:
        raise Discard("nobody wants it")

    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        await pool.submit(discard)
    [span] = backend.named("job")
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span)["job.outcome"] == "discarded"
    assert attributes(span)["job.reason"] == "nobody wants it"


async def test_an_attempt_cut_short_by_removing_its_worker_is_followed_by_one_of_the_same_number(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async with open_pool(["a", "b"], instruments=[backend.telemetry()]) as pool:
        await pool.submit(sleeps, 9)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
    told = [attributes(span) for span in backend.named("attempt")]
    assert [(each["attempt.number"], each["attempt.outcome"]) for each in told] == [(1, "cut_short"), (1, "succeeded")]
    assert [value.count for value in backend.points("job.wait_time").values()] == [1]


async def test_every_span_ends_when_the_pool_is_cancelled(backend: Backend, autojump_clock: MockClock) -> None:
    telemetry = backend.telemetry()
    async with open_pool(["a", "b"], instruments=[telemetry], retry=RetryPolicy.fixed(50)) as pool:
        await pool.submit(fails)
        for _ in range(5):
            await pool.submit(sleeps_forever)
        await trio.sleep(1)
        pool.cancel()
    assert len(backend.named("job")) == 6
    assert len(telemetry._spans) == 0


# What the function sees


async def test_the_attempts_span_is_the_current_one_while_the_function_runs(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async def work(resource: str, number: int) -> None:
        await trio.sleep(number)
        with backend.span("inside"):
            pass
        if current_job().attempt_count == 0:
            raise OSError

    async with (
        open_pool(["a", "b", "c"], instruments=[backend.telemetry()], retry=RetryPolicy.fixed(1)) as pool,
        pool.map(work, [1, 2, 3]) as results,
    ):
        assert [result async for result in results] == [None] * 3
    parents = {cast("Any", span.parent).span_id for span in backend.named("inside")}
    assert parents == {cast("Any", span.context).span_id for span in backend.named("attempt")}
    assert len(parents) == 6


async def test_a_job_that_a_job_submits_is_below_its_attempt(backend: Backend) -> None:
    async def outer(resource: str) -> None:
        await pool.submit(works)

    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        await pool.submit(outer)
    [attempt] = [span for span in backend.named("attempt") if "outer" in span.name]
    [inner] = [span for span in backend.named("job") if "works" in span.name]
    assert is_below(inner, attempt)


async def test_the_pool_still_knows_which_job_is_part_of_which(backend: Backend) -> None:
    async def inner(resource: str) -> None:
        with pytest.raises(RuntimeError, match="can't be removed by the job that runs on it"):
            await pool.workers[0].remove()

    async def outer(resource: str) -> None:
        await pool.run(inner)

    async with open_pool(["a", "b"], instruments=[backend.telemetry()]) as pool:
        await pool.run(outer)


async def test_what_else_the_submitter_had_in_its_context_is_still_there(backend: Backend) -> None:
    async def tenant(resource: str) -> object:
        return baggage.get_baggage("tenant")

    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        token = context.attach(baggage.set_baggage("tenant", "7"))
        try:
            assert await pool.run(tenant) == "7"
        finally:
            context.detach(token)


async def test_the_current_span_of_the_submitter_stays_what_it_was(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        with backend.span("request") as request:
            await pool.run(works)
            assert trace.get_current_span() is request


async def test_an_unsampled_job_makes_its_function_unsampled(autojump_clock: MockClock) -> None:
    backend = Backend(tracers=TracerProvider(sampler=ALWAYS_OFF))
    sampled: list[bool] = []

    async def work(resource: str) -> None:
        sampled.append(trace.get_current_span().get_span_context().trace_flags.sampled)
        await trio.lowlevel.checkpoint()
        raise OSError

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(work)
    assert sampled == [False]
    assert backend.spans.get_finished_spans() == ()


# Instruments come and go


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


# Metrics


async def test_jobs_are_counted_by_how_they_ended(backend: Backend, autojump_clock: MockClock) -> None:
    async def discard(resource: str) -> None:
        raise Discard

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep", name="P") as pool:
        await pool.submit(works)
        await pool.submit(works)
        await pool.submit(fails)
        await pool.submit(discard)
        (await pool.submit(sleeps_forever)).cancel()
    assert backend.values("finished.jobs", "job.outcome", "job.dead_reason") == {
        ("succeeded", None): 2,
        ("dead", "attempts_exhausted"): 1,
        ("discarded", None): 1,
        ("cancelled", None): 1,
    }
    assert {name for name, _ in backend.values("finished.jobs", "pool.name", "job.function")} == {"P"}


async def test_attempts_are_counted_by_how_they_ended(backend: Backend, autojump_clock: MockClock) -> None:
    retry = RetryPolicy.fixed(1, max_attempts=2)
    async with open_pool(A, instruments=[backend.telemetry()], retry=retry, on_dead="keep") as pool:
        await pool.submit(works)
        await pool.submit(fails)
        await pool.submit(sleeps, 9, attempt_timeout=1)
        await pool.join()
        job = await pool.submit(sleeps_forever)
        await trio.sleep(1)
        job.cancel()
    assert backend.values("job.attempts", "attempt.outcome", "error.type") == {
        ("succeeded", None): 1,
        ("failed", "ValueError"): 2,
        ("failed", "trio_pool.AttemptTimeoutError"): 2,
        ("cut_short", None): 1,
    }


async def test_errors_of_this_library_are_called_what_users_import(backend: Backend) -> None:
    async def give_up(resource: str) -> None:
        raise GiveUp

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(give_up)
    assert backend.values("job.attempts", "error.type") == {"trio_pool.GiveUp": 1}
    assert [attributes(span)["error.type"] for span in backend.named("")] == ["trio_pool.GiveUp"] * 2


@pytest.mark.parametrize("retry", [RetryPolicy.fixed(1), RetryPolicy.immediate()])
async def test_retries_are_counted_as_the_pool_counts_them(
    backend: Backend, retry: RetryPolicy, autojump_clock: MockClock
) -> None:
    async with open_pool(["a", "b"], instruments=[backend.telemetry()], retry=retry, on_dead="keep") as pool:
        await pool.submit(fails)
        await pool.submit(works)
        await pool.submit(sleeps, 3)
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)
    assert pool.statistics().retries == 2
    assert backend.values("job.retries", "job.function") == {"fails": 2}


async def test_jobs_in_the_pool_are_counted_by_their_state(backend: Backend, autojump_clock: MockClock) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], retry=RetryPolicy.fixed(5), name="P") as pool:
        await pool.submit(fails)
        await trio.sleep(1)
        await pool.submit(sleeps, 9)
        await pool.submit(sleeps, 9)
        await pool.submit(sleeps, 9)
        seen = backend.values("job.count", "job.state", "pool.name")
        assert seen == {("blocked", "P"): 0, ("queued", "P"): 2, ("running", "P"): 1, ("delayed", "P"): 1}
        # No event tells that a delay is over; it is counted all the same.
        await trio.sleep(5)
        assert backend.values("job.count", "job.state") == {"blocked": 0, "queued": 3, "running": 1, "delayed": 0}
        pool.cancel()


async def test_workers_in_the_pool_are_counted_by_their_state(backend: Backend) -> None:
    async with open_pool(["a", "b", "c"], instruments=[backend.telemetry()]) as pool:
        await pool.submit(sleeps_forever)
        pool.workers[2].pause()
        seen = backend.values("worker.count", "worker.state")
        assert {state: number for state, number in seen.items() if number} == {"busy": 1, "idle": 1, "paused": 1}
        assert sum(seen.values()) == 3
        pool.cancel()


async def test_what_is_in_a_closed_pool_is_counted_no_longer(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]):
        assert backend.values("job.count", "job.state") != {}
    assert backend.values("job.count", "job.state") == {}
    assert backend.values("worker.count", "worker.state") == {}


async def test_what_is_in_a_pool_is_counted_as_long_as_it_is_watched(backend: Backend) -> None:
    telemetry = backend.telemetry()
    async with open_pool(A) as pool:
        pool.add_instrument(telemetry)
        assert backend.values("worker.count", "worker.state") == {}
        await pool.run(works)
        assert backend.values("worker.count", "worker.state")["idle"] == 1
        pool.remove_instrument(telemetry)
        assert backend.values("worker.count", "worker.state") == {}
        pool.add_instrument(telemetry)
        assert backend.values("worker.count", "worker.state")["idle"] == 1


async def test_pools_of_one_name_are_counted_together(backend: Backend) -> None:
    telemetry = backend.telemetry()
    async with (
        open_pool(2, instruments=[telemetry]),
        open_pool(3, instruments=[telemetry]),
        open_pool(4, instruments=[telemetry], name="P"),
    ):
        seen = backend.values("worker.count", "pool.name")
    assert seen == {None: 5, "P": 4}


async def test_a_pool_that_two_instruments_watch_is_counted_once(backend: Backend) -> None:
    async with open_pool(2, instruments=[backend.telemetry(), backend.telemetry()]):
        assert sum(backend.values("worker.count", "worker.state").values()) == 2


async def test_each_pool_may_have_an_instrument_of_its_own(backend: Backend) -> None:
    for number in range(3):
        async with open_pool(2, instruments=[backend.telemetry()], name=f"P{number}") as pool:
            await pool.run(trio.sleep, 0)
            assert backend.values("worker.count", "pool.name") == {f"P{number}": 2}
        gc.collect()
    assert backend.values("finished.jobs", "pool.name") == {"P0": 1, "P1": 1, "P2": 1}


async def test_neither_pool_nor_instrument_is_kept_alive_by_what_counts(backend: Backend) -> None:
    telemetry = backend.telemetry()
    async with open_pool(2, instruments=[telemetry]) as pool:
        await pool.run(trio.sleep, 0)
        pool.remove_instrument(telemetry)
    gone: list[weakref.ref[Any]] = [weakref.ref(telemetry), weakref.ref(pool._engine)]
    del telemetry, pool
    gc.collect()
    assert [each() for each in gone] == [None, None]
    assert backend.values("worker.count", "pool.name") == {}


async def test_how_long_jobs_waited_and_attempts_took_is_told_in_seconds(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], retry=RetryPolicy.fixed(1), on_dead="keep") as pool:
        await pool.submit(sleeps, 3)
        await pool.submit(sleeps, 9, attempt_timeout=2)
    [waits] = backend.points("job.wait_time").values()
    assert (waits.count, waits.min, waits.max) == (2, 0, 3)
    assert waits.explicit_bounds[0] == 0.005
    by_outcome = {dict(key)["attempt.outcome"]: point for key, point in backend.points("attempt.duration").items()}
    assert (by_outcome["succeeded"].count, by_outcome["succeeded"].sum) == (1, 3)
    assert (by_outcome["failed"].count, by_outcome["failed"].sum) == (3, 6)


async def test_an_exemplar_of_a_duration_is_the_attempts_own(backend: Backend) -> None:
    with backend.span("opener"):
        async with open_pool(A, instruments=[backend.telemetry()]) as pool:
            await pool.run(works)
    [attempt] = backend.named("attempt")
    [point] = backend.points("attempt.duration").values()
    assert [each.span_id for each in point.exemplars] == [cast("Any", attempt.context).span_id]


async def test_one_instrument_may_watch_pools_in_several_threads(backend: Backend) -> None:
    telemetry = backend.telemetry()

    async def open_some() -> None:
        for _ in range(5):
            async with open_pool(["a", "b"], instruments=[telemetry]) as pool:
                for _ in range(20):
                    await pool.submit(works)

    async def run_in_thread() -> None:
        await trio.to_thread.run_sync(lambda: trio.run(open_some))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(run_in_thread)
    assert sum(backend.values("finished.jobs", "job.outcome").values()) == 400
    assert len(backend.named("job")) == 400


# Names


async def test_workers_with_a_resource_are_told_apart(backend: Backend) -> None:
    async with open_pool([*A, Resource("b", name="B")], instruments=[backend.telemetry()]) as pool:
        for worker in pool.workers:
            await pool.run(works, worker=worker)
    assert backend.values("job.attempts", "worker.name") == {"A": 1, "B": 1}
    assert len(backend.points("attempt.duration")) == 2


async def test_slots_are_not_told_apart(backend: Backend) -> None:
    async with open_pool(2, instruments=[backend.telemetry()]) as pool:
        await pool.run(trio.sleep, 0)
        await pool.run(trio.sleep, 0)
    assert backend.values("job.attempts", "worker.name") == {None: 2}


async def test_workers_of_an_elastic_pool_are_not_told_apart(backend: Backend) -> None:
    async with open_pool(Elastic(Mint(), max=2), instruments=[backend.telemetry()]) as pool:
        await pool.run(works)
    assert backend.values("job.attempts", "worker.name") == {None: 1}


@pytest.mark.parametrize(("per_worker", "names"), [(True, {"worker-1"}), (False, {None})])
@pytest.mark.parametrize("resources", [["a"], Elastic(Mint(), max=1)])
async def test_it_can_be_said_whether_workers_are_told_apart(
    backend: Backend, resources: Any, per_worker: bool, names: set[str | None]
) -> None:
    untyped: Any = open_pool
    async with untyped(resources, instruments=[backend.telemetry(per_worker=per_worker)]) as pool:
        await pool.run(works)
    assert set(backend.values("job.attempts", "worker.name")) == names


async def test_names_are_bounded(backend: Backend) -> None:
    async def first(resource: str) -> None:
        await trio.lowlevel.checkpoint()

    async def second(resource: str) -> None:
        await trio.lowlevel.checkpoint()

    async def third(resource: str) -> None:
        await trio.lowlevel.checkpoint()

    for number in range(4):
        worker = Resource("a", name=f"W{number}")
        telemetry = backend.telemetry(max_names=2)
        async with open_pool([worker], instruments=[telemetry], name=f"P{number}") as pool:
            await pool.run(first)
            await pool.run(second)
            await pool.run(third)
    assert backend.values("finished.jobs", "pool.name") == {"P0": 3, "P1": 3, "_OTHER": 6}
    assert backend.values("job.attempts", "worker.name") == {"W0": 3, "W1": 3, "_OTHER": 6}
    functions = backend.values("job.attempts", "job.function")
    assert [name.rpartition(".")[2] for name in functions] == ["first", "second", "_OTHER"]


async def test_names_that_utf_8_cannot_hold_are_made_exportable(backend: Backend) -> None:
    odd = "caf\udce9\n☕"
    async with open_pool([Resource("a", name=odd)], instruments=[backend.telemetry()], name=odd) as pool:
        await pool.run(works, name=odd)
    texts = [str(value) for span in backend.named("") for value in attributes(span).values()]
    texts += [str(value) for name in ("pool.name", "worker.name") for value in backend.values("job.attempts", name)]
    assert [text for text in texts if "caf" in text] == ["caf\\udce9\n☕"] * 5


async def test_texts_of_errors_that_utf_8_cannot_hold_are_made_exportable(backend: Backend) -> None:
    async def fails_oddly(resource: str) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("can't read caf\udce9")

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(fails_oddly)
    recorded = [event.attributes or {} for span in backend.named("") for event in span.events]
    assert [event["exception.message"] for event in recorded] == ["can't read caf\\udce9"] * len(recorded)
    assert "ValueError: can't read caf\\udce9" in str(recorded[0]["exception.stacktrace"])


@pytest.mark.parametrize(("most", "error"), [(0, ValueError), (2.5, TypeError), (True, TypeError)])
def test_max_names_is_a_whole_number_of_at_least_one(most: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_names must be"):
        Telemetry(NoOpTracerProvider(), NoOpMeterProvider(), max_names=most)


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("tracer_provider", "a TracerProvider"),
        ("meter_provider", "a MeterProvider"),
        ("record_exceptions", "a bool"),
        ("per_worker", "a bool"),
    ],
)
def test_what_it_is_given_is_checked(option: str, rule: str) -> None:
    make: Any = Telemetry
    with pytest.raises(TypeError, match=rf"^{option} must be {rule}, got 5$"):
        make(**{option: 5})


# Without an SDK, or without OpenTelemetry


async def test_without_an_sdk_nothing_is_recorded_and_all_goes_on() -> None:
    async with open_pool(A, instruments=[Telemetry()], on_dead="keep") as pool:
        await pool.submit(fails)
        assert await pool.run(works) == "done"


GLOBAL = """
import trio
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from trio_pool import open_pool
from trio_pool.otel import Telemetry

async def main():
    before = Telemetry()
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics.set_meter_provider(provider)
    for telemetry in (before, Telemetry(), Telemetry(meter_provider=provider)):
        async with open_pool(3, instruments=[telemetry]):
            [resource] = reader.get_metrics_data().resource_metrics
            for metric in resource.scope_metrics[0].metrics:
                if metric.name == "trio_pool.worker.count":
                    print(sum(point.value for point in metric.data.data_points))

trio.run(main)
"""


def test_the_global_provider_may_be_set_before_or_after() -> None:
    answer = subprocess.run([sys.executable, "-c", GLOBAL], capture_output=True, text=True, check=False)
    assert (answer.stdout.split(), answer.stderr) == (["3", "3", "3"], "")


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "trio_pool.otel")
    with pytest.raises(ImportError, match=r'pip install "trio-pool\[otel\]"'):
        importlib.import_module("trio_pool.otel")


def test_the_package_itself_does_not_need_opentelemetry() -> None:
    import trio_pool

    assert "otel" not in trio_pool.__all__


# For real


async def test_prometheus_can_scrape_it() -> None:
    reader = PrometheusMetricReader()
    provider = MeterProvider([reader])
    server, thread = start_http_server(0, addr="127.0.0.1")
    address = f"http://127.0.0.1:{server.server_port}/metrics"

    def scrape() -> list[str]:
        with urllib.request.urlopen(address) as answer:
            return [line for line in answer.read().decode().splitlines() if line.startswith("trio_pool_")]

    telemetry = Telemetry(NoOpTracerProvider(), provider)
    async with open_pool([*A, "b"], instruments=[telemetry], name="printers", on_dead="keep") as pool:
        await pool.run(works)
        await pool.submit(fails)
        for _ in range(3):
            await pool.submit(sleeps_forever)
        await wait_all_tasks_blocked()
        lines = await trio.to_thread.run_sync(scrape)
        pool.cancel()
    server.shutdown()
    server.server_close()
    thread.join()
    provider.shutdown()
    values = {
        (line.partition("{")[0], label): float(line.rpartition(" ")[2])
        for line in lines
        for label in ("succeeded", "dead", "failed", "queued", "running", "busy")
        if f'"{label}"' in line and 'pool_name="printers"' in line
    }
    assert values["trio_pool_finished_jobs_total", "succeeded"] == 1
    assert values["trio_pool_finished_jobs_total", "dead"] == 1
    assert values["trio_pool_job_attempts_total", "failed"] == 1
    assert values["trio_pool_job_count", "queued"] == 1
    assert values["trio_pool_job_count", "running"] == 2
    assert values["trio_pool_worker_count", "busy"] == 2
    assert values["trio_pool_attempt_duration_seconds_count", "succeeded"] == 1
