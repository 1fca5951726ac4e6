"""What becomes of a job in PostgreSQL, by how it ends in the pool."""

from __future__ import annotations

import json
from typing import Any

import trio

from tests.extras.pgqueuer.memory import MemoryQueue, consuming
from trio_pool import Discard, GiveUp, HandBack, RetryPolicy
from trio_pool.pgqueuer._history import OVERSTAYED, SUSPECT


async def test_a_job_gets_a_resource_and_the_arguments_and_leaves_the_queue(queue: MemoryQueue) -> None:
    calls: list[tuple[Any, ...]] = []

    @queue.actor
    async def fetch(token: str, path: str, *, depth: int = 0) -> set[int]:
        await trio.lowlevel.checkpoint()
        calls.append((token in "ab", path, depth))
        return {1}  # results are nobody's business

    assert isinstance(fetch.send("/index"), int)
    fetch.send("/deep", depth=3)
    async with consuming(queue) as pool:
        pass
    assert sorted(calls) == [(True, "/deep", 3), (True, "/index", 0)]
    assert pool.statistics().succeeded == 2
    assert queue.tables.ends() == ["successful"] * 2


async def test_the_pool_alone_tries_again_and_a_dead_job_is_held_in_the_queue(queue: MemoryQueue) -> None:
    attempts: list[int] = []

    @queue.actor(retry=RetryPolicy.immediate(max_attempts=3))
    async def fail(token: str, number: int) -> None:
        attempts.append(number)
        await trio.lowlevel.checkpoint()
        raise ValueError("no luck")

    fail.send(1)
    async with consuming(queue):
        pass
    assert attempts == [1, 1, 1]
    assert queue.tables.jobs("failed") == [("fail", b"[[1], {}]")]


async def test_an_actor_for_dead_letters_gets_the_job_and_the_reason() -> None:
    queue = MemoryQueue(dead_letter="bury")
    letters: list[tuple[dict[str, Any], str]] = []

    @queue.actor
    async def bury(token: str, message: dict[str, Any], reason: str) -> None:
        await trio.lowlevel.checkpoint()
        letters.append((message, reason))

    @queue.actor
    async def fail(token: str, number: int) -> None:
        await trio.lowlevel.checkpoint()
        raise GiveUp("no such page")

    job = fail.send(7)
    async with consuming(queue):
        pass
    [(message, reason)] = letters
    assert message == {"id": job, "actor_name": "fail", "args": [7], "kwargs": {}}
    assert "given up: no such page" in reason
    assert sorted(queue.tables.ends()) == ["exception", "successful"]


async def test_a_job_that_is_handed_back_comes_again_after_the_delay(queue: MemoryQueue) -> None:
    starts: list[str] = []

    @queue.actor
    async def wait(token: str) -> None:
        await trio.lowlevel.checkpoint()
        starts.append(token)
        if len(starts) < 3:
            raise HandBack(30, "no quota")

    wait.send()
    async with consuming(queue):
        pass
    assert len(starts) == 3
    assert queue.tables.returned == [(30.0, "no quota")] * 2


async def test_a_discarded_job_is_done(queue: MemoryQueue) -> None:
    @queue.actor
    async def forget(token: str) -> None:
        await trio.lowlevel.checkpoint()
        raise Discard

    forget.send()
    async with consuming(queue):
        pass
    assert queue.tables.ends() == ["successful"]


async def test_a_job_that_overstays_comes_again_at_growing_intervals_and_is_dead_in_the_end(queue: MemoryQueue) -> None:
    @queue.actor(total_timeout=0.001)
    async def sleep(token: str) -> None:
        await trio.sleep_forever()

    sleep.send()
    async with consuming(queue):
        pass
    assert [(delay, reason.startswith(f"{OVERSTAYED}: ")) for delay, reason in queue.tables.returned] == [
        (2.0, True),
        (4.0, True),
    ]
    assert queue.tables.ends() == ["failed"]


async def test_arguments_that_no_actor_has_written_make_the_job_dead() -> None:
    queue = MemoryQueue(dead_letter="bury")
    letters: list[dict[str, Any]] = []

    @queue.actor
    async def bury(token: str, message: dict[str, Any], reason: str) -> None:
        await trio.lowlevel.checkpoint()
        letters.append(message)

    @queue.actor
    async def never(token: str) -> None:
        raise AssertionError

    job = queue.enqueue("never", b"{nonsense", 0, 0.0)
    async with consuming(queue):
        pass
    assert letters == [{"id": job, "actor_name": "never", "payload": "{nonsense"}]


async def test_a_job_that_was_under_way_in_too_many_crashes_is_dead_without_another_start() -> None:
    queue = MemoryQueue(max_crashes=2, dead_letter="bury")
    reasons: list[str] = []

    @queue.actor
    async def bury(token: str, message: dict[str, Any], reason: str) -> None:
        await trio.lowlevel.checkpoint()
        reasons.append(reason)

    @queue.actor
    async def poison(token: str) -> None:
        raise AssertionError

    queue.tables.crashes[poison.send()] = 2
    async with consuming(queue):
        pass
    assert reasons == ["its process has died 2 times"]


async def test_of_several_suspects_one_runs_at_a_time(queue: MemoryQueue) -> None:
    running: list[int] = []
    most: list[int] = []

    @queue.actor
    async def work(token: str, number: int) -> None:
        running.append(number)
        most.append(len(running))
        await trio.sleep(0.01)
        running.remove(number)

    for number in range(3):
        queue.tables.crashes[work.send(number)] = 1
    async with consuming(queue):
        pass
    assert most == [1, 1, 1]
    assert {reason for _, reason in queue.tables.returned} == {SUSPECT}


def test_a_lower_priority_starts_first_in_the_queue_as_in_the_pool(queue: MemoryQueue) -> None:
    @queue.actor(priority=3, actor_name="late")
    async def note(token: str) -> None:
        raise AssertionError

    note.send()
    assert [job["priority"] for job in queue.tables._jobs.values()] == [-3]
    assert json.loads(queue.tables.jobs("queued")[0][1] or b"") == [[], {}]
