"""Exceptions that refuse assignment, text or comparison: none ends a pool or changes what is reported."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from tests.actors import nap
from tests.exceptions import Classless, Refuses, Unruly, nested
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Hedge,
    JobFailedError,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    current_job,
    open_pool,
)
from trio_pool._basics.exceptions import leaves

if TYPE_CHECKING:
    from random import Random

    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

MAKERS: list[Callable[[], Exception]] = [
    Refuses,
    Unruly,
    Classless,
    lambda: ExceptionGroup("group", [Refuses(), Unruly()]),
    lambda: cast("Exception", nested(Unruly())),
]
EACH = pytest.mark.parametrize("make", MAKERS, ids=["refuses", "unruly", "classless", "group", "deep group"])
THRICE = RetryPolicy(max_attempts=3, base_delay=0)

Make = Callable[[], Exception]


async def works(resource: object) -> str:
    await trio.lowlevel.checkpoint()
    return "works"


@EACH
async def test_the_error_of_a_job_is_that_very_one(make: Make) -> None:
    error = make()

    async def job(resource: object) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    async with open_pool(["a"], retry=THRICE, breaker=CircuitBreaker(failures=10)) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job)
        assert raised.value.__cause__ is error
        dead = raised.value.job
        assert dead is not None
        assert dead.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED
        assert [attempt.error is error for attempt in dead.attempts] == [True] * 3
        assert await pool.run(works) == "works"


@EACH
async def test_so_in_lends_groups_nurseries_and_hedges(make: Make, autojump_clock: MockClock) -> None:
    async def lending(resource: object) -> None:
        async with current_job().lend():
            raise error

    async def in_a_group(resource: object) -> None:
        async with pool.open_group() as group:
            await group.submit(works)
            raise error

    async def slowly(resource: object) -> None:
        await trio.sleep(2)
        raise error

    async with open_pool(["a", "b"]) as pool:
        for job, hedge in ((lending, None), (in_a_group, None), (slowly, Hedge(1))):
            error = make()
            with pytest.raises(JobFailedError) as raised:
                await pool.run(job, hedge=hedge)
            assert raised.value.__cause__ is error


@EACH
@pytest.mark.parametrize("who", ["on_failure", "retry_on", "delay", "counts"])
async def test_whoever_decides_about_a_failure_may_raise_it(make: Make, who: str) -> None:
    error, failure = make(), make()

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
        cause = raised.value.__cause__
        assert cause is error
        assert error.__context__ is failure
        assert await pool.run(works) == "works"


@EACH
async def test_a_lifespan_that_raises_it_at_the_start_lets_it_out(make: Make) -> None:
    error = make()

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        if resource:
            raise error
        yield resource

    with pytest.raises(type(error)) as raised:
        async with open_pool(["a"], lifespan=lifespan):
            raise AssertionError("the body runs")
    assert raised.value is error


@EACH
async def test_a_lifespan_that_raises_it_meanwhile_is_entered_again(make: Make, autojump_clock: MockClock) -> None:
    opened = 0

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[int]:
        nonlocal opened
        opened += 1
        if opened == 1:
            with trio.move_on_after(1):
                yield opened
            raise make()
        if opened == 2:
            raise make()
        yield opened

    async def job(resource: int) -> int:
        if resource == 1:
            await trio.sleep(10)
        return resource

    async with open_pool(["a"], lifespan=lifespan, retry=THRICE) as pool:
        assert await pool.run(job) == 3


@EACH
async def test_a_lifespan_that_raises_it_at_its_end_lets_it_out_in_a_group(make: Make) -> None:
    error = make()

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        yield resource
        raise error

    with pytest.raises(BaseExceptionGroup) as raised:
        async with open_pool(["a"], lifespan=lifespan) as pool:
            await pool.run(works)
    assert raised.value.exceptions[0] is error


@EACH
@pytest.mark.parametrize("with_jobs", [False, True])
async def test_raised_in_the_body_of_a_pool_it_comes_out_as_it_is(
    make: Make, with_jobs: bool, autojump_clock: MockClock
) -> None:
    error = make()
    caught: list[BaseException] = []
    try:
        async with open_pool(["a"]) as pool:
            if with_jobs:
                await pool.submit(nap, 10)
                await trio.sleep(1)
            raise error
    except BaseException as raised:
        caught.append(raised)
    assert caught[0] is error


@EACH
async def test_raised_in_the_body_of_a_group_it_comes_out_as_it_is(make: Make, autojump_clock: MockClock) -> None:
    error = make()
    caught: list[BaseException] = []
    async with open_pool(["a"]) as pool:
        try:
            async with pool.open_group() as group:
                await group.submit(nap, 10)
                await trio.sleep(1)
                raise error
        except BaseException as raised:
            caught.append(raised)
        assert caught[0] is error
        assert await pool.run(works) == "works"


@pytest.mark.parametrize("cancels", ["pool", "group"])
async def test_a_cancelled_body_may_raise_its_cancellation_deep_in_groups(
    cancels: str, autojump_clock: MockClock
) -> None:
    async def body(block: Any) -> None:
        block.cancel()
        try:
            await trio.sleep(1)
        except trio.Cancelled as cancelled:
            raise nested(cancelled) from None

    async with open_pool(["a"]) as pool:
        if cancels == "pool":
            await body(pool)
        async with pool.open_group() as group:
            await body(group)
    assert pool.statistics().submitted == 0


async def test_an_error_beside_the_cancellation_of_a_cancelled_body_comes_out() -> None:
    mine = ValueError("mine")
    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012
        async with open_pool(["a"]) as pool:
            pool.cancel()
            try:
                await trio.sleep(1)
            except trio.Cancelled as cancelled:
                raise BaseExceptionGroup("both", [cancelled, mine]) from None
    assert raised.value.exceptions == (mine,)
    assert raised.value.message == "both"


# Groups are walked without recursion.


async def run_job_that_raises(error: BaseException, **options: Any) -> JobFailedError:
    async def job(resource: object) -> None:
        raise error

    async with open_pool(["a"], **options) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job)
    return raised.value


async def test_a_deep_group_of_control_exceptions_is_obeyed() -> None:
    times = 0

    async def job(resource: object) -> str:
        nonlocal times
        times += 1
        if times == 1:
            raise nested(RetryAfter(0))
        if times == 2:
            raise nested(ResourceBroken())
        return "done"

    async with open_pool(["a"], retry=THRICE) as pool:
        assert await pool.run(job) == "done"


async def test_retry_on_matches_the_leaves_of_a_deep_group() -> None:
    matching = await run_job_that_raises(nested(OSError()), retry=attempts_on(OSError))
    other = await run_job_that_raises(nested(ValueError()), retry=attempts_on(OSError))
    assert [attempts_of(matching), attempts_of(other)] == [3, 1]


def attempts_of(error: JobFailedError) -> int:
    assert error.job is not None
    return error.job.attempt_count


def attempts_on(kind: type[Exception]) -> RetryPolicy:
    return RetryPolicy(max_attempts=3, base_delay=0, retry_on=kind)


async def test_a_group_that_stands_in_itself_many_times_takes_no_time() -> None:
    group: ExceptionGroup[Exception] = ExceptionGroup("level 0", [OSError()])
    for level in range(100):
        group = ExceptionGroup(f"level {level}", [group, group])
    error = await run_job_that_raises(group, retry=attempts_on(OSError))
    assert attempts_of(error) == 3


async def test_an_attempt_that_is_cut_short_may_end_in_a_deep_group(autojump_clock: MockClock) -> None:
    async def job(resource: object) -> None:
        try:
            await trio.sleep(10)
        except trio.Cancelled as cancelled:
            raise nested(cancelled) from None

    async with open_pool(["a"]) as pool:
        late = await pool.submit(job, attempt_timeout=1)
        too_late = await pool.submit(job, total_timeout=3)
        cancelled = await pool.submit(job)
        await trio.sleep(5)
        cancelled.cancel()
        await pool.join()
        assert late.dead_reason is DeadReason.ATTEMPTS_EXHAUSTED
        assert too_late.dead_reason is DeadReason.TIMED_OUT
        assert cancelled.state.name == "CANCELLED"
        pool.dead.pop_all()


async def test_an_error_deep_beside_the_cancellation_is_the_error(autojump_clock: MockClock) -> None:
    mine = ValueError("mine")

    async def job(resource: object) -> None:
        try:
            await trio.sleep(10)
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("both", [nested(cancelled), nested(mine)]) from None

    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as raised:
            await pool.run(job, attempt_timeout=1)
    error = raised.value.__cause__
    assert error is not None
    assert leaves(error) == [mine]
