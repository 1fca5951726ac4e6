"""Wrong uses of a lease: clear errors, and no place is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import works
from trio_pool import JobState, Lease, NoEligibleWorkerError, RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeout": -1}, ValueError, "timeout must not be negative"),
        ({"timeout": "soon"}, TypeError, "timeout must be a number"),
        ({"timeout": float("nan")}, ValueError, "timeout"),
        ({"requires": "gpu"}, TypeError, "requires"),
        ({"worker": "a"}, TypeError, "worker"),
        ({"priority": "high"}, TypeError, "priority"),
        ({"uses": {"tokens": -1}}, ValueError, "uses"),
        ({"name": 5}, TypeError, "name"),
        ({"metadata": 5}, TypeError, "metadata"),
        ({"retry": RetryPolicy()}, TypeError, "retry"),
        ({"after": []}, TypeError, "after"),
    ],
)
async def test_wrong_arguments_are_errors_at_the_call(options: dict[str, Any], error: type, message: str) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(error, match=message):
            pool.acquire(**options)


async def test_none_means_the_default() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("requires", "worker", "uses", "name", "metadata", "timeout"))
    async with open_pool(["a"]) as pool, pool.acquire(**nothing) as resource:
        assert resource == "a"


async def test_a_worker_of_another_pool_is_an_error() -> None:
    async with open_pool(["a"]) as pool, open_pool(["b"]) as other:
        with pytest.raises(ValueError, match="worker of this pool"):
            pool.acquire(worker=other.workers[0])


async def test_it_can_be_entered_only_once() -> None:
    async with open_pool(["a", "b"]) as pool:
        lease = pool.acquire()
        async with lease:
            with pytest.raises(RuntimeError, match="entered only once"):
                await lease.__aenter__()
        with pytest.raises(RuntimeError, match="entered only once"):
            await lease.__aenter__()


async def test_one_that_could_not_be_entered_is_used_up() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire(requires=["gpu"])
        with pytest.raises(NoEligibleWorkerError):
            await lease.__aenter__()
        with pytest.raises(RuntimeError, match="entered only once"):
            await lease.__aenter__()
        with pytest.raises(RuntimeError, match="not entered"):
            await lease.__aexit__(None, None, None)


async def test_one_that_is_never_entered_means_nothing() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        assert "to be entered" in repr(lease)
        assert pool.statistics().submitted == 0


async def test_its_job_is_an_error_before_the_block() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(RuntimeError, match="once its block has begun"):
            _ = lease.job


async def test_left_without_having_been_entered() -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(RuntimeError, match="not entered"):
            await pool.acquire().__aexit__(None, None, None)


async def test_left_twice() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            pass
        with pytest.raises(RuntimeError, match="not entered"):
            await lease.__aexit__(None, None, None)


async def test_left_in_another_task_the_place_is_given_back() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lease.__aenter__)
        with pytest.raises(RuntimeError, match="in the task that has entered it"):
            await lease.__aexit__(None, None, None)
        assert lease.job.state is JobState.SUCCEEDED
        assert await pool.run(works) == "done"


async def test_left_in_the_wrong_order_both_places_are_given_back() -> None:
    async with open_pool(["a", "b"]) as pool:
        one, other = pool.acquire(), pool.acquire()
        await one.__aenter__()
        await other.__aenter__()
        with pytest.raises(RuntimeError, match="Cancel scope stack corrupted"):
            await one.__aexit__(None, None, None)
        await other.__aexit__(None, None, None)
        assert (one.job.state, other.job.state) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
        await pool.join()


async def test_with_a_plain_with_or_awaited_it_says_what_to_do() -> None:
    async with open_pool(["a"]) as pool:
        wrong: Any = pool.acquire()
        with pytest.raises(TypeError, match="use 'async with'"):
            await wrong
        with pytest.raises(TypeError, match="use 'async with'"), wrong:
            pass


async def test_nothing_else_can_be_assigned() -> None:
    async with open_pool(["a"]) as pool:
        wrong: Any = pool.acquire()
        with pytest.raises(AttributeError):
            wrong.resource = 5
        with pytest.raises(AttributeError):
            wrong.job = 5
        assert isinstance(wrong, Lease)


async def test_an_async_generator_that_is_closed_in_its_task_gives_the_place_back(autojump_clock: MockClock) -> None:
    async def borrowed() -> AsyncGenerator[str]:
        async with pool.acquire() as resource:
            yield resource

    async with open_pool(["a"]) as pool:
        generator = borrowed()
        assert await anext(generator) == "a"
        await generator.aclose()
        assert await pool.run(works) == "done"
        assert pool.statistics().cancelled == 1


async def test_a_call_from_another_thread_is_an_error() -> None:
    async with open_pool(["a"]) as pool:

        def enter() -> None:
            with pytest.raises(RuntimeError):
                pool.acquire().__aenter__().send(None)

        await trio.to_thread.run_sync(enter)
