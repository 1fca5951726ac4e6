"""What counts as being told of a death by a future in another thread: then the pool doesn't raise it too."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import trio
import trio.testing

from tests.actors import fails
from tests.threads import PlainThread, in_plain_thread, in_trios_thread
from trio_pool import JobFailedError, Pool, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def awaited_by_asyncio(future: Future[Any]) -> None:
    with pytest.raises(JobFailedError):
        await asyncio.wrap_future(future)


def by_asyncio(future: Future[Any]) -> None:
    asyncio.run(awaited_by_asyncio(future))


def by_asyncio_among_others(future: Future[Any]) -> None:
    async def program() -> Any:
        both: Any = await asyncio.gather(asyncio.wrap_future(future), asyncio.sleep(0), return_exceptions=True)
        return both[0]

    assert isinstance(asyncio.run(program()), JobFailedError)


def by_result(future: Future[Any]) -> None:
    with pytest.raises(JobFailedError):
        future.result()


def by_result_with_a_timeout(future: Future[Any]) -> None:
    with pytest.raises(JobFailedError):
        future.result(timeout=60)


def by_exception(future: Future[Any]) -> None:
    assert isinstance(future.exception(), JobFailedError)


def by_what_ends_first(future: Future[Any]) -> None:
    for ended in concurrent.futures.as_completed([future]):
        assert ended.exception() is not None


def by_callback(future: Future[Any]) -> None:
    future.add_done_callback(lambda ended: ended.exception())
    concurrent.futures.wait([future])


TELLING = [
    by_asyncio,
    by_asyncio_among_others,
    by_result,
    by_result_with_a_timeout,
    by_exception,
    by_what_ends_first,
    by_callback,
]


@pytest.mark.parametrize("tells", TELLING)
async def test_who_asks_after_the_death_is_told(tells: Callable[[Future[Any]], None]) -> None:
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, fails)
        await pool.join()
        await in_plain_thread(tells, future)


@pytest.mark.parametrize("tells", TELLING)
async def test_who_waits_for_the_death_is_told(tells: Callable[[Future[Any]], None]) -> None:
    async def fails_later(_: object) -> None:
        await goes_on.wait()
        raise ValueError("failed")

    goes_on = trio.Event()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, fails_later)
        thread = PlainThread(tells, future)
        goes_on.set()
        await thread.wait()


class Ending:
    """A pool whose body has ended when its only job fails, which is the last that happens in it."""

    def __init__(self) -> None:
        self.asked, self.goes_on = trio.Event(), trio.Event()

    async def fail(self, _: object) -> None:
        await self.goes_on.wait()
        raise ValueError("failed")

    async def run(self, ask: Callable[[Future[Any]], None]) -> PlainThread:
        """Let the job fail once its future has been asked; returns the thread that has asked."""
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, self.fail)
            thread = PlainThread(ask, future)
            await self.asked.wait()
            self.goes_on.set()
        return thread


async def test_asyncio_is_told_though_the_pool_ends_before_its_loop_comes_to_it() -> None:
    ending, token = Ending(), trio.lowlevel.current_trio_token()
    has_ended = concurrent.futures.Future[None]()

    async def program(future: Future[Any]) -> None:
        awaited = asyncio.wrap_future(future)
        token.run_sync_soon(ending.asked.set)
        has_ended.result()  # the loop is kept busy until then
        with pytest.raises(JobFailedError):
            await awaited

    thread = await ending.run(lambda future: asyncio.run(program(future)))
    has_ended.set_result(None)
    await thread.wait()


async def test_a_callback_is_told_though_the_pool_ends_right_after_it() -> None:
    ending, told = Ending(), list[Any]()
    token = trio.lowlevel.current_trio_token()

    def ask(future: Future[Any]) -> None:
        future.add_done_callback(lambda ended: told.append(ended.exception()))
        token.run_sync_soon(ending.asked.set)

    thread = await ending.run(ask)
    await thread.wait()
    assert isinstance(told[0], JobFailedError)


# What tells nobody


def by_asking_whether_it_is_done(future: Future[Any]) -> None:
    assert future.done()
    assert not future.cancelled()


def by_waiting(future: Future[Any]) -> None:
    assert concurrent.futures.wait([future]).done == {future}


def by_a_callback_that_does_not_look(future: Future[Any]) -> None:
    future.add_done_callback(lambda _: None)


def by_its_repr(future: Future[Any]) -> None:
    assert repr(future).startswith("<JobFuture done: <trio_pool.Job 1 fails, dead")


def by_cancelling_too_late(future: Future[Any]) -> None:
    assert not future.cancel()


@pytest.mark.parametrize(
    "asks",
    [by_asking_whether_it_is_done, by_waiting, by_a_callback_that_does_not_look, by_its_repr, by_cancelling_too_late],
)
async def test_who_does_not_look_at_the_error_is_not_told(asks: Callable[[Future[Any]], None]) -> None:
    async def program() -> None:
        async with open_pool(["a"]) as pool:
            future = await in_plain_thread(pool.submit_from_thread, fails)
            await pool.join()
            await in_plain_thread(asks, future)

    with pytest.raises(ExceptionGroup) as caught:
        await program()
    assert [type(error) for error in caught.value.exceptions] == [JobFailedError]


async def test_a_future_says_how_far_its_job_is() -> None:
    async def waits(_: object) -> None:
        await goes_on.wait()

    goes_on = trio.Event()
    async with open_pool(["a"]) as pool:
        future = await in_plain_thread(pool.submit_from_thread, waits)
        await trio.testing.wait_all_tasks_blocked()
        assert repr(future).startswith("<JobFuture pending: <trio_pool.Job 1 ")
        future.cancel()
        assert repr(future).startswith("<JobFuture cancelled: <trio_pool.Job 1 ")


async def test_a_task_whose_thread_asks_is_told() -> None:
    async def program(pool: Pool[str]) -> None:
        future = await in_trios_thread(pool.submit_from_thread, fails)
        with pytest.raises(JobFailedError):
            await in_trios_thread(future.result)

    async with open_pool(["a"]) as pool:
        await program(pool)
