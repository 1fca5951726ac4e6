"""What becomes of a message, by how its job ends."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import dramatiq
import pytest
import trio
from dramatiq.middleware import Callbacks
from dramatiq.results import ResultFailure, ResultMissing, Results
from dramatiq.results.backends import StubBackend

from tests.extras.dramatiq.stub import Stub, consuming, processed, until
from trio_pool import Discard, GiveUp, HandBack, RetryPolicy, open_pool
from trio_pool.dramatiq import PoolQueue


async def test_a_message_becomes_a_job_that_gets_a_resource_and_the_arguments(queue: PoolQueue, broker: Stub) -> None:
    calls: list[tuple[Any, ...]] = []

    @queue.actor
    async def fetch(token: str, path: str, *, depth: int = 0) -> None:
        await trio.lowlevel.checkpoint()
        calls.append((token in "ab", path, depth))

    fetch.send("/index")
    fetch.send("/deep", depth=3)
    async with consuming(queue, broker) as pool:
        pass
    assert sorted(calls) == [(True, "/deep", 3), (True, "/index", 0)]
    assert pool.statistics().succeeded == 2
    assert broker.dead_letters == []


async def test_the_pool_alone_tries_again(queue: PoolQueue, broker: Stub) -> None:
    attempts: list[int] = []

    @queue.actor(retry=RetryPolicy.immediate(max_attempts=3))
    async def fail(token: str, number: int) -> None:
        attempts.append(number)
        await trio.lowlevel.checkpoint()
        raise ValueError("no luck")

    fail.send(1)
    async with consuming(queue, broker):
        pass
    assert attempts == [1, 1, 1]
    [dead] = broker.dead_letters
    assert dead.args == (1,)
    assert broker.waiting() == []


async def test_without_dramatiqs_retries_a_dead_message_is_rejected_as_well() -> None:
    broker = Stub(middleware=[])
    queue = PoolQueue(broker)

    @queue.actor
    async def fail(token: str) -> None:
        await trio.lowlevel.checkpoint()
        raise GiveUp

    fail.send()
    async with consuming(queue, broker):
        pass
    assert len(broker.dead_letters) == 1


async def test_an_actor_for_dead_letters_gets_the_message_and_the_reason(
    broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    queue = PoolQueue(broker, dead_letter="bury")
    letters: list[tuple[Any, str]] = []

    @dramatiq.actor(broker=broker)
    def bury(message: dict[str, Any], reason: str) -> None:
        letters.append((message["args"], reason))

    @queue.actor
    async def fail(token: str, number: int) -> None:
        await trio.lowlevel.checkpoint()
        raise GiveUp("no such page")

    fail.send(7)
    async with consuming(queue, broker):
        pass
    [(args, reason)] = letters
    assert args == [7]
    assert "given up: no such page" in reason
    assert broker.dead_letters == []
    assert "fail of message" in caplog.text


async def test_a_message_that_is_handed_back_comes_again_after_the_delay_without_a_word(
    queue: PoolQueue, broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[str] = []

    @queue.actor
    async def wait(token: str) -> None:
        await trio.lowlevel.checkpoint()
        starts.append(token)
        if len(starts) < 3:
            raise HandBack(30)

    wait.send()
    async with consuming(queue, broker):
        pass
    assert len(starts) == 3
    assert broker.delays == [30_000, 30_000]
    assert broker.dead_letters == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_dramatiq_still_warns_of_other_messages_that_are_skipped(
    queue: PoolQueue, broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    @queue.actor(broker_options={"max_age": 1})
    async def never(token: str) -> None:
        raise AssertionError

    broker.enqueue(replace(never.message(), message_timestamp=0))
    async with consuming(queue, broker):
        pass
    assert "was skipped" in caplog.text


async def test_a_discarded_job_is_done(queue: PoolQueue, broker: Stub) -> None:
    starts: list[str] = []

    @queue.actor
    async def forget(token: str) -> None:
        await trio.lowlevel.checkpoint()
        starts.append(token)
        raise Discard

    forget.send()
    async with consuming(queue, broker):
        pass
    assert len(starts) == 1
    assert (broker.dead_letters, broker.waiting()) == ([], [])


async def test_a_cancelled_job_of_a_pool_that_goes_on_is_done(queue: PoolQueue, broker: Stub) -> None:
    @queue.actor
    async def sleep(token: str) -> None:
        await trio.sleep_forever()

    sleep.send()
    async with consuming(queue, broker) as pool:
        await until(lambda: pool.statistics().running)
        for job in pool.jobs():
            job.cancel()
    assert (broker.dead_letters, broker.waiting()) == ([], [])


async def test_a_message_that_overstays_comes_again_at_growing_intervals_and_is_dead_in_the_end(
    broker: Stub,
) -> None:
    queue = PoolQueue(broker, max_overstays=3)
    starts: list[str] = []

    @queue.actor(total_timeout=0.001)
    async def sleep(token: str) -> None:
        starts.append(token)
        await trio.sleep_forever()

    sleep.send()
    async with consuming(queue, broker):
        pass
    assert len(starts) == 3
    assert broker.delays == [2_000, 4_000]
    assert len(broker.dead_letters) == 1


async def test_a_message_that_no_worker_here_may_run_is_tried_elsewhere(broker: Stub) -> None:
    queue = PoolQueue(broker, max_overstays=2)

    @queue.actor(requires=["gpu"])
    async def never(token: str) -> None:
        raise AssertionError

    never.send()
    async with consuming(queue, broker):
        pass
    assert len(broker.delays) == 1
    assert len(broker.dead_letters) == 1


async def test_a_message_for_an_unknown_actor_is_a_dead_letter(broker: Stub) -> None:
    queue = PoolQueue(broker, dead_letter="bury")
    PoolQueue(broker)  # one that nobody consumes
    letters: list[tuple[str, str]] = []

    @dramatiq.actor(broker=broker)
    def bury(message: dict[str, Any], reason: str) -> None:
        letters.append((message["actor_name"], reason))

    broker.enqueue(dramatiq.Message(queue_name="default", actor_name="gone", args=(), kwargs={}, options={}))
    async with consuming(queue, broker):
        pass
    assert letters == [("gone", "there is no actor 'gone' here")]


async def test_wrong_arguments_are_a_dead_message(queue: PoolQueue, broker: Stub) -> None:
    @queue.actor
    async def fetch(token: str, path: str) -> None:
        raise AssertionError

    wrong: Any = fetch
    wrong.send(1, 2, 3)
    async with consuming(queue, broker):
        pass
    assert len(broker.dead_letters) == 1


async def test_plain_actors_of_the_broker_run_too(queue: PoolQueue, broker: Stub) -> None:
    calls: list[int] = []

    @dramatiq.actor(broker=broker)
    def plain(number: int) -> None:
        calls.append(number)

    plain.send(3)
    async with consuming(queue, broker):
        pass
    assert calls == [3]


# Results


@pytest.fixture
def backend(broker: Stub) -> StubBackend:
    backend = StubBackend()
    results: Any = Results
    broker.add_middleware(results(backend=backend))
    return backend


async def test_results_are_not_kept_unless_that_is_asked_for(
    queue: PoolQueue, broker: Stub, backend: StubBackend, caplog: pytest.LogCaptureFixture
) -> None:
    @queue.actor
    async def add(token: str, x: int, y: int) -> int:
        await trio.lowlevel.checkpoint()
        return x + y

    message = add.send(1, 2)
    async with consuming(queue, broker):
        pass
    with pytest.raises(ResultMissing):
        message.get_result(backend=backend)
    assert caplog.text == ""


async def test_a_result_that_is_asked_for_is_kept(queue: PoolQueue, broker: Stub, backend: StubBackend) -> None:
    @queue.actor(broker_options={"store_results": True})
    async def add(token: str, x: int, y: int) -> int:
        await trio.lowlevel.checkpoint()
        return x + y

    message = add.send(1, 2)
    async with consuming(queue, broker):
        pass
    assert message.get_result(backend=backend) == 3


async def test_a_result_that_can_not_be_written_makes_the_message_dead_and_the_submitter_hears_of_it(
    broker: Stub, backend: StubBackend
) -> None:
    queue = PoolQueue(broker, dead_letter="bury")
    reasons: list[str] = []

    @dramatiq.actor(broker=broker)
    def bury(message: dict[str, Any], reason: str) -> None:
        reasons.append(reason)

    @queue.actor(broker_options={"store_results": True})
    async def odd(token: str) -> set[int]:
        await trio.lowlevel.checkpoint()
        return {1}

    message = odd.send()
    async with consuming(queue, broker):
        pass
    [reason] = reasons
    assert reason.startswith("its result can't be written: TypeError: ")
    with pytest.raises(ResultFailure, match="its result can't be written"):
        message.get_result(backend=backend)


async def test_without_an_actor_for_dead_letters_the_submitter_hears_of_a_death_too(
    queue: PoolQueue, broker: Stub, backend: StubBackend
) -> None:
    @queue.actor(broker_options={"store_results": True})
    async def fail(token: str) -> None:
        await trio.lowlevel.checkpoint()
        raise GiveUp("no such page")

    message = fail.send()
    async with consuming(queue, broker):
        pass
    with pytest.raises(ResultFailure, match="no such page"):
        message.get_result(backend=backend)


async def test_handing_back_stores_no_result_and_calls_no_callback(
    queue: PoolQueue, broker: Stub, backend: StubBackend
) -> None:
    assert any(isinstance(each, Callbacks) for each in broker.middleware)
    called: list[Any] = []

    @dramatiq.actor(broker=broker)
    def callback(*args: Any) -> None:
        called.append(args)

    handed_back: list[bool] = []

    @queue.actor(broker_options={"store_results": True, "on_success": "callback", "on_failure": "callback"})
    async def wait(token: str) -> str:
        await trio.lowlevel.checkpoint()
        if not handed_back:
            handed_back.append(True)
            raise HandBack(1)
        return "done"

    message = wait.send()
    async with consuming(queue, broker):
        pass
    assert message.get_result(backend=backend) == "done"
    assert len(called) == 1


async def test_the_next_actor_of_a_pipeline_gets_the_result(queue: PoolQueue, broker: Stub) -> None:
    got: list[int] = []

    @queue.actor
    async def double(token: str, number: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * number

    @dramatiq.actor(broker=broker)
    def keep(number: int) -> None:
        got.append(number)

    last: Any = keep
    pipeline: Any = dramatiq.pipeline([double.message(4), last.message()], broker=broker)
    pipeline.run()
    async with consuming(queue, broker):
        pass
    assert got == [8]


async def test_what_must_not_be_lost_is_written_when_the_broker_is_back(
    queue: PoolQueue, broker: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    starts: list[str] = []

    @queue.actor
    async def wait(token: str) -> None:
        await trio.lowlevel.checkpoint()
        starts.append(token)
        if len(starts) == 1:
            broker.errors.append(ConnectionError("no route"))
            raise HandBack(1)

    wait.send()
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1):
        await processed(broker)
    assert len(starts) == 2
    assert "the broker can't be reached: ConnectionError: no route" in caplog.text
