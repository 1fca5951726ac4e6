"""The metrics that OpenTelemetry is told."""

from __future__ import annotations

import gc
import weakref
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.extras.otel.sdk import A, Backend, attributes
from trio_pool import Discard, GiveUp, RetryPolicy, open_pool
from trio_pool._model.time_account import CAUSES


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


async def test_pools_are_counted_by_whether_they_start_jobs(backend: Backend, autojump_clock: MockClock) -> None:
    async with open_pool(A, instruments=[backend.telemetry()], name="P") as pool:
        assert backend.values("pool.count", "pool.state") == {"open": 1, "paused": 0, "resting": 0}
        pool.rest(2)
        assert backend.values("pool.count", "pool.state") == {"open": 0, "paused": 0, "resting": 1}
        pool.pause()
        assert backend.values("pool.count", "pool.state") == {"open": 0, "paused": 1, "resting": 0}
        pool.resume()
        await trio.sleep(2)
        assert backend.values("pool.count", "pool.state", "pool.name")["open", "P"] == 1
    assert backend.values("pool.count", "pool.state") == {}


async def test_what_places_spend_their_time_on_is_counted_by_causes(
    backend: Backend, autojump_clock: MockClock
) -> None:
    async with open_pool(["a", "b"], instruments=[backend.telemetry()], max_running=1) as pool:
        await pool.submit(sleeps, 2)
        await pool.run(sleeps, 3)
        seen = backend.values("place.time", "place.cause")
    assert seen == {**dict.fromkeys(CAUSES, 0), "running": 5, "max_running": 2, "idle": 3}


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
