"""3.1, 4.1, 4.6: how many lifespans are entered, and left, at the same time."""

from __future__ import annotations

import logging
import math
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.actors import works
from trio_pool import Elastic, WorkerState, open_pool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trio_pool import Pool


@attrs.define
class Door:
    """Lifespans that take time to enter and to leave; notes how many do at the same time."""

    seconds_in: float = 1.0
    seconds_out: float = 1.0
    # What entering raises, by resource, and after how many seconds.
    errors: dict[Any, tuple[float, BaseException]] = attrs.field(factory=dict[Any, Any])
    # What entering raises when it is cancelled.
    when_cancelled: Exception | None = None
    entering: int = 0
    leaving: int = 0
    most_entering: int = 0
    most_leaving: int = 0
    began: list[Any] = attrs.field(factory=list[Any])
    entered: list[Any] = attrs.field(factory=list[Any])
    left: list[Any] = attrs.field(factory=list[Any])

    @asynccontextmanager
    async def lifespan(self, resource: Any = "elastic") -> AsyncGenerator[Any]:
        self.began.append(resource)
        self.entering += 1
        self.most_entering = max(self.most_entering, self.entering)
        try:
            if resource in self.errors:
                seconds, error = self.errors[resource]
                await trio.sleep(seconds)
                raise error
            await trio.sleep(self.seconds_in)
        except trio.Cancelled:
            if self.when_cancelled is not None:
                raise self.when_cancelled from None
            raise
        finally:
            self.entering -= 1
        self.entered.append(resource)
        try:
            yield resource
        finally:
            self.leaving += 1
            self.most_leaving = max(self.most_leaving, self.leaving)
            with trio.CancelScope(shield=True):
                await trio.sleep(self.seconds_out)
            self.leaving -= 1
            self.left.append(resource)


@pytest.mark.parametrize(("most", "seconds"), [(1, 20), (8, 3), (19, 2), (20, 1), (None, 1), (math.inf, 1)])
async def test_so_many_lifespans_are_entered_at_the_same_time(
    most: int | None, seconds: float, autojump_clock: MockClock
) -> None:
    door = Door()
    async with open_pool(range(20), lifespan=door.lifespan, max_opening=most) as pool:
        assert trio.current_time() == seconds
        assert {worker.state for worker in pool.workers} == {WorkerState.IDLE}
        assert door.most_entering == min(most or 20, 20)
        began = trio.current_time()
    assert trio.current_time() == began + seconds
    assert door.most_leaving == door.most_entering


async def test_eight_by_default(autojump_clock: MockClock) -> None:
    door = Door()
    async with open_pool(range(20), lifespan=door.lifespan):
        pass
    assert (door.most_entering, door.most_leaving) == (8, 8)


async def test_they_begin_in_order_and_leave_the_newest_first(autojump_clock: MockClock) -> None:
    door = Door(0, 0)
    async with open_pool(range(20), lifespan=door.lifespan, max_opening=5) as pool:
        assert door.began == list(range(20))
        assert [worker.resource for worker in pool.workers] == list(range(20))
    assert door.left == list(range(20))[::-1]


async def test_the_first_jobs_go_to_the_first_workers_whoever_was_open_first(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def lifespan(seconds: float) -> AsyncGenerator[float]:
        await trio.sleep(seconds)
        yield seconds

    async with open_pool([3, 1, 2], lifespan=lifespan) as pool:
        assert trio.current_time() == 3
        assert [worker.resource for worker in pool.idle_workers] == [3, 1, 2]


async def test_the_next_is_entered_as_soon_as_one_is_open(autojump_clock: MockClock) -> None:
    @asynccontextmanager
    async def lifespan(seconds: float) -> AsyncGenerator[float]:
        await trio.sleep(seconds)
        yield seconds

    async with open_pool([10, 1, 1, 1, 1], lifespan=lifespan, max_opening=2):
        assert trio.current_time() == 10


async def test_a_worker_that_is_added_has_the_places_that_it_was_given() -> None:
    async with open_pool([], lifespan=Door(0, 0).lifespan) as pool, open_pool(1) as slots:
        assert (await pool.add("a", max_running=5)).max_running == 5
        assert (await slots.add(max_running=5)).max_running == 5


async def test_adding_and_reopening_wait_for_nobody(autojump_clock: MockClock) -> None:
    door = Door()
    async with open_pool(range(3), lifespan=door.lifespan, max_opening=1) as pool:
        for worker in pool.workers:
            worker.reopen()
        async with trio.open_nursery() as nursery:
            for number in range(3, 6):
                nursery.start_soon(pool.add, number)
        assert trio.current_time() == 4
        await trio.sleep(1.5)
        assert len(pool.idle_workers) == 6


# Errors.


async def test_the_first_error_comes_out_and_the_others_are_cancelled_and_the_open_ones_left(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    error = OSError("no such host")
    door = Door(seconds_in=2.0, errors={3: (5.0, error)})
    with pytest.raises(OSError, match="no such host") as caught:
        async with open_pool(range(9), lifespan=door.lifespan, max_opening=4):
            raise AssertionError
    assert caught.value is error
    assert door.began == list(range(9))
    assert sorted(door.entered) == [0, 1, 2, 4, 5, 6]
    assert sorted(door.left) == [0, 1, 2, 4, 5, 6]
    assert trio.current_time() == 7  # the open ones are left, four at a time
    assert caplog.records == []


async def test_none_is_entered_any_more_then(autojump_clock: MockClock) -> None:
    door = Door(errors={0: (1.0, OSError())}, seconds_in=9.0)
    with pytest.raises(OSError):  # noqa: PT011
        async with open_pool(range(9), lifespan=door.lifespan, max_opening=4):
            raise AssertionError
    assert door.began == [0, 1, 2, 3]
    assert trio.current_time() == 1


async def test_the_errors_of_others_are_logged(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    errors: dict[Any, Any] = {number: (1.0, OSError(f"no {number}")) for number in range(3)}
    door = Door(errors=errors, when_cancelled=ValueError("closed"), seconds_in=9.0)
    with pytest.raises(OSError, match=r"no \d") as caught:
        async with open_pool(range(4), lifespan=door.lifespan):
            raise AssertionError
    logged = [record.exc_info[1] for record in caplog.records if record.exc_info is not None]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert len(logged) == 3
    assert {str(error) for error in [caught.value, *logged]} == {"no 0", "no 1", "no 2", "closed"}


async def test_of_an_elastic_pool_one_of_the_first_is_enough(autojump_clock: MockClock) -> None:
    tries: list[float] = []

    @asynccontextmanager
    async def factory() -> AsyncGenerator[int]:
        tries.append(trio.current_time())
        if len(tries) == 2:
            raise OSError
        await trio.sleep(5)
        yield 1

    with pytest.raises(OSError):  # noqa: PT011
        async with open_pool(Elastic(factory, min=3, max=3)):
            raise AssertionError
    assert trio.current_time() == 0


async def test_what_is_no_exception_comes_out_as_it_is(autojump_clock: MockClock) -> None:
    interrupt = KeyboardInterrupt()
    door = Door(errors={1: (0.5, interrupt)})
    with pytest.raises(KeyboardInterrupt) as caught:
        async with open_pool(range(3), lifespan=door.lifespan):
            raise AssertionError
    assert caught.value is interrupt


async def test_cancelled_while_opening_all_of_them_are(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(when_cancelled=ValueError("closed"))
    with trio.move_on_after(1.5) as scope:
        async with open_pool(range(9), lifespan=door.lifespan, max_opening=3):
            raise AssertionError
    assert scope.cancelled_caught
    assert (door.began, sorted(door.entered)) == (list(range(6)), [0, 1, 2])
    assert sorted(door.left) == [0, 1, 2]
    assert len(caplog.records) == 3


async def test_an_error_of_an_addition_that_is_cancelled_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    door = Door(when_cancelled=ValueError("closed"))
    async with open_pool([], lifespan=door.lifespan) as pool:
        with trio.move_on_after(0.5):
            await pool.add(1)
    (record,) = caplog.records
    assert record.getMessage() == "worker-1 can't be opened"


async def test_leaving_that_is_cancelled_leaves_all_of_them_so_many_at_a_time(autojump_clock: MockClock) -> None:
    door = Door(seconds_in=0.0)
    with trio.move_on_after(1.5) as scope:
        async with open_pool(range(9), lifespan=door.lifespan, max_opening=3):
            pass
    assert scope.cancelled_caught
    assert sorted(door.left) == list(range(9))
    assert (door.most_leaving, trio.current_time()) == (3, 3)


# Elastic pools.


async def test_an_elastic_pool_opens_so_many_at_a_time(autojump_clock: MockClock) -> None:
    door = Door()
    async with open_pool(Elastic(door.lifespan, max=20), max_opening=4) as pool:
        jobs = [pool.submit_nowait(nap, 100) for _ in range(10)]
        await trio.sleep(0.5)
        assert len(door.began) == 4
        await trio.sleep(1)
        assert len(door.began) == 8
        for job in jobs:
            await job.wait_started()
        assert trio.current_time() == 3
        assert door.most_entering == 4


async def nap(resource: object, seconds: float) -> None:
    await trio.sleep(seconds)


async def test_workers_that_nothing_waits_for_any_more_are_not_opened(autojump_clock: MockClock) -> None:
    door = Door()
    async with open_pool(Elastic(door.lifespan, max=100, idle_timeout=math.inf), max_opening=4) as pool:
        for _ in range(100):
            pool.submit_nowait(works)
        await pool.join()
        await trio.sleep(10)
        assert len(door.began) <= 8
        await trio.sleep(10)
        blocker = [pool.submit_nowait(nap, 10) for _ in range(12)]
        await blocker[-1].wait()
        assert len(door.entered) == 12


def set_most(pool: Pool[Any], most: int) -> None:
    """Change the largest number of workers."""
    assert pool.elastic is not None
    pool.elastic = attrs.evolve(pool.elastic, max=most)


async def test_workers_beyond_a_lower_max_are_not_opened_and_no_others_leave_for_them(
    autojump_clock: MockClock,
) -> None:
    door = Door()
    async with open_pool(Elastic(door.lifespan, max=5), max_opening=2) as pool:
        for _ in range(5):
            await pool.submit(nap, 10)
        await trio.sleep(0.5)
        set_most(pool, 2)
        await trio.sleep(1)
        assert [worker.state for worker in pool.workers] == [WorkerState.BUSY] * 2
    assert len(door.began) == 2


async def test_a_worker_beyond_a_lower_max_is_not_opened_before_another_has_left(autojump_clock: MockClock) -> None:
    door = Door(seconds_out=100.0)
    async with open_pool(Elastic(door.lifespan, max=3), max_opening=1) as pool, trio.open_nursery() as nursery:
        for _ in range(3):
            await pool.submit(nap, 1000)
        await trio.sleep(1.5)  # one is open, one is being opened, one waits for that
        nursery.start_soon(partial(pool.workers[0].remove, cancel=True))
        await wait_all_tasks_blocked()
        set_most(pool, 2)
        await trio.sleep(99)
        assert (len(door.began), len(door.left)) == (2, 0)
        await trio.sleep(2)
        assert (len(door.began), len(door.left)) == (3, 1)


async def test_one_that_can_not_be_opened_does_not_hold_the_others_for_ever(autojump_clock: MockClock) -> None:
    tries = 0

    @asynccontextmanager
    async def factory() -> AsyncGenerator[int]:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise OSError
        yield tries

    async with open_pool(Elastic(factory, max=3), max_opening=1) as pool:
        jobs = [pool.submit_nowait(nap, 5) for _ in range(3)]
        for job in jobs:
            await job.wait()


async def test_the_end_of_the_pool_orders_no_more(autojump_clock: MockClock) -> None:
    door = Door(seconds_in=5.0)
    async with open_pool(Elastic(door.lifespan, max=20), max_opening=2) as pool:
        for _ in range(10):
            pool.submit_nowait(works)
        await wait_all_tasks_blocked()
        pool.cancel()
    assert len(door.began) == 2


@pytest.mark.parametrize("most", [0, -1, 1.5])
def test_a_bound_is_at_least_one(most: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=r"^max_opening must"):
        open_pool([], max_opening=most)
