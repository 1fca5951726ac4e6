"""What would be lost is logged, in short where there is much of it, and nothing comes of a log that fails."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.actors import fails
from trio_pool import Instrument, JobFailedError, PoolError, Resource, open_pool
from trio_pool._basics.logs import MOST_TOLD

if TYPE_CHECKING:
    from trio.testing import MockClock

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

A = [Resource("a", name="A")]
MANY = 500


async def let_die(number: int, *, on_dead: Any = "keep", **options: Any) -> None:
    """Leave the block of a pool with so many dead jobs that nobody has dealt with."""
    async with open_pool(A, max_queue=None, on_dead=on_dead, **options) as pool:
        for _ in range(number):
            pool.submit_nowait(fails)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


async def test_a_few_deaths_are_all_logged_with_their_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_pool")
    await let_die(MOST_TOLD)
    assert [level for level, _ in told(caplog)] == [logging.ERROR] * MOST_TOLD
    assert all(record.exc_info is not None for record in caplog.records)


async def test_of_many_deaths_the_first_are_logged_so_and_the_others_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio_pool")
    await let_die(MANY, max_dead=None)
    first, *others = told(caplog)
    assert first == (
        logging.ERROR,
        f"{MANY} jobs died that nobody has dealt with: the first {MOST_TOLD} follow, the others at the level DEBUG",
    )
    assert [text.partition(" (")[0] for _, text in others] == [f"job {number + 1}" for number in range(MOST_TOLD)]


async def test_the_others_are_logged_in_one_line_each_where_debug_is_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio_pool")
    await let_die(MANY, max_dead=None)
    rest = caplog.records[MOST_TOLD + 1 :]
    assert {record.levelno for record in rest} == {logging.DEBUG}
    assert [record.getMessage().partition(" (")[0] for record in rest] == [
        f"job {number + 1}" for number in range(MOST_TOLD, MANY)
    ]
    assert not any(record.exc_info for record in rest)


async def test_the_number_of_those_that_were_dropped_is_always_logged(caplog: pytest.LogCaptureFixture) -> None:
    await let_die(MANY, max_dead=MOST_TOLD + 5)
    assert told(caplog)[-1] == (
        logging.ERROR,
        f"{MANY - MOST_TOLD - 5} older dead jobs that nobody has dealt with were dropped",
    )


async def test_the_group_that_comes_out_holds_them_all() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await let_die(MANY, max_dead=None, on_dead="raise")
    assert [error.job.id for error in caught.value.exceptions if isinstance(error, JobFailedError)] == [
        number + 1 for number in range(MANY)
    ]


async def test_with_too_many_of_them_it_says_how_many_are_missing() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await let_die(5, max_dead=3, on_dead="raise")
    *_, last = caught.value.exceptions
    assert (type(last), str(last)) == (PoolError, "2 older dead jobs that nobody has dealt with were dropped")


async def test_no_death_is_put_into_words_before_somebody_reads_it() -> None:
    asked: list[int] = []

    class Asked(Exception):
        def __str__(self) -> str:
            asked.append(1)
            return "asked"

    async def asks(resource: object) -> None:
        raise Asked

    with pytest.raises(ExceptionGroup) as caught:
        async with open_pool(A) as pool:
            await pool.submit(asks)
    assert asked == []
    assert "asked" in str(caught.value.exceptions[0])


# A log that fails


class Faulty(logging.Handler):
    """Can't show errors, or nothing at all."""

    def __init__(self, fault: BaseException, *, always: bool) -> None:
        super().__init__()
        self._fault = fault
        self._always = always
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self._always or record.exc_info:
            raise self._fault
        self.lines.append(record.getMessage())


class FaultError(BaseException):
    """Not even an Exception."""


@pytest.fixture(params=[RecursionError(), FaultError()], ids=lambda fault: type(fault).__name__)
def fault(request: pytest.FixtureRequest) -> BaseException:
    found: BaseException = request.param
    return found


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    found = logging.getLogger("trio_pool")
    monkeypatch.setattr(found, "handlers", [])
    monkeypatch.setattr(found, "propagate", False)
    return found


async def test_a_death_whose_traceback_cannot_be_logged_is_logged_without(
    logger: logging.Logger, fault: BaseException
) -> None:
    handler = Faulty(fault, always=False)
    logger.addHandler(handler)
    await let_die(1)
    assert handler.lines == ["job 1 (fails) is dead after 1 attempt: no attempts left; last error: ValueError: failed"]


async def test_another_error_is_told_in_the_same_line_then(logger: logging.Logger, fault: BaseException) -> None:
    class Wrong(Instrument):
        def job_submitted(self, job: Any) -> None:
            raise KeyError("oops")

        def __repr__(self) -> str:
            raise FaultError

    handler = Faulty(fault, always=False)
    logger.addHandler(handler)
    async with open_pool(A, instruments=[Wrong()]) as pool:
        job = await pool.submit(fails)
        await pool.join()
        pool.dead.pop(job)
    assert handler.lines == [
        "instrument <Wrong: its repr can't be read> raised in job_submitted and was removed: KeyError: 'oops'"
    ]


async def test_a_handler_that_always_fails_changes_nothing(logger: logging.Logger, fault: BaseException) -> None:
    logger.addHandler(Faulty(fault, always=True))
    await let_die(3)

    async def leaves(error: Exception) -> None:
        async with open_pool(A) as pool:
            await pool.submit(fails)
            await pool.join()
            raise error

    error = ValueError("of the body")
    with pytest.raises(ValueError, match="of the body") as caught:
        await leaves(error)
    assert caught.value is error


async def test_a_keyboard_interrupt_of_the_log_goes_on(logger: logging.Logger, autojump_clock: MockClock) -> None:
    logger.addHandler(Faulty(KeyboardInterrupt(), always=True))
    with pytest.raises(KeyboardInterrupt):
        await let_die(1)
