"""Errors of opening and of leaving lifespans come out of the block, or of ``remove``."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import Doors, fails, sleeps_forever, works
from trio_pool import JobFailedError, JobState, WorkerState, open_pool

# A resource can't be opened.


async def test_the_error_of_opening_comes_out_and_the_body_never_runs(autojump_clock: MockClock) -> None:
    error = OSError("no such device")
    doors = Doors(errors_in={"c": [error]})
    reached = False
    with pytest.raises(OSError, match="no such device") as caught:
        async with open_pool(["a", "b", "c", "d"], lifespan=doors.lifespan, max_opening=1):
            reached = True
    assert caught.value is error
    assert not reached
    assert doors.entered == ["a", "b"]
    assert doors.left == ["b", "a"]


async def test_an_error_of_opening_and_one_of_leaving_come_out_in_a_group(autojump_clock: MockClock) -> None:
    doors = Doors(errors_in={"b": [OSError("opening")]}, errors_out={"a": ValueError("leaving")})
    with pytest.RaisesGroup(OSError, ValueError):
        async with open_pool(["a", "b"], lifespan=doors.lifespan):
            raise AssertionError("unreachable")


async def test_an_exit_while_opening_comes_out(autojump_clock: MockClock) -> None:
    doors = Doors()

    def exits(name: str) -> Any:
        raise SystemExit(name)

    with pytest.raises(SystemExit):
        async with open_pool(["a"], lifespan=exits):
            raise AssertionError("unreachable")
    assert doors.entered == []


# Leaving a lifespan raises.


async def test_an_error_of_leaving_comes_out_of_remove(autojump_clock: MockClock) -> None:
    error = OSError("stuck")
    doors = Doors(errors_out={"a": error})
    async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
        worker = pool.workers[0]
        with pytest.raises(OSError, match="stuck") as caught:
            await worker.remove()
        assert caught.value is error
        assert worker.state is WorkerState.STOPPED
        assert pool.workers == (pool.workers[0],)


async def test_an_error_of_leaving_comes_out_of_the_block_in_a_group(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck"), "b": ValueError("stuck too")})
    with pytest.RaisesGroup(OSError, ValueError):
        async with open_pool(["a", "b", "c"], lifespan=doors.lifespan) as pool:
            job = await pool.submit(works)
    assert job.state is JobState.SUCCEEDED
    assert doors.left == ["c", "b", "a"]


async def test_an_error_of_leaving_comes_out_together_with_the_deaths(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError, JobFailedError):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            await pool.submit(fails)


async def test_an_error_of_leaving_comes_out_together_with_an_exception_of_the_body(
    autojump_clock: MockClock,
) -> None:
    error = KeyError("of the body")
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(KeyError, OSError) as caught:
        async with open_pool(["a"], lifespan=doors.lifespan):
            raise error
    assert caught.value.exceptions[0] is error


async def test_an_error_of_leaving_comes_out_though_the_block_was_cancelled(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError), trio.move_on_after(1):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            job = await pool.submit(sleeps_forever)
            await trio.sleep_forever()
    assert job.state is JobState.CANCELLED


async def test_an_error_of_leaving_comes_out_after_pool_cancel(autojump_clock: MockClock) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            pool.cancel()
            await trio.sleep_forever()
    assert doors.left == ["a"]


async def test_an_error_of_leaving_comes_out_of_the_block_if_remove_was_cancelled(autojump_clock: MockClock) -> None:
    doors = Doors(seconds_out=2.0, errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(OSError):
        async with open_pool(["a", "b"], lifespan=doors.lifespan) as pool:
            with trio.move_on_after(1) as scope:
                await pool.workers[0].remove()
            await trio.sleep(5)
    assert scope.cancelled_caught


# Two at once.


async def test_a_death_that_ends_everything_and_an_error_of_leaving_come_out_together(
    autojump_clock: MockClock,
) -> None:
    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(JobFailedError, OSError):
        async with open_pool(["a"], lifespan=doors.lifespan, on_dead="cancel") as pool:
            await pool.submit(fails)
            await trio.sleep_forever()
    assert doors.left == ["a"]
