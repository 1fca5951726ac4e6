"""The body of the pool's block raises: what comes out, and what becomes of the jobs."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, is_stubborn, sleeps_forever, sulks, works
from tests.patience import PATIENT
from tests.pool.ending.logged_errors import errors_logged
from trio_pool import JobState, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def test_an_exception_of_the_body_comes_out_itself(autojump_clock: MockClock) -> None:
    error = KeyError("of the body")
    with pytest.raises(KeyError) as caught:
        async with open_pool(["a"]):
            raise error
    assert caught.value is error


async def test_an_exception_group_of_the_body_comes_out_itself(autojump_clock: MockClock) -> None:
    error = ExceptionGroup("of the body", [KeyError()])
    with pytest.RaisesGroup(KeyError) as caught:
        async with open_pool(["a"]):
            raise error
    assert caught.value is error


async def test_an_exception_of_the_body_cancels_all_jobs(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a", "b"], retry=PATIENT) as pool:
            running = await pool.submit(sleeps_forever)
            delayed = await pool.submit(fails)
            await delayed.wait_started()
            await wait_all_tasks_blocked()
            assert delayed.state is JobState.DELAYED
            await pool.submit(sleeps_forever)
            queued = await pool.submit(works)
            raise KeyError
    assert [running.state, delayed.state, queued.state] == [JobState.CANCELLED] * 3
    assert trio.current_time() == 0.0


async def test_an_exception_of_the_body_leaves_the_lifespans_the_newest_first(autojump_clock: MockClock) -> None:
    doors = Doors()
    with pytest.raises(KeyError):
        async with open_pool(["a", "b", "c"], lifespan=doors.lifespan):
            raise KeyError
    assert doors.left == ["c", "b", "a"]


async def test_an_exception_of_the_body_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            job = await pool.submit(is_stubborn, 4.0)
            await job.wait_started()
            await wait_all_tasks_blocked()
            raise KeyError
    assert trio.current_time() == 4.0
    assert job.result() == "done all the same"


async def test_deaths_are_logged_if_the_body_raises(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            await pool.submit(fails, name="failing")
            await pool.join()
            raise KeyError
    (message,) = errors_logged(caplog)
    assert "(failing)" in message


async def test_a_function_may_answer_the_end_of_a_failed_body_with_an_error(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with open_pool(["a"]) as pool:
            job = await pool.submit(sulks)
            await wait_all_tasks_blocked()
            raise KeyError
    assert job.state is JobState.DEAD
    assert len(errors_logged(caplog)) == 1
