"""The spans that OpenTelemetry is told of, and what the jobs' functions see of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode
from trio.testing import MockClock

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.extras.otel.sdk import A, Backend, attributes, is_below, seconds, short
from tests.pool.leases.borrowers import fail
from trio_pool import Discard, Job, RetryPolicy, current_job, open_pool

if TYPE_CHECKING:
    from collections.abc import Hashable

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


async def test_the_span_of_an_attempt_says_what_it_used(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        await pool.run(works, uses={"tokens": 1200, "calls": 1.5})
    [attempt] = backend.named("attempt")
    used = {name: value for name, value in attributes(attempt).items() if name.startswith("attempt.used")}
    assert used == {"attempt.used.tokens": 1200, "attempt.used.calls": 1.5}


async def test_progress_is_an_event_of_the_attempts_span(backend: Backend, autojump_clock: MockClock) -> None:
    async def work(resource: str) -> None:
        await trio.sleep(1)
        current_job().report(3)
        await trio.sleep(1)
        current_job().report(4, 10, "reading \udc00")

    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        await pool.run(work)
    [attempt] = backend.named("attempt")
    assert [(event.name, short(event.attributes)) for event in attempt.events] == [
        ("progress", {"progress.done": 3}),
        ("progress", {"progress.done": 4, "progress.total": 10, "progress.note": "reading \\udc00"}),
    ]
    assert attempt.start_time is not None
    assert [(event.timestamp - attempt.start_time) / 1e9 for event in attempt.events] == [1, 2]


async def test_progress_of_an_attempt_whose_start_was_missed_is_an_event_of_the_jobs_span(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async def work(resource: str) -> None:
        await trio.sleep(2)
        current_job().report(3)

    async with open_pool(A) as pool:
        job = await pool.submit(work)
        await trio.sleep(1)
        pool.add_instrument(backend.telemetry())
        await job.wait()
    [span] = backend.named("job")
    assert [event.name for event in span.events] == ["progress"]


async def test_the_span_of_a_job_names_its_group(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        async with pool.open_group(name="pages") as group, pool.open_group() as nameless:
            await group.run(works)
            await nameless.run(works)
        await pool.run(works)
    assert [attributes(span).get("job.group") for span in backend.named("job")] == ["pages", None, None]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("tenant", "tenant"),
        ("t" * 1000, "t" * 127 + "…"),
        ("\ud800", r"\ud800"),
        (42, 42),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (("a", 1), None),
        (None, None),
    ],
)
async def test_the_span_of_a_job_says_its_key_where_that_is_a_text_or_a_number(
    backend: Backend, key: Hashable, told: str | int | None
) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        await pool.run(works, key=key)
    [job] = backend.named("job")
    assert attributes(job).get("job.key") == told


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


async def test_an_error_that_does_not_say_its_cause_is_told_without_a_traceback(backend: Backend) -> None:
    class Mute(Exception):
        @property
        def __cause__(self) -> BaseException | None:  # type: ignore[override]
            raise RuntimeError("no")

    async def raises(_: str) -> None:
        raise Mute("failed")

    async with open_pool(A, instruments=[backend.telemetry()], on_dead="keep") as pool:
        await pool.submit(raises)
    [event] = backend.named("attempt")[0].events
    assert dict(event.attributes or {})["exception.stacktrace"] == "Mute: failed"


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


async def test_a_borrowed_resource_has_the_spans_of_a_job(backend: Backend) -> None:
    async with open_pool(A, instruments=[backend.telemetry()]) as pool:
        async with pool.acquire():
            pass
        lease = pool.acquire(name="mine")
        with pytest.raises(ValueError, match="no"):
            await fail(lease, ValueError("no"))
    assert [job.name for job in backend.named("job")] == ["job acquire", "job acquire"]
    assert [attributes(job)["job.name"] for job in backend.named("job")] == ["acquire", "mine"]
    assert [attributes(job)["job.outcome"] for job in backend.named("job")] == ["succeeded", "dead"]
    assert [attributes(each)["attempt.outcome"] for each in backend.named("attempt")] == ["succeeded", "failed"]
