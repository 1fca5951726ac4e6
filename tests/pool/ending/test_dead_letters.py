"""The dead letters: dead jobs, kept until somebody takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool import (
    DeadReason,
    Job,
    JobFailedError,
    JobState,
    NoEligibleWorkerError,
    Pool,
    PoolClosedError,
    RetryPolicy,
    open_pool,
)

if TYPE_CHECKING:
    from trio.testing import MockClock


class Mended:
    """Fails until it is mended."""

    def __init__(self) -> None:
        self.mended = False

    async def __call__(self, resource: str, *args: Any) -> tuple[Any, ...]:
        if not self.mended:
            raise ValueError("no luck")
        return resource, *args


async def fail(resource: str, *args: Any) -> None:
    raise ValueError("no luck")


async def nap(resource: str, seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


async def kill(pool: Pool[str], number: int) -> list[Job[None]]:
    """So many dead jobs, in the order of their deaths."""
    jobs = [await pool.submit(fail) for _ in range(number)]
    await pool.join()
    return jobs


async def test_a_job_that_failed_for_good_is_kept() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        [job] = await kill(pool, 1)
        assert list(pool.dead) == [job]
        assert job in pool.dead
        assert job.state is JobState.DEAD


async def test_jobs_that_ended_otherwise_are_not_kept(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        ended = await pool.submit(nap, 1)
        cancelled = await pool.submit(nap, 1)
        cancelled.cancel()
        await ended.wait()
        assert len(pool.dead) == 0
        assert ended not in pool.dead
        assert "no job at all" not in pool.dead


async def test_they_can_be_counted_and_iterated_over_oldest_first() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        jobs = await kill(pool, 5)
        assert len(pool.dead) == 5
        assert list(pool.dead) == jobs


async def test_oldest_means_the_first_to_die(autojump_clock: MockClock) -> None:
    async def die_in(resource: str, seconds: float) -> None:
        await trio.sleep(seconds)
        raise ValueError("no luck")

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        late = await pool.submit(die_in, 2)
        early = await pool.submit(die_in, 1)
    assert list(pool.dead) == [early, late]


async def test_pop_takes_out_the_oldest() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        first, second = await kill(pool, 2)
        assert pool.dead.pop() is first
        assert list(pool.dead) == [second]


async def test_pop_takes_out_the_given_one() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        first, second, third = await kill(pool, 3)
        assert pool.dead.pop(second) is second
        assert list(pool.dead) == [first, third]


async def test_pop_of_nothing_is_a_key_error() -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(KeyError, match="there are no dead letters"):
            pool.dead.pop()


async def test_pop_of_one_that_is_not_there_is_a_key_error() -> None:
    async with open_pool(["a"], on_dead="keep") as pool, open_pool(["a"], on_dead="keep") as other:
        [job] = await kill(pool, 1)
        [stranger] = await kill(other, 1)
        pool.dead.pop(job)
        for absent in (job, stranger):
            with pytest.raises(KeyError, match="is not among the dead letters"):
                pool.dead.pop(absent)


async def test_pop_all_takes_out_all_of_them_oldest_first() -> None:
    async with open_pool(["a"]) as pool:
        jobs = await kill(pool, 3)
        assert pool.dead.pop_all() == jobs
        assert pool.dead.pop_all() == []
        assert len(pool.dead) == 0


async def test_what_was_taken_out_counts_as_dealt_with() -> None:
    async with open_pool(["a"]) as pool:
        await kill(pool, 3)
        pool.dead.pop()
        pool.dead.pop_all()
    assert len(pool.dead) == 0  # nothing came out of the block


async def test_what_was_raised_to_somebody_is_kept_all_the_same() -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(JobFailedError) as caught:
            await pool.run(fail)
        assert list(pool.dead) == [caught.value.job]


async def test_taking_out_while_iterating_is_fine() -> None:
    async with open_pool(["a"]) as pool:
        jobs = await kill(pool, 4)
        assert [pool.dead.pop(job) for job in pool.dead] == jobs


async def test_the_dead_letters_can_be_read_after_the_block() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        jobs = await kill(pool, 2)
    assert pool.dead.pop_all() == jobs


# max_dead


async def test_beyond_max_dead_the_oldest_is_dropped_and_counted() -> None:
    async with open_pool(["a"], max_dead=3, on_dead="keep") as pool:
        jobs = await kill(pool, 5)
        assert list(pool.dead) == jobs[-3:]
        assert pool.dead.dropped == 2
        assert pool.statistics().dead == 5


async def test_nothing_is_dropped_up_to_max_dead() -> None:
    async with open_pool(["a"], max_dead=3, on_dead="keep") as pool:
        await kill(pool, 3)
        assert (len(pool.dead), pool.dead.dropped) == (3, 0)


async def test_max_dead_may_be_0() -> None:
    async with open_pool(["a"], max_dead=0, on_dead="keep") as pool:
        [job] = await kill(pool, 1)
        assert (len(pool.dead), pool.dead.dropped) == (0, 1)
        with pytest.raises(JobFailedError):
            job.result()


async def test_a_thousand_are_kept_by_default() -> None:
    async with open_pool(["a"], on_dead="keep", max_queue=None) as pool:
        for _ in range(1002):
            pool.submit_nowait(fail)
        await pool.join()
        assert (len(pool.dead), pool.dead.dropped) == (1000, 2)


async def test_they_tell_their_numbers() -> None:
    async with open_pool(["a"], max_dead=1, on_dead="keep") as pool:
        await kill(pool, 3)
        assert repr(pool.dead) == "<trio_pool.DeadLetters: 1 kept, 2 dropped>"


# requeue


async def test_requeue_submits_the_same_call_again_as_a_new_job() -> None:
    work = Mended()
    async with open_pool(["a"]) as pool:
        job = await pool.submit(work, 1, 2)
        await pool.join()
        work.mended = True
        fresh = pool.dead.requeue(job)
        assert await fresh.wait() == ("a", 1, 2)
        assert fresh is not job
        assert fresh.id != job.id
        assert (fresh.fn, fresh.args) == (job.fn, job.args)
    assert job.state is JobState.DEAD


async def test_a_requeued_job_is_no_longer_among_the_dead_letters() -> None:
    work = Mended()
    async with open_pool(["a"]) as pool:
        job = await pool.submit(work)
        await pool.join()
        work.mended = True
        pool.dead.requeue(job)
        assert len(pool.dead) == 0  # and so it is dealt with


async def test_a_requeued_job_is_counted_as_submitted() -> None:
    work = Mended()
    async with open_pool(["a"]) as pool:
        job = await pool.submit(work)
        await pool.join()
        work.mended = True
        pool.dead.requeue(job)
    statistics = pool.statistics()
    assert (statistics.submitted, statistics.succeeded, statistics.dead) == (2, 1, 1)


async def test_a_requeued_job_keeps_its_options() -> None:
    async with open_pool(["a", "b"], on_dead="keep") as pool:
        _, second = pool.workers
        retry = RetryPolicy.immediate(max_attempts=2)
        job = await pool.submit(fail, name="mine", metadata={"tenant": 7}, priority=3, worker=second, retry=retry)
        await pool.join()
        fresh = pool.dead.requeue(job)
        await pool.join()
    assert (fresh.name, fresh.metadata, fresh.priority) == ("mine", {"tenant": 7}, 3)
    assert [attempt.worker_id for attempt in fresh.attempts] == [second.id, second.id]


async def test_a_requeued_job_takes_other_options() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        [job] = await kill(pool, 1)
        fresh = pool.dead.requeue(job, name="again", retry=RetryPolicy.immediate(max_attempts=3))
        await pool.join()
    assert fresh.name == "again"
    assert fresh.attempt_count == 3


async def test_a_requeued_job_may_go_to_any_worker_where_the_dead_one_had_to_go_to_one(
    autojump_clock: MockClock,
) -> None:
    work = Mended()
    async with open_pool(["a", "b"]) as pool:
        first, _ = pool.workers
        job = await pool.submit(work, worker=first)
        await pool.join()
        await first.remove()
        work.mended = True
        with pytest.raises(NoEligibleWorkerError):
            pool.dead.requeue(job)
        assert job in pool.dead
        fresh = pool.dead.requeue(job, worker=None)
        assert await fresh.wait() == ("b",)


async def test_a_requeued_job_has_its_total_timeout_anew(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        job = await pool.submit(nap, 10, total_timeout=4)
        await pool.join()
        assert job.dead_reason is DeadReason.TIMED_OUT
        fresh = pool.dead.requeue(job)
        assert (fresh.submitted_at, fresh.deadline) == (4, 8)


async def test_a_requeued_job_is_always_let_in(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], max_queue=1, on_dead="keep") as pool:
        [job] = await kill(pool, 1)
        pool.submit_nowait(nap, 5)
        pool.submit_nowait(nap, 5)
        with pytest.raises(trio.WouldBlock):
            pool.submit_nowait(nap, 5)
        fresh = pool.dead.requeue(job)
        assert fresh.state is JobState.QUEUED


async def test_a_job_can_be_requeued_only_once() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        [job] = await kill(pool, 1)
        pool.dead.requeue(job)
        with pytest.raises(KeyError, match="is not among the dead letters"):
            pool.dead.requeue(job)


async def test_a_requeue_with_a_bad_option_leaves_the_job_where_it_is() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        [job] = await kill(pool, 1)
        with pytest.raises(ValueError, match="attempt_timeout must not be negative"):
            pool.dead.requeue(job, attempt_timeout=-1)
        assert list(pool.dead) == [job]


@pytest.mark.parametrize("steps", range(12))
async def test_a_group_whose_job_is_requeued_as_it_ends_has_none_left(autojump_clock: MockClock, steps: int) -> None:
    left: list[int] = []

    async def opens(pool: Pool[str]) -> None:
        async with pool.open_group() as group:
            await group.submit(mended)
        statistics = group.statistics()
        left.append(statistics.queued + statistics.running)

    mended = Mended()
    async with open_pool(["a"], on_dead="keep") as pool, trio.open_nursery() as nursery:
        nursery.start_soon(opens, pool)
        while not pool.dead:
            await trio.lowlevel.checkpoint()
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        mended.mended = True
        [job] = pool.dead
        assert await pool.dead.requeue(job).wait() == ("a",)
    assert left == [0]


async def test_a_requeue_after_the_block_leaves_the_job_where_it_is() -> None:
    async with open_pool(["a"], on_dead="keep") as pool:
        [job] = await kill(pool, 1)
    with pytest.raises(PoolClosedError):
        pool.dead.requeue(job)
    assert list(pool.dead) == [job]


async def test_a_requeued_job_that_dies_at_once_may_push_out_the_one_it_comes_from(autojump_clock: MockClock) -> None:
    nobody: list[float] = []
    async with open_pool(nobody, no_worker="bury", max_dead=1) as pool:
        first = pool.submit_nowait(trio.sleep)
        second = pool.dead.requeue(first)
        assert (list(pool.dead), pool.dead.dropped) == ([second], 1)
        pool.dead.pop()
