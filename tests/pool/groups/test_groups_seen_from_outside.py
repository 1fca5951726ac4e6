"""Which groups a pool has, who is told of them, and what they tell of their jobs."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import fails, sleeps, sleeps_forever, works
from tests.openers import OpenPool, both
from trio_pool import Instrument, Job, JobState, Pool, PoolClosedError, open_pool
from trio_pool._runtime.cancellation_watch import CancellationWatch


class Listener(Instrument):
    """Notes which groups are opened and closed, and which the pool has then."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def group_opened(self, group: Any) -> None:
        self.heard.append(f"{group.name} opened")

    def group_closed(self, group: Any) -> None:
        self.heard.append(f"{group.name} closed")

    def job_finished(self, job: Job[Any]) -> None:
        self.heard.append(f"{job.name} {job.state.name.lower()}")


# The groups of a pool


@both
async def test_a_pool_has_the_groups_that_are_open(opened: OpenPool) -> None:
    async with opened() as pool:
        seen = [pool.groups]
        async with pool.open_group() as one:
            seen.append(pool.groups)
            async with pool.open_group() as two:
                seen.append(pool.groups)
            seen.append(pool.groups)
        seen.append(pool.groups)
    assert seen == [(), (one,), (one, two), (one,), ()]


async def test_a_group_is_open_until_its_jobs_have_ended(autojump_clock: MockClock) -> None:
    async def use(pool: Pool[str]) -> None:
        async with pool.open_group() as group:
            await group.submit(sleeps, 2)

    async with open_pool(["a"]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(use, pool)
        await trio.sleep(1)
        numbers = [len(pool.groups)]
        await trio.sleep(2)
        numbers.append(len(pool.groups))
    assert numbers == [1, 0]


async def test_a_group_that_waits_for_its_workers_is_not_open_yet(autojump_clock: MockClock) -> None:
    listener = Listener()

    async def use(pool: Pool[str]) -> None:
        async with pool.open_group(name="G", reserve=1):
            await trio.sleep(1)

    async with open_pool(["a"], instruments=[listener]) as pool, trio.open_nursery() as nursery:
        await pool.submit(sleeps, 2, name="job")
        nursery.start_soon(use, pool)
        await wait_all_tasks_blocked()
        assert (pool.groups, listener.heard) == ((), [])
        await trio.sleep(2.5)
        assert [group.name for group in pool.groups] == ["G"]
    assert listener.heard == ["job succeeded", "G opened", "G closed"]


# The group of a job


@both
async def test_a_job_names_its_group(opened: OpenPool) -> None:
    async with opened() as pool:
        outside = await pool.submit(trio.lowlevel.checkpoint) if opened.__name__ == "over_slots" else None
        async with pool.open_group() as group, group.acquire():
            [leased] = group.jobs()
            assert leased.group is group
        assert leased.group is group
        assert outside is None or outside.group is None


async def test_each_way_into_a_group_leads_there() -> None:
    seen: list[Any] = []

    class Noting(Instrument):
        def job_submitted(self, job: Job[Any]) -> None:
            seen.append(job.group)

    async with open_pool(["a"], instruments=[Noting()]) as pool:
        await pool.run(works)
        async with pool.open_group(max_running=1) as group:
            await group.submit(works)
            group.submit_nowait(works)
            await group.run(works)
            async with group.map(sleeps, [0]) as results:
                async for _ in results:
                    pass
    assert seen == [None, group, group, group, group]


async def test_a_requeued_job_whose_group_is_over_has_none() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        async with pool.open_group() as group:
            dead = await group.submit(fails)
        again = pool.dead.requeue(dead)
    assert (dead.group, again.group) == (group, None)


# The jobs of a group


async def test_a_group_lists_its_jobs_that_have_not_ended(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        await pool.submit(sleeps, 1)
        async with pool.open_group() as group:
            jobs = [await group.submit(sleeps, 1) for _ in range(3)]
            assert list(group.jobs()) == jobs
            await trio.sleep(1.5)
            assert list(group.jobs(JobState.RUNNING)) == jobs[:1]
            assert list(group.jobs(JobState.QUEUED)) == jobs[1:]
            assert list(group.jobs(JobState.QUEUED, JobState.RUNNING)) == jobs
            await trio.sleep(1)
            assert list(group.jobs()) == jobs[1:]
        assert list(group.jobs()) == []


async def test_they_may_be_cancelled_meanwhile(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        for _ in range(3):
            await group.submit(sleeps_forever)
        for job in group.jobs():
            job.cancel()
    assert group.statistics().cancelled == 3


async def test_ended_ones_can_not_be_listed() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        with pytest.raises(ValueError, match="ended jobs are not kept, so none can be DEAD"):
            group.jobs(JobState.DEAD)


# What instruments are told


async def test_the_closing_of_a_group_is_told_after_the_ends_of_its_jobs() -> None:
    listener = Listener()
    async with open_pool(["a"], instruments=[listener]) as pool:
        async with pool.open_group(name="G") as group:
            await group.submit(works, name="one")
        await pool.run(works, name="two")
    assert listener.heard == ["G opened", "one succeeded", "G closed", "two succeeded"]


async def test_the_closing_of_a_group_is_told_before_the_starts_on_the_workers_that_it_had(
    autojump_clock: MockClock,
) -> None:
    class Starts(Listener):
        def attempt_started(self, job: Job[Any], worker: object) -> None:
            self.heard.append(f"{job.name} started")

    listener = Starts()
    async with open_pool(["a"], instruments=[listener]) as pool, pool.open_group(name="G", reserve=1):
        await pool.submit(works, name="job")
    assert listener.heard == ["G opened", "G closed", "job started", "job succeeded"]


@pytest.mark.parametrize("ending", ["raise", "cancel the group", "cancel the pool", "cancel from outside"])
async def test_they_come_in_a_pair_however_a_group_ends(ending: str, autojump_clock: MockClock) -> None:
    listener = Listener()
    with trio.CancelScope() as scope:
        try:
            async with open_pool(["a"], instruments=[listener]) as pool, pool.open_group(name="G") as group:
                await group.submit(sleeps_forever, name="job")
                await trio.sleep(1)
                if ending == "raise":
                    raise KeyError(ending)
                cancel = {"cancel the group": group.cancel, "cancel the pool": pool.cancel}.get(ending, scope.cancel)
                cancel()
                await trio.sleep(1)
        except KeyError:
            pass
    assert listener.heard == ["G opened", "job cancelled", "G closed"]


async def test_so_they_do_when_a_job_of_one_that_must_succeed_is_dead() -> None:
    listener = Listener()

    async def use(pool: Pool[str]) -> None:
        async with pool.open_group(name="G", must_succeed=True) as group:
            await group.submit(fails, name="job")

    async with open_pool(["a"], instruments=[listener]) as pool:
        with pytest.raises(BaseException, match="the group 'G' ended with errors"):
            await use(pool)
    assert listener.heard == ["G opened", "job dead", "G closed"]


async def test_of_a_group_whose_entering_is_cancelled_while_it_waits_nothing_is_told(
    autojump_clock: MockClock,
) -> None:
    listener = Listener()
    async with open_pool(["a"], instruments=[listener]) as pool:
        await pool.submit(sleeps, 5, name="job")
        with trio.move_on_after(1):
            async with pool.open_group(name="G", reserve=1):
                raise AssertionError("it has no worker")
        assert pool.groups == ()
    assert listener.heard == ["job succeeded"]


async def test_nor_if_the_pool_ends_before_it_has_its_workers(autojump_clock: MockClock) -> None:
    listener = Listener()

    async def use(pool: Pool[str]) -> None:
        with pytest.raises(PoolClosedError):
            async with pool.open_group(name="G", reserve=1):
                raise AssertionError("it has no worker")

    async with trio.open_nursery() as nursery, open_pool(["a"], instruments=[listener]) as pool:
        await pool.submit(sleeps_forever, name="job")
        nursery.start_soon(use, pool)
        await wait_all_tasks_blocked()
        pool.cancel()
    assert listener.heard == ["job cancelled"]


async def test_nor_of_a_group_that_is_not_entered() -> None:
    listener = Listener()
    async with open_pool(["a"], instruments=[listener]) as pool:
        pool.open_group(name="G")
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pool.open_group(name="H"):
                raise AssertionError("it is cancelled before")
    assert listener.heard == []


async def test_when_it_is_told_the_group_is_open_and_takes_jobs() -> None:
    jobs: list[Job[str]] = []

    class Submitting(Instrument):
        def group_opened(self, group: Any) -> None:
            assert pool.groups == (group,)
            jobs.append(group.submit_nowait(works))

    async with open_pool(["a"], instruments=[Submitting()]) as pool, pool.open_group() as group:
        assert list(group.jobs()) == jobs
    assert [job.state for job in jobs] == [JobState.SUCCEEDED]


async def test_when_its_end_is_told_it_is_closed_and_its_figures_are_final() -> None:
    told: list[object] = []

    class Looking(Instrument):
        def group_closed(self, group: Any) -> None:
            told.extend((pool.groups, group.closed, group.statistics().succeeded, list(group.jobs())))
            with pytest.raises(PoolClosedError):
                group.submit_nowait(works)

    async with open_pool(["a"], instruments=[Looking()]) as pool, pool.open_group() as group:
        await group.submit(works)
    assert told == [(), True, 1, []]


@pytest.mark.parametrize("event", ["group_opened", "group_closed"])
async def test_an_instrument_may_make_and_cancel_groups_meanwhile(event: str) -> None:
    class Meddling(Instrument):
        def _meddle(self, group: Any) -> None:
            pool.open_group()
            group.cancel()

    instrument = Meddling()
    setattr(instrument, event, instrument._meddle)
    listener = Listener()
    async with open_pool(["a"], instruments=[instrument, listener]) as pool:
        async with pool.open_group(name="G") as group:
            await trio.lowlevel.checkpoint()
        assert pool.groups == ()
        assert group.closed
    assert listener.heard == ["G opened", "G closed"]


@pytest.mark.parametrize("event", ["group_opened", "group_closed"])
async def test_one_that_raises_then_disturbs_no_group(event: str, caplog: pytest.LogCaptureFixture) -> None:
    def rude(group: object) -> None:
        raise ZeroDivisionError

    instrument, listener = Instrument(), Listener()
    setattr(instrument, event, rude)
    async with open_pool(["a"], instruments=[instrument, listener]) as pool:
        async with pool.open_group(name="G") as group:
            job = await group.submit(works, name="job")
        assert job.result() == await pool.run(works, name="other")
    assert listener.heard == ["G opened", "job succeeded", "G closed", "other succeeded"]
    assert f"raised in {event} and was removed" in caplog.text


async def test_a_ctrl_c_while_the_last_task_of_a_group_ends_leaves_no_group_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(watch: CancellationWatch) -> None:
        monkeypatch.undo()
        watch.stop()
        raise KeyboardInterrupt

    listener = Listener()
    pool: Any = None
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # a group or not, as Trio has it
        async with open_pool(["a"], instruments=[listener]) as pool, pool.open_group(name="G"):
            monkeypatch.setattr(CancellationWatch, "stop", interrupted)
    assert caught.group_contains(KeyboardInterrupt)
    assert listener.heard == ["G opened", "G closed"]
    assert pool.groups == ()


# Data of the program's own


@both
async def test_a_pool_and_a_group_keep_a_copy_of_the_metadata_that_they_were_opened_with(opened: OpenPool) -> None:
    given = {"tenant": 7}
    async with opened(metadata=given) as pool, pool.open_group(metadata=given) as group:
        given["tenant"] = 8
        pool.metadata["seen"] = True
        assert (pool.metadata, group.metadata) == ({"tenant": 7, "seen": True}, {"tenant": 7})


@both
async def test_without_metadata_each_has_an_empty_dict_of_its_own(opened: OpenPool) -> None:
    async with opened() as pool, pool.open_group() as one, pool.open_group() as two:
        one.metadata["one"] = 1
        assert (pool.metadata, one.metadata, two.metadata) == ({}, {"one": 1}, {})


@both
async def test_other_metadata_is_refused(opened: OpenPool) -> None:
    with pytest.raises(TypeError, match="metadata must be a mapping, got 7"):
        opened(metadata=7)
    async with opened() as pool:
        with pytest.raises(TypeError, match="metadata must be a mapping, got 'x'"):
            pool.open_group(metadata="x")
