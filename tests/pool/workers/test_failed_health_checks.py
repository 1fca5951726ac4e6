"""3.7: what the log gets about health checks that fail."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from tests.pool.workers.pings import Ping, checked
from tests.pool.workers.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str, object]]:
    """The logger, the level, the message and the error of each record."""
    return [
        (record.name, record.levelno, record.getMessage(), record.exc_info and record.exc_info[1])
        for record in caplog.records
    ]


async def test_the_error_of_a_check_is_logged_as_a_warning_with_its_traceback(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    error = KeyError("pong")
    async with checked(Ping(error=error)):
        await trio.sleep(11)
    assert logged(caplog) == [("trio_pool", logging.WARNING, "the health check of worker-1 failed", error)]
    assert "in __call__" in caplog.text
    assert "KeyError: 'pong'" in caplog.text


async def test_so_is_each_further_one(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with checked(Ping(error=KeyError("pong"))):
        await trio.sleep(35)
    assert len(caplog.records) == 3


async def test_a_timeout_of_the_check_is_logged_in_one_line(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with checked(Ping(seconds=60.0)):
        await trio.sleep(16)
    words = "the health check of worker-1 took longer than 5 s"
    assert logged(caplog) == [("trio_pool", logging.WARNING, words, None)]


async def test_a_timeout_of_its_own_is_an_error(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def gives_up(resource: str) -> None:
        with trio.fail_after(1):
            await trio.sleep_forever()

    async with checked(gives_up):
        await trio.sleep(12)
    ((_, level, words, error),) = logged(caplog)
    assert (level, words) == (logging.WARNING, "the health check of worker-1 failed")
    assert isinstance(error, trio.TooSlowError)


@pytest.mark.parametrize("answer", [True, False, None])
async def test_an_answer_of_any_kind_is_no_failure(
    answer: object, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def answers(resource: str) -> object:
        await trio.lowlevel.checkpoint()
        return answer

    server = Server()
    async with checked(answers, server):
        await trio.sleep(25)
    assert (server.tries, caplog.records) == ([0], [])


@pytest.mark.parametrize("end", ["close", "cancel", "body", "lifespan"])
async def test_nor_is_a_cancellation(end: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    async with checked(Ping(seconds=4.0), server, on_cut="reopen") as pool:
        ends: dict[str, Callable[[], None]] = {"close": pool.close, "cancel": pool.cancel, "lifespan": server.gone.set}
        await trio.sleep(11)
        if end in ends:
            ends[end]()
        if end == "close":
            await trio.sleep(1)
    assert caplog.records == []


async def test_an_error_that_it_raises_as_it_is_cancelled_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    error = OSError("while it hangs up")

    async def fails(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async with checked(fails) as pool:
        await trio.sleep(11)
        await pool.workers[0].remove()
    assert logged(caplog) == [("trio_pool", logging.WARNING, "the health check of worker-1 failed", error)]


async def test_an_exception_that_ends_the_pool_is_raised_instead(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        async with checked(Ping(error=SystemExit())):
            await trio.sleep_forever()
    assert not isinstance(caught.value, Exception)
    assert caplog.records == []


async def test_a_handler_that_raises_changes_nothing(autojump_clock: MockClock) -> None:
    class Rude(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    server, logger, handler = Server(), logging.getLogger("trio_pool"), Rude()
    logger.addHandler(handler)
    try:
        async with checked(Ping(error=KeyError("pong")), server):
            await trio.sleep(15)
    finally:
        logger.removeHandler(handler)
    assert server.tries == [0, 10]
