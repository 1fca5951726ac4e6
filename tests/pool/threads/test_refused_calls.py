"""Calls from threads that can't be carried out are errors of the call."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import trio

from tests.actors import works
from tests.pool.threads.calls_and_doors import InThread, each_kind
from tests.threads import PlainThread, in_plain_thread
from trio_pool import Pool, PoolClosedError, open_pool
from trio_pool._runtime.home import Home


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_calls_in_the_pools_own_thread_are_errors(name: str) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(
            RuntimeError,
            match=rf"^{name}\(\) is for other threads; in the pool's own thread, use await {name[:-12]}\(\)$",
        ):
            getattr(pool, name)(works)
        assert pool.statistics().submitted == 0


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
@each_kind
async def test_a_closed_pool_takes_no_calls_from_threads(name: str, in_thread: InThread) -> None:
    async with open_pool(["a"]) as pool:
        pool.close()
        with pytest.raises(PoolClosedError, match="the pool is closed"):
            await in_thread(getattr(pool, name), works)


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
@each_kind
async def test_a_pool_whose_block_has_been_left_takes_no_calls_from_threads(name: str, in_thread: InThread) -> None:
    async with open_pool(["a"]) as pool:
        pass
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        await in_thread(getattr(pool, name), works)
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        getattr(pool, name)(works)


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
def test_a_pool_whose_trio_run_has_ended_takes_no_calls(name: str) -> None:
    async def program() -> Pool[str]:
        async with open_pool(["a"]) as pool:
            return pool

    pool = trio.run(program)
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        getattr(pool, name)(works)


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
def test_a_trio_run_that_ends_in_the_middle_of_a_call_is_an_error_of_the_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_there, is_over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def is_slow(_: Home) -> bool:
        is_there.set()
        is_over.wait()
        return False

    def calls(pool: Pool[str]) -> None:
        try:
            getattr(pool, name)(works)
        except PoolClosedError as error:
            errors.append(error)

    async def program() -> threading.Thread:
        async with open_pool(["a"]) as pool:
            caller = threading.Thread(target=calls, args=(pool,))
            caller.start()
            is_there.wait()
        return caller

    monkeypatch.setattr(Home, "is_here", is_slow)
    caller = trio.run(program)
    is_over.set()
    caller.join()
    assert [str(error) for error in errors] == ["the pool's Trio run has ended"]


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_a_process_that_was_forked_has_no_pool(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_pool(["a"]) as pool:
        monkeypatch.setattr("os.getpid", lambda: 0)
        with pytest.raises(PoolClosedError, match="is in the process from which this one was forked"):
            await in_plain_thread(getattr(pool, name), works)
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_a_pool_that_is_closed_in_the_middle_of_a_call_refuses_the_job(name: str) -> None:
    async with open_pool(["a"]) as pool:
        called = threading.Event()

        def calls() -> Any:
            if name == "run_from_thread":
                return pool.run_from_thread(works)
            future = pool.submit_from_thread(works)
            called.set()
            return future.result()

        thread = PlainThread(calls)
        if name == "submit_from_thread":
            called.wait()  # and with it, the pool's thread
        pool.close()
        with pytest.raises(PoolClosedError):
            await thread.wait()


@pytest.mark.parametrize("name", ["run_from_thread", "submit_from_thread"])
async def test_wrong_arguments_are_errors_of_the_call(name: str) -> None:
    async with open_pool(["a"]) as pool, open_pool(["b"]) as other:
        foreign = await other.submit(works)

        def calls() -> None:
            call: Any = getattr(pool, name)
            with pytest.raises(TypeError, match="the first argument must be an async function, got 3"):
                call(3)
            with pytest.raises(TypeError, match="pass the function and its arguments"):
                call(works("a"))
            with pytest.raises(ValueError, match=r"^total_timeout must not be negative"):
                call(works, total_timeout=-1)
            with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'timeout'"):
                call(works, timeout=1)
            with pytest.raises(ValueError, match=r"^after must hold jobs of this pool"):
                call(works, after=[foreign])

        await in_plain_thread(calls)
        assert pool.statistics().submitted == 0
