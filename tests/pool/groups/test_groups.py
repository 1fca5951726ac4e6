"""A group is a scope for jobs, like a nursery for tasks."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import cleans_up, fails, is_stubborn, sleeps, sleeps_forever, state_of, works
from tests.patience import PATIENT
from trio_pool import (
    Instrument,
    Job,
    JobFailedError,
    JobGroup,
    JobState,
    Pool,
    PoolClosedError,
    SlotJobGroup,
    Worker,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

CANCELLED = JobState.CANCELLED
SUCCEEDED = JobState.SUCCEEDED


# The body ends.


async def test_the_block_ends_when_its_jobs_have_ended(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps, 1.0) for _ in range(5)]
        assert [job.state for job in jobs] == [SUCCEEDED] * 5
        assert trio.current_time() == 3.0


async def test_the_block_does_not_wait_for_other_jobs_of_the_pool(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        await pool.submit(sleeps, 10.0)
        async with pool.open_group() as group:
            await group.submit(sleeps, 1.0)
        assert trio.current_time() == 1.0


async def test_a_block_without_jobs_ends_at_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps, 10.0)
        async with pool.open_group():
            pass
        assert trio.current_time() == 0.0


async def test_the_block_waits_for_jobs_that_back_off(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=PATIENT) as pool:
        async with pool.open_group() as group:
            job = await group.submit(Flaky(2, result="done"))
        assert job.result() == "done"
        assert trio.current_time() == 10.0


async def test_jobs_of_the_group_may_submit_to_it_after_the_body(autojump_clock: MockClock) -> None:
    children: list[Job[str]] = []

    async def has_a_child(resource: str, group: JobGroup[str]) -> None:
        await trio.sleep(1.0)
        children.append(await group.submit(works))

    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            await group.submit(has_a_child, group)
        assert [child.state for child in children] == [SUCCEEDED]


async def test_what_a_job_of_the_group_submits_to_the_pool_is_not_of_the_group(autojump_clock: MockClock) -> None:
    async def has_a_child(resource: str, pool: Pool[str]) -> None:
        await pool.submit(sleeps, 10.0)

    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            await group.submit(has_a_child, pool)
        assert trio.current_time() == 0.0
        assert group.statistics().submitted == 1


async def test_a_job_of_the_pool_that_a_job_of_the_group_has_submitted_may_submit_to_the_group(
    autojump_clock: MockClock,
) -> None:
    async def is_grandchild(resource: str) -> None:
        await trio.sleep(1.0)

    async def has_a_child(resource: str, group: JobGroup[str]) -> None:
        await trio.sleep(1.0)
        await group.submit(is_grandchild)

    async def waits_for_a_child(resource: str, group: JobGroup[str], pool: Pool[str]) -> None:
        await pool.run(has_a_child, group)

    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group() as group:
            await group.submit(waits_for_a_child, group, pool)
        assert trio.current_time() == 2.0
        assert group.statistics().succeeded == 2


async def test_nobody_else_submits_once_the_body_has_ended(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:

        async def submits_late() -> None:
            await trio.sleep(0.5)
            for call in (group.submit, group.run):
                with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
                    await call(works)
            with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
                group.submit_nowait(works)
            assert (await pool.run(works)) == "done"

        async with pool.open_group() as group:
            await group.submit(sleeps, 1.0)
            nursery.start_soon(submits_late)


async def test_another_job_of_the_pool_does_not_submit_once_the_body_has_ended(autojump_clock: MockClock) -> None:
    async def intrudes(resource: str) -> None:
        await trio.sleep(0.5)
        with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
            await group.submit(works)

    async with open_pool(["a", "b"]) as pool:
        await pool.submit(intrudes)
        async with pool.open_group() as group:
            await group.submit(sleeps, 1.0)


async def test_the_group_of_a_left_block_takes_no_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            pass
        with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
            await group.submit(works)
        with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
            await group.submit_graph({})


async def test_what_a_job_of_the_group_leaves_behind_is_no_part_of_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:

        async def outlives_its_job() -> None:
            await trio.sleep(1.0)
            with pytest.raises(PoolClosedError, match=r"^the group is closed$"):
                await group.submit(works)

        async def starts_a_task(resource: str) -> None:
            nursery.start_soon(outlives_its_job)

        async with pool.open_group() as group:
            await group.submit(starts_a_task)


async def test_deaths_surface_at_the_end_of_the_pool_and_not_of_the_group(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, match=r"^the pool ended with errors"):
        async with open_pool(["a"]) as pool:
            async with pool.open_group() as group:
                job = await group.submit(fails)
            assert job.state is JobState.DEAD
            assert list(pool.dead) == [job]


async def test_a_death_that_was_dealt_with_in_the_group_does_not_surface(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group() as group:
            with pytest.raises(JobFailedError):
                await group.run(fails)
        assert group.statistics().dead == 1


# The body raises.


async def test_an_exception_of_the_body_comes_out_itself(autojump_clock: MockClock) -> None:
    error = KeyError("from the body")
    async with open_pool(["a"]) as pool:
        with pytest.raises(KeyError) as caught:  # noqa: PT012
            async with pool.open_group() as group:
                await group.submit(sleeps_forever)
                raise error
        assert caught.value is error
        assert error.__context__ is error.__cause__ is None


async def test_an_exception_group_of_the_body_comes_out_itself(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(KeyError):
            async with pool.open_group(), trio.open_nursery():
                raise KeyError("from the nursery")


async def test_an_exception_of_the_body_cancels_the_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], retry=PATIENT) as pool:
        with pytest.raises(KeyError):  # noqa: PT012
            async with pool.open_group() as group:
                running = await group.submit(sleeps_forever)
                delayed = await group.submit(fails)
                await wait_all_tasks_blocked()
                more = await group.submit(sleeps_forever)
                queued = await group.submit(works)
                blocked = await group.submit(works, after=[more])
                states = [state_of(job) for job in (running, delayed, more, queued, blocked)]
                raise KeyError
    assert states == [JobState.RUNNING, JobState.DELAYED, JobState.RUNNING, JobState.QUEUED, JobState.BLOCKED]
    assert group.statistics().cancelled == 5
    assert_settled(pool)


async def test_an_exception_of_the_body_leaves_other_jobs_alone(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        others = [await pool.submit(sleeps, 5.0), await pool.submit(works)]
        with pytest.raises(KeyError):  # noqa: PT012
            async with pool.open_group() as group:
                await group.submit(sleeps_forever)
                raise KeyError
    assert [job.state for job in others] == [SUCCEEDED] * 2


async def test_an_exception_of_the_body_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(KeyError):  # noqa: PT012
            async with pool.open_group() as group:
                job = await group.submit(is_stubborn, 3.0)
                await wait_all_tasks_blocked()
                raise KeyError
        assert trio.current_time() == 3.0
        assert job.result() == "done all the same"


async def test_the_worker_of_a_cancelled_job_serves_others(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(KeyError):  # noqa: PT012
            async with pool.open_group() as group:
                await group.submit(cleans_up)
                await wait_all_tasks_blocked()
                raise KeyError
        assert trio.current_time() == 2.0
        assert await pool.run(works) == "done"


# Cancelled from outside.


async def test_cancelled_from_outside_it_cancels_its_jobs(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1.0) as scope:
            async with pool.open_group() as group:
                jobs = [await group.submit(sleeps_forever), await group.submit(works)]
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert [job.state for job in jobs] == [CANCELLED] * 2


async def test_cancelled_from_outside_while_its_jobs_end_it_cancels_them(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1.0) as scope:
            async with pool.open_group() as group:
                job = await group.submit(sleeps_forever)
        assert scope.cancelled_caught
        assert job.state is CANCELLED


async def test_cancelled_from_outside_it_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with trio.move_on_after(1.0):
            async with pool.open_group() as group:
                await group.submit(cleans_up)
        assert trio.current_time() == 3.0


async def test_a_group_that_is_cancelled_before_it_is_entered_is_not_entered() -> None:
    entered = False
    async with open_pool(["a"]) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pool.open_group():
                entered = True
        assert scope.cancelled_caught
    assert not entered


# statistics()


async def test_statistics_count_the_jobs_of_the_group_alone(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], name="all", on_dead="keep", retry=PATIENT) as pool:
        await pool.submit(works)
        await pool.join()
        async with pool.open_group(name="some") as group:
            first = group.submit_nowait(sleeps, 1.0)
            group.submit_nowait(fails)
            group.submit_nowait(works, after=[first])
            group.submit_nowait(works)
            group.submit_nowait(sleeps_forever).cancel()
            seen = group.statistics()
            assert (seen.name, seen.workers, seen.submitters_waiting) == ("some", (), 0)
            assert (seen.submitted, seen.blocked, seen.queued, seen.running, seen.cancelled) == (5, 1, 1, 2, 1)
            await trio.sleep(0.5)
            assert group.statistics().delayed == 1
        seen = group.statistics()
    assert (seen.succeeded, seen.dead, seen.cancelled, seen.discarded) == (3, 1, 1, 0)
    assert (seen.attempts, seen.failures, seen.retries, seen.queue_peak) == (6, 3, 2, 2)
    assert seen.blocked == seen.queued == seen.delayed == seen.running == 0
    assert seen.submitted == 5
    assert pool.statistics().submitted == 6


async def test_statistics_can_be_read_after_the_block(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group(reserve=1) as group:
            await group.submit(works)
        seen = group.statistics()
    assert (seen.succeeded, seen.workers) == (1, ())


async def test_a_group_says_what_it_is(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group(name="pages") as group, pool.open_group() as other:
        assert (group.name, other.name) == ("pages", None)
        await group.submit(works)
        assert repr(group) == "<trio_pool.JobGroup 'pages': 1 job>"
        assert repr(other) == "<trio_pool.JobGroup: 0 jobs>"


async def test_slots_have_groups_too(autojump_clock: MockClock) -> None:
    async def doubles(number: int) -> int:
        return 2 * number

    async with open_pool(2) as pool, pool.open_group() as group:
        assert isinstance(group, SlotJobGroup)
        assert repr(group) == "<trio_pool.SlotJobGroup: 0 jobs>"
        assert await group.run(doubles, 2) == 4
        assert await (await group.submit(doubles, 3)).wait() == 6
        assert await group.submit_nowait(doubles, 4).wait() == 8
        async with group.map(doubles, [1, 2]) as results:
            assert [number async for number in results] == [2, 4]
        async with group.as_completed(doubles, [1]) as jobs:
            assert [job.result() async for job in jobs] == [2]


# What instruments see.


async def test_instruments_see_the_jobs_of_a_group_like_any_others(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    class Log(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            seen.append(f"{job.name} submitted")

        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            seen.append(f"{job.name} started")

        def job_finished(self, job: Job[Any]) -> None:
            seen.append(f"{job.name} {job.state.value}")

    async with open_pool(["a"], instruments=[Log()]) as pool:
        async with pool.open_group() as group:
            await group.submit(works, name="one")
        seen.append("left")
    assert seen == ["one submitted", "one started", "one succeeded", "left"]


async def test_an_instrument_may_close_and_cancel_a_group(autojump_clock: MockClock) -> None:
    class Ends(Instrument):
        def attempt_started(self, job: Job[Any], worker: Worker) -> None:
            group.close()
            group.cancel()

    async with open_pool(["a"], instruments=[Ends()]) as pool:
        async with pool.open_group() as group:
            first = group.submit_nowait(sleeps_forever)
            with pytest.raises(PoolClosedError):
                group.submit_nowait(works)
        assert first.state is CANCELLED


# Wrong arguments.


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"name": 3}, TypeError, "^name must be a str or None, got 3$"),
        ({"must_succeed": 1}, TypeError, "^must_succeed must be a bool, got 1$"),
        ({"max_running": 0}, ValueError, "^max_running must be at least 1, got 0$"),
        ({"max_running": 1.5}, TypeError, "^max_running must be an int, got 1.5$"),
        ({"reserve": -1}, ValueError, "^reserve must be at least 0, got -1$"),
        ({"reserve": 1.5}, TypeError, "^reserve must be an int, got 1.5$"),
        ({"reserve": True}, TypeError, "^reserve must be an int, got True$"),
    ],
)
async def test_wrong_arguments_are_told_at_the_call(options: Any, kind: type[Exception], message: str) -> None:
    async with open_pool(["a"]) as pool, open_pool(1) as slots:
        with pytest.raises(kind, match=message):
            pool.open_group(**options)
        with pytest.raises(kind, match=message):
            slots.open_group(**options)


async def test_wrong_options_of_a_job_are_told_by_the_groups_calls() -> None:
    options: Any = {"attempt_timeout": -1}
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        for call in (group.submit, group.run):
            with pytest.raises(ValueError, match="attempt_timeout must not be negative"):
                await call(works, **options)
        calls: Any = (group.submit_nowait, group.map, group.as_completed)
        for at_once in calls:
            with pytest.raises(ValueError, match="attempt_timeout must not be negative"):
                at_once(works, ["x"], **options)
