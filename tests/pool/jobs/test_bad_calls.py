"""A function that can't be a job's is told so at once, with what to do about it."""

from __future__ import annotations

import copy
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from trio_pool import DeadReason, JobFailedError, RetryPolicy, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Client:
    """A resource with methods for jobs."""

    async def get(self, url: str) -> str:
        return url

    async def get_all(self, url: str, *more: str) -> str:
        return url

    async def same_as(self, other: Client) -> bool:
        return self is other


def not_async(*args: Any) -> int:
    return 5


class NotAsync:
    def __call__(self, *args: Any) -> int:
        return 5


async def generator(*args: Any) -> AsyncGenerator[int]:
    yield 1


class Later:
    """Can be awaited, but is no coroutine."""

    def __await__(self) -> Any:
        yield


async def complaint(fn: Any, *args: Any, resources: Any = None) -> str:
    """What the job of such a call is dead of."""
    async with open_pool([Client(), Client()] if resources is None else resources) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fn, *args, retry=RetryPolicy.immediate(max_attempts=5))
    job, cause = caught.value.job, caught.value.__cause__
    assert (job.dead_reason, job.attempt_count) == (DeadReason.NOT_RETRYABLE, 1)
    assert type(cause) is TypeError
    assert str(caught.value).count(str(cause)) == 1
    return str(cause)


@pytest.mark.parametrize("fn", [Client().get, partial(Client().get)], ids=["plain", "partial"])
async def test_a_method_of_a_resource_is_told_to_be_handed_over_from_the_class(fn: Any) -> None:
    text = await complaint(fn, "/index")
    assert text.startswith("Client.get can't be called like this, with the resource before its arguments: ")
    assert "takes 2 positional arguments but 3 were given" in text
    assert text.endswith(
        "It is bound to one Client already; pass the function of the class, Client.get, "
        "and the pool fills in the Client of the worker"
    )


async def test_a_method_of_the_very_resource_is_told_the_same_though_it_could_be_called() -> None:
    client = Client()
    text = await complaint(client.get_all, "/index", resources=[client])
    assert text.startswith("Client.get_all can't be called like this. It is bound to one Client already; pass ")


async def test_a_method_of_another_object_may_take_a_resource() -> None:
    client = Client()
    async with open_pool([Client()]) as pool:
        assert await pool.run(client.same_as) is False


async def test_in_a_pool_of_slots_a_method_may_get_its_own_object() -> None:
    client = Client()
    async with open_pool(1) as pool:
        assert await pool.run(client.same_as, client) is True


async def test_a_method_of_something_else_that_is_called_wrongly_is_no_matter_of_resources() -> None:
    text = await complaint(Client().get, "/index", resources=["a string"])
    assert "bound" not in text


async def test_in_a_pool_of_slots_it_is_said_that_there_are_no_resources() -> None:
    async def fetch(client: Client, url: str) -> None:
        """Wants a resource."""

    text = await complaint(fetch, "/index", resources=1)
    assert "fetch can't be called like this, with no resource before its arguments: " in text
    assert text.endswith("A pool of slots passes no resource; open_pool([...]) does")


@pytest.mark.parametrize("fn", [not_async, partial(not_async, 1), NotAsync()], ids=["plain", "partial", "callable"])
async def test_a_function_that_is_not_async_is_told_what_to_use(fn: Any) -> None:
    text = await complaint(fn)
    words = " is not an async function: calling it returned 5, not a coroutine; "
    assert text.endswith(f"{words}use async def, and await trio.to_thread.run_sync(...) for what blocks")


async def test_an_async_generator_function_is_told_to_return_its_values() -> None:
    text = await complaint(generator)
    assert text.startswith("generator is an async generator function; a job's function must not yield: ")
    assert "return a list" in text


async def test_a_function_that_returns_something_to_be_awaited_is_told_to_await_it() -> None:
    def later(resource: object) -> Later:
        return Later()

    text = await complaint(later)
    assert " is not an async function: pass one that awaits what it returned, <" in text


async def test_what_the_function_has_returned_is_shown_in_short() -> None:
    def huge(resource: object) -> str:
        return "x" * 10**6

    text = await complaint(huge)
    assert len(text) < 600


async def test_the_error_can_be_copied_and_stays_what_it_is() -> None:
    wrong: Any = not_async
    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(wrong)
    copied = copy.deepcopy(caught.value.__cause__)
    assert (type(copied), str(copied)) == (TypeError, str(caught.value.__cause__))


async def test_what_can_be_closed_but_is_no_coroutine_is_left_open() -> None:
    one, other = socket.socketpair()
    wrong: Any = one
    async with open_pool(1) as pool:
        with one, other:
            with pytest.raises(TypeError, match="the first argument must be an async function, got <socket"):
                await pool.run(wrong)
            assert one.send(b"still open") == 10
