"""What a replay says of other workers and options comes out when they are really used."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.extras.planning.lives import FailingError, durations
from trio_pool import (
    CircuitBreaker,
    PerKey,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.planning import Recorder, Recording

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Life = Callable[..., Awaitable[None]]


def record(life: Life, path: Path, workers: int = 3, **options: Any) -> Recording:
    async def main() -> None:
        async with open_pool(workers, instruments=[recorder], **options) as pool:
            await life(pool)

    recorder = Recorder(path)
    trio.run(main, clock=MockClock(autojump_threshold=0))
    return recorder.recording()


async def stream(pool: Any) -> None:
    async with pool.map(trio.sleep, durations(200)) as results:
        async for _ in results:
            pass


async def two_streams(pool: Any) -> None:
    await stream(pool)
    await stream(pool)


async def flood(pool: Any) -> None:
    for seconds in durations(200):
        await pool.submit(trio.sleep, seconds)


async def keyed(pool: Any) -> None:
    for at, seconds in enumerate(durations(200)):
        await pool.submit(trio.sleep, seconds, key=at % 4)


async def third_time_lucky(pool: Any) -> None:
    async def try_it(seconds: float) -> None:
        await trio.sleep(seconds)
        if current_job().attempt_count < 2:
            raise FailingError

    async with pool.map(try_it, durations(100)) as results:
        async for _ in results:
            pass


async def at_intervals(pool: Any) -> None:
    for seconds in durations(100):
        await pool.submit(trio.sleep, seconds)
        await trio.sleep(0.3)


RETRY = RetryPolicy.fixed(1.0, max_attempts=5)
CHANGES: list[tuple[Life, dict[str, Any], dict[str, Any]]] = [
    (stream, {}, {"workers": 9}),
    (stream, {}, {"workers": 1}),
    (two_streams, {}, {"workers": 6}),
    (flood, {"max_queue": 5}, {"workers": 8}),
    (flood, {"max_queue": 5}, {"max_queue": 50}),
    (flood, {"rate_limit": RateLimit(1)}, {"rate_limit": RateLimit(2)}),
    (flood, {}, {"rate_limit": RateLimit(0.5)}),
    (stream, {"workers": 8, "max_running": 3}, {"max_running": 6}),
    (keyed, {"workers": 8, "per_key": PerKey(max_running=1)}, {"per_key": PerKey(max_running=2)}),
    (keyed, {"workers": 8, "per_key": PerKey(rate_limit=RateLimit(1))}, {"per_key": None}),
    (third_time_lucky, {"retry": RETRY}, {"workers": 6}),
    (third_time_lucky, {"retry": RETRY}, {"retry": RetryPolicy.fixed(10.0, max_attempts=5)}),
    (third_time_lucky, {"retry": RETRY}, {"retry": RetryPolicy.immediate(max_attempts=3)}),
    (at_intervals, {"workers": 2}, {"workers": 5}),
    (flood, {"max_queue": 5, "order": "lifo"}, {"order": "fifo"}),
]


@pytest.mark.parametrize(("life", "before", "change"), CHANGES)
def test_it_predicts_what_comes(life: Life, before: dict[str, Any], change: dict[str, Any], tmp_path: Path) -> None:
    predicted = record(life, tmp_path / "before.jsonl", **before).replay(**change)
    real = record(life, tmp_path / "after.jsonl", **(before | change))
    assert predicted.elapsed == pytest.approx(real.elapsed, rel=0.03)
    assert predicted.statistics.succeeded == predicted.statistics.submitted


def test_resources_are_repeated_in_turn_with_their_own_limits(tmp_path: Path) -> None:
    async def main() -> None:
        shared = RateLimit(100, burst=7).shared(name="all")
        resources = [
            Resource("x", name="slow", tags=["s"], rate_limit=[RateLimit(1, per=10), shared]),
            Resource("y", name="fast", max_running=2, rate_limit=shared),
        ]
        async with open_pool(resources, instruments=[recorder]) as pool:
            for _ in range(60):
                await pool.submit(sleep_in, 0.5)

    async def sleep_in(_: object, seconds: float) -> None:
        await trio.sleep(seconds)

    recorder = Recorder(tmp_path / "recording.jsonl")
    trio.run(main, clock=MockClock(autojump_threshold=0))
    replay = recorder.recording().replay(workers=5)
    assert [worker.name for worker in replay.statistics.workers] == ["slow", "fast", "slow (2)", "fast (2)", "slow (3)"]
    assert [worker.max_running for worker in replay.statistics.workers] == [1, 2, 1, 2, 1]
    assert sum(worker.attempts for worker in replay.statistics.workers if "slow" in worker.name) <= 6
    assert replay.elapsed > 0.5 * 55 / 100  # all of them draw from the shared limit
    half = recorder.recording().replay(rate_limit=RateLimit(2).shared())
    assert half.elapsed == pytest.approx(30, abs=1)


def test_errors_of_the_programs_own_types_are_tried_again_as_a_new_policy_says(tmp_path: Path) -> None:
    async def fail(which: int) -> None:
        await trio.sleep(1)
        if which % 2:
            raise OSError
        raise FailingError

    async def life(pool: Any) -> None:
        for which in range(10):
            await pool.submit(fail, which)

    recording = record(life, tmp_path / "recording.jsonl", on_dead="keep")
    counts = {
        "nothing": recording.replay().statistics.attempts,
        "all": recording.replay(retry=RetryPolicy.fixed(0.0, max_attempts=4)).statistics.attempts,
        "one": recording.replay(retry=RetryPolicy.fixed(0.0, max_attempts=4, retry_on=OSError)).statistics.attempts,
    }
    assert counts == {"nothing": 10, "all": 40, "one": 25}


def test_what_functions_say_holds_with_another_policy_too(tmp_path: Path) -> None:
    async def busy() -> None:
        await trio.sleep(1)
        if current_job().attempt_count < 3:
            raise RetryAfter(2.0, counts=False)

    async def life(pool: Any) -> None:
        await pool.submit(busy)

    recording = record(life, tmp_path / "recording.jsonl", on_dead="keep")
    assert recording.replay(retry=RetryPolicy.fixed(20.0)).elapsed == recording.elapsed == 10.0


def test_a_job_that_only_fails_does_not_go_on_for_ever(tmp_path: Path) -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise FailingError

    async def life(pool: Any) -> None:
        await pool.submit(fail)

    recording = record(life, tmp_path / "recording.jsonl", on_dead="keep")
    replay = recording.replay(retry=RetryPolicy.endless())
    assert replay.statistics.dead == 1
    assert replay.statistics.attempts == 1002


def test_jobs_with_a_policy_of_their_own_keep_it(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        await pool.submit(fail, retry=RetryPolicy.fixed(3.0, max_attempts=4))

    async def fail() -> None:
        await trio.sleep(1)
        raise FailingError

    recording = record(life, tmp_path / "recording.jsonl", on_dead="keep")
    replay = recording.replay(retry=RetryPolicy.never())
    assert (replay.statistics.attempts, replay.elapsed) == (4, 13.0)


def test_a_timeout_that_is_new_cuts_what_takes_longer(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        for seconds in (1, 2, 3, 4):
            await pool.submit(trio.sleep, seconds)

    recording = record(life, tmp_path / "recording.jsonl", retry=RetryPolicy.fixed(0.0, max_attempts=2), workers=4)
    replay = recording.replay(attempt_timeout=2.5)
    assert (replay.statistics.succeeded, replay.statistics.dead, replay.elapsed) == (2, 2, 5.0)


def test_a_timeout_that_is_gone_lets_the_attempt_last_as_long_as_it_did(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        await pool.submit(trio.sleep, 10)

    recording = record(life, tmp_path / "recording.jsonl", attempt_timeout=2, on_dead="keep")
    replay = recording.replay(attempt_timeout=None)
    assert (replay.statistics.dead, replay.elapsed) == (1, 2.0)


def test_a_breaker_that_is_new_counts_the_recorded_failures(tmp_path: Path) -> None:
    async def life(pool: Any) -> None:
        for at in range(10):
            await pool.submit(fail if at == 4 else trio.sleep, 1)

    async def fail(seconds: float) -> None:
        await trio.sleep(seconds)
        raise FailingError

    recording = record(life, tmp_path / "recording.jsonl", workers=1, on_dead="keep")
    assert recording.replay(breaker=CircuitBreaker(1, reset_after=7)).elapsed == 17.0


@pytest.mark.parametrize("seconds", [60.0, 1000.0, math.inf])
def test_with_a_longer_timeout_what_was_cut_short_takes_as_long_as_others(seconds: float, tmp_path: Path) -> None:
    async def late(pool: Any) -> None:
        for _ in range(40):
            await pool.submit(trio.sleep, 1.0)
        await pool.join()
        pool.dead.pop_all()

    recording = record(late, tmp_path / "recording.jsonl", workers=1, total_timeout=20.5, on_dead="keep")
    assert recording.elapsed == 20.5
    assert recording.replay(total_timeout=seconds).elapsed == 40.0
