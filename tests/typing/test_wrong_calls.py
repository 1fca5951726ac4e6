"""Calls that type checkers must refuse. An error that they no longer see is an error itself.

Both mypy and pyright heed the comments on the wrong lines, and both complain about one that is not needed. The tests
say what comes of such a call where nobody has checked the types.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.threads import in_trios_thread
from trio_pool import Job, JobFailedError, Node, Pool, Resource, RetryPolicy, SlotPool, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Client:
    """A resource."""

    async def size(self, url: str) -> int:
        return len(url)


class Session:
    """What the lifespan of a client yields."""


@asynccontextmanager
async def open_session(client: Client) -> AsyncGenerator[Session]:
    yield Session()


async def fetch(client: Client, url: str) -> str:
    return url + "!"


async def fetch_within(client: Client, url: str, *, timeout: float = 1.0) -> str:
    return f"{url} within {timeout}"


async def add(left: int, right: int) -> int:
    return left + right


def blocking(client: Client, url: str) -> str:
    return url


async def test_arguments_must_be_those_of_the_function() -> None:
    async with open_pool([Client()]) as pool:
        job = await pool.submit(fetch, 3)  # type: ignore[arg-type]
        with pytest.raises(JobFailedError, match="TypeError"):
            await job.wait()
        with pytest.raises(JobFailedError, match="TypeError"):
            await pool.run(fetch, 3)  # type: ignore[arg-type]
        job = pool.submit_nowait(fetch, 3)  # type: ignore[arg-type]
        with pytest.raises(JobFailedError, match="TypeError"):
            await job.wait()


async def test_arguments_must_be_all_there() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(JobFailedError, match="missing 1 required positional argument: 'url'"):
            await pool.run(fetch)  # type: ignore[arg-type]


async def test_arguments_must_not_be_too_many() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(JobFailedError, match="takes 2 positional arguments but 3 were given"):
            await pool.run(fetch, "/", "/")  # type: ignore[arg-type]


async def test_the_resource_is_not_an_argument() -> None:
    client = Client()
    async with open_pool([client]) as pool:
        with pytest.raises(JobFailedError, match="takes 2 positional arguments but 3 were given"):
            await pool.run(fetch, client, "/")  # type: ignore[arg-type]


async def test_functions_must_be_async() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(JobFailedError, match="blocking is not an async function"):
            await pool.run(blocking, "/")  # type: ignore[arg-type]


async def test_calls_must_not_be_made_beforehand() -> None:
    client = Client()
    async with open_pool([client]) as pool:
        with pytest.raises(TypeError, match="pass the function and its arguments"):
            await pool.run(fetch(client, "/"))  # type: ignore[arg-type]


async def test_functions_must_take_what_the_lifespan_yields() -> None:
    async with open_pool([Client()], lifespan=open_session) as pool:
        with pytest.raises(JobFailedError, match="TypeError"):
            await pool.run(Client.size, 3)  # type: ignore[arg-type]


def test_lifespans_must_take_the_resources() -> None:
    names = ["a"]
    assert hasattr(open_pool(names, lifespan=open_session), "__aenter__")  # type: ignore[arg-type]


async def test_slots_hand_out_no_resource() -> None:
    async with open_pool(2) as pool:
        with pytest.raises(JobFailedError, match="missing 1 required positional argument: 'right'"):
            await pool.run(add, 1)  # type: ignore[arg-type]


async def test_slots_have_no_lifespan() -> None:
    with pytest.raises(ValueError, match="lifespan needs resources"):
        open_pool(2, lifespan=open_session)  # type: ignore[call-overload]


async def test_items_must_be_arguments_of_the_function() -> None:
    async with open_pool([Client()]) as pool:
        items = [1]
        stream = pool.map(fetch, items)  # type: ignore[arg-type]
        async with stream as results:
            with pytest.raises(JobFailedError, match="TypeError"):
                await anext(results)
        jobs = pool.as_completed(fetch, items)  # type: ignore[arg-type]
        async with jobs as finished:
            assert (await anext(finished)).dead_reason is not None


async def test_functions_of_the_item_must_take_and_give_what_they_should() -> None:
    async def length(client: Client, url: str) -> int:
        return len(url)

    def double(number: int) -> int:
        return number * 2

    async def rank(url: str) -> int:
        return len(url)

    urls = ["/", "//"]
    async with open_pool([Client()]) as pool:
        async with pool.map(length, urls, priority=lambda url: url) as results:  # type: ignore[arg-type,return-value]
            with pytest.raises(TypeError, match="the result of priority must be a number"):
                await anext(results)
        async with pool.map(length, urls, priority=lambda url: url.rank) as results:  # type: ignore[attr-defined]
            with pytest.raises(AttributeError, match="rank"):
                await anext(results)
        async with pool.map(length, urls, name=lambda url: len(url)) as results:  # type: ignore[arg-type,return-value]
            with pytest.raises(TypeError, match="the result of name must be a str or None"):
                await anext(results)
        async with pool.as_completed(length, urls, priority=double) as jobs:  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="the result of priority must be a number"):
                await anext(jobs)
        with pytest.raises(TypeError, match="must be a plain function of the item"):
            pool.map(length, urls, priority=rank)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unexpected keyword argument 'rank'"):
            pool.map(length, urls, rank=double)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="priority must be a number"):
            await pool.submit(length, "/", priority=double)  # type: ignore[arg-type]


async def test_results_must_be_used_as_what_they_are() -> None:
    async with open_pool([Client()]) as pool:
        size: int = await pool.run(fetch, "/")  # type: ignore[arg-type]
        job: Job[int] = await pool.submit(fetch, "/")  # type: ignore[arg-type]
        assert [str(size), str(await job.wait())] == ["/!", "/!"]


async def test_keyword_arguments_are_the_pools() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'timeout'.*functools\.partial"):
            await pool.run(fetch_within, "/", timeout=2.5)  # type: ignore[call-arg]


async def test_the_calls_of_groups_are_checked_like_those_of_pools() -> None:
    async with open_pool([Client()]) as pool, pool.open_group() as group:
        with pytest.raises(JobFailedError, match="TypeError"):
            await group.run(fetch, 3)  # type: ignore[arg-type]
        job = await group.submit(fetch)  # type: ignore[arg-type]
        with pytest.raises(JobFailedError, match="missing 1 required positional argument: 'url'"):
            await job.wait()
        with pytest.raises(TypeError, match="unexpected keyword argument 'timeout'"):
            group.submit_nowait(fetch_within, "/", timeout=2.5)  # type: ignore[call-arg]


async def test_groups_are_opened_with_what_groups_have() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(TypeError, match="must_succeed must be a bool"):
            pool.open_group(must_succeed="yes")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="unexpected keyword argument 'max_queue'"):
            pool.open_group(max_queue=3)  # type: ignore[call-arg]


async def test_a_job_comes_after_jobs_and_a_node_after_keys() -> None:
    async with open_pool([Client()]) as pool:
        job = await pool.submit(fetch, "/")
        with pytest.raises(TypeError, match="after must be an iterable of jobs"):
            await pool.submit(fetch, "/", after=job)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="after must hold jobs, got 'first'"):
            await pool.submit(fetch, "/", after=["first"])  # type: ignore[list-item]
        with pytest.raises(TypeError, match="after must be an iterable of keys"):
            Node(fetch, "/", after=3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a graph must be a mapping"):
            await pool.submit_graph([Node(fetch, "/")])  # type: ignore[arg-type]


async def test_options_must_be_of_their_types() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(TypeError, match="attempt_timeout must be a number"):
            await pool.run(fetch, "/", attempt_timeout="5")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="retry must be a RetryPolicy"):
            await pool.run(fetch, "/", retry=3)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="hedge must be a Hedge"):
            await pool.run(fetch, "/", hedge=3)  # type: ignore[arg-type]


def test_choices_must_be_among_those_that_there_are() -> None:
    with pytest.raises(ValueError, match="order must be one of"):
        open_pool(2, order="random")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="placement must be one of"):
        RetryPolicy(placement="elsewhere")  # type: ignore[arg-type]


def test_limits_must_be_limits_and_not_numbers() -> None:
    with pytest.raises(TypeError, match="rate_limit must be a RateLimit, got 10"):
        open_pool(2, rate_limit=10)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="breaker must be a CircuitBreaker, got 5"):
        open_pool([Client()], breaker=5)  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="rate_limit must be a RateLimit, got 10"):
        Resource(Client(), rate_limit=10)  # type: ignore[arg-type]


async def test_a_new_limit_must_be_a_limit() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(TypeError, match="rate_limit must be a RateLimit, got 10"):
            pool.rate_limit = 10  # type: ignore[assignment]


def test_policies_are_values() -> None:
    policy = RetryPolicy()
    with pytest.raises(AttributeError):
        policy.max_attempts = 3  # type: ignore[misc]


async def test_fields_of_jobs_are_read_only() -> None:
    async with open_pool([Client()]) as pool:
        job = await pool.submit(fetch, "/")
        with pytest.raises(AttributeError):
            job.priority = 3  # type: ignore[misc]


def test_pools_of_one_resource_are_not_pools_of_another() -> None:
    async def use(pool: Pool[Client]) -> None: ...

    async def misuse(pool: Pool[Session], slots: SlotPool) -> None:
        await use(pool)  # type: ignore[arg-type]
        await use(slots)  # type: ignore[arg-type]

    assert misuse.__annotations__


def test_descriptions_keep_the_type_of_their_resource() -> None:
    wrong: Resource[Session] = Resource(Client())  # type: ignore[arg-type]
    assert isinstance(wrong.value, Client)


async def test_calls_from_threads_take_the_arguments_of_the_function() -> None:
    async with open_pool([Client()]) as pool:

        def call() -> None:
            with pytest.raises(JobFailedError, match="TypeError"):
                pool.run_from_thread(fetch, 3)  # type: ignore[arg-type]
            with pytest.raises(JobFailedError, match="TypeError"):
                pool.submit_from_thread(fetch, 3).result()  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="unexpected keyword argument 'timeout'"):
                pool.run_from_thread(fetch_within, "/", timeout=2.5)  # type: ignore[call-arg]

        await in_trios_thread(call)


async def test_acquire_takes_no_options_about_attempts_and_is_a_block() -> None:
    async with open_pool([Client()]) as pool:
        with pytest.raises(TypeError, match="unexpected keyword argument 'retry'"):
            pool.acquire(retry=RetryPolicy())  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="use 'async with'"), pool.acquire():  # type: ignore[attr-defined]
            pass
