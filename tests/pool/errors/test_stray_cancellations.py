"""Cancellations that no cancel scope has asked for are errors of whoever raises them."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from tests.exceptions import WAYS, nested, stray
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Elastic,
    Hedge,
    Instrument,
    Job,
    JobFailedError,
    Pool,
    RetryPolicy,
    current_job,
    open_pool,
)

if TYPE_CHECKING:
    from random import Random

    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

AGAIN = RetryPolicy(max_attempts=3, base_delay=0)
EVERY_WAY = pytest.mark.parametrize("way", WAYS)

Raise = Callable[[BaseException], Awaitable[Any]]


async def works(resource: object) -> str:
    await trio.lowlevel.checkpoint()
    return "works"


async def plainly(error: BaseException) -> None:
    raise error


async def after_a_while(error: BaseException) -> None:
    await trio.sleep(1)
    raise error


async def behind_a_shield(error: BaseException) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(1)
        raise error


async def in_a_scope_that_did_not_fire(error: BaseException) -> None:
    with trio.move_on_after(100):
        await trio.lowlevel.checkpoint()
        raise error


async def while_lending(error: BaseException) -> None:
    async with current_job().lend():
        await trio.sleep(1)
        raise error


async def handling_another(error: BaseException) -> None:
    try:
        raise KeyError("first")
    except KeyError:
        raise error from None


# Not in a nursery: that cancels itself for it, and takes it for that.
PLACES: list[Raise] = [
    plainly,
    after_a_while,
    behind_a_shield,
    in_a_scope_that_did_not_fire,
    while_lending,
    handling_another,
]


def is_stray(error: BaseException | None, raised: BaseException) -> bool:
    """Whether a job's death is that of one that has raised such a cancellation."""
    return type(error) is RuntimeError and "trio.Cancelled" in str(error) and error.__cause__ is not None


@EVERY_WAY
@pytest.mark.parametrize("raise_it", PLACES)
async def test_a_function_that_raises_one_makes_its_job_dead(
    raise_it: Raise, way: str, autojump_clock: MockClock
) -> None:
    error = WAYS[way](await stray())

    async def job(resource: object) -> None:
        await raise_it(error)

    async with open_pool(["a"], retry=AGAIN) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job)
        dead = raised.value.job
        assert dead is not None
        assert dead.dead_reason is DeadReason.NOT_RETRYABLE
        assert dead.attempt_count == 1
        assert is_stray(raised.value.__cause__, error)
        assert await pool.run(works) == "works"


@EVERY_WAY
async def test_what_was_raised_is_the_cause(way: str) -> None:
    error = WAYS[way](await stray())

    async def job(resource: object) -> None:
        raise error

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job)
    assert raised.value.__cause__ is not None
    assert raised.value.__cause__.__cause__ is error


@EVERY_WAY
async def test_a_group_inside_a_job_lets_it_out(way: str, autojump_clock: MockClock) -> None:
    error = WAYS[way](await stray())

    async def job(resource: object, pool: Pool[Any]) -> None:
        async with pool.open_group() as group:
            await group.submit(works)
            raise error

    async with open_pool(["a", "b"]) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job, pool)
    assert is_stray(raised.value.__cause__, error)


@EVERY_WAY
async def test_hedged_attempts_count_it_as_a_failure(way: str, autojump_clock: MockClock) -> None:
    error = WAYS[way](await stray())

    async def job(resource: str) -> None:
        await trio.sleep(3)
        raise error

    async with open_pool(["a", "b"]) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job, hedge=Hedge(1))
    assert is_stray(raised.value.__cause__, error)


async def test_it_comes_by_every_way_of_calling(autojump_clock: MockClock) -> None:
    error = await stray()

    async def job(resource: object, item: object = None) -> None:
        raise error

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError):
            await (await pool.submit(job)).wait()
        async with pool.map(job, [1]) as results:
            with pytest.raises(JobFailedError):
                await anext(results)
        async with pool.as_completed(job, [1]) as jobs:
            assert (await anext(jobs)).dead_reason is DeadReason.NOT_RETRYABLE
        async with pool.open_group() as group:
            with pytest.raises(JobFailedError):
                await group.run(job)
        with pytest.raises(JobFailedError):
            await trio.to_thread.run_sync(lambda: pool.run_from_thread(job))


@EVERY_WAY
async def test_beside_a_keyboard_interrupt_it_is_left_out(way: str) -> None:
    interrupt = KeyboardInterrupt()
    error = BaseExceptionGroup("all", [WAYS[way](await stray()), interrupt])

    async def job(resource: object) -> None:
        raise error

    with pytest.raises(BaseExceptionGroup) as raised:  # noqa: PT012
        async with open_pool(["a"]) as pool:
            await pool.submit(job)
            await trio.sleep_forever()
    assert raised.value.split(KeyboardInterrupt)[0] is not None
    assert raised.value.split(trio.Cancelled)[0] is None


async def test_of_a_job_that_is_cancelled_it_is_the_cancellation(autojump_clock: MockClock) -> None:
    """There is no telling the one from the other, and no need to."""
    error = await stray()

    async def job(resource: object) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise error from None

    async with open_pool(["a"]) as pool:
        cancelled = await pool.submit(job)
        await cancelled.wait_started()
        cancelled.cancel()
        await pool.join()
        assert cancelled.state.name == "CANCELLED"


# Whoever decides about failures.


@EVERY_WAY
@pytest.mark.parametrize("who", ["on_failure", "retry_on", "delay", "counts"])
async def test_whoever_decides_about_a_failure_and_raises_one_has_failed(
    who: str, way: str, autojump_clock: MockClock
) -> None:
    error = WAYS[way](await stray())
    failure = ValueError("no")

    def decide(*_: object) -> Any:
        raise error

    class Policy(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            return cast("float", decide())

    async def job(resource: object) -> None:
        raise failure

    options: dict[str, dict[str, Any]] = {
        "on_failure": {"on_failure": decide},
        "retry_on": {"retry": RetryPolicy(retry_on=decide)},
        "delay": {"retry": Policy()},
        "counts": {"breaker": CircuitBreaker(counts=decide)},
    }
    async with open_pool(["a"], **options[who]) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job)
        assert is_stray(raised.value.__cause__, error)
        assert raised.value.__cause__ is not None
        assert raised.value.__cause__.__context__ is failure
        assert await pool.run(works) == "works"


@EVERY_WAY
async def test_an_instrument_that_raises_one_is_removed(way: str, caplog: pytest.LogCaptureFixture) -> None:
    error = WAYS[way](await stray())

    class Raises(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            raise error

    async with open_pool(["a"], instruments=[Raises()]) as pool:
        assert await pool.run(works) == "works"
        assert await pool.run(works) == "works"
    assert ["raised in job_submitted" in record.getMessage() for record in caplog.records] == [True]


# Lifespans.


@asynccontextmanager
async def no_lifespan(resource: str) -> AsyncGenerator[str]:
    yield resource


@EVERY_WAY
@pytest.mark.parametrize("elastic", [False, True])
async def test_a_lifespan_that_raises_one_at_the_start_can_not_be_opened(elastic: bool, way: str) -> None:
    error = WAYS[way](await stray())

    @asynccontextmanager
    async def lifespan(resource: str = "a") -> AsyncGenerator[str]:
        await trio.lowlevel.checkpoint()
        if resource:
            raise error
        yield resource

    options: Any = {} if elastic else {"lifespan": lifespan}
    resources: Any = Elastic(lifespan, min=1, max=1) if elastic else ["a"]
    with pytest.raises(RuntimeError, match=r"trio\.Cancelled") as raised:
        async with open_pool(resources, **options):
            raise AssertionError("the body runs")
    assert raised.value.__cause__ is error


@EVERY_WAY
async def test_add_raises_what_it_comes_to(way: str) -> None:
    error = WAYS[way](await stray())

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        if resource == "b":
            raise error
        yield resource

    async with open_pool(["a"], lifespan=lifespan) as pool:
        with pytest.raises(RuntimeError, match=r"trio\.Cancelled"):
            await pool.add("b")
        assert len(pool.workers) == 1
        assert await pool.run(works) == "works"


@EVERY_WAY
async def test_a_lifespan_that_raises_one_meanwhile_is_entered_again(way: str, autojump_clock: MockClock) -> None:
    error = WAYS[way](await stray())
    opened = 0

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[int]:
        nonlocal opened
        opened += 1
        if opened == 1:
            with trio.move_on_after(1):
                yield opened
            raise error
        if opened == 2:
            raise error  # reopening fails once more
        yield opened

    async def job(resource: int) -> int:
        if resource == 1:
            await trio.sleep(10)
        return resource

    async with open_pool(["a"], lifespan=lifespan, retry=RetryPolicy(base_delay=0)) as pool:
        assert await pool.run(job) == 3


@EVERY_WAY
async def test_a_lifespan_that_raises_one_at_its_end_lets_it_out_of_the_block(way: str) -> None:
    error = WAYS[way](await stray())

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        yield resource
        raise error

    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_pool(["a"], lifespan=lifespan) as pool:
            assert await pool.run(works) == "works"
    (left,) = raised.value.exceptions
    assert is_stray(left, error)


async def test_a_lifespan_that_is_told_to_end_may_raise_its_cancellation_in_groups(autojump_clock: MockClock) -> None:
    """While it is being opened; a nursery around what it waits for, and others around that, put it there."""

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        if resource == "slow":
            try:
                await trio.sleep(100)
            except trio.Cancelled as cancelled:
                raise nested(cancelled) from None
        yield resource

    async with open_pool(["a"], lifespan=lifespan) as pool:
        with trio.move_on_after(1) as scope:
            await pool.add("slow")
        assert scope.cancelled_caught
        assert await pool.run(works) == "works"
