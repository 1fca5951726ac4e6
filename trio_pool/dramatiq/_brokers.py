"""The settings that a pool's queue needs from dramatiq's brokers, so that messages are redelivered in time."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from .._basics.logs import report
from ._starts import RedisStarts

if TYPE_CHECKING:
    import dramatiq

    from ._starts import Starts

_DEFAULT_CHANCE = 1_000
_EVERY_TIME = 1_000_000
_DEFAULT_HEARTBEAT = 60_000
HEARTBEAT = 10_000
_LONGEST_HEARTBEAT = 120_000


def kind_of(broker: dramatiq.Broker) -> str:
    """Return ``"redis"``, ``"rabbitmq"`` or ``"other"``, without importing the clients of either."""
    names = {base.__name__ for base in type(broker).__mro__}
    if "RedisBroker" in names:
        return "redis"
    return "rabbitmq" if "RabbitmqBroker" in names else "other"


def put_right(broker: Any) -> None:
    """Have a ``RedisBroker`` redeliver the messages of dead processes within seconds.

    By default it looks for them in one of a thousand commands, which in a quiet queue means after
    about a quarter of an hour.

    Raises:
      ValueError: if settings of the program would redeliver them too late.
    """
    chance: int = broker.maintenance_chance
    if chance == _DEFAULT_CHANCE:
        broker.maintenance_chance = _EVERY_TIME
        _told("maintenance_chance", chance, _EVERY_TIME)
    elif chance < _EVERY_TIME // 10:
        raise ValueError(
            f"maintenance_chance={chance} of the RedisBroker would bring the messages of a dead process again only "
            f"after some {_EVERY_TIME // max(chance, 1):_} commands: leave it out, or use {_EVERY_TIME}"
        )
    heartbeat: int = broker.heartbeat_timeout
    if heartbeat == _DEFAULT_HEARTBEAT:
        broker.heartbeat_timeout = HEARTBEAT
        _told("heartbeat_timeout", heartbeat, HEARTBEAT)
    elif not 0 < heartbeat <= _LONGEST_HEARTBEAT:
        raise ValueError(
            f"heartbeat_timeout={heartbeat} of the RedisBroker must be from 1 to {_LONGEST_HEARTBEAT} milliseconds: "
            "the messages of a dead process come again after that time"
        )


def _told(name: str, old: int, new: int) -> None:
    report(
        "%s of the RedisBroker is %d now, not %d: else messages of a dead process would come again late",
        name,
        new,
        old,
        level=logging.INFO,
    )


def starts_of(broker: Any, starts: Starts | None, max_crashes: float) -> Starts | None:
    """Return the counter of the starts of messages, or None if the broker redelivers no message after a crash.

    Raises:
      ValueError: if there is no counter.
    """
    if starts is not None:
        return starts
    kind = kind_of(broker)
    if kind == "redis":
        return RedisStarts(broker.client, namespace=broker.namespace)
    if kind == "rabbitmq" and max_crashes != float("inf"):
        raise ValueError(
            "RabbitMQ doesn't count how often it brings a message: give starts=RedisStarts(client), or "
            "max_crashes=None, with which a message that kills its process comes again forever"
        )
    return None
