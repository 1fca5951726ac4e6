"""How a block ends: what comes out, and what becomes of its job and of its worker."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import nap, sleeps_forever, works
from trio_pool import (
    CircuitBreaker,
    DeadReason,
    Discard,
    GiveUp,
    JobCancelledError,
    JobFailedError,
    JobState,
    Resource,
    ResourceBroken,
    RetryAfter,
    RetryPolicy,
    WorkerState,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Opened:
    """A lifespan that counts, and that can break."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = 0
        self.breaks = trio.Event()

    @asynccontextmanager
    async def lifespan(self, resource: str) -> AsyncGenerator[str]:
        self.count += 1
        self.breaks = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._break_down, self.breaks)
                yield f"{resource}{self.count}"
                nursery.cancel_scope.cancel()
        finally:
            self.closed += 1

    async def _break_down(self, breaks: trio.Event) -> None:
        await breaks.wait()
        raise OSError("unplugged")


class Rude(BaseException):
    """Not an `Exception`."""


# The block raises


@pytest.mark.parametrize("error", [ValueError("no"), ExceptionGroup("some", [ValueError(), KeyError()])])
async def test_what_the_block_raises_comes_out_as_it_is(error: Exception) -> None:
    async with open_pool(["a"], retry=RetryPolicy.endless(), on_dead="cancel") as pool:
        lease = pool.acquire()
        with pytest.raises(type(error)) as caught:
            async with lease:
                raise error
        assert caught.value is error
        job = lease.job
        assert (job.state, job.dead_reason, job.attempt_count) == (JobState.DEAD, DeadReason.NOT_RETRYABLE, 1)
        assert job.attempts[0].error is error
        assert not pool.dead
        with pytest.raises(JobFailedError):
            job.result()
        assert pool.statistics().workers[0].failed == 1
        assert await pool.run(works) == "done"


async def test_a_failed_block_is_no_matter_for_on_failure_or_must_succeed() -> None:
    def on_failure(*_: object) -> None:
        raise AssertionError("nobody asks")

    async with open_pool(["a"], on_failure=on_failure) as pool, pool.open_group(must_succeed=True) as group:
        lease = group.acquire()
        with pytest.raises(ValueError, match="no"):
            async with lease:
                await group.submit(works, after=[lease.job])
                raise ValueError("no")
        assert await group.run(works) == "done"
        assert group.statistics().discarded == 1


@pytest.mark.parametrize("control", [RetryAfter(5, rest=True), GiveUp("no"), Discard("no")])
async def test_control_exceptions_are_errors_as_any(control: Exception) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(type(control)):
            async with lease:
                raise control
        assert (lease.job.state, lease.job.dead_reason) == (JobState.DEAD, DeadReason.NOT_RETRYABLE)
        assert pool.workers[0].state is WorkerState.IDLE


@pytest.mark.parametrize("error", [ResourceBroken("no"), ExceptionGroup("", [ResourceBroken("no")])])
async def test_a_broken_resource_is_reopened_after_the_block(error: Exception) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        with pytest.raises(type(error)):
            async with pool.acquire():
                raise error
        async with pool.acquire() as resource:
            assert resource == "a2"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), Rude(), BaseExceptionGroup("", [Rude()])])
async def test_what_is_no_exception_comes_out_here_only(error: BaseException) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(type(error)) as caught:
            async with lease:
                raise error
        assert caught.value is error
        assert lease.job.state is JobState.CANCELLED
        assert await pool.run(works) == "done"


async def test_a_stray_cancellation_comes_out_and_makes_the_job_dead() -> None:
    stray: trio.Cancelled | None = None
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as error:
            stray = error
    assert stray is not None
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(trio.Cancelled):
            async with lease:
                raise stray
        assert lease.job.state is JobState.DEAD
        assert isinstance(lease.job.attempts[0].error, RuntimeError)


async def test_failures_of_blocks_open_the_breaker(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=CircuitBreaker(failures=2, reset_after=5)) as pool:
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                async with pool.acquire():
                    raise ValueError("no")
        assert pool.workers[0].state is WorkerState.QUARANTINED
        async with pool.acquire():  # the probe
            assert trio.current_time() == 5
        assert pool.workers[0].state is WorkerState.IDLE


async def test_a_probe_that_is_cut_short_gives_its_place_to_another(autojump_clock: MockClock) -> None:
    async with open_pool(["a"], breaker=CircuitBreaker(failures=1, reset_after=5)) as pool:
        with pytest.raises(ValueError, match="no"):
            async with pool.acquire():
                raise ValueError("no")
        with trio.move_on_after(6):
            async with pool.acquire():
                await trio.sleep_forever()
        async with pool.acquire():
            assert trio.current_time() == 6


async def test_a_breaker_that_fails_to_count_is_the_reason_of_the_death() -> None:
    def counts(error: Exception) -> bool:
        raise KeyError("counts")

    async with open_pool(["a"], breaker=CircuitBreaker(counts=counts)) as pool:
        lease = pool.acquire()
        with pytest.raises(ValueError, match="no"):
            async with lease:
                raise ValueError("no")
        assert "KeyError" in lease.job.reason


async def test_a_breaker_that_crashes_ends_the_pool() -> None:
    def counts(error: Exception) -> bool:
        raise Rude

    with pytest.RaisesGroup(Rude):
        async with open_pool(["a"], breaker=CircuitBreaker(counts=counts)) as pool:
            with pytest.raises(ValueError, match="no"):
                async with pool.acquire():
                    raise ValueError("no")
            await trio.sleep_forever()


# The caller is cancelled


async def test_a_cancelled_caller_ends_its_block(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with trio.move_on_after(3) as scope:
            async with lease:
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert lease.job.state is JobState.CANCELLED
        assert lease.job.attempts == ()
        assert await pool.run(works) == "done"


async def test_a_block_that_ends_all_the_same_has_succeeded() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            async with lease:
                scope.cancel()
        assert lease.job.state is JobState.SUCCEEDED


async def test_errors_beside_the_cancellation_of_the_caller_make_the_job_dead() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(ExceptionGroup), trio.CancelScope() as scope:
            async with lease, trio.open_nursery() as nursery:

                async def fail() -> None:
                    try:
                        await trio.sleep_forever()
                    finally:
                        raise ValueError("no")

                nursery.start_soon(fail)
                nursery.start_soon(trio.sleep_forever)
                await trio.lowlevel.checkpoint()
                scope.cancel()
        assert lease.job.state is JobState.DEAD


# The job is cancelled


async def test_a_cancelled_job_ends_its_block(autojump_clock: MockClock) -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(JobCancelledError) as caught:
            async with lease:
                lease.job.cancel()
                await trio.sleep_forever()
        assert caught.value.job is lease.job
        assert lease.job.state is JobState.CANCELLED


async def test_a_cancelled_job_whose_block_ends_has_succeeded() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        async with lease:
            lease.job.cancel()
        assert lease.job.state is JobState.SUCCEEDED


async def test_a_cancelled_job_whose_block_raises_is_dead_and_the_error_comes_out() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.raises(ValueError, match="no"):
            async with lease:
                lease.job.cancel()
                raise ValueError("no")
        assert lease.job.state is JobState.DEAD


async def test_only_the_error_comes_out_beside_the_cancellation_of_the_job() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with pytest.RaisesGroup(ValueError):
            async with lease, trio.open_nursery() as nursery:

                async def fail() -> None:
                    try:
                        await trio.sleep_forever()
                    finally:
                        raise ValueError("no")

                nursery.start_soon(fail)
                nursery.start_soon(trio.sleep_forever)
                await trio.lowlevel.checkpoint()
                lease.job.cancel()


async def test_if_the_caller_is_cancelled_as_well_that_comes_out() -> None:
    async with open_pool(["a"]) as pool:
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            async with lease:
                lease.job.cancel()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert lease.job.state is JobState.CANCELLED


async def test_the_whole_pool_is_cancelled(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def borrow() -> None:
        try:
            async with pool.acquire():
                await trio.sleep_forever()
        except JobCancelledError:
            outcomes.append("outside")

    async with trio.open_nursery() as nursery:
        async with open_pool(["a", "b"]) as pool:
            nursery.start_soon(borrow)
            await trio.sleep(1)
            try:
                async with pool.acquire():
                    pool.cancel()
                    await trio.sleep_forever()
            except trio.Cancelled:
                outcomes.append("body")
                raise
            raise AssertionError("the body is cancelled")
        assert pool.statistics().cancelled == 2
    assert sorted(outcomes) == ["body", "outside"]


async def test_an_error_of_the_pools_body_ends_blocks_elsewhere(autojump_clock: MockClock) -> None:
    async def borrow() -> None:
        with pytest.raises(JobCancelledError):
            async with pool.acquire():
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="no"):
            async with open_pool(["a"]) as pool:
                nursery.start_soon(borrow)
                await wait_all_tasks_blocked()
                raise ValueError("no")


async def test_the_pool_waits_for_the_end_of_a_block(autojump_clock: MockClock) -> None:
    opened = Opened()

    async def borrow(task_status: trio.TaskStatus[None]) -> None:
        async with pool.acquire():
            task_status.started()
            await trio.sleep(3)
            assert opened.closed == 0

    async with trio.open_nursery() as nursery:
        async with open_pool(["a"], lifespan=opened.lifespan) as pool:
            await nursery.start(borrow)
        assert trio.current_time() == 3
        assert opened.closed == 1


async def test_a_cancelled_pool_waits_for_a_block_that_takes_its_time(autojump_clock: MockClock) -> None:
    opened = Opened()

    async def borrow(task_status: trio.TaskStatus[None]) -> None:
        with pytest.raises(JobCancelledError):
            async with pool.acquire():
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(3)
                    assert opened.closed == 0

    async with trio.open_nursery() as nursery:
        async with open_pool(["a"], lifespan=opened.lifespan) as pool:
            await nursery.start(borrow)
            pool.cancel()
        assert trio.current_time() == 3
        assert opened.closed == 1


# The worker goes


async def test_a_removed_worker_waits_for_the_block(autojump_clock: MockClock) -> None:
    opened = Opened()

    async def remove() -> None:
        await trio.sleep(1)
        await pool.workers[0].remove()

    async with open_pool(["a"], lifespan=opened.lifespan, no_worker="wait") as pool, trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        async with pool.acquire():
            await trio.sleep(3)
            assert (opened.closed, len(pool.workers)) == (0, 1)
        await wait_all_tasks_blocked()
        assert (opened.closed, len(pool.workers)) == (1, 0)


async def test_a_worker_that_is_removed_by_force_cancels_the_block(autojump_clock: MockClock) -> None:
    async def remove() -> None:
        await trio.sleep(1)
        await pool.workers[0].remove(cancel=True)

    async with open_pool(["a", "b"]) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(remove)
        lease = pool.acquire(timeout=0.5)
        with pytest.raises(JobCancelledError):
            async with lease:
                await trio.sleep_forever()
        assert lease.job.state is JobState.CANCELLED
        assert trio.current_time() == 1


async def test_a_resource_is_not_reopened_during_a_block(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        async with pool.acquire():
            pool.workers[0].reopen()
            await trio.sleep(3)
            assert (opened.count, opened.closed) == (1, 0)
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_the_other_places_finish_before_the_resource_is_reopened(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan) as pool:
        job = await pool.submit(nap, 5)
        with pytest.raises(ResourceBroken):
            async with pool.acquire():
                raise ResourceBroken
        assert opened.closed == 0
        async with pool.acquire() as resource:
            assert (resource, trio.current_time()) == ("a2", 5)
        assert job.state is JobState.SUCCEEDED


async def test_the_block_finishes_before_a_job_has_the_resource_reopened(autojump_clock: MockClock) -> None:
    async def breaks(resource: object) -> None:
        raise ResourceBroken

    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan, on_dead="keep") as pool:
        async with pool.acquire():
            await pool.submit(breaks)
            await trio.sleep(5)
            assert opened.closed == 0
        async with pool.acquire() as resource:
            assert resource == "a2"


# The lifespan breaks


@pytest.mark.parametrize("others", [0, 1])
async def test_a_lifespan_that_breaks_cancels_the_block(autojump_clock: MockClock, others: int) -> None:
    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan, on_dead="keep") as pool:
        for _ in range(others):
            await pool.submit(sleeps_forever)
        lease = pool.acquire()
        with pytest.raises(ResourceBroken, match="unplugged") as caught:
            async with lease:
                opened.breaks.set()
                await trio.sleep_forever()
        assert isinstance(caught.value.__cause__, BaseException)
        assert lease.job.state is JobState.DEAD
        assert isinstance(lease.job.attempts[0].error, ResourceBroken)
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_the_lifespan_waits_for_a_block_that_takes_its_time(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        with pytest.raises(ResourceBroken):
            async with pool.acquire():
                opened.breaks.set()
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(3)
                    assert opened.closed == 0


async def test_a_lifespan_that_breaks_is_noticed_while_a_job_is_stubborn(autojump_clock: MockClock) -> None:
    async def stubborn(resource: str) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)

    opened = Opened()
    async with open_pool([Resource("a", max_running=2)], lifespan=opened.lifespan) as pool:
        async with trio.open_nursery() as nursery:

            async def borrow() -> None:
                with pytest.raises(ResourceBroken):
                    async with pool.acquire():
                        try:
                            await trio.sleep_forever()
                        finally:
                            assert trio.current_time() == 1

            nursery.start_soon(borrow)
            await wait_all_tasks_blocked()
            await pool.submit(stubborn)
            await trio.sleep(1)
            opened.breaks.set()


async def test_a_block_that_ends_although_its_lifespan_breaks_has_succeeded(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        lease = pool.acquire()
        async with lease:
            opened.breaks.set()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
        assert lease.job.state is JobState.SUCCEEDED
        async with pool.acquire() as resource:
            assert resource == "a2"


async def test_an_error_of_the_block_stands_although_its_lifespan_breaks(autojump_clock: MockClock) -> None:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan) as pool:
        with pytest.raises(ValueError, match="no"):
            async with pool.acquire():
                opened.breaks.set()
                try:
                    await trio.sleep_forever()
                except trio.Cancelled:
                    raise ValueError("no") from None


@pytest.mark.parametrize("how", ["caller", "job"])
async def test_cancelled_while_the_lifespan_takes_its_time_to_break(autojump_clock: MockClock, how: str) -> None:
    breaks = trio.Event()

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        async def break_down() -> None:
            await breaks.wait()
            raise OSError

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(break_down)
                yield resource
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    async with open_pool(["a"], lifespan=lifespan) as pool, trio.open_nursery() as nursery:
        lease = pool.acquire()

        async def cancel() -> None:
            await trio.sleep(1)
            lease.job.cancel()

        if how == "job":
            nursery.start_soon(cancel)
        with trio.move_on_after(1 if how == "caller" else 100):
            with pytest.raises(JobCancelledError if how == "job" else trio.Cancelled):
                async with lease:
                    breaks.set()
                    await trio.sleep_forever()
        assert trio.current_time() == 1
        assert lease.job.state is JobState.CANCELLED
        breaks = trio.Event()


@pytest.mark.parametrize("repetition", range(20))  # Trio runs what is due at one instant in any order
async def test_a_lifespan_that_breaks_before_the_block_begins_costs_only_another_wait(repetition: int) -> None:
    scopes: list[trio.CancelScope] = []

    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            yield f"{resource}{len(scopes)}"

    async def breaks(resource: str) -> None:
        await wait_all_tasks_blocked()
        scopes[0].cancel()

    async def borrow() -> None:
        try:
            async with pool.acquire() as resource:
                await trio.lowlevel.checkpoint()
                assert resource == "a2"
        except ResourceBroken:
            assert len(scopes) == 1  # the block had begun

    async with open_pool(["a"], lifespan=lifespan) as pool, trio.open_nursery() as nursery:
        await pool.submit(breaks)
        nursery.start_soon(borrow)


# A resource in the middle of something


async def reopened_after(pool_options: dict[str, object], how: str) -> int:
    opened = Opened()
    async with open_pool(["a"], lifespan=opened.lifespan, **pool_options) as pool:  # type: ignore[call-overload]
        lease = pool.acquire()
        with trio.CancelScope() as scope:
            try:
                async with lease:
                    if how in ("caller", "caller, with an error"):
                        scope.cancel()
                    if how in ("job", "job, with an error"):
                        lease.job.cancel()
                    if how == "interrupted":
                        raise KeyboardInterrupt
                    if how == "failed" or "with an error" in how:
                        raise ValueError
                    await trio.lowlevel.checkpoint()
            except (JobCancelledError, ValueError, KeyboardInterrupt):
                pass
        async with pool.acquire():
            return opened.count
    raise AssertionError


@pytest.mark.parametrize(
    ("how", "count"),
    [
        ("ended", 1),
        ("failed", 1),
        ("caller", 2),
        ("job", 2),
        ("caller, with an error", 2),
        ("job, with an error", 2),
        ("interrupted", 2),
    ],
)
async def test_a_block_that_is_cut_short_has_its_resource_reopened_on_demand(how: str, count: int) -> None:
    assert await reopened_after({"on_cut": "reopen"}, how) == count
    assert await reopened_after({}, how) == 1
