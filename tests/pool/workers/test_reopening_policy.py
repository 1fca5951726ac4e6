"""4.6: the policy by which a broken resource is tried again."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import state_of, works
from tests.pool.workers.reopenings import Log, breaks
from tests.pool.workers.server import Server
from trio_pool import (
    DeadReason,
    Elastic,
    Job,
    JobFailedError,
    NoEligibleWorkerError,
    Resource,
    ResourceBroken,
    RetryPolicy,
    WorkerState,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from random import Random

# The policy: delays.


async def test_a_broken_resource_is_tried_again_by_the_policy(autojump_clock: MockClock) -> None:
    server = Server()
    growing = RetryPolicy(max_attempts=None, base_delay=1, multiplier=3, max_delay=9, jitter="none")
    async with open_pool(["a"], lifespan=server.connect, reopening=growing) as pool:
        server.error = OSError("down")
        pool.workers[0].reopen()
        await trio.sleep(30)
        assert server.tries == [0, 0, 1, 4, 13, 22]


async def test_by_default_it_is_tried_for_ever_with_pauses_up_to_half_a_minute(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect) as pool:
        server.error = OSError("down")
        pool.workers[0].reopen()
        await trio.sleep(80_000)
        pauses = [after - before for before, after in zip(server.tries[1:], server.tries[2:], strict=False)]
        assert 0.05 <= pauses[0] <= 0.1
        assert all(14.999 <= pause <= 30.001 for pause in pauses[20:])


async def test_after_a_success_the_pauses_start_anew(autojump_clock: MockClock) -> None:
    server = Server()
    growing = RetryPolicy(max_attempts=None, base_delay=1, multiplier=2, jitter="none")
    async with open_pool(["a"], lifespan=server.connect, reopening=growing) as pool:
        for _ in range(2):
            server.error = OSError("down")
            pool.workers[0].reopen()
            await trio.sleep(2)
            server.error = None
            await trio.sleep(10)
        assert server.tries == [0, 0, 1, 3, 12, 13, 15]


async def test_a_lifespan_that_breaks_from_day_to_day_is_entered_again_soon_each_time(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    growing = RetryPolicy(max_attempts=None, base_delay=1, multiplier=10, max_delay=1e6, jitter="none")
    async with open_pool(["a"], lifespan=server.connect, reopening=growing):
        for day in range(1, 6):
            await trio.sleep_until(day * 1000.0)
            server.gone.set()
            server.gone = trio.Event()
        await trio.sleep(500)
    assert server.tries == [0, *(day * 1000 + 1 for day in range(1, 6))]


async def test_one_that_breaks_as_soon_as_it_is_open_is_tried_less_and_less_often(autojump_clock: MockClock) -> None:
    server = Server()
    server.gone.set()
    growing = RetryPolicy(max_attempts=1, base_delay=1, multiplier=2, jitter="none")
    async with open_pool(["a"], lifespan=server.connect, reopening=growing):
        await trio.sleep(20)
    assert server.tries == [0, 1, 3, 7, 15]


async def test_a_policy_may_have_a_curve_of_its_own(autojump_clock: MockClock) -> None:
    asked: list[tuple[int, Exception, float]] = []

    class Curve(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            asked.append((failed, error, previous))
            return previous + 1

    server = Server()
    async with open_pool(["a"], lifespan=server.connect, reopening=Curve(max_attempts=None)) as pool:
        server.error = OSError("down")
        pool.workers[0].reopen()
        await trio.sleep(5)
    assert server.tries == [0, 0, 1, 3]
    assert asked == [(1, server.error, 0), (2, server.error, 1), (3, server.error, 2)]


# The policy: giving up.


async def test_after_so_many_tries_the_worker_leaves_the_pool(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    server, log = Server(), Log()
    policy = RetryPolicy.fixed(10, max_attempts=3)
    async with open_pool(["a", "b"], lifespan=server.connect, reopening=policy, instruments=[log]) as pool:
        first, second = pool.workers
        server.error = OSError("down")
        first.reopen()
        await trio.sleep(19)
        assert state_of(first) is WorkerState.REOPENING
        await trio.sleep(2)
        assert (pool.workers, state_of(first)) == ((second,), WorkerState.STOPPED)
        assert server.tries == [0, 0, 0, 10, 20]
        assert first.statistics().last_error is server.error
        assert await pool.run(works)
    assert [event for event, _ in log.told].count("reopening") == 3
    assert ("stopped", "worker-1") in log.told
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "worker-1 can't be reopened, and leaves the pool"
    assert record.exc_info is not None
    assert record.exc_info[1] is server.error


async def test_the_tries_are_counted_since_it_last_broke(autojump_clock: MockClock) -> None:
    server = Server()
    policy = RetryPolicy.fixed(10, max_attempts=2)
    async with open_pool(["a"], lifespan=server.connect, reopening=policy) as pool:
        for _ in range(3):
            server.error = OSError("down")
            pool.workers[0].reopen()
            await trio.sleep(5)
            server.error = None
            await trio.sleep(10)
        assert state_of(pool.workers[0]) is WorkerState.IDLE


async def test_breaking_by_itself_is_no_try(autojump_clock: MockClock) -> None:
    server = Server()
    policy = RetryPolicy.fixed(10, max_attempts=2)
    async with open_pool(["a"], lifespan=server.connect, reopening=policy) as pool:
        (worker,) = pool.workers
        await trio.sleep(100)
        server.error = OSError("down")
        server.gone.set()
        await trio.sleep(15)
        assert state_of(worker) is WorkerState.REOPENING
        await trio.sleep(10)
        assert state_of(worker) is WorkerState.STOPPED
        assert server.tries == [0, 110, 120]


async def test_after_an_error_that_the_policy_does_not_name_it_leaves_at_once(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect, reopening=RetryPolicy(retry_on=OSError)) as pool:
        (worker,) = pool.workers
        server.error = PermissionError("no longer")
        worker.reopen()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.REOPENING
        server.error = ValueError("the token is no token")
        worker.reopen()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.STOPPED


async def test_a_resource_that_says_it_is_broken_is_tried_again_whatever_types_are_named(
    autojump_clock: MockClock,
) -> None:
    server = Server()
    policy = RetryPolicy.fixed(1, max_attempts=None, retry_on=KeyError)
    async with open_pool(["a"], lifespan=server.connect, reopening=policy) as pool:
        server.error = ResourceBroken("not yet")
        pool.workers[0].reopen()
        await trio.sleep(3.5)
        assert len(server.tries) == 5


async def test_jobs_that_have_no_worker_then_die_of_its_error(autojump_clock: MockClock) -> None:
    server = Server()
    policy = RetryPolicy.fixed(10, max_attempts=2)
    described = [Resource("a", tags=["gpu"]), Resource("b")]
    async with open_pool(
        described, lifespan=server.connect, reopening=policy, retry=RetryPolicy.fixed(60), on_dead="keep"
    ) as pool:
        first = pool.workers[0]
        tagged = await pool.submit(breaks, requires=["gpu"])  # backs off meanwhile
        pinned = await pool.submit(breaks, worker=first)
        await wait_all_tasks_blocked()
        server.error = OSError("down")
        first.reopen()
        await trio.sleep(1)
        queued = await pool.submit(works, requires=["gpu"])
        other = await pool.submit(works)
        assert await other.wait()
        with pytest.raises(JobFailedError) as caught:
            await queued.wait()
        assert caught.value.__cause__ is server.error
        assert queued.dead_reason is DeadReason.NO_WORKER
        for job in (tagged, pinned):
            with pytest.raises(JobFailedError) as caught:
                await job.wait()
            assert (caught.value.__cause__, job.dead_reason) == (server.error, DeadReason.NO_WORKER)


async def test_the_last_worker_takes_everything_with_it(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(
        ["a"], lifespan=server.connect, reopening=RetryPolicy.never(), max_queue=1, on_dead="keep"
    ) as pool:
        running = await pool.submit(breaks, retry=RetryPolicy.fixed(0))
        queued = await pool.submit(works)
        server.error = OSError("down")
        with pytest.raises(NoEligibleWorkerError) as refused:
            await pool.submit(works)
        assert refused.value.__cause__ is server.error
        for job in (running, queued):
            with pytest.raises(JobFailedError) as caught:
                await job.wait()
            assert caught.value.__cause__ is server.error
        with pytest.raises(NoEligibleWorkerError) as refused:
            await pool.submit(works)
        assert refused.value.__cause__ is server.error


async def test_jobs_that_wait_for_another_worker_die_of_its_error_at_the_end(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(
        ["a"], lifespan=server.connect, reopening=RetryPolicy.never(), no_worker="wait", on_dead="keep"
    ) as pool:
        server.error = OSError("down")
        pool.workers[0].reopen()
        job = await pool.submit(works)
    with pytest.raises(JobFailedError) as caught:
        job.result()
    assert caught.value.__cause__ is server.error


async def test_a_later_worker_makes_up_for_it(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(
        ["a"], lifespan=server.connect, reopening=RetryPolicy.never(), no_worker="bury", on_dead="keep"
    ) as pool:
        server.error = OSError("down")
        pool.workers[0].reopen()
        await wait_all_tasks_blocked()
        dead = await pool.submit(works)
        with pytest.raises(JobFailedError) as caught:
            dead.result()
        assert caught.value.__cause__ is server.error
        server.error = None
        await (await pool.add("b")).remove()
        dead = await pool.submit(works)
        with pytest.raises(JobFailedError) as caught:
            dead.result()
        assert caught.value.__cause__ is None


async def test_a_worker_that_is_being_removed_is_not_given_up(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def lifespan(resource: str) -> AsyncGenerator[str]:
        try:
            await trio.sleep(5)
        except trio.Cancelled:
            raise OSError("closed") from None
        yield resource

    async with open_pool(["a"], lifespan=lifespan, reopening=RetryPolicy.never()) as pool:
        (worker,) = pool.workers
        worker.reopen()
        await trio.sleep(1)
        await worker.remove()
    assert "leaves the pool" not in caplog.text


async def test_an_error_of_the_policy_itself_is_what_the_worker_leaves_with(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def asks(error: Exception) -> bool:
        raise LookupError("which?") from None

    server = Server()
    policy = RetryPolicy(max_attempts=None, retry_on=asks)
    async with open_pool(["a"], lifespan=server.connect, reopening=policy) as pool:
        (worker,) = pool.workers
        server.error = OSError("down")
        worker.reopen()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.STOPPED
        error = worker.statistics().last_error
        assert isinstance(error, LookupError)
        assert error.__context__ is server.error


class Nonsense(RetryPolicy):
    def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
        return math.nan


@pytest.mark.parametrize("by_itself", [False, True])
async def test_a_delay_that_is_none_is_such_an_error(by_itself: bool, autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(["a"], lifespan=server.connect, reopening=Nonsense(max_attempts=None)) as pool:
        (worker,) = pool.workers
        server.error = OSError("down")
        if by_itself:
            server.gone.set()
        else:
            worker.reopen()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.STOPPED
        assert isinstance(worker.statistics().last_error, ValueError)


@pytest.mark.parametrize("elastic", [False, True])
async def test_what_is_no_exception_ends_the_pool(elastic: bool, autojump_clock: MockClock) -> None:
    class Rude(RetryPolicy):
        def delay(self, failed: int, error: Exception, previous: float, rng: Random) -> float:
            raise KeyboardInterrupt

    server = Server()
    resources: Any = Elastic(server.connect, min=1, max=1) if elastic else ["a"]
    options: dict[str, Any] = {} if elastic else {"lifespan": server.connect}
    with pytest.raises(BaseException) as caught:  # noqa: PT011, PT012
        opens: Any = open_pool
        async with opens(resources, reopening=Rude(max_attempts=None), **options) as pool:
            server.error = OSError("down")
            pool.workers[0].reopen()
            await trio.sleep_forever()
    assert isinstance(caught.value, BaseException)
    assert not isinstance(caught.value, Exception)


# Elastic pools.


async def test_an_elastic_pool_takes_only_the_delays(autojump_clock: MockClock) -> None:
    server = Server()
    policy = RetryPolicy.fixed(10, max_attempts=1, retry_on=KeyError)
    async with open_pool(Elastic(server.connect, max=3), reopening=policy) as pool:
        server.error = OSError("down")
        job = await pool.submit(works)
        await trio.sleep(35)
        assert server.tries == [0, 10, 20, 30]
        server.error = None
        assert await job.wait()
        assert trio.current_time() == 40


async def test_a_policy_that_fails_does_not_stop_an_elastic_pool(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    async with open_pool(Elastic(server.connect, max=3), reopening=Nonsense()) as pool:
        server.error = OSError("down")
        job = await pool.submit(works)
        await trio.sleep(35)
        server.error = None
        assert await job.wait()
    assert 5 < len(server.tries) < 50
    assert "the reopening policy failed" in caplog.text


async def test_a_worker_added_to_an_elastic_pool_is_not_one_of_its_own(autojump_clock: MockClock) -> None:
    elastic: Elastic[str] = Elastic(Server().connect, max=3)
    async with open_pool(elastic, reopening=RetryPolicy.never()) as pool:
        worker = await pool.add("b")
        worker.reopen()
        await wait_all_tasks_blocked()
        assert state_of(worker) is WorkerState.IDLE


@pytest.mark.parametrize("value", [None, 3, RetryPolicy])
def test_a_policy_is_a_policy(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^reopening must be a RetryPolicy"):
        open_pool(["a"], reopening=value)


async def test_an_error_in_words_names_the_worker(autojump_clock: MockClock) -> None:
    server = Server()
    async with open_pool(
        [Resource("a", name="left")], lifespan=server.connect, reopening=RetryPolicy.never(), on_dead="keep"
    ) as pool:
        server.error = OSError("down")
        job: Job[Any] = await pool.submit(breaks, retry=RetryPolicy.fixed(0))
        with pytest.raises(JobFailedError, match="down"):
            await job.wait()
