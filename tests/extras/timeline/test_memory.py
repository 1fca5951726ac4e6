"""In how much memory a timeline records."""

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
from tests.traces import Trace, check
from trio_pool import RetryPolicy, open_pool
from trio_pool.testing import Flaky
from trio_pool.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


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
        "SpeechlessError: <its text can't be read>",
        None,
    ]
