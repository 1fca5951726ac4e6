"""The middleware that connects dramatiq with the pools' queues of a broker."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Protocol

import dramatiq
from dramatiq.middleware import MiddlewareError, SkipMessage

if TYPE_CHECKING:
    from dramatiq.broker import MessageProxy

    from ._actor import PoolActor

    class Buries(Protocol):
        """The interface of an object that can send a message to the dead letters."""

        def bury(self, message: MessageProxy, reason: str) -> bool: ...


class DeadJob(Exception):
    """The job of a message is dead. Raised to dramatiq; submitters that wait for a result read its name."""


class ReturnedMessage(SkipMessage):
    """A copy of the message is in the queue already. Raised to dramatiq."""


class _Returned(logging.Filter):
    """Suppresses dramatiq's warning about each message that goes back to the broker."""

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args
        return not (isinstance(args, tuple) and len(args) == 1 and getattr(args[0], "_is_returned", False) is True)


_QUIET = _Returned()


class Deliveries(dramatiq.Middleware):
    """Records which message each thread performs, for all pools' queues of a broker.

    It comes before the broker's other middleware, so it has the final decision about a message.

    Attributes:
      declared: the actors of each pool's queue of the broker.
      consumptions: those pools' queues that are being consumed.
      in_hand: the broker's identifiers of messages between their start and their acknowledgment.
    """

    def __init__(self) -> None:
        self.declared: list[list[PoolActor[..., Any]]] = []
        self.consumptions: list[Buries] = []
        self.in_hand: set[Any] = set()
        self._local = threading.local()

    @classmethod
    def of(cls, broker: dramatiq.Broker) -> Deliveries:
        """Return the middleware of a broker, after adding it if the broker has none."""
        for each in broker.middleware:
            if isinstance(each, Deliveries):
                return each
        made = cls()
        if broker.middleware:
            broker.add_middleware(made, before=type(broker.middleware[0]))
        else:
            broker.add_middleware(made)
        logging.getLogger("dramatiq.worker.WorkerThread").addFilter(_QUIET)
        return made

    @property
    def message(self) -> Any:
        """The message that the calling thread performs, or None."""
        return getattr(self._local, "message", None)

    # Called by dramatiq.

    def before_worker_boot(self, broker: dramatiq.Broker, worker: object) -> None:
        if not self.consumptions:
            raise MiddlewareError(
                "this broker has actors for a pool, but this worker has no pool: start a program that enters "
                "PoolQueue.consume() with python, not with dramatiq's command line"
            )

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self._local.message = message
        self.in_hand.add(_id_of(message))

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        self._local.message = None
        if isinstance(exception, DeadJob):
            # The middleware Retries, if present, rejects messages that are not to be tried again.
            message.failed = getattr(message, "_is_rejected", False)

    def after_skip_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self._local.message = None
        if getattr(message, "_is_returned", False):
            message.failed = False

    def after_ack(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self.in_hand.discard(_id_of(message))

    def before_nack(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        if message.actor_name not in broker.get_declared_actors():
            for consumption in self.consumptions[:1]:
                consumption.bury(message, f"there is no actor {message.actor_name!r} here")

    def after_nack(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        self.in_hand.discard(_id_of(message))


def _id_of(message: MessageProxy) -> object:
    return message.options.get("redis_message_id")
