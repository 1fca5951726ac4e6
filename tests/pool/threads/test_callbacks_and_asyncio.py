"""Callbacks of futures, and asyncio in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

import pytest
import trio

from tests.actors import fails, works
from tests.pool.threads.calls_and_doors import Doors, hand_back
from tests.threads import PlainThread, in_plain_thread
from trio_pool import JobFailedError, PoolClosedError, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


# Callbacks


async def test_a_callback_may_submit_the_next_job() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        future.add_done_callback(lambda _: pool.submit_nowait(works))
        doors.opened.set()
        await pool.join()
    assert pool.statistics().succeeded == 2


async def test_a_callback_that_fails_is_logged_and_the_pool_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    doors = Doors()

    def stumbles(_: object) -> None:
        raise ValueError("stumbled")

    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
        future.add_done_callback(stumbles)
        doors.opened.set()
        await pool.join()
        assert await pool.run(works) == "done"
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_a_callback_that_ends_the_program_ends_the_pool() -> None:
    doors = Doors()

    def leaves(_: object) -> None:
        raise SystemExit(3)

    async def program() -> None:
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, doors.pass_through)
            future.add_done_callback(leaves)
            doors.opened.set()
            await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await program()
    assert [type(error) for error in caught.value.exceptions] == [SystemExit]


# asyncio


async def test_asyncio_can_await_jobs_in_a_thread_of_its_own() -> None:
    async with open_pool(["a", "b"]) as pool:

        async def program() -> list[Any]:
            futures = [asyncio.wrap_future(pool.submit_from_thread(hand_back, number)) for number in range(5)]
            return await asyncio.gather(*futures)

        assert await in_plain_thread(asyncio.run, program()) == [0, 1, 2, 3, 4]


async def test_asyncio_is_told_of_failures_which_are_dealt_with() -> None:
    async with open_pool(["a"]) as pool:

        async def program() -> None:
            with pytest.raises(JobFailedError):
                await asyncio.wrap_future(pool.submit_from_thread(fails))

        await in_plain_thread(asyncio.run, program())


async def test_to_cancel_a_task_of_asyncio_cancels_the_job_that_it_waits_for() -> None:
    doors = Doors()
    async with open_pool(["a"]) as pool:
        has_started = threading.Event()

        async def program() -> None:
            task = asyncio.ensure_future(asyncio.wrap_future(pool.submit_from_thread(doors.pass_through)))
            await asyncio.to_thread(has_started.wait)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        thread = PlainThread(asyncio.run, program())
        await doors.started.wait()
        has_started.set()
        await thread.wait()
        await pool.join()
        assert doors.ended
        assert pool.statistics().cancelled == 1


async def test_asyncio_is_told_that_the_pool_has_ended() -> None:
    async with open_pool(["a"]) as pool:
        pass

    async def program() -> None:
        with pytest.raises(PoolClosedError):
            pool.submit_from_thread(works)

    await in_plain_thread(asyncio.run, program())
