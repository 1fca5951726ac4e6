"""Messages that Redis has delivered to this process but that have not arrived here.

A response of Redis is lost with its connection. If a message can't be decoded, the other messages in the
same response are lost too. Redis counts all of these as under way here for as long as this process
lives. So this process looks for them from time to time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from dramatiq.message import get_encoder

from .._basics.error_text import in_words
from .._basics.logs import report

if TYPE_CHECKING:
    import dramatiq

    from ._middleware import Deliveries


class Orphans(threading.Thread):
    """Looks for lost messages while a worker runs.

    Arguments:
      broker: a ``RedisBroker``.
      worker: its worker.
      deliveries: the middleware, which records the messages that are being processed.
    """

    def __init__(self, broker: Any, worker: dramatiq.Worker, deliveries: Deliveries) -> None:
        super().__init__(name="trio_pool.dramatiq orphans", daemon=True)
        self._broker = broker
        self._worker = worker
        self._deliveries = deliveries
        self._stopping = threading.Event()
        # The messages that were missing at the last look, by queue. One that is just arriving is not missing twice.
        self._missing: dict[str, set[str]] = {}

    def run(self) -> None:
        while not self._stopping.wait(self._broker.heartbeat_timeout / 1000):
            try:
                self.look()
            except Exception:  # the broker can't be reached: the next look will do
                self._missing.clear()

    def stop(self) -> None:
        self._stopping.set()
        self.join()

    def look(self) -> None:
        """Return the messages that have been missing since the last look to their queues."""
        for name in list(self._worker.consumers):
            key = f"{self._broker.namespace}:__acks__.{self._broker.broker_id}.{name}"
            given_out = {identifier.decode() for identifier in self._broker.client.smembers(key)}
            missing = given_out - self._here(name)
            for identifier in missing & self._missing.get(name, set()):
                self._return(name, identifier)
            self._missing[name] = missing

    def _here(self, name: str) -> set[Any]:
        """The messages of a queue that have arrived."""
        consumer = self._worker.consumers[name]
        items = [*self._worker.work_queue.queue, *consumer.delay_queue.queue]
        return self._deliveries.in_hand | {item.message.options.get("redis_message_id") for item in items}

    def _return(self, name: str, identifier: str) -> None:
        broker = self._broker
        data = broker.client.hget(f"{broker.namespace}:{name}.msgs", identifier)
        try:
            get_encoder().decode(data)
        except Exception as error:
            report("a message of the queue %r can't be read, and goes to its dead letters: %s", name, in_words(error))
            broker.do_nack(name, identifier)
        else:
            broker.do_requeue(name, identifier)
