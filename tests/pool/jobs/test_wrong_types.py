"""What is of the wrong type, or used in the wrong way, is told so clearly, where it can be seen first."""

from __future__ import annotations

import gc
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import fails, sleeps, works
from tests.openers import OpenPool, both
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Discard,
    Elastic,
    GiveUp,
    Instrument,
    JobFailedError,
    Resource,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from random import Random

    from trio.testing import MockClock

# Typed as the callers that don't check their types would see them.
open_anything: Any = open_pool
any_policy: Any = RetryPolicy
any_elastic: Any = Elastic


class Unspeakable:
    """Has no repr."""

    def __repr__(self) -> str:
        raise LookupError


# Values that can't be shown as they are


@pytest.mark.parametrize("number", [1_000_001, 10**400, 10**5000], ids=["some", "many", "more than can be shown"])
def test_more_slots_than_can_be_is_an_error(number: int) -> None:
    with pytest.raises(ValueError, match=r"^resources must be at most 1000000 slots, got ") as caught:
        open_pool(number)
    assert len(str(caught.value)) < 300
    with pytest.raises(ValueError, match=r"^min must be at most 1000000, got "):
        Elastic(lambda: open_pool(1), min=number, max=number)


UNSHOWN = [b"x" * 10_000, -(10**5000), Unspeakable(), [Unspeakable()]]


@pytest.mark.parametrize("value", UNSHOWN, ids=["long", "a large number", "without a repr", "with one inside"])
@pytest.mark.parametrize("option", ["retry", "order", "on_failure", "rate_limit", "name", "max_queue", "history"])
def test_a_value_that_can_not_be_shown_does_not_get_into_the_way_of_the_message(option: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"^{option} must .*, got ") as caught:
        open_anything(["a"], **{option: value})
    assert len(str(caught.value)) < 300


async def test_more_workers_reserved_than_can_be_written_is_an_error() -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match=r"^reserve must be at most 1, all the places"):
            pool.open_group(reserve=10**5000)


# Flags

NO_FLAGS: list[Any] = [None, 0, 1, "yes", [], math.nan]


@pytest.mark.parametrize("value", NO_FLAGS)
@both
async def test_flags_take_only_bools(opened: OpenPool, value: Any) -> None:
    async with opened() as pool:
        with pytest.raises(TypeError, match=r"^cancel must be a bool, got "):
            await pool.workers[0].remove(cancel=value)
        with pytest.raises(TypeError, match=r"^idle_only must be a bool"):
            pool.submit_nowait(works, idle_only=value)
        with pytest.raises(TypeError, match=r"^reverse must be a bool"):
            await pool.submit_graph({}, reverse=value)
        with pytest.raises(TypeError, match=r"^must_succeed must be a bool"):
            pool.open_group(must_succeed=value)
        assert len(pool.workers) == 1
        assert pool.statistics().submitted == 0


# Blocks that are none


@pytest.mark.parametrize("call", ["map", "as_completed"])
async def test_a_stream_is_entered_by_async_with(call: str) -> None:
    async with open_pool(["a"]) as pool:
        stream: Any = getattr(pool, call)(works, [])
        with pytest.raises(TypeError, match=r"^use 'async with', not 'with'$"), stream:
            pass
        with pytest.raises(RuntimeError, match=r"^enter the stream of results first"):
            await anext(stream)
        with pytest.raises(TypeError, match=r"^use 'async with', not 'await'$"):
            await stream
        with pytest.raises(TypeError):
            iter(stream)


async def test_lend_is_entered_by_async_with() -> None:
    async def lends(_: object) -> None:
        block: Any = current_job().lend()
        with block:
            pass

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(lends)
    assert str(caught.value.__cause__) == "use 'async with', not 'with'"


@both
@pytest.mark.parametrize("call", ["open_pool", "open_group"])
async def test_so_are_pools_and_groups(opened: OpenPool, call: str) -> None:
    async with opened() as pool:
        block: Any = opened() if call == "open_pool" else pool.open_group()
        with pytest.raises(TypeError, match=r"^use 'async with', not 'with'$"), block:
            pass
        with pytest.raises(TypeError, match=r"^use 'async with', not 'await'$"):
            await block
        with pytest.raises(AttributeError) as caught:
            block.submit(works)
    message = f"what {call}() returns has no attribute 'submit'; enter it first: 'async with {call}(...)'"
    assert str(caught.value) == message


async def test_a_job_is_waited_for_by_its_wait() -> None:
    async with open_pool(["a"]) as pool:
        job: Any = await pool.submit(works)
        with pytest.raises(TypeError, match=r"^a job can't be awaited; use 'await job.wait\(\)'$"):
            await job


@both
async def test_what_is_open_can_not_be_entered(opened: OpenPool) -> None:
    async with opened() as pool, pool.open_group() as group:
        for thing in (pool, group):
            kind = type(thing).__name__
            with pytest.raises(TypeError, match=rf"^this {kind} is open already; 'async with' is for what the call"):
                async with thing:
                    pass


# The aids for tests


@pytest.mark.parametrize("value", [None, 5, "pool", open_pool])
def test_only_a_pool_can_be_settled(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^pool must be a Pool or a SlotPool, got "):
        assert_settled(value)


@pytest.mark.parametrize("value", [None, "no luck", int, 5])
def test_flaky_fails_with_an_exception(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^error must be an exception or a type of one, got "):
        Flaky(1, error=value)


# Reasons


@pytest.mark.parametrize("kind", [GiveUp, Discard])
async def test_a_reason_that_has_become_something_else_is_shown_all_the_same(kind: Any) -> None:
    error = kind("why")
    error.reason = Unspeakable()
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(Flaky(1, error=error))
    assert "Unspeakable" in job.reason


# Functions that must not be async


async def coroutine_function(*_: object) -> bool:
    return True


async def async_generator_function(*_: object) -> AsyncGenerator[None]:
    yield


class Callables:
    """The same in other guises."""

    async def method(self, *_: object) -> bool:
        return True

    async def __call__(self, *_: object) -> bool:
        return True


ASYNC: list[Any] = [
    coroutine_function,
    async_generator_function,
    partial(coroutine_function, 1),
    partial(partial(coroutine_function, 1), 2),
    Callables().method,
    Callables(),
    partial(Callables(), 1),
]
each_async = pytest.mark.parametrize("fn", ASYNC)


@each_async
def test_rules_of_errors_are_plain_functions(fn: Any) -> None:
    with pytest.raises(TypeError, match=r"^retry_on must be a plain function, not an async one, got "):
        RetryPolicy(retry_on=fn)
    with pytest.raises(TypeError, match=r"^counts must be a plain function, not an async one, got "):
        CircuitBreaker(counts=fn)


@each_async
async def test_on_failure_is_a_plain_function(fn: Any) -> None:
    with pytest.raises(TypeError, match=r"^on_failure must be a plain function, not an async one, got "):
        open_pool(["a"], on_failure=fn)
    async with open_pool(["a"]) as pool:
        with pytest.raises(TypeError, match=r"^on_failure must be a plain function, not an async one, got "):
            pool.on_failure = fn
        assert pool.on_failure is None


def test_delay_is_a_plain_function() -> None:
    class Asks(RetryPolicy):
        """A policy whose curve is asked for elsewhere."""

    vars_of: Any = Asks
    vars_of.delay = coroutine_function
    with pytest.raises(TypeError, match=r"^delay must be a plain function, not an async one, got "):
        Asks()


def generator_function(*_: object) -> Generator[None]:
    yield


@pytest.mark.parametrize("fn", [*ASYNC, generator_function, partial(generator_function, 1)])
def test_lifespans_and_factories_give_async_context_managers(fn: Any) -> None:
    rule = "must be a function that returns an async context manager, which contextlib.asynccontextmanager makes of an"
    with pytest.raises(TypeError, match=rf"^lifespan {rule} async generator function, got "):
        open_pool(["a"], lifespan=fn)
    with pytest.raises(TypeError, match=rf"^factory {rule} async generator function, got "):
        Elastic(fn, max=1)


@pytest.mark.parametrize("option", ["lifespan", "on_failure"])
def test_what_can_not_be_called_is_no_function(option: str) -> None:
    with pytest.raises(TypeError, match=rf"^{option} must be callable, got 5$"):
        open_anything(["a"], **{option: 5})


def test_classes_and_functions_are_taken_as_they_are() -> None:
    class Session:
        async def __aenter__(self) -> None:
            """Nothing to enter."""

        async def __aexit__(self, *_: object) -> None:
            """Nothing to leave."""

    assert Elastic(Session, max=1).factory is Session
    assert open_pool([1], lifespan=lambda _: Session()) is not None


class Hides:
    """An async function that can't be told from a plain one before it is called."""

    def __call__(self, *_: object) -> Any:
        return coroutine_function()


HIDDEN: dict[str, dict[str, Any]] = {
    "on_failure": {"on_failure": Hides()},
    "retry_on": {"retry": RetryPolicy(retry_on=Hides())},
    "counts": {"breaker": CircuitBreaker(counts=Hides())},
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_a_hidden_async_function_is_told_when_it_is_called(name: str) -> None:
    async with open_pool(["a"], **HIDDEN[name]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
        assert await pool.run(works) == "done"
    assert caught.value.job.dead_reason is DeadReason.NOT_RETRYABLE
    cause = caught.value.__cause__
    assert type(cause) is TypeError
    assert str(cause).startswith(f"{name} must be a plain function, which returned the awaitable <coroutine object")
    gc.collect()  # nothing complains of a coroutine that was never awaited


async def test_a_delay_to_be_awaited_is_told_when_it_is_called() -> None:
    class Asks(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> Any:
            return coroutine_function()

    async with open_pool(["a"], retry=Asks()) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
    assert str(caught.value.__cause__).startswith("delay must be a plain function, which returned the awaitable")
    gc.collect()


async def test_an_awaitable_that_can_not_be_closed_is_told_too() -> None:
    class Awaitable:
        def __await__(self) -> Generator[Any, Any, None]:
            yield

    def gives_one(job: Any, error: Exception) -> Any:
        return Awaitable()

    async with open_anything(["a"], on_failure=gives_one) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fails)
    assert str(caught.value.__cause__).startswith("on_failure must be a plain function, which returned the awaitable")


@pytest.mark.parametrize(
    ("name", "open_it"),
    [
        ("lifespan", lambda: open_pool(["a"], lifespan=Hides())),
        ("factory", lambda: open_pool(Elastic(Hides(), min=1, max=1))),
    ],
)
async def test_a_hidden_async_lifespan_is_told_at_the_start(name: str, open_it: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be a plain function, which returned the awaitable"):
        async with open_it():
            pytest.fail("entered")
    gc.collect()


async def test_an_async_instrument_is_removed_as_one_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    class Asks(Instrument):
        async def job_finished(self, job: Any) -> None:  # type: ignore[override]
            pytest.fail("awaited")

    async with open_pool(["a"], instruments=[Asks()]) as pool:
        assert await pool.run(works) == "done"
        assert await pool.run(works) == "done"
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert str(record.exc_info[1]).startswith("job_finished must be a plain function, which returned the awaitable")
    gc.collect()


# No limit


@pytest.mark.parametrize("unbounded", [None, math.inf])
async def test_none_and_inf_both_mean_no_limit(unbounded: Any, autojump_clock: MockClock) -> None:
    policy = RetryPolicy(max_attempts=unbounded, max_delay=unbounded)
    resource = Resource("a", max_jobs=unbounded, max_age=unbounded)
    async with open_anything(
        [resource],
        retry=policy,
        attempt_timeout=unbounded,
        total_timeout=unbounded,
        max_queue=unbounded,
        max_running=unbounded,
        max_dead=unbounded,
    ) as pool:
        pool.max_running = unbounded
        async with pool.open_group(max_running=unbounded) as group:
            assert await group.run(works) == "done"
        worker = await pool.add("b", max_jobs=unbounded, max_age=unbounded)
        assert await pool.run(works, worker=worker, attempt_timeout=unbounded, total_timeout=unbounded) == "done"
        assert pool.max_running is None
    assert policy.max_delay == math.inf
    assert any_elastic(lambda: pool, max=1, idle_timeout=unbounded).idle_timeout == math.inf


# How old a resource may be


async def test_the_least_age_lets_an_attempt_run_each_time_that_the_resource_is_open(
    autojump_clock: MockClock,
) -> None:
    opened = 0

    class Session:
        async def __aenter__(self) -> None:
            nonlocal opened
            opened += 1
            await trio.sleep(0.5)

        async def __aexit__(self, *_: object) -> None:
            await trio.lowlevel.checkpoint()

    async with open_pool([Resource("a", max_age=0.001)], lifespan=lambda _: Session()) as pool:
        for _ in range(5):
            await pool.submit(sleeps, 0.01)
        await pool.join()
        assert (pool.statistics().succeeded, opened) == (5, 5)
        await trio.sleep(10)  # and the world goes on while it has nothing to do
        assert 15 < opened < 30
