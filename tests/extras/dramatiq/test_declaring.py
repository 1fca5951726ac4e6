"""Queues and actors: what they are made of, and what is refused or put right."""

from __future__ import annotations

import logging
from typing import Any

import dramatiq
import pytest
import trio

from tests.extras.dramatiq.fake_redis import RedisBroker
from tests.extras.dramatiq.stub import Stub, consuming
from trio_pool import current_job, open_pool
from trio_pool.dramatiq import PoolActor, PoolQueue, RedisStarts


async def fetch(token: str, path: str) -> None:
    await trio.lowlevel.checkpoint()


class RabbitmqBroker(Stub):
    """Known by its name."""


def test_a_broker_on_redis_brings_messages_of_dead_processes_again_within_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker: Any = RedisBroker()
    with caplog.at_level(logging.INFO, "trio_pool"):
        PoolQueue(broker)
    assert (broker.maintenance_chance, broker.heartbeat_timeout) == (1_000_000, 10_000)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "maintenance_chance of the RedisBroker is 1000000 now, not 1000",
        "heartbeat_timeout of the RedisBroker is 10000 now, not 60000",
    ]


def test_settings_of_the_program_are_kept() -> None:
    broker = RedisBroker(maintenance_chance=500_000, heartbeat_timeout=3_000)
    PoolQueue(broker)
    assert (broker.maintenance_chance, broker.heartbeat_timeout) == (500_000, 3_000)


@pytest.mark.parametrize(
    ("setting", "value"), [("maintenance_chance", 999), ("heartbeat_timeout", 600_000), ("heartbeat_timeout", 0)]
)
def test_settings_that_would_bring_messages_again_too_late_are_refused(setting: str, value: int) -> None:
    with pytest.raises(ValueError, match=rf"^{setting}={value} of the RedisBroker "):
        PoolQueue(RedisBroker(**{setting: value}))


def test_a_queue_on_rabbitmq_needs_somebody_who_counts_starts() -> None:
    with pytest.raises(ValueError, match=r"^RabbitMQ doesn't count how often .* starts=RedisStarts\(client\)"):
        PoolQueue(RabbitmqBroker())
    PoolQueue(RabbitmqBroker(), max_crashes=None)
    client: Any = RedisBroker().client
    PoolQueue(RabbitmqBroker(), starts=RedisStarts(client))


@pytest.mark.parametrize(
    "options", [{"max_crashes": 0}, {"max_overstays": 0}, {"max_crashes": 1.5}, {"dead_letter": fetch}]
)
def test_settings_of_the_queue_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{next(iter(options))} must be "):
        PoolQueue(Stub(), **options)


def test_a_queue_is_one_of_a_broker() -> None:
    broker: Any = "redis://"
    with pytest.raises(TypeError, match=r"^broker must be a Broker, "):
        PoolQueue(broker)


def test_an_actor_is_declared_with_or_without_options(queue: PoolQueue) -> None:
    plain = queue.actor(fetch)
    other = queue.actor(actor_name="other", queue_name="slow", priority=3, broker_options={"max_age": 5})(fetch)
    assert isinstance(plain, PoolActor)
    assert (plain.actor_name, plain.queue_name, plain.priority, plain.fn) == ("fetch", "default", 0, fetch)
    assert (other.actor_name, other.queue_name, other.priority) == ("other", "slow", 3)
    assert other.options["max_age"] == 5
    assert repr(plain).startswith("<PoolActor 'fetch' of ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"worker": None}, "worker is no option of an actor: .* use requires"),
        ({"after": []}, "after is no option of an actor"),
        ({"timeout": 5}, r"actor\(\) got an unexpected keyword argument 'timeout'; the options of jobs are retry, "),
        ({"total_timeout": "long"}, "total_timeout must be "),
        ({"key": fetch}, "key must be a plain function of the message's arguments"),
        ({"broker_options": {"max_retries": 3}}, "broker_options must not hold 'max_retries'"),
        ({"broker_options": {"time_limit": 3}}, "broker_options must not hold 'time_limit'"),
        ({"broker_options": {"nonsense": 3}}, "actor options are undefined"),
    ],
)
def test_options_of_an_actor_are_checked(queue: PoolQueue, options: dict[str, Any], words: str) -> None:
    actor: Any = queue.actor
    with pytest.raises((ValueError, TypeError), match=words):
        actor(**options)(fetch)


async def test_options_may_be_functions_of_the_arguments(queue: PoolQueue, broker: Stub) -> None:
    seen: list[tuple[Any, str, float]] = []

    def name_of(path: str, **_: Any) -> str:
        return f"the page {path}"

    def key_of(path: str, host: str) -> str:
        return host

    @queue.actor(key=key_of, name=name_of, priority=2, attempt_timeout=None)
    async def note(token: str, path: str, *, host: str) -> None:
        job = current_job()
        seen.append((job.key, job.name, job.priority))
        await trio.lowlevel.checkpoint()

    note.send("/", host="example.org")
    async with consuming(queue, broker):
        pass
    assert seen == [("example.org", "the page /", 2)]


async def test_an_option_that_can_not_be_had_makes_the_message_dead(queue: PoolQueue, broker: Stub) -> None:
    def no_key(path: str) -> str:
        raise KeyError(path)

    queue.actor(key=no_key)(fetch).send("/")
    async with consuming(queue, broker):
        pass
    assert len(broker.dead_letters) == 1


async def test_actors_for_slots_get_only_their_arguments(queue: PoolQueue, broker: Stub) -> None:
    calls: list[int] = []

    @queue.actor(resource=False)
    async def count(number: int) -> None:
        await trio.lowlevel.checkpoint()
        calls.append(number)

    count.send(3)
    async with open_pool(2) as pool, queue.consume(pool):
        await trio.to_thread.run_sync(broker.join, "default")
    assert calls == [3]


async def test_an_actor_must_fit_the_pool(queue: PoolQueue) -> None:
    queue.actor(fetch)
    async with open_pool(2) as slots:
        with pytest.raises(TypeError, match="'fetch' doesn't fit the pool: declare it with resource=False"):
            queue.consume(slots)


async def test_an_actor_without_a_resource_must_fit_the_pool(queue: PoolQueue) -> None:
    queue.actor(resource=False)(fetch)
    async with open_pool(["a"]) as pool:
        with pytest.raises(TypeError, match="'fetch' doesn't fit the pool: declare it with resource=True"):
            queue.consume(pool)


@pytest.mark.parametrize("options", [{"threads": 0}, {"prefetch": 0}, {"grace": -1}])
async def test_arguments_of_consume_are_checked(queue: PoolQueue, options: dict[str, Any]) -> None:
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match=f"^{next(iter(options))} must "):
            queue.consume(pool, **options)
    not_a_pool: Any = "pool"
    with pytest.raises(TypeError, match=r"^pool must be a Pool or a SlotPool"):
        queue.consume(not_a_pool)


async def test_there_must_be_an_actor_for_dead_letters(broker: Stub) -> None:
    queue = PoolQueue(broker, dead_letter="bury")
    async with open_pool(["a"]) as pool:
        with pytest.raises(ValueError, match="dead_letter is 'bury', and the broker has no actor of that name"):
            queue.consume(pool)


def test_calling_an_actor_says_what_to_do(queue: PoolQueue) -> None:
    with pytest.raises(RuntimeError, match=r"^fetch is an actor for a pool: .* call fetch.send\(\)"):
        queue.actor(fetch)("/")


def test_the_middleware_of_a_broker_is_added_once(broker: Stub) -> None:
    PoolQueue(broker)
    PoolQueue(broker)
    assert [type(each).__name__ for each in broker.middleware].count("Deliveries") == 1
    assert isinstance(broker.middleware[1], dramatiq.Middleware)
