"""What is no ``Exception``, Ctrl-C included, ends everything and comes out of the block."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import logging
import signal
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.actors import Doors, fails, sleeps_forever
from tests.patience import PATIENT
from tests.pool.ending.logged_errors import errors_logged
from trio_pool import Job, JobState, SlotPool, open_pool

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


# A function raises what is no Exception.


class Abort(BaseException):
    """As test runners and frameworks have them."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, Abort])
async def test_what_is_no_exception_ends_everything_and_comes_out_in_a_group(
    autojump_clock: MockClock, kind: type[BaseException]
) -> None:
    doors = Doors()

    async def aborts(resource: str) -> None:
        raise kind

    with pytest.RaisesGroup(kind) as caught:
        async with open_pool(["a", "b"], lifespan=doors.lifespan, retry=PATIENT) as pool:
            other = await pool.submit(sleeps_forever)
            job = await pool.submit(aborts)
            await trio.sleep_forever()
    assert isinstance(caught.value, BaseExceptionGroup)
    assert job.state is JobState.CANCELLED
    assert other.state is JobState.CANCELLED
    assert doors.left == ["b", "a"]


async def test_what_is_no_exception_comes_out_while_draining_too(autojump_clock: MockClock) -> None:
    async def exits(resource: str) -> None:
        await trio.sleep(2)
        raise SystemExit(3)

    with pytest.RaisesGroup(pytest.RaisesExc(SystemExit, check=lambda error: error.code == 3)):
        async with open_pool(["a", "b"]) as pool:
            other = await pool.submit(sleeps_forever)
            await pool.submit(exits)
    assert other.state is JobState.CANCELLED


async def test_a_group_with_what_is_no_exception_in_it_ends_everything(autojump_clock: MockClock) -> None:
    async def exits_in_a_nursery(resource: str) -> None:
        raise BaseExceptionGroup("both", [ValueError(), SystemExit()])

    with pytest.RaisesGroup(pytest.RaisesGroup(ValueError, SystemExit)):
        async with open_pool(["a"]) as pool:
            job = await pool.submit(exits_in_a_nursery)
            await trio.sleep_forever()
    assert job.state is JobState.CANCELLED


async def test_an_exit_out_of_on_failure_ends_everything_too(autojump_clock: MockClock) -> None:
    def on_failure(job: Job[Any], error: Exception) -> None:
        raise SystemExit

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(["a", "b"], on_failure=on_failure) as pool:
            other = await pool.submit(sleeps_forever)
            failing = await pool.submit(fails)
            await trio.sleep_forever()
    assert other.state is JobState.CANCELLED
    assert failing.state.is_final


async def test_the_exits_of_two_functions_come_out_together(autojump_clock: MockClock) -> None:
    async def exits(resource: str, code: int) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(code)
        raise SystemExit(code)

    with pytest.RaisesGroup(SystemExit, SystemExit):
        async with open_pool(["a", "b"]) as pool:
            await pool.submit(exits, 1)
            await pool.submit(exits, 2)


# Ctrl-C.


def test_ctrl_c_interrupts_a_job_that_spins_without_a_checkpoint() -> None:
    turns = 0

    async def spins() -> None:
        nonlocal turns
        signal.raise_signal(signal.SIGINT)
        for turns in range(1000):  # noqa: B007
            pass

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(spins))
            await trio.sleep_forever()

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main)
    assert turns == 0
    assert jobs[0].state is JobState.CANCELLED


@trio.lowlevel.enable_ki_protection
def press_ctrl_c() -> None:
    """As if it came while Trio itself is running: the main task is told."""
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_the_body_waits_comes_out_of_it() -> None:
    async def presses() -> None:
        press_ctrl_c()
        await trio.sleep_forever()

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(presses))
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert jobs[0].state is JobState.CANCELLED


@pytest.mark.parametrize("error", [None, ValueError()])
def test_ctrl_c_while_run_waits_comes_out_of_it_whatever_becomes_of_its_job(
    error: ValueError | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="trio_pool")

    async def presses() -> str:
        press_ctrl_c()
        with trio.CancelScope(shield=True):
            for _ in range(3):  # until it has reached the task that waits
                await trio.lowlevel.checkpoint()
        if error is not None:
            raise error
        return "done all the same"

    pools: list[SlotPool] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            pools.append(pool)
            await pool.run(presses)
            raise AssertionError("it got lost")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    seen = pools[0].statistics()
    assert (seen.succeeded, seen.dead) == ((1, 0) if error is None else (0, 1))


def test_ctrl_c_while_draining_ends_everything() -> None:
    async def presses_late() -> None:
        await trio.sleep(1)
        press_ctrl_c()
        await trio.sleep_forever()

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(presses_late))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert jobs[0].state is JobState.CANCELLED


def test_ctrl_c_twice_still_waits_for_functions_to_end() -> None:
    ended: list[float] = []

    async def presses_twice() -> None:
        press_ctrl_c()
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            press_ctrl_c()
            await trio.sleep(1)
            ended.append(trio.current_time())

    jobs: list[Job[None]] = []

    async def main() -> None:
        async with open_pool(1) as pool:
            jobs.append(await pool.submit(presses_twice))
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
    assert ended == [2.0]
    assert jobs[0].state.is_final


# Two at once.


async def test_an_exit_and_an_error_of_leaving_come_out_together(autojump_clock: MockClock) -> None:
    async def exits(resource: str) -> None:
        raise SystemExit

    doors = Doors(errors_out={"a": OSError("stuck")})
    with pytest.RaisesGroup(SystemExit, OSError):
        async with open_pool(["a"], lifespan=doors.lifespan) as pool:
            await pool.submit(exits)
            await trio.sleep_forever()
    assert doors.left == ["a"]


async def test_an_exit_and_what_the_body_raises_at_its_cancellation_come_out_together(
    autojump_clock: MockClock,
) -> None:
    async def exits(resource: str) -> None:
        raise SystemExit

    error = KeyError("of the body")
    with pytest.RaisesGroup(KeyError, SystemExit) as caught:
        async with open_pool(["a"]) as pool:
            await pool.submit(exits)
            try:
                await trio.sleep_forever()
            finally:
                raise error
    assert caught.value.exceptions[0] is error


async def test_an_exit_comes_out_though_the_block_was_cancelled(autojump_clock: MockClock) -> None:
    async def exits_when_cancelled(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit

    with pytest.RaisesGroup(SystemExit), trio.move_on_after(1):
        async with open_pool(["a"]) as pool:
            job = await pool.submit(exits_when_cancelled)
            await trio.sleep_forever()
    assert job.state is JobState.CANCELLED


async def test_an_exit_while_draining_and_the_deaths_do_not_come_out_together(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def exits(resource: str) -> None:
        await trio.sleep(1)
        raise SystemExit

    with pytest.RaisesGroup(SystemExit):
        async with open_pool(["a"]) as pool:
            await pool.submit(fails)
            await pool.submit(exits)
    assert len(errors_logged(caplog)) == 1
