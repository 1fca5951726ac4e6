"""A lender that could never have its worker back is told so, and goes on without it."""

# A block that raises, or is cancelled, has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap, state_of, works
from tests.lenders import Parted, lends, nothing
from tests.pool.waiting.fragile import Fragile
from trio_pool import (
    DeadReason,
    Discard,
    GiveUp,
    Job,
    JobDeadlockError,
    JobFailedError,
    JobState,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    current_job,
    current_worker,
    open_pool,
)
from trio_pool.testing import assert_settled

if TYPE_CHECKING:
    from trio.testing import MockClock

# What it is told, and what it can do.


async def test_it_is_told_by_an_error_that_names_the_jobs_the_worker_and_the_cure(autojump_clock: MockClock) -> None:
    parted = Parted(nothing)
    async with open_pool(1) as pool:
        assert await parted.run(pool) == 3
    assert str(parted.told) == (
        "the job child would wait forever to get worker-1 back, which it has lent: it has to end before "
        "parent (on worker-1) can go on. It goes on without a worker, and must not use the resource; "
        "'async with current_job().lend():' around the wait lets other jobs use the worker meanwhile"
    )
    assert (parted.child.result(), parted.child.attempt_count) == ("done", 1)


async def test_it_has_no_worker_from_then_on(autojump_clock: MockClock) -> None:
    async def looks() -> tuple[Any, str, str, bool]:
        with pytest.raises(RuntimeError) as caught:
            current_job().lend()
        with pytest.raises(RuntimeError, match="can't be removed"):
            await parted.pool.workers[0].remove()
        with pytest.raises(RuntimeError, match="goes on without worker-1"):
            current_worker()
        worker = parted.pool.workers[0]
        return current_job().worker, repr(current_job()), str(caught.value), worker.job is current_job()

    parted = Parted(looks)
    async with open_pool(1) as pool:
        await parted.run(pool)
    assert parted.child.result() == (
        None,
        "<trio_pool.Job 2 child, running, 0 attempts>",
        "the job goes on without worker-1, which it had lent, and has no worker to lend",
        False,
    )


async def test_it_may_go_on_for_long(autojump_clock: MockClock) -> None:
    parted = Parted(partial(nap, 1000))
    async with open_pool(1) as pool:
        assert await parted.run(pool) == 1003


async def test_it_may_wait_for_jobs_on_other_workers(autojump_clock: MockClock) -> None:
    parted = Parted(lambda: parted.pool.run(nap, 5))
    async with open_pool(2) as pool:
        pool.workers[1].pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parted.run, pool)
            await trio.sleep(2)
            pool.workers[1].resume()
    assert parted.child.result() == 8


async def test_its_waits_are_told_if_they_are_in_vain(autojump_clock: MockClock) -> None:
    async def waits() -> str:
        with pytest.raises(JobDeadlockError) as caught:
            await parted.pool.run(nap, 1, name="grandchild")
        return str(caught.value)

    parted = Parted(waits)
    with trio.fail_after(60):
        async with open_pool(1) as pool:
            assert await parted.run(pool) == 3
    assert parted.child.result().startswith(
        "the job child would wait forever for grandchild: that can't happen while these jobs wait: "
        "child (has lent worker-1 and goes on without it), parent (on worker-1)"
    )


async def test_it_counts_in_no_max_running(autojump_clock: MockClock) -> None:
    ends: list[float] = []

    async def others() -> None:
        job = await parted.pool.submit(nap, 1, worker=parted.pool.workers[1])
        ends.append(await job.wait())

    parted = Parted(others)
    with trio.fail_after(60):
        async with open_pool(2, max_running=2) as pool:
            await parted.run(pool)
            ends += [await job.wait() for job in [await pool.submit(nap, 1) for _ in range(4)]]
    assert ends == [4, 5, 5, 6, 6]


async def test_its_own_error_is_the_context_of_what_it_is_told(autojump_clock: MockClock) -> None:
    async def lends() -> None:
        with trio.CancelScope(shield=True):
            async with current_job().lend():
                await trio.sleep(3)
                raise OSError("mine")

    async def parent() -> None:
        async with pool.open_group() as group:
            children.append(await group.submit(lends))
            async with current_job().lend():
                await trio.sleep(1)
            group.cancel()

    children: list[Job[None]] = []
    async with open_pool(1, on_dead="keep") as pool:
        await pool.run(parent)
    with pytest.raises(JobFailedError) as caught:
        children[0].result()
    told = caught.value.__cause__
    assert isinstance(told, JobDeadlockError)
    assert repr(told.__context__) == "OSError('mine')"


async def test_a_function_that_ends_without_leaving_its_block_ends_without_its_worker(
    autojump_clock: MockClock,
) -> None:
    async def forgets() -> str:
        with trio.CancelScope(shield=True):
            await current_job().lend().__aenter__()
            await trio.sleep(3)
        return "done"

    async def parent() -> object:
        async with pool.open_group() as group:
            child = await group.submit(forgets)
            async with current_job().lend():
                await trio.sleep(1)
            group.cancel()
        return child.result(), pool.workers[0].job is current_job()

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            assert await pool.run(parent) == ("done", True)
            assert await pool.run(nap, 1) == 4


# How it ends.


async def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("options", [{}, {"total_timeout": 100}, {"attempt_timeout": 100}])
@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (None, "SUCCEEDED", None),
        (OSError(), "DEAD", DeadReason.NOT_RETRYABLE),
        (GiveUp(), "DEAD", DeadReason.GAVE_UP),
        (Discard(), "DISCARDED", None),
        (ResourceBroken(), "DEAD", DeadReason.NOT_RETRYABLE),
        (RetryAfter(1, rest=True), "DEAD", DeadReason.NOT_RETRYABLE),
        ("cancelled", "CANCELLED", None),
    ],
    ids=repr,
)
async def test_it_ends_as_any_cancelled_job_does_and_leaves_the_worker_alone(
    autojump_clock: MockClock,
    error: Exception | str | None,
    state: str,
    reason: DeadReason | None,
    options: dict[str, Any],
) -> None:
    async def ends() -> None:
        if isinstance(error, Exception):
            raise error
        if error is not None:
            await parted.is_cancelled()

    parted = Parted(ends, **options)
    async with open_pool(1, on_dead="keep") as pool:
        assert await parted.run(pool) == 3
        assert (parted.child.state.name, parted.child.dead_reason) == (state, reason)
        [worker] = pool.workers
        assert state_of(worker) is WorkerState.IDLE
        assert await pool.run(nap, 1) == 4
    counted = state != "CANCELLED"
    assert (worker.statistics().attempts, parted.child.attempt_count) == (2 + counted, int(counted))
    assert_settled(pool)


@pytest.mark.parametrize("limit", ["attempt_timeout", "total_timeout"])
async def test_a_timeout_that_passed_before_it_was_cancelled_counts(autojump_clock: MockClock, limit: str) -> None:
    options: Any = {limit: 0.5}
    parted = Parted(lambda: parted.is_cancelled(), **options)
    async with open_pool(1, on_dead="keep") as pool:
        assert await parted.run(pool) == 3
    is_total = limit == "total_timeout"
    assert parted.child.state is (JobState.DEAD if is_total else JobState.CANCELLED)
    assert parted.child.dead_reason is (DeadReason.TIMED_OUT if is_total else None)


async def test_what_is_no_exception_ends_the_pool(autojump_clock: MockClock) -> None:
    parted = Parted(lambda: raises(SystemExit()))
    with pytest.RaisesGroup(SystemExit):
        async with open_pool(1) as pool:
            await parted.run(pool)
    assert parted.child.state is JobState.CANCELLED
    assert_settled(pool)


async def test_who_is_removed_with_its_worker_is_cut_short_with_it(autojump_clock: MockClock) -> None:
    async def is_slow() -> None:
        await trio.sleep(5)
        await parted.is_cancelled()

    parted = Parted(is_slow)
    with trio.fail_after(60):
        async with open_pool(1, no_worker="bury", on_dead="keep") as pool:
            parent = await parted.submit(pool)
            await trio.sleep(4)
            await pool.workers[0].remove(cancel=True)
            assert trio.current_time() == 8
    assert (parted.child.state, parent.dead_reason) == (JobState.CANCELLED, DeadReason.NO_WORKER)
    assert_settled(pool)


@pytest.mark.parametrize("is_first", [False, True])
async def test_a_lifespan_that_ends_by_itself_ends_it_too(autojump_clock: MockClock, is_first: bool) -> None:
    # The worker's own task runs what comes first on it, or what comes after that has ended.
    async def goes_on() -> None:
        parted.shield.shield = False
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        await trio.sleep_forever()

    fragile, parted = Fragile(), Parted(goes_on, delay=is_first)
    with trio.fail_after(60):
        async with open_pool(["a"], lifespan=fragile.lifespan, retry=RetryPolicy.never(), on_dead="keep") as pool:
            if is_first:
                await pool.submit(lends, 0.5)
            job = await parted.submit(pool)
            await trio.sleep(4 + is_first)
            fragile.breaking.set()
            with pytest.raises(JobFailedError):
                await job.wait()
            assert trio.current_time() == 5 + is_first
            assert isinstance(job.attempts[0].error, ResourceBroken)
            assert await pool.run(works) == "done"
    assert (parted.child.state, fragile.entered) == (JobState.CANCELLED, 2)
    assert_settled(pool)
