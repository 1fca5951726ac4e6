"""What a job remembers of its attempts and of its states, and how much of it."""

from __future__ import annotations

import gc
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from tests.platforms import frees_at_once
from trio_pool import (
    Attempt,
    AttemptTimeoutError,
    Job,
    JobFailedError,
    JobState,
    JobTimeoutError,
    Resource,
    RetryAfter,
    RetryPolicy,
    Transition,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock

UNBOUNDED = RetryPolicy.immediate(max_attempts=None)


class Failing:
    """Fails ``times`` times, telling the how manieth time it is, then returns."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.calls = 0

    async def __call__(self, *args: Any) -> str:
        self.calls += 1
        if self.calls <= self.times:
            raise ValueError(f"failure {self.calls}")
        return "done"


# Attempts


async def test_an_attempt_tells_its_number_its_worker_its_times_and_its_error(autojump_clock: MockClock) -> None:
    async def work(resource: str) -> None:
        await trio.sleep(2)
        raise ValueError(resource)

    async with open_pool([Resource("a", name="first")], on_dead="keep") as pool:
        await trio.sleep(1)
        job = await pool.submit(work)
    [attempt] = job.attempts
    assert attempt.number == 1
    assert (attempt.worker_id, attempt.worker_name) == (1, "first")
    assert (attempt.started_at, attempt.ended_at) == (1, 3)
    assert str(attempt.error) == "a"
    assert attempt.hedges == ()


async def test_an_attempt_that_succeeded_has_no_error() -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(Failing(0))
    assert job.attempts[0].error is None


async def test_attempts_are_numbered_in_their_order() -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(Failing(2), retry=UNBOUNDED)
    assert [attempt.number for attempt in job.attempts] == [1, 2, 3]
    assert [str(attempt.error) for attempt in job.attempts] == ["failure 1", "failure 2", "None"]


async def test_attempts_tell_which_workers_they_were_on() -> None:
    async with open_pool(2, retry=RetryPolicy.immediate(placement="other")) as pool:
        job = await pool.submit(Failing(1))
    assert {attempt.worker_id for attempt in job.attempts} == {1, 2}


async def test_an_attempt_is_frozen() -> None:
    attempt = Attempt(1, 1, "a", 0.0, 1.0, None)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        attempt.number = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def test_a_job_that_has_not_run_has_no_attempts(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        running = await pool.submit(trio.sleep, 1)
        queued = await pool.submit(trio.sleep, 1)
        assert (running.attempts, running.attempt_count) == ((), 0)
        assert (queued.attempts, queued.attempt_count) == ((), 0)


async def test_an_attempt_ended_by_a_timeout_counts(autojump_clock: MockClock) -> None:
    async with open_pool(1, on_dead="keep") as pool:
        slow = await pool.submit(trio.sleep, 9, attempt_timeout=1)
        late = await pool.submit(trio.sleep, 9, total_timeout=5)
    assert isinstance(slow.attempts[0].error, AttemptTimeoutError)
    assert isinstance(late.attempts[0].error, JobTimeoutError)
    assert (slow.attempt_count, late.attempt_count) == (1, 1)


async def test_an_attempt_that_does_not_count_against_max_attempts_is_counted_all_the_same() -> None:
    calls = 0

    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise RetryAfter(0, counts=False)
        return "done"

    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=2)) as pool:
        job = await pool.submit(work)
    assert job.result() == "done"
    assert job.attempt_count == 4
    assert len(job.attempts) == 4


async def test_an_attempt_cut_short_by_cancel_is_neither_counted_nor_kept(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(trio.sleep, 9)
        await trio.sleep(1)
        job.cancel()
    assert job.state is JobState.CANCELLED
    assert (job.attempts, job.attempt_count) == ((), 0)


@pytest.mark.parametrize("failures", [30, 31, 32, 100])
async def test_the_first_and_the_last_31_attempts_are_kept(failures: int) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(Failing(failures), retry=UNBOUNDED)
    numbers = list(range(1, failures + 2))
    assert job.attempt_count == failures + 1
    assert [attempt.number for attempt in job.attempts] == (numbers if len(numbers) <= 32 else [1, *numbers[-31:]])


class Witness:
    """Held by the local variables of a function, it tells whether they are alive."""


@frees_at_once
async def test_kept_errors_hold_nothing_of_their_frames_alive() -> None:
    witnesses: list[weakref.ref[Witness]] = []

    def deeper(witness: Witness) -> None:
        local = witness
        raise ValueError(f"failed with {type(local).__name__}")

    async def work() -> None:
        witness = Witness()
        witnesses.append(weakref.ref(witness))
        await trio.lowlevel.checkpoint()
        deeper(witness)

    async with open_pool(1, retry=RetryPolicy.immediate(max_attempts=5), on_dead="keep") as pool:
        job = await pool.submit(work)
    gc.collect()
    assert len(witnesses) == 5
    assert [witness() for witness in witnesses] == [None] * 5
    assert job.state is JobState.DEAD


@frees_at_once
async def test_kept_errors_hold_nothing_of_the_frames_of_their_causes_and_groups_alive() -> None:
    witnesses: list[weakref.ref[Witness]] = []

    async def child() -> None:
        witness = Witness()
        witnesses.append(weakref.ref(witness))
        await trio.lowlevel.checkpoint()
        raise ValueError("in a child")

    async def work() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
        except Exception as error:
            witness = Witness()
            witnesses.append(weakref.ref(witness))
            raise OSError("in the parent") from error

    async with open_pool(1, on_dead="keep") as pool:
        job = await pool.submit(work)
    gc.collect()
    assert [witness() for witness in witnesses] == [None, None]
    assert isinstance(job.attempts[0].error, OSError)


async def test_the_traceback_of_a_kept_error_can_still_be_printed() -> None:
    def the_place_where_it_failed() -> None:
        raise ValueError("here")

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        the_place_where_it_failed()

    async with open_pool(1) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(work)
    printed = "".join(traceback.format_exception(caught.value))
    assert "the_place_where_it_failed" in printed
    assert "ValueError: here" in printed


# History


async def test_a_transition_tells_the_state_entered_and_when(autojump_clock: MockClock) -> None:
    calls: list[float] = []

    async def work() -> None:
        calls.append(trio.current_time())
        await trio.sleep(1)
        if len(calls) == 1:
            raise ValueError("once")

    async with open_pool(1, retry=RetryPolicy.fixed(5)) as pool:
        await pool.submit(trio.sleep, 2)
        job = await pool.submit(work)
    assert job.history == (
        Transition(JobState.QUEUED, 0),
        Transition(JobState.RUNNING, 2),
        Transition(JobState.DELAYED, 3),
        Transition(JobState.QUEUED, 8),
        Transition(JobState.RUNNING, 8),
        Transition(JobState.SUCCEEDED, 9),
    )


def test_a_transition_is_frozen() -> None:
    transition = Transition(JobState.QUEUED, 0.0)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        transition.at = 1.0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def transitions(failures: int) -> tuple[Job[str], list[JobState]]:
    """A job that failed so often, and the states that it must have entered."""
    async with open_pool(1) as pool:
        job = await pool.submit(Failing(failures), retry=UNBOUNDED)
    expected = [JobState.QUEUED, JobState.RUNNING] * (failures + 1) + [JobState.SUCCEEDED]
    return job, expected


async def test_up_to_128_transitions_are_all_kept() -> None:
    job, expected = await transitions(62)
    assert len(expected) == 127
    assert [entry.state for entry in job.history] == expected


async def test_of_more_transitions_the_first_and_the_last_64_are_kept(autojump_clock: MockClock) -> None:
    async with open_pool(1) as pool:
        job = await pool.submit(Failing(200), retry=RetryPolicy.fixed(1, max_attempts=None))
    # Each failed attempt makes three: queued, running, delayed; and the last one three too.
    expected: list[tuple[JobState, float]] = []
    for second in range(201):
        last = JobState.SUCCEEDED if second == 200 else JobState.DELAYED
        expected += [(state, second) for state in (JobState.QUEUED, JobState.RUNNING, last)]
    assert [(entry.state, entry.at) for entry in job.history] == expected[:64] + expected[-64:]
