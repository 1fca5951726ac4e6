"""4.6: once the pool has been cancelled, or while a worker leaves, no resource is reopened."""

# A block that is cancelled has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from tests.pool.workers.server import Server
from trio_pool import (
    Elastic,
    HealthCheck,
    Instrument,
    JobFailedError,
    Resource,
    ResourceBroken,
    Worker,
    current_worker,
    open_pool,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@attrs.define
class Log(Instrument):
    """Notes which workers are reopened and stopped."""

    reopened: list[str] = attrs.field(factory=list[str])
    stopped: list[str] = attrs.field(factory=list[str])

    def worker_reopening(self, worker: Worker, error: Exception | None) -> None:
        self.reopened.append(worker.name)

    def worker_stopped(self, worker: Worker) -> None:
        self.stopped.append(worker.name)


async def sleeps(resource: str) -> None:
    await trio.sleep_forever()


async def cleans_up(resource: str, seconds: float = 1.0) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)


async def breaks(resource: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise ResourceBroken("on the way out")


async def asks_to_reopen(resource: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        current_worker().reopen()


async def returns_late(resource: str) -> str:
    with trio.CancelScope(shield=True):
        await trio.sleep(0.5)
    return resource


async def cancelled_with(first: Callable[[str], Awaitable[object]], server: Server, log: Log, **options: Any) -> None:
    """Cancel a pool while this runs on one of its workers, and something that takes longer to end on the other."""
    described = [Resource("a", tags=["first"], **options), Resource("b")]
    with trio.move_on_after(0.1):
        async with open_pool(described, lifespan=server.connect, instruments=[log]) as pool:
            await pool.submit(first, requires=["first"])
            await pool.submit(cleans_up)
            await trio.sleep_forever()


@pytest.mark.parametrize("end", ["scope", "cancel", "body"])
async def test_a_resource_that_was_cut_with_the_pool_is_not_reopened(end: str, autojump_clock: MockClock) -> None:
    server, log = Server(), Log()
    with trio.move_on_after(0.1 if end == "scope" else 5.0):
        try:
            async with open_pool(["a", "b"], lifespan=server.connect, on_cut="reopen", instruments=[log]) as pool:
                await pool.submit(sleeps)
                await pool.submit(cleans_up)
                await trio.sleep(0.1)
                if end == "body":
                    raise LookupError
                pool.cancel()
        except LookupError:
            assert end == "body"
    assert trio.current_time() == 1.1
    assert server.tries == [0, 0]
    assert (log.reopened, sorted(log.stopped)) == ([], ["worker-1", "worker-2"])


@pytest.mark.parametrize(
    ("first", "options"),
    [
        (sleeps, {"on_cut": "reopen"}),
        (breaks, {}),
        (asks_to_reopen, {}),
        (returns_late, {"max_jobs": 1}),
        (cleans_up, {"max_age": 0.5}),
    ],
    ids=["cut", "broken", "reopen", "max_jobs", "max_age"],
)
async def test_nor_for_any_other_reason(
    first: Callable[[str], Awaitable[object]], options: dict[str, Any], autojump_clock: MockClock
) -> None:
    server, log = Server(), Log()
    await cancelled_with(first, server, log, **options)
    assert server.tries == [0, 0]
    assert (log.reopened, sorted(log.stopped)) == ([], ["worker-1", "worker-2"])


async def test_nor_after_it_has_broken_by_itself(autojump_clock: MockClock) -> None:
    broken, server, log = Server(), Server(), Log()

    async def breaks_its_lifespan(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            broken.gone.set()
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    with trio.move_on_after(0.1):
        async with open_pool([broken, server], lifespan=lambda server: server.connect("x"), instruments=[log]) as pool:
            await pool.submit(breaks_its_lifespan)
            await pool.submit(cleans_up)
            await trio.sleep_forever()
    assert trio.current_time() == 1.1
    assert (broken.tries, server.tries) == ([0], [0])
    assert (log.reopened, sorted(log.stopped)) == ([], ["worker-1", "worker-2"])


async def test_nor_if_it_was_to_be_reopened_when_the_pool_was_cancelled(autojump_clock: MockClock) -> None:
    server, log = Server(), Log()
    with trio.move_on_after(0.1):
        async with open_pool(["a", "b"], lifespan=server.connect, instruments=[log]) as pool:
            await pool.submit(sleeps)
            await pool.submit(cleans_up)
            pool.workers[0].reopen()
            await trio.sleep_forever()
    assert trio.current_time() == 1.1
    assert server.tries == [0, 0]
    assert (log.reopened, sorted(log.stopped)) == (["worker-1"], ["worker-1", "worker-2"])


async def test_nor_in_an_elastic_pool(autojump_clock: MockClock) -> None:
    server, log = Server(), Log()
    elastic = Elastic(server.connect, min=2, max=3, on_cut="reopen")
    with trio.move_on_after(0.1):
        async with open_pool(elastic, instruments=[log]) as pool:
            await pool.submit(sleeps)
            await pool.submit(cleans_up)
            await trio.sleep_forever()
    assert server.tries == [0, 0]
    assert (log.reopened, len(log.stopped)) == ([], 2)


async def test_nor_after_a_check_that_fails_as_it_is_cancelled(autojump_clock: MockClock) -> None:
    async def fails(resource: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError

    server, log = Server(), Log()
    described = [Resource("a", check=HealthCheck(fails, every=10)), Resource("b")]
    with trio.move_on_after(11):
        async with open_pool(described, lifespan=server.connect, instruments=[log]) as pool:
            await trio.sleep(10.5)
            await pool.submit(cleans_up)
            await trio.sleep_forever()
    assert trio.current_time() == 12
    assert server.tries == [0, 0]
    assert (log.reopened, len(log.stopped)) == ([], 2)


async def test_the_last_statistics_have_the_workers_that_left_early(autojump_clock: MockClock) -> None:
    server = Server()
    with trio.move_on_after(0.1):
        async with open_pool(["a", "b"], lifespan=server.connect, on_cut="reopen") as pool:
            await pool.submit(sleeps)
            await pool.submit(cleans_up)
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)
            assert [worker.name for worker in pool.workers] == ["worker-2"]
    assert [worker.name for worker in pool.statistics().workers] == ["worker-1", "worker-2"]


async def test_nothing_tells_of_reopening_when_the_resource_of_a_leaving_worker_breaks(
    autojump_clock: MockClock,
) -> None:
    async def breaks_soon(resource: str) -> None:
        await trio.sleep(1)
        raise ResourceBroken

    server, log = Server(), Log()
    async with open_pool(["a", "b"], lifespan=server.connect, instruments=[log], on_dead="keep") as pool:
        worker = pool.workers[0]
        job = await pool.submit(breaks_soon, worker=worker)
        await worker.remove()
        with pytest.raises(JobFailedError):
            await job.wait()
        assert isinstance(worker.statistics().last_error, ResourceBroken)
        assert server.left == [1]
    assert server.tries == [0, 0]
    assert (log.reopened, log.stopped) == ([], ["worker-1", "worker-2"])


async def test_nor_when_its_lifespan_breaks(autojump_clock: MockClock) -> None:
    server, log = Server(), Log()
    async with open_pool(["a"], lifespan=server.connect, instruments=[log], on_dead="keep") as pool:
        await pool.submit(sleeps)
        (worker,) = pool.workers
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.remove)
            await trio.sleep(1)
            server.gone.set()
        assert pool.workers == ()
    assert server.tries == [0]
    assert (log.reopened, log.stopped) == ([], ["worker-1"])
