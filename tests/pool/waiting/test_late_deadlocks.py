"""What a job waits for becomes impossible while it waits, and the job is told so."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.actors import nap
from tests.pool.waiting.late_failures import fails_once
from tests.ways_to_wait import WAYS
from trio_pool import (
    DeadReason,
    Instrument,
    Job,
    JobDeadlockError,
    JobFailedError,
    Resource,
    ResourceBroken,
    RetryPolicy,
    SlotPool,
    Worker,
    current_job,
    open_pool,
)
from trio_pool.testing import Flaky

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.testing import MockClock


async def test_who_only_waits_for_one_that_waits_for_ever_is_not_told(autojump_clock: MockClock) -> None:
    told: list[str] = []

    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep(1)
            await tell("lender", await pool.submit(nap, 1, worker=first))

    async def tell(name: str, job: Job[Any]) -> None:
        try:
            await job.wait()
        except JobDeadlockError:
            told.append(name)
        except JobFailedError:
            pass

    async def waits(resource: str, seconds: float, job: Job[Any]) -> None:
        await trio.sleep(seconds)
        await tell(f"waits since {seconds:g}", job)

    async def has_the_worker(resource: str) -> None:
        await trio.sleep(9)
        raise ResourceBroken

    async with open_pool(["a", "b", "c"], on_dead="keep") as pool:
        first, second, third = pool.workers
        lender = await pool.submit(lends, worker=first)
        await pool.submit(waits, 3, lender, worker=second)
        await pool.submit(waits, 2, lender, worker=third)
        await pool.submit(has_the_worker, worker=first)
    assert told == ["lender"]


@pytest.mark.parametrize("lent", [0.5, 1, 3])
async def test_a_wait_in_another_task_of_a_lender_ends_when_that_takes_its_worker_back(
    autojump_clock: MockClock, lent: float
) -> None:
    child = fails_once(OSError("no luck"))

    async def waits() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(child)

    async def parent() -> float:
        async with trio.open_nursery() as nursery:
            async with current_job().lend():
                nursery.start_soon(waits)
                await trio.sleep(lent)
            return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(1, retry=RetryPolicy.fixed(5, max_attempts=2)) as pool:
            assert await pool.run(parent) == max(lent, 1)


async def test_a_wait_in_another_task_of_a_lender_is_fine_where_another_worker_is_left(
    autojump_clock: MockClock,
) -> None:
    async def parent() -> float:
        async with trio.open_nursery() as nursery, current_job().lend():
            nursery.start_soon(pool.run, fails_once(OSError("no luck")))
            await trio.sleep(1.5)
        return trio.current_time()

    async with open_pool(2, retry=RetryPolicy.fixed(5, max_attempts=2)) as pool:
        assert await pool.run(parent) == 7


async def test_a_wait_that_is_cancelled_as_it_turns_out_to_be_for_ever_is_cancelled(autojump_clock: MockClock) -> None:
    async def parent() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            async with current_job().lend():
                await pool.run(nap, 1)
        assert scope.cancelled_caught

    async def has_the_worker() -> None:
        await trio.sleep(9)
        scopes[0].cancel()
        raise ResourceBroken

    scopes: list[trio.CancelScope] = []
    async with open_pool(1, on_dead="keep") as pool:
        job = await pool.submit(parent)
        await pool.submit(has_the_worker)
        with trio.fail_after(60):
            await job.wait()


class Cancels(Instrument):
    """Cancels a scope when a worker's resource is to be reopened: what tells the waits comes after that."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.scope.cancel()


@pytest.mark.parametrize("way", WAYS[:-1])
async def test_so_it_is_where_an_instrument_cancels_it(
    autojump_clock: MockClock, way: Callable[[SlotPool], Awaitable[object]]
) -> None:
    async def parent() -> None:
        with instrument.scope:
            async with current_job().lend():
                await way(pool)
        assert instrument.scope.cancelled_caught

    async def has_the_worker() -> None:
        await trio.sleep(9)
        raise ResourceBroken

    instrument = Cancels()
    async with open_pool(1, on_dead="keep", instruments=[instrument]) as pool:
        job = await pool.submit(parent)
        await pool.submit(has_the_worker)
        with trio.fail_after(60):
            await job.wait()


async def test_a_worker_that_was_lent_can_leave_though_its_lender_needs_it(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        async with current_job().lend():
            await trio.sleep(1)
            first, second = await pool.submit(nap, 2), await pool.submit(nap, 2)
            await first.wait()
            with pytest.raises(JobDeadlockError) as caught:
                await second.wait()
            await trio.sleep(7)
        raise AssertionError(caught)

    async with open_pool([Resource("a", name="a")], on_dead="keep") as pool:
        job = await pool.submit(parent)
        await trio.sleep(2)
        with trio.fail_after(60):
            await pool.workers[0].remove()
        assert trio.current_time() == 10
        assert isinstance(job._error, ResourceBroken)
        assert [dead.dead_reason for dead in pool.dead] == [DeadReason.ATTEMPTS_EXHAUSTED, DeadReason.NO_WORKER]


async def test_a_wait_that_begins_when_its_lent_worker_is_leaving_already_is_found(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        async with current_job().lend():
            await trio.sleep(3)
            with pytest.raises(JobDeadlockError) as caught:
                await pool.run(nap, 1, name="child")
        return str(caught.value)

    async with open_pool([Resource("a", name="a")], on_dead="keep") as pool:
        job = await pool.submit(parent, name="parent")
        await trio.sleep(1)
        with trio.fail_after(60):
            await pool.workers[0].remove()
        assert trio.current_time() == 3
        assert isinstance(job._error, ResourceBroken)


async def test_a_wait_while_another_worker_that_leaves_is_lent_is_fine_if_one_stays(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await pool.run(nap, 1)

    async with open_pool(["a", "b"], on_dead="keep") as pool:
        first, second = pool.workers
        await pool.submit(nap, 9, worker=second)
        job = await pool.submit(lends, worker=first)
        first.pause()
        await trio.sleep(1)
        with trio.fail_after(60):
            await first.remove()
        assert isinstance(job._error, ResourceBroken)
        assert trio.current_time() == 10


async def test_a_wait_for_what_the_last_free_worker_could_have_run_ends_when_that_is_to_leave(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(2) as pool, trio.open_nursery() as nursery:
        first, second = pool.workers
        await pool.submit(nap, 9, worker=second)
        job = await pool.submit(waits_for_a_child, pool, worker=first)
        await trio.sleep(3)
        nursery.start_soon(second.remove)
        with trio.fail_after(60):
            assert await job.wait() == ("deadlock", 3)


async def waits_for_a_child(pool: SlotPool, **options: Any) -> tuple[str, float]:
    try:
        await pool.run(nap, 1)
    except JobDeadlockError:
        return "deadlock", trio.current_time()
    return "fine", trio.current_time()


async def test_a_wait_for_an_evicted_job_ends_where_only_held_workers_are_left_for_it(
    autojump_clock: MockClock,
) -> None:
    async with open_pool(2) as pool:
        first, second = pool.workers
        job = await pool.submit(waits_for_a_child, pool, worker=first)
        await trio.sleep(0.5)
        with trio.fail_after(60):
            await second.remove(cancel=True)
            assert await job.wait() == ("deadlock", 0.5)


async def test_a_wait_for_a_job_ends_when_it_bounces_to_a_worker_that_is_held(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        try:
            await pool.run(fails_once, retry=RetryPolicy.fixed(3, placement="other"))
        except JobDeadlockError:
            return f"deadlock {trio.current_time():g}"
        return "fine"

    async def fails_once(resource: str) -> None:
        await trio.sleep(1)
        raise OSError

    async with open_pool(["a", "b"]) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent, worker=pool.workers[0]) == "deadlock 1"


async def test_so_it_does_where_the_job_has_broken_the_only_worker_that_is_not_held(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> str:
        with pytest.raises(JobDeadlockError):
            await pool.run(fails_once(ResourceBroken("gone")), retry=RetryPolicy.fixed(3, placement="other"))
        return f"deadlock {trio.current_time():g}"

    async with open_pool(["a", "b"]) as pool:
        with trio.fail_after(60):
            assert await pool.run(parent) == "deadlock 1"


@pytest.mark.parametrize("how", ["pause", "rest"])
async def test_a_wait_for_a_job_that_bounces_ends_when_a_held_worker_can_be_counted_on_again(
    autojump_clock: MockClock, how: str
) -> None:
    async def parent(resource: str) -> str:
        await trio.sleep(0.5)
        with pytest.raises(JobDeadlockError):
            await pool.run(Flaky(1), retry=RetryPolicy.fixed(9, placement="other"))
        return f"deadlock {trio.current_time():g}"

    async with open_pool(["a", "b"]) as pool:
        first, _ = pool.workers
        job = await pool.submit(parent, worker=first)
        if how == "rest":
            first.rest(3)
        else:
            first.pause()
        await trio.sleep(3)
        first.resume()
        with trio.fail_after(60):
            assert await job.wait() == "deadlock 3"


async def test_a_wait_for_a_job_that_bounces_is_fine_where_another_worker_is_left(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        await pool.run(Flaky(1), retry=RetryPolicy.fixed(3, placement="other"))
        return trio.current_time()

    async with open_pool(["a", "b", "c"]) as pool:
        first, _, third = pool.workers
        third.pause()
        job = await pool.submit(parent, worker=first)
        await trio.sleep(5)
        third.resume()
        with trio.fail_after(60):
            assert await job.wait() == 5


async def test_a_wait_ends_when_max_running_leaves_no_room_for_what_it_waits_for(autojump_clock: MockClock) -> None:
    async with open_pool(3, max_running=2) as pool:
        await pool.submit(nap, 9)
        job = await pool.submit(waits_for_a_child, pool)
        await trio.sleep(3)
        pool.max_running = 1
        with trio.fail_after(60):
            assert await job.wait() == ("deadlock", 3)


async def test_a_shielded_wait_is_found_though_its_job_has_been_cancelled_meanwhile(autojump_clock: MockClock) -> None:
    told_at: list[float] = []

    async def cleans_up() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1)
            with pytest.raises(JobDeadlockError):
                await pool.run(fails_once(OSError("no luck")))
            told_at.append(trio.current_time())

    policy = RetryPolicy.fixed(1, max_attempts=2)
    with trio.fail_after(60):
        async with open_pool(2, retry=policy, max_running=2) as pool:
            job = await pool.submit(cleans_up)
            await trio.sleep(1.5)
            job.cancel()
            pool.max_running = 1
    assert told_at == [2]


async def test_who_waits_for_a_job_it_has_cancelled_that_waits_shielded_for_it_is_told(
    autojump_clock: MockClock,
) -> None:
    jobs: list[Job[Any]] = []

    async def waits_shielded() -> None:
        await trio.sleep(1)
        with trio.CancelScope(shield=True):
            await jobs[1].wait()

    async def cancels_and_waits() -> float:
        await trio.sleep(2)
        jobs[0].cancel()
        with pytest.raises(JobDeadlockError):
            await jobs[0].wait()
        return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(2) as pool:
            jobs.append(await pool.submit(waits_shielded))
            jobs.append(await pool.submit(cancels_and_waits))
            assert await jobs[1].wait() == 2


@pytest.mark.parametrize("limited", ["pool", "group", "pool, later"])
async def test_a_wait_for_a_job_ends_when_its_retry_finds_no_room_under_max_running(
    autojump_clock: MockClock, limited: str
) -> None:
    async def parent() -> float:
        async with pool.open_group(max_running=1) if limited == "group" else nullcontext(pool) as scope:

            async def waits_for_child() -> None:
                async with current_job().lend():
                    child = await scope.submit(fails_once(OSError("no luck")))
                    await child.wait_started()
                if limited == "pool, later":
                    pool.max_running = 1
                with pytest.raises(JobDeadlockError):
                    await child.wait()
                child.cancel()

            await scope.run(waits_for_child) if limited == "group" else await waits_for_child()
        return trio.current_time()

    policy = RetryPolicy.fixed(0, max_attempts=2)
    with trio.fail_after(60):
        async with open_pool(3, max_running=1 if limited == "pool" else None, retry=policy) as pool:
            assert await pool.run(parent) == 1


async def test_a_wait_ends_when_a_worker_it_needs_goes_back_to_a_job_that_waits(autojump_clock: MockClock) -> None:
    async def waits() -> str:
        await trio.sleep(2)
        with pytest.raises(JobDeadlockError):
            await pool.run(nap, 1)
        return f"deadlock at {trio.current_time()}"

    async def parent() -> str:
        await pool.submit(nap, 7, worker=pool.workers[0])
        waiter = await pool.submit(waits, worker=pool.workers[1])
        async with trio.open_nursery() as nursery, current_job().lend():
            nursery.start_soon(waiter.wait)
            await trio.sleep(4)
        return await waiter.wait()

    with trio.fail_after(60):
        async with open_pool(2) as pool:
            assert await pool.run(parent, worker=pool.workers[0]) == "deadlock at 7.0"


async def test_a_wait_ends_when_the_last_worker_for_it_is_set_aside_for_a_group(autojump_clock: MockClock) -> None:
    async def parent(resource: str) -> float:
        async with pool.open_group(reserve=1):
            with pytest.raises(JobDeadlockError):
                await pool.run(nap, 1)
        return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(list("abc")) as pool:
            job = await pool.submit(parent, worker=pool.workers[0])
            await pool.submit(nap, 2, worker=pool.workers[2])
            # It comes before the child of the parent, and then its worker has to stand in for the removed one.
            await pool.submit(nap, 3, worker=pool.workers[2])
            await trio.sleep(1)
            await pool.workers[1].remove()
            assert await job.wait() == 2


async def test_a_job_that_has_started_may_wait_for_the_one_that_waited_for_its_start(
    autojump_clock: MockClock,
) -> None:
    jobs: list[Job[Any]] = []

    async def child() -> str:
        await jobs[0].wait()
        return "fine"

    async def parent() -> None:
        jobs.append(await pool.submit(child))
        await jobs[1].wait_started()

    async with open_pool(2) as pool:
        await pool.submit(nap, 5, worker=pool.workers[1])
        jobs.append(await pool.submit(parent, worker=pool.workers[0]))
        with trio.fail_after(60):
            await jobs[0].wait()
            assert await jobs[1].wait() == "fine"


async def test_who_waits_for_one_that_waits_for_its_cancelled_child_is_told(autojump_clock: MockClock) -> None:
    async def child(resource: str, item: int) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def parent(resource: str) -> str:
        async with pool.map(child, [1], worker=second):
            await trio.sleep(2)
        return f"fine {trio.current_time():g}"

    async def waits(resource: str) -> str:
        await trio.sleep(1)
        try:
            await job.wait()
        except JobDeadlockError:
            return f"deadlock {trio.current_time():g}"
        raise AssertionError("not reached")

    async with open_pool(["a", "b"]) as pool:
        first, second = pool.workers
        job = await pool.submit(parent, worker=first)
        await trio.sleep(0.5)
        waiter = await pool.submit(waits, worker=second)
        with trio.fail_after(60):
            assert await waiter.wait() == "deadlock 2"
            assert await job.wait() == "fine 2"
