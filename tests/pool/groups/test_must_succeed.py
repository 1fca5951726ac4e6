"""4.9: a group that must succeed ends with its first dead job."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, is_stubborn, sleeps, sleeps_forever, sulks, works
from trio_pool import (
    GiveUp,
    Job,
    JobCancelledError,
    JobFailedError,
    JobGroup,
    JobState,
    Node,
    NoEligibleWorkerError,
    PoolClosedError,
    Resource,
    RetryPolicy,
    open_pool,
)
from trio_pool.testing import Flaky, assert_settled

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

CANCELLED = JobState.CANCELLED
DEAD = JobState.DEAD
DISCARDED = JobState.DISCARDED
SUCCEEDED = JobState.SUCCEEDED


async def fails_after(resource: object, seconds: float) -> None:
    """Fails after a while."""
    await trio.sleep(seconds)
    raise ValueError("failed late")


# What becomes of the group.


async def test_without_it_a_death_ends_nothing(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        async with pool.open_group() as group:
            other = await group.submit(sleeps, 1.0)
            await group.submit(fails)
            await trio.sleep(2.0)
            after = await group.submit(works)
        assert [other.state, after.state] == [SUCCEEDED] * 2


async def test_the_first_death_discards_those_that_wait_and_cancels_those_that_run(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"], retry=RetryPolicy.fixed(60.0)) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                done = await group.submit(works)
                delayed = await group.submit(Flaky(1))
                running = await group.submit(sleeps_forever)
                dead = await group.submit(fails_after, 1.0, retry=RetryPolicy.never())
                last = await group.submit(sleeps_forever)
                queued = await group.submit(works)
                blocked = await group.submit(works, after=[queued])
        assert dead.state is DEAD
        assert done.state is SUCCEEDED
        assert [job.state for job in (running, last)] == [CANCELLED] * 2
        assert [job.state for job in (delayed, queued, blocked)] == [DISCARDED] * 3
        assert trio.current_time() == 1.0
        words = "fails_after, of the same group, is dead"
        assert [job.reason for job in (delayed, queued, blocked)] == [words] * 3
        with pytest.raises(JobCancelledError, match=f"works\\) was discarded: {words}"):
            await queued.wait()


async def test_a_retry_is_no_death(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], retry=RetryPolicy.fixed(1.0)) as pool:
        async with pool.open_group(must_succeed=True) as group:
            job = await group.submit(Flaky(2, result="done"))
        assert job.result() == "done"


async def test_neither_a_cancelled_nor_a_discarded_job_ends_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        async with pool.open_group(must_succeed=True) as group:
            cancelled = await group.submit(sleeps_forever)
            discarded = await group.submit(works, after=[cancelled])
            cancelled.cancel()
            job = await group.submit(sleeps, 1.0)
        assert [cancelled.state, discarded.state, job.state] == [CANCELLED, DISCARDED, SUCCEEDED]


async def test_other_jobs_and_groups_go_on(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b", "c"]) as pool, pool.open_group(must_succeed=True) as neighbor:
        others = [await pool.submit(sleeps, 5.0), await neighbor.submit(sleeps, 3.0)]
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails)
        await pool.join()
        assert [job.state for job in others] == [SUCCEEDED] * 2


async def test_the_death_of_a_job_of_the_pool_does_not_end_a_group(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        async with pool.open_group(must_succeed=True) as group:
            await pool.submit(fails)
            job = await group.submit(sleeps, 1.0)
        assert job.state is SUCCEEDED


async def test_it_waits_for_functions_to_end(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                stubborn = await group.submit(is_stubborn, 3.0)
                await group.submit(fails_after, 1.0)
        assert trio.current_time() == 3.0
        assert stubborn.result() == "done all the same"


async def test_nothing_of_the_group_starts_after_the_death(autojump_clock: MockClock) -> None:
    started: list[str] = []

    async def notes(resource: str, name: str) -> None:
        started.append(name)

    async def waits_for_a_place(group: JobGroup[str]) -> None:
        await group.submit(notes, "of the one who waits")

    async def waits_with_a_graph(group: JobGroup[str]) -> None:
        await group.submit_graph({number: Node(notes, f"{number} of a graph") for number in range(3)})

    async with open_pool(["a"], max_queue=1) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group, trio.open_nursery() as nursery:
                await group.submit(fails_after, 1.0)
                await group.submit(notes, "queued")
                nursery.start_soon(waits_with_a_graph, group)
                await wait_all_tasks_blocked()
                nursery.start_soon(waits_for_a_place, group)
        assert started == []
        assert_settled(pool)


async def test_the_group_takes_no_more_jobs(autojump_clock: MockClock) -> None:
    turned_away: list[str] = []

    async def insists(resource: str, group: JobGroup[str]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            try:
                group.submit_nowait(works)
            except PoolClosedError as error:
                turned_away.append(str(error))
            raise

    async with open_pool(["a", "b"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(insists, group)
                await group.submit(fails_after, 1.0)
        assert turned_away == ["the group is closed"]


async def test_a_death_that_nobody_waits_for_in_the_core_ends_it_too(autojump_clock: MockClock) -> None:
    """One whose total timeout passes in the queue."""
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                running = await group.submit(sleeps_forever)
                late = await group.submit(works, total_timeout=2.0)
                queued = await group.submit(works)
        assert trio.current_time() == 2.0
        assert [running.state, late.state, queued.state] == [CANCELLED, DEAD, DISCARDED]


@pytest.mark.parametrize("options", [{"total_timeout": 0.0}, {"requires": ["gpu"]}])
async def test_one_that_is_dead_as_soon_as_it_is_submitted_ends_it_too(options: Any, autojump_clock: MockClock) -> None:
    async with open_pool(["a"], no_worker="bury") as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                running = await group.submit(sleeps_forever)
                queued = await group.submit(works)
                blocked = await group.submit(works, after=[queued])
                dead = await group.submit(works, **options)
        assert [running.state, queued.state, blocked.state, dead.state] == [CANCELLED, DISCARDED, DISCARDED, DEAD]


async def test_one_that_no_worker_may_take_any_more_ends_it_too(autojump_clock: MockClock) -> None:
    async with open_pool([Resource("a", tags=["x"]), "b"]) as pool:
        first, _ = pool.workers
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(sleeps, 1.0, worker=first)
                running = await group.submit(sleeps_forever)
                orphan = await group.submit(works, requires=["x"])
                await first.remove()
                await trio.sleep_forever()
        assert [running.state, orphan.state] == [CANCELLED, DEAD]


async def test_the_worker_of_the_dead_job_goes_on_with_somebody_elses(autojump_clock: MockClock) -> None:
    async def gives_up(resource: str) -> None:
        raise GiveUp("no")

    others: list[Job[str]] = []
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                group.submit_nowait(gives_up)
                mine = group.submit_nowait(works)
                others.append(pool.submit_nowait(works))
        assert mine.state is DISCARDED
        assert [await other.wait() for other in others] == ["done"]


# What comes out.


async def test_the_error_of_the_dead_job_comes_out_in_a_group(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError, match=r"^the group 'pages' ended with errors") as caught:
            async with pool.open_group(name="pages", must_succeed=True) as group:
                job = await group.submit(fails)
        (error,) = caught.value.exceptions
        assert isinstance(caught.value, ExceptionGroup)
        assert isinstance(error, JobFailedError)
        assert error.job is job
        assert isinstance(error.__cause__, ValueError)


async def test_the_group_without_a_name_is_just_the_group(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError, match=r"^the group ended with errors"):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails)


async def test_its_deaths_are_dealt_with(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                job = await group.submit(fails)
        assert list(pool.dead) == [job]


async def test_the_deaths_of_other_groups_surface_at_the_end_of_the_pool(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, match=r"^the pool ended with errors") as caught:
        async with open_pool(["a"]) as pool, pool.open_group() as other:
            left = await other.submit(fails)
            await other.join()
            with pytest.RaisesGroup(JobFailedError, match=r"^the group ended with errors"):
                async with pool.open_group(must_succeed=True) as group:
                    await group.submit(fails)
    (error,) = caught.value.exceptions
    assert isinstance(error, JobFailedError)
    assert error.job is left


async def test_what_the_others_die_of_when_they_are_cancelled_comes_out_beside_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        with pytest.RaisesGroup(JobFailedError, JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(sulks)
                await group.submit(fails_after, 1.0)
        assert len(pool.dead) == 2


async def test_the_body_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails_after, 1.0)
                await trio.sleep_forever()
        assert trio.current_time() == 1.0


async def test_a_body_that_waits_for_a_place_is_cancelled(autojump_clock: MockClock) -> None:
    called = Flaky(0)
    async with open_pool(["a"], max_queue=0) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails_after, 1.0)
                await group.submit(called)
                await trio.sleep_forever()
        assert called.calls == []
        assert_settled(pool)


async def test_a_body_may_clean_up_when_it_is_cancelled(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails_after, 1.0)
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(2.0)
        assert trio.current_time() == 3.0


async def test_a_body_that_catches_the_error_of_the_dead_job_is_told_again(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                job = await group.submit(fails)
                with pytest.raises(JobFailedError), trio.CancelScope(shield=True):
                    await job.wait()


async def test_a_body_that_lets_the_error_of_the_dead_job_out_is_told_once(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.run(fails)


async def test_an_error_that_the_body_raises_when_it_is_cancelled_comes_out_with_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.RaisesGroup(KeyError, JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                await group.submit(fails_after, 1.0)
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    raise KeyError from None


async def test_a_death_after_the_body_ends_it_too(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                other = await group.submit(sleeps_forever)
                await group.submit(fails_after, 1.0)
        assert other.state is CANCELLED


# What ends it otherwise.


async def test_what_dies_of_cancel_does_not_come_out(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        async with pool.open_group(must_succeed=True) as group:
            job = await group.submit(sulks)
            await wait_all_tasks_blocked()
            group.cancel()
        assert job.state is DEAD


async def test_what_dies_of_an_error_of_the_body_does_not_come_out_with_it(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, match=r"^the pool ended with errors"):
        async with open_pool(["a"]) as pool:
            with pytest.raises(KeyError):  # noqa: PT012
                async with pool.open_group(must_succeed=True) as group:
                    await group.submit(sulks)
                    await wait_all_tasks_blocked()
                    raise KeyError


async def test_what_dies_of_the_end_of_the_pool_does_not_come_out(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(["a", "b"]) as pool, pool.open_group(must_succeed=True) as group:
        await group.submit(sulks)
        await group.submit(sulks)
        await wait_all_tasks_blocked()
        pool.cancel()
    told = [record.levelno for record in caplog.records if record.name == "trio_pool"]
    assert told == [logging.ERROR] * 2


async def test_with_on_dead_cancel_the_death_ends_the_pool_too_and_comes_out_once(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(JobFailedError, match=r"^the pool ended with errors"):
        async with open_pool(["a"], on_dead="cancel") as pool, pool.open_group(must_succeed=True) as group:
            await group.submit(fails)
            await trio.sleep_forever()


async def test_with_on_dead_cancel_other_errors_of_the_body_come_out_as_well(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesGroup(JobFailedError, KeyError), JobFailedError):
        async with open_pool(["a"], on_dead="cancel") as pool, pool.open_group(must_succeed=True) as group:
            await group.submit(fails)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError


# One in another.


async def test_the_death_of_a_child_kills_the_parent_that_lets_it_out(autojump_clock: MockClock) -> None:
    async def divides(resource: str) -> None:
        async with pool.open_group(must_succeed=True) as group:
            await group.submit(fails)

    async with open_pool(["a", "b"]) as pool:
        with pytest.RaisesGroup(JobFailedError) as caught:
            async with pool.open_group(must_succeed=True) as outer:
                parent = await outer.submit(divides)
        (error,) = caught.value.exceptions
        assert isinstance(error, JobFailedError)
        assert error.job is parent
        assert isinstance(error.__cause__, ExceptionGroup)


async def test_a_parent_may_try_its_children_again(autojump_clock: MockClock) -> None:
    flaky = Flaky(1, result="done")

    async def divides(resource: str) -> int:
        async with pool.open_group(must_succeed=True) as group:
            await group.submit(flaky)
        return len(flaky.calls)

    async with open_pool(["a", "b"], retry=RetryPolicy.fixed(1.0)) as pool:
        job = await pool.submit(divides, retry=RetryPolicy.fixed(1.0))
        flaky_jobs = await job.wait()
        assert flaky_jobs == 2


async def test_the_graph_of_a_group_that_must_succeed_is_discarded_with_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a", "b"]) as pool:
        with pytest.RaisesGroup(JobFailedError):
            async with pool.open_group(must_succeed=True) as group:
                jobs = await group.submit_graph(
                    {
                        "bad": Node(fails_after, 1.0),
                        "good": Node(sleeps, 2.0),
                        "behind": Node(works, after=["good"]),
                        "further": Node(works, after=["behind", "bad"]),
                    }
                )
        ends = {key: job.state for key, job in jobs.items()}
        assert ends == {"bad": DEAD, "good": CANCELLED, "behind": DISCARDED, "further": DISCARDED}


async def test_one_that_is_turned_away_does_not_end_it(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        async with pool.open_group(must_succeed=True) as group:
            with pytest.raises(NoEligibleWorkerError):
                await group.submit(works, requires=["gpu"])
            job = await group.submit(works)
        assert job.state is SUCCEEDED
