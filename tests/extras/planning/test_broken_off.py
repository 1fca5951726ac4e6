"""A recorded pool that was cancelled, or left by an error, ends at the same time when it is replayed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from trio_pool import open_pool
from trio_pool.planning import Recorder, Recording

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path


async def nap(seconds: float) -> None:
    await trio.sleep(seconds)


async def submit_three(recorder: Recorder, error: Exception | None = None) -> None:
    """Three jobs of 4 s on one worker, of which the pool sees two through."""
    async with open_pool(1, instruments=[recorder]) as pool:
        for _ in range(3):
            pool.submit_nowait(nap, 4.0)
        await trio.sleep(10.0)
        if error is not None:
            raise error
        await trio.sleep_forever()


async def left_by_an_error(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="enough"):
        await submit_three(recorder, ValueError("enough"))


async def cancelled(recorder: Recorder) -> None:
    with trio.move_on_after(10.0):
        await submit_three(recorder)


async def cancelled_at_its_end(recorder: Recorder) -> None:
    with trio.move_on_after(10.0):
        async with open_pool(1, instruments=[recorder]) as pool:
            for _ in range(3):
                pool.submit_nowait(nap, 4.0)


LIVES = [left_by_an_error, cancelled, cancelled_at_its_end]


def record(life: Callable[[Recorder], Awaitable[None]], path: Path) -> Recording:
    recorder = Recorder(path)
    trio.run(life, recorder, clock=MockClock(autojump_threshold=0))
    return recorder.recording()


@pytest.mark.parametrize("life", LIVES)
def test_it_ends_when_it_was_broken_off(life: Callable[[Recorder], Awaitable[None]], tmp_path: Path) -> None:
    recording = record(life, tmp_path / "recording.jsonl")
    replay = recording.replay()
    assert recording.elapsed == replay.elapsed == 10.0
    assert (replay.statistics.succeeded, replay.statistics.cancelled) == (2, 1)


def test_a_pool_whose_jobs_have_all_ended_waits_as_long(tmp_path: Path) -> None:
    async def idle(recorder: Recorder) -> None:
        with trio.move_on_after(2.0):
            async with open_pool(1, instruments=[recorder]) as pool:
                pool.submit_nowait(nap, 1.0)
                await trio.sleep_forever()

    recording = record(idle, tmp_path / "recording.jsonl")
    assert recording.replay().elapsed == 2.0
    # Nobody knows when it would be cancelled if anything were otherwise.
    assert recording.replay(workers=2).elapsed == 1.0


def test_a_job_that_takes_time_to_be_cancelled_takes_as_long(tmp_path: Path) -> None:
    async def tidy() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3.0)

    async def tidying_up(recorder: Recorder) -> None:
        with trio.move_on_after(2.0):
            async with open_pool(1, instruments=[recorder]) as pool:
                pool.submit_nowait(tidy)

    recording = record(tidying_up, tmp_path / "recording.jsonl")
    assert recording.replay().elapsed == 5.0


def test_a_lifespan_that_takes_time_to_be_left_takes_as_long(tmp_path: Path) -> None:
    @asynccontextmanager
    async def logged_in(token: str) -> AsyncGenerator[str]:
        try:
            yield token
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3.0)

    async def work(token: str) -> None:
        await trio.sleep_forever()

    async def cut(recorder: Recorder) -> None:
        with trio.move_on_after(2.0):
            async with open_pool(["a"], lifespan=logged_in, instruments=[recorder]) as pool:
                pool.submit_nowait(work)

    recording = record(cut, tmp_path / "recording.jsonl")
    assert recording.elapsed == recording.replay().elapsed == 5.0


def test_with_anything_changed_its_jobs_run_to_their_ends(tmp_path: Path) -> None:
    async def cancelled_early(recorder: Recorder) -> None:
        async with open_pool(2, instruments=[recorder]) as pool:
            for _ in range(100):
                pool.submit_nowait(nap, 1.0)
            await trio.sleep(20.0)
            pool.cancel()
            await trio.sleep_forever()

    recording = record(cancelled_early, tmp_path / "recording.jsonl")
    assert recording.replay().statistics.cancelled > 50
    for workers, seconds in ((1, 100.0), (4, 25.0)):
        replay = recording.replay(workers=workers)
        assert (replay.elapsed, replay.statistics.succeeded) == (seconds, 100)
