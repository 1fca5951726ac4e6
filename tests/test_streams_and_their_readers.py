"""Readers of a stream go on, whatever becomes of its jobs and whatever its items raise."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock

from trio_pool import Elastic, Instrument, Job, JobFailedError, JobState, ResourceBroken, Worker, open_pool


class Unasked(Exception):
    """Is neither true nor false."""

    def __bool__(self) -> NoReturn:
        raise RuntimeError("not to be asked")


async def work(_: object, item: int) -> int:
    return item


async def test_a_reader_is_told_of_jobs_that_die_as_they_come(autojump_clock: MockClock) -> None:
    async def items() -> AsyncGenerator[int]:
        for number in range(3):
            yield number

    told = 0
    async with open_pool(["a"], no_worker="bury") as pool:
        with trio.fail_after(60):
            async with pool.map(work, items(), requires=["b"]) as results:
                while True:
                    try:
                        await anext(results)
                    except JobFailedError:
                        told += 1
                    except StopAsyncIteration:
                        break
    assert told == 3


async def test_a_reader_that_makes_room_may_start_the_task_that_takes_items(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def factory() -> AsyncGenerator[str]:
        yield "a resource"

    async with open_pool(Elastic(factory, max=3, idle_timeout=0)) as pool:
        with trio.fail_after(60):
            async with pool.as_completed(work, list(range(5)), buffer=2) as jobs:
                assert sorted([job.result() async for job in jobs]) == list(range(5))


async def test_what_items_raise_is_not_asked_whether_it_is_true(autojump_clock: MockClock) -> None:
    def items() -> Generator[int]:
        yield 1
        raise Unasked

    async with open_pool(["a"]) as pool, pool.map(work, items()) as results:
        assert await anext(results) == 1
        with pytest.raises(Unasked):
            await anext(results)


async def test_a_job_that_is_cancelled_as_it_starts_ends_once_where_there_is_a_lifespan(
    autojump_clock: MockClock,
) -> None:
    class Canceller(Instrument):
        def attempt_started(self, job: Job[object], worker: Worker) -> None:
            job.cancel()

    @asynccontextmanager
    async def lifespan(value: str) -> AsyncGenerator[str]:
        yield value

    calls = 0

    async def counts(_: str) -> None:
        nonlocal calls
        calls += 1
        await trio.lowlevel.checkpoint()

    async with open_pool(["a"], lifespan=lifespan, instruments=[Canceller()]) as pool:
        job = await pool.submit(counts)
    assert job.state is JobState.CANCELLED
    assert calls <= 1


async def test_opening_that_fails_with_what_is_neither_true_nor_false_is_tried_again(autojump_clock: MockClock) -> None:
    openings = 0

    @asynccontextmanager
    async def lifespan(value: str) -> AsyncGenerator[str]:
        nonlocal openings
        openings += 1
        if openings == 2:
            raise Unasked
        yield value

    async def breaks_once(_: str) -> int:
        if openings == 1:
            raise ResourceBroken
        return openings

    async with open_pool(["a"], lifespan=lifespan) as pool:
        with pytest.raises(JobFailedError):
            await pool.run(breaks_once)
        with trio.fail_after(60):
            assert await pool.run(breaks_once) == 3
