"""3.7: health checks of workers without a job."""

# A block that raises has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import state_of, works
from tests.pool.workers.pings import Ping, checked
from tests.pool.workers.server import Server
from trio_pool import (
    CircuitBreaker,
    Elastic,
    HealthCheck,
    Instrument,
    JobFailedError,
    RateLimit,
    Resource,
    RetryPolicy,
    Worker,
    WorkerState,
    current_job,
    open_pool,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    pass


async def nap(resource: str, seconds: float = 5.0) -> float:
    await trio.sleep(seconds)
    return trio.current_time()


async def fails(resource: str) -> None:
    raise OSError


async def test_a_worker_that_has_been_idle_for_so_long_is_checked_with_what_jobs_get(
    autojump_clock: MockClock,
) -> None:
    ping = Ping(seconds=1.0)
    async with checked(ping):
        await trio.sleep(35)
    assert ping.called == [("a", 10), ("a", 21), ("a", 32)]


async def test_a_busy_worker_is_not_checked_and_idles_from_the_end_of_its_attempt_on(
    autojump_clock: MockClock,
) -> None:
    ping = Ping()
    async with checked(ping) as pool:
        await pool.run(nap, 25.0)
        await trio.sleep(12)
        await pool.run(nap, 1.0)
        await trio.sleep(11)
    assert ping.times == [35, 48]


async def test_short_jobs_that_come_often_leave_no_time_for_checks(autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping) as pool:
        for _ in range(20):
            await trio.sleep(9)
            await pool.run(works)
    assert ping.called == []


async def test_a_worker_with_several_places_is_checked_when_it_runs_nothing(autojump_clock: MockClock) -> None:
    ping = Ping()
    described = [Resource("a", max_running=3, check=HealthCheck(ping, every=10))]
    async with open_pool(described, lifespan=Server().connect) as pool:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.run, nap, 30.0)
            await pool.run(nap)
        await trio.sleep(11)
        assert ping.times == [40]


# Jobs.


async def test_a_job_that_comes_meanwhile_waits_for_the_check(autojump_clock: MockClock) -> None:
    ping = Ping(seconds=2.0)
    async with checked(ping) as pool:
        await trio.sleep(11)
        (worker,) = pool.workers
        assert state_of(worker) is WorkerState.IDLE
        assert pool.idle_workers == ()
        assert await pool.run(nap, 1.0) == 13


async def test_or_goes_to_another_worker(autojump_clock: MockClock) -> None:
    ping = Ping(seconds=2.0)
    described = [Resource("a", check=HealthCheck(ping, every=10)), Resource("b")]
    async with open_pool(described, lifespan=Server().connect) as pool:
        await trio.sleep(11)
        assert await pool.run(works)
        assert pool.workers[1].statistics().succeeded == 1
        assert trio.current_time() == 11


async def test_a_job_due_at_that_instant_goes_first(autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping) as pool:

        async def comes_in_time() -> None:
            await trio.sleep(10)
            await pool.run(nap)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(comes_in_time)
        assert ping.called == []
        await trio.sleep(11)
        assert ping.times == [25]


async def test_so_does_a_retry_due_at_that_instant(autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping, retry=RetryPolicy.fixed(10, max_attempts=2)) as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails)
        assert trio.current_time() == 10
        await trio.sleep(9)
        assert ping.called == []


async def test_it_is_part_of_no_job(autojump_clock: MockClock) -> None:
    async def asks(resource: str) -> None:
        with pytest.raises(RuntimeError):
            current_job()
        asked.append(resource)
        await trio.lowlevel.checkpoint()

    asked: list[str] = []
    async with checked(asks):
        await trio.sleep(15)
    assert asked == ["a"]


# What it finds out.


@pytest.mark.parametrize("error", [OSError("gone"), ExceptionGroup("", [OSError()]), trio.TooSlowError()])
async def test_whatever_error_it_raises_has_the_worker_reopen(error: Exception, autojump_clock: MockClock) -> None:
    told: list[Exception | None] = []

    class Log(Instrument):
        def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
            told.append(error)

    server, ping = Server(), Ping(error=error)
    async with checked(ping, server, instruments=[Log()]) as pool:
        await trio.sleep(10)
        await wait_all_tasks_blocked()
        assert (server.tries, told) == ([0, 10], [error])
        assert (await pool.run(nap), pool.workers[0].statistics().attempts) == (15, 1)


async def test_so_does_taking_too_long(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=60.0)
    async with checked(ping, server) as pool:
        await trio.sleep(16)
        assert server.tries == [0, 15]
        error = pool.workers[0].statistics().last_error
        assert isinstance(error, trio.TooSlowError)
        assert str(error) == "the health check took longer than 5 s"


async def test_a_value_in_spite_of_its_timeout_is_good_enough(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=6.0, shielded=True)
    async with checked(ping, server):
        await trio.sleep(20)
        assert server.tries == [0]


async def test_no_job_loses_an_attempt_by_it(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=2.0, error=OSError())
    async with checked(ping, server) as pool:
        await trio.sleep(11)
        job = await pool.submit(nap)
        assert await job.wait() == 17
        assert (job.attempt_count, server.tries) == (1, [0, 12])


async def test_what_is_not_async_is_an_error_of_the_check(autojump_clock: MockClock) -> None:
    server = Server()
    async with checked(len, server) as pool:
        await trio.sleep(11)
        assert server.tries == [0, 10]
        assert isinstance(pool.workers[0].statistics().last_error, TypeError)


async def test_a_stray_cancellation_is_one_too(autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.sleep(1)
        except trio.Cancelled as cancelled:
            old = cancelled
            raise
    server, ping = Server(), Ping(error=old)
    async with checked(ping, server) as pool:
        await trio.sleep(11)
        assert len(server.tries) == 2
        assert isinstance(pool.workers[0].statistics().last_error, RuntimeError)


async def test_what_is_no_exception_ends_the_pool(autojump_clock: MockClock) -> None:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        async with checked(Ping(error=KeyboardInterrupt())):
            await trio.sleep_forever()
    assert not isinstance(caught.value, Exception)


async def test_a_lifespan_that_ends_meanwhile_breaks_the_resource(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=2.0)
    async with checked(ping, server) as pool:
        await trio.sleep(11)
        server.gone.set()
        server.gone = trio.Event()
        await trio.sleep(1)
        assert len(server.tries) == 2
        assert await pool.run(works)
        await trio.sleep(11)
        assert len(ping.called) == 2


# When there is none.


async def test_a_rate_limit_holds_no_check_back(autojump_clock: MockClock) -> None:
    ping = Ping()
    described = [Resource("a", rate_limit=RateLimit(1, per=100), check=HealthCheck(ping, every=10))]
    async with open_pool(described, lifespan=Server().connect) as pool:
        await pool.run(works)
        await trio.sleep(11)
        assert ping.times == [10]
        await pool.run(works)
        assert trio.current_time() == 100


async def test_not_while_quarantined(autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping, breaker=CircuitBreaker(1, reset_after=95)) as pool:
        with pytest.raises(JobFailedError):
            await pool.run(fails)
        await trio.sleep(95)
        assert ping.called == []
        await trio.sleep(11)
        assert ping.times == [105]


async def test_not_after_the_pool_has_been_closed(autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping) as pool:
        job = await pool.submit(nap, 1.0)
        pool.close()
        await job.wait()
        await trio.sleep(50)
        assert ping.called == []


@pytest.mark.parametrize("end", ["remove", "close", "cancel", "body"])
async def test_the_end_cancels_it(end: str, autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=4.0)
    async with checked(ping, server) as pool:
        await trio.sleep(11)
        if end == "remove":
            await pool.workers[0].remove()
            assert trio.current_time() == 11
        elif end == "close":
            pool.close()
            await wait_all_tasks_blocked()
            assert len(pool.idle_workers) == 1
        elif end == "cancel":
            pool.cancel()
    assert trio.current_time() == 11
    assert server.tries == [0]


async def test_one_that_is_cancelled_is_a_cut(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=4.0)
    async with checked(ping, server, on_cut="reopen") as pool:
        await trio.sleep(11)
        job = pool.submit_nowait(nap)
        pool.close()
        assert await job.wait() == 16
        assert server.tries == [0, 11]


async def test_reopening_ends_it(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=4.0)
    async with checked(ping, server) as pool:
        await trio.sleep(11)
        pool.workers[0].reopen()
        await wait_all_tasks_blocked()
        assert server.tries == [0, 11]
        await trio.sleep(11)
        assert ping.times == [10, 21]


# It counts in nothing.


async def test_it_counts_in_no_max_running_and_no_max_jobs(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=2.0)
    described = [Resource("a", max_jobs=1, check=HealthCheck(ping, every=10)), Resource("b")]
    async with open_pool(described, lifespan=server.connect, max_running=1) as pool:
        await trio.sleep(11)
        await pool.run(works)
        await trio.sleep(30)
        assert len(ping.called) == 3
        assert len(server.tries) == 2


async def test_it_counts_in_no_breaker_and_no_statistics(autojump_clock: MockClock) -> None:
    ping = Ping(error=OSError())
    async with checked(ping, breaker=CircuitBreaker(1)) as pool:
        await trio.sleep(35)
        seen = pool.workers[0].statistics()
        assert (seen.attempts, seen.failed, seen.busy_seconds, seen.state) == (0, 0, 0, WorkerState.IDLE)
        assert len(ping.called) == 3


@pytest.mark.parametrize("pick", ["longest_idle", "last_used"])
async def test_it_counts_in_no_pick(pick: Any, autojump_clock: MockClock) -> None:
    ping = Ping()
    check = HealthCheck(ping, every=10)
    described = [Resource("a"), Resource("b", check=check), Resource("c")]
    async with open_pool(described, lifespan=Server().connect, pick=pick) as pool:
        for worker in pool.workers:
            await pool.run(works, worker=worker)
        before = pool.idle_workers
        await trio.sleep(11)
        assert (len(ping.called), pool.idle_workers) == (1, before)
        assert [worker.resource for worker in before] == ["a", "b", "c"]


async def test_it_counts_in_no_idle_time(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=1.0)
    elastic = Elastic(server.connect, max=1, idle_timeout=25, check=HealthCheck(ping, every=10))
    async with open_pool(elastic) as pool:
        await pool.run(works)
        await trio.sleep(24.5)
        numbers = [len(pool.workers)]
        await trio.sleep(1)
        numbers.append(len(pool.workers))
        assert numbers == [1, 0]
        assert ping.times == [10, 21]


async def test_a_check_that_is_under_way_does_not_keep_a_worker_from_retiring(autojump_clock: MockClock) -> None:
    server, ping = Server(), Ping(seconds=4.0)
    elastic = Elastic(server.connect, max=1, idle_timeout=12)
    async with open_pool(elastic, check=HealthCheck(ping, every=10)) as pool:
        await pool.run(works)
        await trio.sleep(12.5)
        assert (pool.workers, ping.times) == ((), [10])


# Where it can't be.


@pytest.mark.parametrize("resources", [["a"], [], 2])
def test_without_a_lifespan_it_is_refused(resources: Any) -> None:
    with pytest.raises(ValueError, match=r"^check needs a lifespan"):
        open_pool(resources, check=HealthCheck(Ping()))


async def test_nor_can_a_resource_or_an_added_worker_have_it() -> None:
    with pytest.raises(ValueError, match=r"^check needs a lifespan"):
        open_pool([Resource("a", check=HealthCheck(Ping()))])
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match=r"^check needs a lifespan"):
            await pool.add("b", check=HealthCheck(Ping()))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"every": 0}, "every must be more than 0"),
        ({"every": -1}, "every must not be negative"),
        ({"timeout": 0}, "timeout must be more than 0"),
        ({"fn": 3}, "fn must be callable"),
    ],
)
def test_a_bad_field_names_itself(fields: dict[str, Any], words: str) -> None:
    make: Any = HealthCheck
    with pytest.raises((ValueError, TypeError), match=f"^{words}"):
        make(**({"fn": Ping()} | fields))


def test_a_check_is_a_value() -> None:
    ping = Ping()
    assert HealthCheck(ping) == HealthCheck(ping, every=30.0, timeout=5.0)
    with pytest.raises(TypeError, match=r"^check must be a HealthCheck"):
        Resource("a", check=ping)  # type: ignore[arg-type]  # pyright: ignore
