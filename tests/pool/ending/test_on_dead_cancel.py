"""With ``on_dead="cancel"`` the first death ends everything."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import Doors, fails, sleeps_forever, sulks
from tests.patience import PATIENT
from tests.pool.ending.logged_errors import errors_logged
from trio_pool import JobFailedError, JobState, open_pool
from trio_pool.testing import assert_settled

# on_dead="cancel"


async def test_with_on_dead_cancel_the_first_death_ends_everything(autojump_clock: MockClock) -> None:
    doors = Doors()
    with pytest.RaisesGroup(JobFailedError) as caught:
        async with open_pool(["a", "b"], lifespan=doors.lifespan, on_dead="cancel") as pool:
            running = pool.submit_nowait(sleeps_forever)
            failing = pool.submit_nowait(fails)
            queued = pool.submit_nowait(sleeps_forever)
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert isinstance(error, JobFailedError)
    assert error.job is failing
    assert [running.state, queued.state] == [JobState.CANCELLED] * 2
    assert doors.left == ["b", "a"]


async def test_with_on_dead_cancel_a_retry_is_no_death(autojump_clock: MockClock) -> None:
    calls: list[str] = []

    async def fails_once(resource: str) -> str:
        calls.append(resource)
        if len(calls) == 1:
            raise ValueError
        return "done"

    async with open_pool(["a"], on_dead="cancel", retry=PATIENT) as pool:
        assert await pool.run(fails_once) == "done"


async def test_with_on_dead_cancel_the_death_comes_out_once_though_run_raised_it_too(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            await pool.run(fails)


async def test_with_on_dead_cancel_further_deaths_are_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a", "b"], on_dead="cancel") as pool:
            await pool.submit(sulks, name="sulking")
            await wait_all_tasks_blocked()
            await pool.submit(fails)
            await trio.sleep_forever()
    (message,) = errors_logged(caplog)
    assert "(sulking)" in message


async def test_with_on_dead_cancel_a_body_that_waits_for_a_place_is_cancelled(autojump_clock: MockClock) -> None:
    """The death that ends the body also gives it the place that it waits for."""

    async def fails_late(resource: str) -> None:
        await trio.sleep(1)
        raise ValueError

    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a"], max_queue=1, on_dead="cancel") as pool:
            for _ in range(5):
                await pool.submit(fails_late)
    assert trio.current_time() == 1.0
    assert_settled(pool)


async def test_with_on_dead_cancel_a_death_while_draining_ends_everything(autojump_clock: MockClock) -> None:
    async def fails_late(resource: str) -> None:
        await trio.sleep(2)
        raise ValueError

    with pytest.RaisesGroup(JobFailedError):
        async with open_pool(["a", "b"], on_dead="cancel") as pool:
            running = await pool.submit(sleeps_forever)
            await pool.submit(fails_late)
    assert running.state is JobState.CANCELLED
    assert trio.current_time() == 2.0


# Two at once.


async def test_a_death_that_ends_everything_and_another_error_of_the_body_come_out_together(
    autojump_clock: MockClock,
) -> None:
    with pytest.RaisesGroup(KeyError, JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool:
            job = await pool.submit(fails)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError
    assert job.state is JobState.DEAD
