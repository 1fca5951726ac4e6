"""3.8: in another Trio run, or in a plain thread, every call that acts is an error that says what to call."""

from __future__ import annotations

import inspect
import io
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from rich.console import Console
from trio.testing import wait_all_tasks_blocked

from tests.actors import fails, sleeps_forever, works
from tests.openers import OpenPool, both
from tests.threads import in_plain_thread
from trio_pool import (
    Instrument,
    Job,
    JobFailedError,
    JobState,
    Node,
    Pool,
    PoolClosedError,
    RateLimit,
    RetryPolicy,
    Worker,
    current_job,
    open_pool,
)
from trio_pool.rich import live

CURE = (
    r"^the pool lives in another Trio run or thread: from here, call run_from_thread\(\) or submit_from_thread\(\) "
    r"for jobs, and trio\.from_thread\.run_sync\(\.\.\., trio_token=\.\.\.\) for anything else$"
)


@attrs.frozen
class Scene:
    """A pool, and what a program may have of it."""

    pool: Pool[str]
    worker: Worker
    running: Job[None]
    dead: Job[None]
    instrument: Instrument
    group: Any
    stream: Any
    new_stream: Any
    snapshots: Any
    lending: Any


async def greets(_: object, name: str) -> str:
    return f"hello {name}"


async def enter(manager: AbstractAsyncContextManager[Any]) -> None:
    async with manager:
        pytest.fail("entered")


CALLS: dict[str, Callable[[Scene], Any]] = {
    "submit": lambda scene: scene.pool.submit(works),
    "submit_nowait": lambda scene: scene.pool.submit_nowait(works),
    "run": lambda scene: scene.pool.run(works),
    "run with options": lambda scene: scene.pool.run(works, priority=1, total_timeout=5),
    "submit_graph": lambda scene: scene.pool.submit_graph({"a": Node(works)}),
    "submit_graph of nothing": lambda scene: scene.pool.submit_graph(dict[str, Node]()),
    "map": lambda scene: scene.pool.map(greets, []),
    "as_completed": lambda scene: scene.pool.as_completed(greets, []),
    "entering a stream": lambda scene: enter(scene.new_stream),
    "iterating": lambda scene: anext(scene.stream),
    "join": lambda scene: scene.pool.join(),
    "add": lambda scene: scene.pool.add("c"),
    "entering a group": lambda scene: enter(scene.pool.open_group()),
    "close": lambda scene: scene.pool.close(),
    "cancel": lambda scene: scene.pool.cancel(),
    "snapshots": lambda scene: scene.pool.snapshots(1),
    "iterating over snapshots": lambda scene: anext(scene.snapshots),
    "add_instrument": lambda scene: scene.pool.add_instrument(Instrument()),
    "remove_instrument": lambda scene: scene.pool.remove_instrument(scene.instrument),
    "retry": lambda scene: setattr(scene.pool, "retry", RetryPolicy()),
    "on_failure": lambda scene: setattr(scene.pool, "on_failure", None),
    "max_running": lambda scene: setattr(scene.pool, "max_running", 1),
    "rate_limit": lambda scene: setattr(scene.pool, "rate_limit", RateLimit(1)),
    "dead.pop": lambda scene: scene.pool.dead.pop(),
    "dead.pop of one": lambda scene: scene.pool.dead.pop(scene.dead),
    "dead.pop_all": lambda scene: scene.pool.dead.pop_all(),
    "dead.requeue": lambda scene: scene.pool.dead.requeue(scene.dead),
    "job.wait": lambda scene: scene.running.wait(),
    "job.wait of an ended one": lambda scene: scene.dead.wait(),
    "job.wait_started": lambda scene: scene.running.wait_started(),
    "job.cancel": lambda scene: scene.running.cancel(),
    "job.lend": lambda scene: scene.running.lend(),
    "entering lend()": lambda scene: enter(scene.lending),
    "worker.pause": lambda scene: scene.worker.pause(),
    "worker.resume": lambda scene: scene.worker.resume(),
    "worker.rest": lambda scene: scene.worker.rest(1),
    "worker.remove": lambda scene: scene.worker.remove(),
    "group.submit": lambda scene: scene.group.submit(works),
    "group.submit_nowait": lambda scene: scene.group.submit_nowait(works),
    "group.run": lambda scene: scene.group.run(works),
    "group.map": lambda scene: scene.group.map(works, []),
    "group.close": lambda scene: scene.group.close(),
    "group.cancel": lambda scene: scene.group.cancel(),
    "group.join": lambda scene: scene.group.join(),
    "entering live()": lambda scene: enter(live(scene.pool, console=Console(file=io.StringIO()))),
}

READS: dict[str, Callable[[Scene], Any]] = {
    "jobs": lambda scene: list(scene.pool.jobs()),
    "statistics": lambda scene: scene.pool.statistics(),
    "workers": lambda scene: scene.pool.workers,
    "idle_workers": lambda scene: scene.pool.idle_workers,
    "closed": lambda scene: scene.pool.closed,
    "retry": lambda scene: scene.pool.retry,
    "max_running": lambda scene: scene.pool.max_running,
    "rate_limit": lambda scene: scene.pool.rate_limit,
    "dead": lambda scene: [*scene.pool.dead, len(scene.pool.dead), scene.pool.dead.dropped],
    "repr": lambda scene: [repr(thing) for thing in attrs.astuple(scene, recurse=False)],
    "job.state": lambda scene: (scene.running.state, scene.running.history, scene.running.worker),
    "job.attempts": lambda scene: (scene.dead.attempts, scene.dead.reason),
    "worker.statistics": lambda scene: scene.worker.statistics(),
    "worker.job": lambda scene: (scene.worker.job, scene.worker.state),
    "group.statistics": lambda scene: scene.group.statistics(),
    "group.closed": lambda scene: scene.group.closed,
}

lendings: list[Any] = []


async def lends_later(_: object) -> None:
    lendings.append(current_job().lend())
    await trio.sleep_forever()


async def set_scene(act: Callable[[Scene], Awaitable[None]]) -> None:
    """Let a pool be under way, do something, and check that it is as it was."""
    instrument = Instrument()
    async with open_pool(["a", "b"], instruments=[instrument], on_dead="keep") as pool:
        running = await pool.submit(lends_later)
        dead = await pool.submit(fails)
        async with pool.open_group() as group, pool.map(greets, []) as stream:
            await wait_all_tasks_blocked()
            [worker, _] = pool.workers
            snapshots = pool.snapshots(1)
            streams = stream, pool.as_completed(greets, [])
            scene = Scene(pool, worker, running, dead, instrument, group, *streams, snapshots, lendings.pop())
            before = pool.statistics()
            await act(scene)
            assert pool.statistics().submitted == before.submitted == 2
            assert (running.state, list(pool.dead)) == (JobState.RUNNING, [dead])
            assert not pool.closed
            assert not group.closed
            assert worker.state.value == "busy"
            assert len(pool.workers) == 2
            assert pool.retry == RetryPolicy.never()
            assert await pool.run(works) == "done"  # it is none the worse for it
        running.cancel()


async def call(scene: Scene, name: str) -> None:
    """Make a call, whether it is one to be awaited or not."""
    outcome = CALLS[name](scene)
    if inspect.isawaitable(outcome):
        await outcome


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_in_another_trio_run_is_an_error_at_once(name: str) -> None:
    async def act(scene: Scene) -> None:
        with pytest.raises(RuntimeError, match=CURE):
            await trio.to_thread.run_sync(partial(trio.run, partial(call, scene, name)))

    await set_scene(act)


SYNC = [
    *("submit_nowait", "map", "as_completed", "close", "cancel", "snapshots", "add_instrument", "remove_instrument"),
    *("retry", "on_failure", "max_running", "rate_limit", "dead.pop", "dead.pop_all", "dead.requeue", "job.cancel"),
    *("job.lend", "worker.pause", "worker.resume", "worker.rest", "group.submit_nowait", "group.cancel"),
]


@pytest.mark.parametrize("name", SYNC)
async def test_a_call_in_a_plain_thread_is_an_error_at_once(name: str) -> None:
    async def act(scene: Scene) -> None:
        with pytest.raises(RuntimeError, match=CURE):
            await in_plain_thread(CALLS[name], scene)

    await set_scene(act)


@pytest.mark.parametrize("name", READS)
async def test_reading_works_in_any_thread(name: str) -> None:
    async def act(scene: Scene) -> None:
        assert await in_plain_thread(READS[name], scene) is not Ellipsis

    await set_scene(act)


async def test_what_is_read_in_another_thread_is_on_the_clock_of_the_pool(autojump_clock: Any) -> None:
    async with open_pool(["a"]) as pool:
        job = await pool.submit(sleeps_forever)
        await trio.sleep(1000)
        seen = await in_plain_thread(pool.statistics)
        assert seen.workers[0].busy_seconds == 1000
        assert "for 1000.0 s" in await in_plain_thread(repr, pool.workers[0])
        job.cancel()


async def test_a_result_can_be_had_in_another_thread_and_deals_with_the_death() -> None:
    async with open_pool(["a"]) as pool:
        well, ill = await pool.submit(works), await pool.submit(fails)
        await pool.join()
        assert await in_plain_thread(well.result) == "done"
        with pytest.raises(JobFailedError):
            await in_plain_thread(ill.result)


@both
async def test_a_job_in_another_trio_run_does_not_reach_the_pool_of_the_job_that_waits_for_it(opened: OpenPool) -> None:
    async with opened() as pool:

        async def asks_itself(*_: object) -> None:
            await trio.to_thread.run_sync(partial(trio.run, partial(pool.run, asks_itself)))

        with pytest.raises(JobFailedError) as caught:
            await pool.run(asks_itself)
        assert "run_from_thread()" in str(caught.value.__cause__)


async def test_a_worker_cannot_be_removed_out_of_a_thread_of_its_job() -> None:
    async with open_pool(["a"]) as pool:

        async def removes(_: object) -> None:
            await trio.to_thread.run_sync(partial(trio.run, pool.workers[0].remove))

        with pytest.raises(JobFailedError) as caught:
            await pool.run(removes)
        assert "run_from_thread()" in str(caught.value.__cause__)
        assert len(pool.workers) == 1


async def test_what_trio_calls_in_the_pools_own_thread_for_another_is_no_stranger() -> None:
    async with open_pool(["a"]) as pool:
        submit = partial(trio.from_thread.run_sync, partial(pool.submit_nowait, works))
        job: Job[str] = await trio.to_thread.run_sync(submit)
        token = trio.lowlevel.current_trio_token()
        await in_plain_thread(partial(trio.from_thread.run_sync, pool.workers[0].pause, trio_token=token))
        await in_plain_thread(partial(trio.from_thread.run, pool.add, "b", trio_token=token))
        assert await job.wait() == "done"
        assert pool.workers[0].state.value == "paused"


async def leave_a_pool() -> tuple[Pool[str], Job[str], Job[None]]:
    async with open_pool(["a"], on_dead="keep") as pool:
        well, ill = await pool.submit(works), await pool.submit(fails)
    return pool, well, ill


async def test_a_pool_that_has_been_left_can_be_read_and_emptied_anywhere() -> None:
    pool, well, ill = await leave_a_pool()
    assert await in_plain_thread(well.result) == "done"
    assert (await in_plain_thread(pool.statistics)).dead == 1
    assert await in_plain_thread(pool.dead.pop) is ill
    await in_plain_thread(pool.cancel)
    assert await trio.to_thread.run_sync(partial(trio.run, well.wait)) == "done"


async def test_a_pool_that_has_been_left_says_so_in_another_trio_run() -> None:
    pool, _, _ = await leave_a_pool()
    with pytest.raises(PoolClosedError):
        await trio.to_thread.run_sync(partial(trio.run, partial(pool.run, works)))


def test_a_pool_whose_trio_run_has_ended_can_be_read() -> None:
    pool, well, _ = trio.run(leave_a_pool)
    assert well.result() == "done"
    assert pool.statistics().succeeded == 1
    assert "0 workers" in repr(pool)
