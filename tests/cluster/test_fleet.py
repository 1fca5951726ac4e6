"""Jobs that go to worker processes over a broker are each done, whatever ends a worker, and dead ones are kept."""

from __future__ import annotations

import json
import signal
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.cluster.client import LONG, Client, connect
from tests.cluster.gate import BODY, Gate

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Awaitable, Callable
    from types import ModuleType

    from tests.cluster.conftest import StartWorker

STDLIB = Path(sysconfig.get_path("stdlib"))


@pytest.fixture
def sources(submit: ModuleType) -> list[tuple[str, str]]:
    """200 files of the standard library."""
    return [(source.path, source.sha256) for source in submit.list_sources(200)]


def sizes(sources: list[tuple[str, str]]) -> list[tuple[str, int]]:
    return [(path, (STDLIB / path).stat().st_size) for path, _ in sources]


async def poll(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until what is known of the fleet, which nobody tells by himself, is as it should be."""
    while True:
        if await condition():
            return
        await trio.sleep(0.02)


async def end(worker: subprocess.Popen[str]) -> int:
    """The exit code of a process that ends by itself, or has been told to."""
    return await trio.to_thread.run_sync(lambda: worker.wait(LONG))


async def next_call(gate: Gate) -> str:
    return await trio.to_thread.run_sync(lambda: gate.calls.get(timeout=LONG))


async def read_until(worker: subprocess.Popen[str], words: str) -> None:
    """Read what it logs until these words come."""
    assert worker.stderr is not None
    while True:
        line = await trio.to_thread.run_sync(worker.stderr.readline)
        assert line, f"ended without {words!r}"
        if words in line:
            return


async def read_dead(client: Client, rules: ModuleType, job: str) -> dict[str, Any]:
    """What is kept of a dead job, once it is there."""
    assert (await client.engine.result_by_id(f"dead-{job}")).success
    letters = await client.engine.redis.hgetall(rules.DEAD)
    return dict(json.loads(letters[job]))


async def test_200_jobs_over_two_workers_have_each_the_right_result_and_none_is_done_twice(
    broker: str,
    api: str,
    start_worker: StartWorker,
    submit: ModuleType,
    fleet: ModuleType,
    sources: list[tuple[str, str]],
) -> None:
    workers = [start_worker("one", "token-a", "token-d", api=api), start_worker("two", "token-b", "token-c", api=api)]
    async with connect(submit, broker, waiters=200) as client:
        results = await client.wait_for(await client.enqueue_sources(sources))
        for worker in workers:
            worker.terminate()
        codes = [await end(worker) for worker in workers]
        accounts = await fleet.read_accounts(client.engine)

    assert [(result.result["path"], result.result["size"]) for result in results] == sizes(sources)
    assert codes == [0, 0]
    assert fleet.count_files(accounts) == 200
    assert {result.result["machine"] for result in results} == {"one", "two"} == accounts.keys()


async def test_jobs_of_a_worker_that_is_killed_in_the_middle_are_done_by_the_other(
    broker: str,
    api: str,
    start_worker: StartWorker,
    submit: ModuleType,
    fleet: ModuleType,
    sources: list[tuple[str, str]],
) -> None:
    start_worker("one", "token-a", "token-d", api=api, idle_timeout="2")
    victim = start_worker("two", "token-b", "token-c", api=api, idle_timeout="2")
    async with connect(submit, broker, waiters=200) as client:
        jobs = await client.enqueue_sources(sources[:120])

        async def both_have_begun() -> bool:
            accounts = await fleet.read_accounts(client.engine)
            return len(accounts) == 2 and all(fleet.count_files({name: accounts[name]}) > 5 for name in accounts)

        await poll(both_have_begun)
        victim.kill()
        results = await client.wait_for(jobs)
        redelivered = await fleet.read_redeliveries(client.engine)

    assert [(result.result["path"], result.result["size"]) for result in results] == sizes(sources[:120])
    assert await end(victim) == -signal.SIGKILL
    assert redelivered
    assert max(result.tries for result in results) > 1


async def test_a_worker_finishes_the_job_under_way_at_sigterm_takes_no_more_and_exits_with_0(
    broker: str, gate: Gate, start_worker: StartWorker, submit: ModuleType
) -> None:
    worker = start_worker("one", "token-a", api=gate.url)
    async with connect(submit, broker) as client:
        [job] = await client.enqueue("under-way.py")
        await next_call(gate)
        worker.terminate()
        await read_until(worker, "received signal SIGTERM")
        [late] = await client.enqueue("late.py")
        gate.opened.set()
        [result] = await client.wait_for([job])
        code = await end(worker)
        status: object = await late.status()

    assert (result.result["path"], result.result["size"], result.tries) == ("under-way.py", len(BODY), 1)
    assert code == 0
    assert status == "queued"


async def test_a_job_that_the_period_of_grace_is_too_short_for_is_done_by_another_worker_and_counts_as_no_crash(
    broker: str, gate: Gate, start_worker: StartWorker, submit: ModuleType, fleet: ModuleType
) -> None:
    worker = start_worker("one", "token-a", api=gate.url, idle_timeout="20")  # so long may it stay
    async with connect(submit, broker) as client:
        [job] = await client.enqueue("slow.py")
        await next_call(gate)
        worker.terminate()
        code = await end(worker)
        gate.opened.set()
        start_worker("two", "token-a", api=gate.url, idle_timeout="20")
        [result] = await client.wait_for([job])
        redelivered = await fleet.read_redeliveries(client.engine)

    assert code == 0
    assert (result.result["machine"], result.tries, redelivered) == ("two", 2, [])


async def test_a_failing_job_and_one_with_wrong_arguments_reach_the_dead_letter_and_the_worker_lives_on(
    broker: str, gate: Gate, start_worker: StartWorker, submit: ModuleType, rules: ModuleType
) -> None:
    gate.opened.set()
    worker = start_worker("one", "token-a", api=gate.url)
    async with connect(submit, broker) as client:
        [failing] = await client.enqueue("missing.py")
        poison = await client.engine.enqueue_unsafe("fetch_file", ["no", "path"], {"no": "digest"}, None)
        [good] = await client.enqueue("good.py")
        results = await client.wait_for([failing, poison, good])
        dead = [await read_dead(client, rules, job.id) for job in (failing, poison)]

    assert [result.success for result in results] == [False, False, True]
    assert dead[0]["args"] == list(failing.args)
    assert "404" in dead[0]["reason"]
    assert dead[1]["args"] == [["no", "path"], {"no": "digest"}, None]
    assert dead[1]["reason"].startswith("TypeError: ")
    assert "404" in str(results[0].exception)
    assert worker.poll() is None


async def test_a_job_that_every_worker_dies_of_reaches_the_dead_letter_and_the_next_worker_lives_on(
    broker: str, gate: Gate, start_worker: StartWorker, submit: ModuleType, rules: ModuleType
) -> None:
    async with connect(submit, broker) as client:
        [deadly] = await client.enqueue("deadly.py")
        for number in range(rules.MAX_CRASHES):
            victim = start_worker(f"victim-{number}", "token-a", api=gate.url, idle_timeout="1")
            await next_call(gate)
            victim.kill()
        gate.opened.set()
        survivor = start_worker("survivor", "token-a", api=gate.url, idle_timeout="1")
        [result] = await client.wait_for([deadly])
        dead = await read_dead(client, rules, deadly.id)
        [good] = await client.wait_for(await client.enqueue("good.py"))

    assert not result.success
    assert dead["args"] == list(deadly.args)
    assert f"crashes={rules.MAX_CRASHES}" in dead["reason"]
    assert good.success
    assert survivor.poll() is None


async def test_a_job_that_has_to_wait_long_goes_back_and_comes_again_and_its_worker_stops_when_its_parent_has_gone(
    broker: str, gate: Gate, start_worker: StartWorker, submit: ModuleType, fleet: ModuleType
) -> None:
    gate.retry_after = "1"
    worker = start_worker("one", "token-a", api=gate.url, longest_wait="0.5")
    async with connect(submit, broker) as client:
        [job] = await client.enqueue("patient.py")
        await next_call(gate)
        gate.retry_after = ""
        gate.opened.set()
        [result] = await client.wait_for([job])
        assert worker.stdin is not None
        worker.stdin.close()
        code = await end(worker)
        accounts = await fleet.read_accounts(client.engine)
        redelivered = await fleet.read_redeliveries(client.engine)

    assert (result.success, result.tries) == (True, 2)
    assert code == 0
    assert accounts["one"].handed_back == 1
    assert redelivered == []


async def test_a_hundred_results_can_be_waited_for_at_once(
    broker: str, gate: Gate, start_worker: StartWorker, submit: ModuleType
) -> None:
    gate.opened.set()
    async with connect(submit, broker, waiters=100) as client, trio.open_nursery() as nursery:
        jobs = await client.enqueue(*(f"{number}.py" for number in range(100)))
        results: list[Any] = []

        async def wait() -> None:
            results.extend(await client.wait_for(jobs))

        async def all_listen() -> bool:
            return len(await client.engine.redis.pubsub_channels()) == 100

        nursery.start_soon(wait)
        await poll(all_listen)  # for no worker has started
        start_worker("one", "token-a", "token-b", api=gate.url)

    assert [result.result["path"] for result in results] == [job.args[0] for job in jobs]
