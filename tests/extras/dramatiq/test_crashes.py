"""Messages that come again after a crash: how they are counted, found and told apart."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import dramatiq
import pytest
import trio

from tests.actors import works
from tests.extras.dramatiq.fake_redis import FakeRedis, RedisBroker
from tests.extras.dramatiq.stub import Stub, consuming, processed, until
from trio_pool import HandBack, open_pool
from trio_pool.dramatiq import PoolQueue, RedisStarts
from trio_pool.dramatiq._middleware import Deliveries
from trio_pool.dramatiq._orphans import Orphans

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = "dramatiq:starts:"


@pytest.fixture
def broker() -> RedisBroker:
    return RedisBroker()


def crash(broker: RedisBroker, message: dramatiq.Message[Any], times: int = 1) -> None:
    """As if processes had died with the message under way."""
    broker.client.counts[KEY + message.message_id] = times


async def test_a_message_that_was_under_way_in_too_many_crashes_is_dead_without_another_start(
    broker: RedisBroker,
) -> None:
    queue = PoolQueue(broker, max_crashes=2, dead_letter="bury")
    reasons: list[str] = []

    @dramatiq.actor(broker=broker)
    def bury(message: dict[str, Any], reason: str) -> None:
        reasons.append(reason)

    @queue.actor
    async def poison(token: str) -> None:
        raise AssertionError

    crash(broker, poison.send(), 2)
    async with consuming(queue, broker):
        pass
    assert reasons == ["its process has died 2 times"]
    assert broker.client.counts == {}


async def test_starts_that_have_ended_count_for_nothing(broker: RedisBroker) -> None:
    queue = PoolQueue(broker, max_crashes=1)
    starts: list[str] = []

    @queue.actor
    async def wait(token: str) -> None:
        await trio.lowlevel.checkpoint()
        starts.append(token)
        if len(starts) < 4:
            raise HandBack(1)

    wait.send()
    async with consuming(queue, broker):
        pass
    assert len(starts) == 4
    assert broker.client.counts == {}
    assert broker.dead_letters == []


async def test_of_several_suspects_one_runs_at_a_time_and_none_is_counted_for_waiting(broker: RedisBroker) -> None:
    queue = PoolQueue(broker, max_crashes=2)
    running: list[int] = []
    most: list[int] = []

    @queue.actor
    async def work(token: str, number: int) -> None:
        running.append(number)
        most.append(len(running))
        await trio.sleep(0.01)
        running.remove(number)

    for number in range(4):
        crash(broker, work.send(number))
    async with consuming(queue, broker, consume={"threads": 4}):
        pass
    assert len(most) == 4
    assert set(most) == {1}
    assert broker.delays != []
    assert all(100 <= delay <= 1_000 for delay in broker.delays)
    assert broker.client.counts == {}


async def test_a_broker_that_can_not_be_reached_is_waited_for_before_a_start_and_at_the_end(
    broker: RedisBroker, caplog: pytest.LogCaptureFixture
) -> None:
    queue = PoolQueue(broker)
    calls: list[str] = []

    @queue.actor
    async def work(token: str) -> None:
        await trio.lowlevel.checkpoint()
        calls.append(token)
        broker.client.is_away = True  # when all that is left to do is to forget the start

    broker.client.is_away = True
    work.send()
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1):
        await until(lambda: "can't be reached" in caplog.text)
        broker.client.is_away = False
        await processed(broker)
    assert calls == ["a"]
    assert "the starts of messages could not be forgotten: ConnectionError: away" in caplog.text


# RedisStarts


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def starts(redis: FakeRedis) -> RedisStarts:
    client: Any = redis
    return RedisStarts(client, namespace="mine")


def test_starts_before_that_did_not_end_are_crashes(starts: RedisStarts, redis: FakeRedis) -> None:
    assert [starts.begin("a"), starts.begin("a"), starts.begin("b")] == [0, 1, 0]
    starts.withdraw("a")
    assert starts.begin("a") == 1
    starts.end("a", at_once=True)
    assert starts.begin("a") == 0
    assert redis.counts == {"mine:starts:a": 1, "mine:starts:b": 1}


def test_what_has_ended_is_forgotten_with_the_next_start(starts: RedisStarts, redis: FakeRedis) -> None:
    for number in range(100):
        assert starts.begin(str(number)) == 0
        starts.end(str(number), at_once=False)
    assert len(redis.counts) == 1
    starts.flush()
    assert redis.counts == {}


def test_what_has_ended_is_not_lost_from_sight_when_the_broker_is_away(starts: RedisStarts, redis: FakeRedis) -> None:
    starts.begin("a")
    starts.end("a", at_once=False)
    redis.is_away = True
    with pytest.raises(ConnectionError):
        starts.begin("b")
    redis.is_away = False
    starts.flush()
    assert redis.counts == {}


def test_a_redis_that_has_forgotten_the_script_gets_it_again(starts: RedisStarts, redis: FakeRedis) -> None:
    starts.begin("a")
    redis.scripts += 1
    with pytest.raises(Exception, match=r"^$"):
        starts.begin("a")
    assert starts.begin("a") == 1


# What Redis has given out, and what has not arrived.


class Looking:
    """An `Orphans` and the worker that it looks at, which has no threads."""

    def __init__(self, broker: RedisBroker) -> None:
        broker.declare_queue("default")
        self.broker = broker
        self.deliveries = Deliveries.of(broker)
        self.worker = dramatiq.Worker(broker)
        self.worker.consumers["default"] = dramatiq.worker.ConsumerThread(
            broker=broker, queue_name="default", prefetch=1, work_queue=self.worker.work_queue, worker_timeout=1
        )
        self.orphans = Orphans(broker, self.worker, self.deliveries)

    def give_out(self, *identifiers: str, data: bytes = b"{}") -> None:
        self.broker.client.sets["dramatiq:__acks__.me.default"] = set(identifiers)
        self.broker.client.hashes["dramatiq:default.msgs"] = dict.fromkeys(identifiers, data)


@pytest.fixture
def looking(broker: RedisBroker) -> Looking:
    return Looking(broker)


def test_what_is_missing_twice_goes_back_to_its_queue(looking: Looking) -> None:
    looking.give_out("1", "2")
    looking.orphans.look()
    assert looking.broker.done == []
    looking.give_out("1", "3")
    looking.orphans.look()
    assert looking.broker.done == [("requeue", "default", "1")]


def test_what_is_in_hand_is_not_missing(looking: Looking) -> None:
    looking.give_out("1")
    looking.deliveries.in_hand.add("1")
    looking.orphans.look()
    looking.orphans.look()
    assert looking.broker.done == []


def test_what_waits_in_the_process_is_not_missing(looking: Looking) -> None:
    looking.give_out("1")
    kind: Any = dramatiq.Message
    message = kind("default", "work", (), {}, {"redis_message_id": "1", "eta": 1e15})
    looking.worker.consumers["default"].handle_message(dramatiq.broker.MessageProxy(message))
    looking.orphans.look()
    looking.orphans.look()
    assert looking.broker.done == []


def test_what_can_not_be_read_goes_to_the_dead_letters(looking: Looking, caplog: pytest.LogCaptureFixture) -> None:
    looking.give_out("1", data=b"{nonsense")
    looking.orphans.look()
    looking.orphans.look()
    assert looking.broker.done == [("nack", "default", "1")]
    assert "can't be read, and goes to its dead letters" in caplog.text


def test_it_is_looked_for_from_time_to_time_whether_the_broker_can_be_reached_or_not(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Semaphore(0)
    answers: Iterator[Any] = iter([ConnectionError("away"), None, None])

    def look() -> None:
        looked.release()
        if (error := next(answers, None)) is not None:
            raise error

    monkeypatch.setattr(looking.orphans, "look", look)
    looking.broker.heartbeat_timeout = 1
    looking.orphans.start()
    for _ in range(3):
        looked.acquire()
    looking.orphans.stop()
    assert not looking.orphans.is_alive()


# Consumers on Redis


async def test_at_the_end_the_consumers_ask_for_no_more_messages(
    broker: RedisBroker, caplog: pytest.LogCaptureFixture
) -> None:
    queue = PoolQueue(broker)
    started = threading.Event()

    @queue.actor
    async def work(token: str, number: int) -> None:
        started.set()
        await trio.sleep_forever()

    for number in range(3):
        work.send(number)
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, prefetch=3, grace=0):
        await trio.to_thread.run_sync(started.wait)
        assert queue._consumption is not None
        consumers = queue._consumption._worker.consumers
        broker.errors = []
    assert consumers["default"].prefetch == 0
    assert consumers["default.DQ"].prefetch > 0
    assert sorted(message["args"][0] for message in broker.waiting()) == [0, 1, 2]


async def test_messages_that_can_not_be_returned_are_mentioned(
    broker: RedisBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = PoolQueue(broker)
    started = threading.Event()

    @queue.actor
    async def work(token: str, number: int) -> None:
        started.set()
        await trio.sleep_forever()

    for number in range(2):
        work.send(number)

    def refuse(self: object, messages: object) -> None:
        raise ConnectionError("away")

    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, prefetch=2, grace=0):
        await trio.to_thread.run_sync(started.wait)
        assert queue._consumption is not None
        worker = queue._consumption._worker
        await until(lambda: not worker.work_queue.empty())
        monkeypatch.setattr(dramatiq.worker.ConsumerThread, "requeue_messages", refuse)
    assert "1 messages could not be returned to the broker: ConnectionError: away" in caplog.text


async def test_a_broker_that_can_not_be_reached_at_the_end_does_not_keep_the_block_from_ending(
    broker: Stub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trio_pool.dramatiq import _consumption

    monkeypatch.setattr(_consumption, "_PATIENCE", 0.01)
    queue = PoolQueue(broker)
    started = threading.Event()

    @queue.actor
    async def work(token: str) -> None:
        started.set()
        await trio.sleep_forever()

    work.send()
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1, grace=0):
        await trio.to_thread.run_sync(started.wait)
        broker.errors = [ConnectionError("away") for _ in range(5)]
        assert queue._consumption is not None
        worker = queue._consumption._worker

        def stop(timeout: int) -> None:
            raise ConnectionError("away")

        stop_well = worker.stop
        monkeypatch.setattr(worker, "stop", stop)
    assert "1 messages could not be settled, as the broker can't be reached" in caplog.text
    assert "dramatiq's worker did not stop well: ConnectionError: away" in caplog.text
    broker.errors = []
    stop_well()


# What is left over


def test_at_most_so_many_keys_are_deleted_at_once(starts: RedisStarts, redis: FakeRedis) -> None:
    for number in range(150):
        redis.counts[f"mine:starts:{number}"] = 1
        starts.end(str(number), at_once=False)
    starts.begin("other")
    assert len(redis.counts) == 150 - 64 + 1
    starts.flush()
    assert redis.counts == {"mine:starts:other": 1}


def test_without_a_pool_an_unknown_message_is_left_to_dramatiq(broker: RedisBroker) -> None:
    message: Any = dramatiq.Message
    Deliveries.of(broker).before_nack(broker, dramatiq.broker.MessageProxy(message("default", "gone", (), {}, {})))


async def test_a_worker_whose_consumers_have_never_reached_the_broker_ends_at_once(
    broker: RedisBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)
    queue = PoolQueue(broker)
    queue.actor(actor_name="work")(works)
    tried = threading.Event()

    def consume(*args: object, **options: object) -> None:
        tried.set()
        raise dramatiq.errors.ConnectionClosed("away")

    monkeypatch.setattr(broker, "consume", consume)
    async with open_pool(["a"]) as pool, queue.consume(pool, threads=1):
        await trio.to_thread.run_sync(tried.wait)
