"""Where an error is told in one line, an exception group is called by what is in it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from tests.watchers import Watchers
from trio_pool import Job, JobFailedError, Pool, Resource, ResourceBroken, RetryPolicy, open_pool
from trio_pool._error_words import in_words, only_leaf

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

DOWN = "ConnectionError: db is down"


class DownError(Exception):
    """Its name is not among those that are built in."""


def cancelled() -> trio.Cancelled:
    """What Trio raises, caught and kept."""
    caught: list[trio.Cancelled] = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                caught.append(error)
                raise

    trio.run(main)
    return caught[0]


def nested(error: Exception, depth: int) -> Exception:
    for _ in range(depth):
        error = ExceptionGroup("of one", [error])
    return error


# What is said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        pytest.param(ConnectionError("db is down"), DOWN, id="none"),
        pytest.param(nested(ConnectionError("db is down"), 1), DOWN, id="one"),
        pytest.param(nested(ConnectionError("db is down"), 3), DOWN, id="deeper"),
        pytest.param(nested(ConnectionError("db is down"), 5000), DOWN, id="very deep"),
        pytest.param(
            ExceptionGroup("x", [ConnectionError("db is down"), ValueError(), OSError()]),
            f"{DOWN} (and 2 more)",
            id="three",
        ),
        pytest.param(
            ExceptionGroup("x", [nested(ConnectionError("db is down"), 2), nested(ValueError(), 1)]),
            f"{DOWN} (and 1 more)",
            id="at several depths",
        ),
        pytest.param(ExceptionGroup("x", [ValueError()]), "ValueError", id="without a text"),
    ],
)
def test_a_group_is_called_by_its_first_leaf(error: Exception, words: str) -> None:
    assert in_words(error) == words


def test_cancellations_are_not_counted_beside_errors() -> None:
    group = BaseExceptionGroup("x", [cancelled(), ConnectionError("db is down"), cancelled()])
    assert in_words(group) == DOWN


def test_a_group_of_cancellations_is_called_by_them() -> None:
    group = BaseExceptionGroup("x", [cancelled(), cancelled()])
    assert in_words(group).startswith("Cancelled")
    assert in_words(group).endswith("(and 1 more)")


def test_a_group_that_hides_what_is_in_it_is_looked_into_all_the_same() -> None:
    class Hidden(ExceptionGroup[Exception]):
        @property
        def exceptions(self) -> Any:
            return ()

    assert in_words(Hidden("x", [ConnectionError("db is down")])) == DOWN


def test_the_only_leaf_of_a_group_is_its_error() -> None:
    leaf = ConnectionError("db is down")
    several = ExceptionGroup("x", [leaf, ValueError()])
    assert only_leaf(nested(leaf, 3)) is leaf
    assert only_leaf(several) is several
    assert only_leaf(leaf) is leaf


def test_of_a_group_with_something_worse_in_it_there_is_no_such_leaf() -> None:
    group: Any = BaseExceptionGroup("x", [KeyboardInterrupt()])
    assert only_leaf(group) is group


# Where it is said


async def has_a_nursery(resource: object) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        raise ConnectionError("db is down")


async def has_two(resource: object) -> None:
    async def also() -> None:
        raise DownError("cache is down")

    async with trio.open_nursery(strict_exception_groups=True) as nursery:
        nursery.start_soon(also)
        raise ConnectionError("db is down")


async def dead_of(pool: Pool[Any], fn: Any = has_a_nursery) -> Job[Any]:
    job: Job[Any] = await pool.submit(fn, name="fetch")
    await pool.join()
    return job


TWICE = RetryPolicy.immediate(max_attempts=2)
A = [Resource("a", name="A")]


async def test_a_failure_names_the_leaf(autojump_clock: MockClock) -> None:
    async with open_pool(A, retry=TWICE) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(has_a_nursery, name="fetch")
    assert str(caught.value) == f"job 1 (fetch) is dead after 2 attempts: no attempts left; last error: {DOWN}"
    assert caught.value.__notes__ == [f"attempt {number} on A, 0.000 s: {DOWN}" for number in (1, 2)]


async def test_the_error_itself_stays_the_group() -> None:
    async with open_pool(A, on_dead="keep") as pool:
        job = await dead_of(pool)
        with pytest.raises(JobFailedError) as caught:
            job.result()
    error: object = job.attempts[0].error
    assert isinstance(error, ExceptionGroup)
    assert caught.value.__cause__ is cast("object", error)


async def test_a_reason_names_the_leaf() -> None:
    async with open_pool(A, retry=RetryPolicy(retry_on=KeyError), on_dead="keep") as pool:
        job = await dead_of(pool)
        assert job.reason == f"not retryable: {DOWN}"
        assert repr(job) == f"<trio_pool.Job 1 fetch, dead, 1 attempt: not retryable: {DOWN}>"


async def test_the_statistics_have_the_leaf() -> None:
    async with open_pool(A, on_dead="keep") as pool:
        await dead_of(pool)
        [worker] = pool.statistics().workers
    assert isinstance(worker.last_error, ConnectionError)
    assert DOWN in str(pool.statistics())


async def test_the_statistics_of_several_errors_say_how_many() -> None:
    async with open_pool(A, on_dead="keep") as pool:
        await dead_of(pool, has_two)
        [worker] = pool.statistics().workers
        assert isinstance(worker.last_error, ExceptionGroup)
        assert "(and 1 more)" in str(pool.statistics())


async def test_a_lifespan_that_fails_with_a_group_is_told_by_its_leaf(autojump_clock: MockClock) -> None:
    opened: list[str] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        opened.append(resource)
        if len(opened) == 2:
            raise nested(ConnectionError("db is down"), 2)
        yield resource

    async def breaks(resource: str) -> None:
        if len(opened) == 1:
            raise ResourceBroken

    async with open_pool(A, lifespan=lifespan, retry=TWICE) as pool:
        await pool.run(breaks)
        [worker] = pool.statistics().workers
    assert isinstance(worker.last_error, ConnectionError)


async def test_all_who_show_a_pool_name_the_leaf(autojump_clock: MockClock) -> None:
    watchers = Watchers()
    async with open_pool(A, instruments=watchers.instruments, on_dead="keep") as pool:
        watchers.watch(pool)
        await dead_of(pool)
        lines = watchers.live(pool)
        pool.dead.pop_all()
    [attempt], [death] = watchers.records("attempt_failed"), watchers.records("job_dead")
    for record in (attempt, death):
        assert record.getMessage().endswith(DOWN)
        assert (vars(record)["error_type"], vars(record)["error_text"]) == ("ConnectionError", DOWN)
    assert [line.rstrip().endswith(f"dead: {DOWN}") for line in lines if DOWN in line] == [True]
    assert [each.args["error"] for each in watchers.attempts()] == [DOWN]
    for span in (*watchers.spans("attempt"), *watchers.spans("job")):
        assert span.attributes is not None
        assert span.attributes["error.type"] == "ConnectionError"
        assert (span.status.description or "").endswith(DOWN)
    assert not [line for line in (*lines, *watchers.log()) if "sub-exception" in line]


async def test_the_event_of_a_failed_attempts_span_is_about_the_error_as_it_is() -> None:
    watchers = Watchers()
    async with open_pool(A, instruments=watchers.instruments, on_dead="keep") as pool:
        await dead_of(pool)
        pool.dead.pop_all()
    [span] = watchers.spans("attempt")
    [event] = span.events
    assert event.attributes is not None
    assert str(event.attributes["exception.type"]).endswith("ExceptionGroup")
    assert "in has_a_nursery" in str(event.attributes["exception.stacktrace"])
