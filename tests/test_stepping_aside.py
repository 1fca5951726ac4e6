"""A job that has cancelled others waits for their ends without its worker, which one of these may have lent."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from trio_pool import JobDeadlockError, JobState, current_job, open_pool

# A job that has cancelled others waits for their ends with its worker in hand, which one of these may have lent.


async def test_a_stream_left_on_a_lent_worker_lets_its_cancelled_jobs_go_first(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def lends(resource: str, item: int) -> None:
        try:
            async with current_job().lend():
                await trio.sleep_forever()
        finally:
            ended.append(resource)

    async def parent(resource: str) -> str:
        async with pool.map(lends, [1]):
            async with current_job().lend():
                await trio.sleep(1.0)
            worker = current_job().worker
        assert worker is not None
        assert worker.job is current_job()
        return "back"

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            assert await pool.run(parent) == "back"
    assert ended == ["a"]
    assert trio.current_time() == 1.0


async def test_a_run_in_vain_on_a_lent_worker_lets_its_job_go_first(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def runs() -> None:
        with pytest.raises(JobDeadlockError):
            await pool.run(lends)

    async def parent(resource: str) -> str:
        async with trio.open_nursery() as nursery, current_job().lend():
            nursery.start_soon(runs)
            await trio.sleep(0.5)
        return "back"

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            assert await pool.run(parent) == "back"
    assert trio.current_time() == 0.5
    assert pool.statistics().cancelled == 1


async def test_a_failed_group_on_a_lent_worker_lets_its_jobs_go_first(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def parent(resource: str) -> str:
        try:
            async with pool.open_group() as group:
                async with current_job().lend():
                    await group.submit(lends)
                    await trio.sleep(1.0)
                raise KeyError("from the body")
        except KeyError:
            return "back"

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            assert await pool.run(parent) == "back"
    assert trio.current_time() == 1.0


async def test_nobody_else_gets_the_worker_while_its_job_has_stepped_aside(autojump_clock: MockClock) -> None:
    started: list[float] = []

    async def lends(resource: str, item: int) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def other(resource: str) -> None:
        started.append(trio.current_time())

    async def parent(resource: str) -> None:
        async with pool.map(lends, [1]):
            async with current_job().lend():
                await trio.sleep(1.0)
            waiting = await pool.submit(other)
        assert waiting.state is JobState.QUEUED
        await trio.sleep(1.0)

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            await pool.run(parent)
    assert started == [2.0]


async def test_a_job_on_a_lent_worker_that_waits_for_its_cancelled_lender_is_told(autojump_clock: MockClock) -> None:
    async def lends(resource: str) -> None:
        async with current_job().lend():
            await trio.sleep_forever()

    async def waits(resource: str) -> None:
        lender.cancel()
        with pytest.raises(JobDeadlockError):
            await lender.wait()

    with trio.fail_after(60.0):
        async with open_pool(["a"]) as pool:
            lender = await pool.submit(lends)
            await lender.wait_started()
            await pool.run(waits)
    assert lender.state is JobState.CANCELLED


async def test_a_job_that_has_stepped_aside_goes_on_only_with_its_worker(autojump_clock: MockClock) -> None:
    async def child(resource: str, item: int) -> None:
        if item == 1:
            await trio.sleep_forever()
        try:
            async with current_job().lend():
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5.0)

    async def parent(resource: str) -> tuple[bool, float]:
        async with pool.map(child, [1, 2, 2]), current_job().lend():
            await trio.sleep(1.0)
        worker = current_job().worker
        assert worker is not None
        return worker.job is current_job(), trio.current_time()

    with trio.fail_after(60.0):
        async with open_pool(["a", "b"]) as pool:
            has_it_back, _ = await pool.run(parent)
    assert has_it_back


async def test_of_several_that_want_the_worker_back_the_one_that_has_stepped_aside_is_the_last(
    autojump_clock: MockClock,
) -> None:
    async def child(leaving: float, cleaning_up: float) -> None:
        try:
            async with current_job().lend():
                try:
                    await trio.sleep_forever()
                finally:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(leaving)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(cleaning_up)

    async def parent() -> float:
        async with pool.open_group() as group:
            await group.submit(child, 1, 5)
            await group.submit(child, 2, 0)
            async with current_job().lend():
                await trio.sleep(1)
            group.cancel()
        return trio.current_time()

    with trio.fail_after(60):
        async with open_pool(1) as pool:
            assert await pool.run(parent) == 7
