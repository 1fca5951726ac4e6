"""A dramatiq worker inside a Trio program: its threads make jobs from messages, and settle these as the jobs end."""

from __future__ import annotations

import threading
import time
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import dramatiq
import trio
from dramatiq.message import get_encoder
from dramatiq.results import Results

from .._basics.error_text import in_words
from .._basics.logs import logger, report
from .._model.errors import PoolClosedError
from ..engines import Ending
from ..engines._under_way import UnderWay
from ._brokers import kind_of
from ._middleware import DeadJob, ReturnedMessage
from ._orphans import Orphans

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

    from dramatiq.broker import MessageProxy

    from .._api.pool import Pool, SlotPool
    from ..engines import Suspects
    from ._actor import PoolActor
    from ._middleware import Deliveries
    from ._starts import Starts

X = TypeVar("X")

WORKER_TIMEOUT = 200
"""Milliseconds that a message may wait in an idle queue: dramatiq polls its broker again after that time."""

_PATIENCE = 3.0
"""How many seconds the end of the consumption waits for a broker that can't be reached."""


class Consumption:
    """The consumption of a queue, from entering `PoolQueue.consume` to leaving it.

    Arguments:
      broker: the broker.
      deliveries: the middleware of the broker.
      pool: runs the jobs.
      starts: counts the starts of messages, or None.
      suspects: decides about messages that are redelivered after a crash.
      letter: the actor that gets dead messages, or None to use the broker's own dead letters.
      max_overstays: how often a message may overstay.
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        deliveries: Deliveries,
        pool: Pool[Any] | SlotPool,
        *,
        starts: Starts | None,
        suspects: Suspects,
        letter: dramatiq.Actor[..., Any] | None,
        max_overstays: int,
    ) -> None:
        self._broker: Any = broker
        self._deliveries = deliveries
        self._starts = starts
        self._suspects = suspects
        self._letter = letter
        self._max_overstays = max_overstays
        self._results: Any = next((each for each in broker.middleware if isinstance(each, Results)), None)
        self._is_redis = kind_of(broker) == "redis"
        self._under_way = UnderWay(pool)
        self._lock = threading.Lock()
        # How many threads wait for the broker to come back.
        self._stranded = 0

    # The program's thread.

    async def begin(self, worker: dramatiq.Worker) -> None:
        """Start the worker's threads."""
        self._worker = worker
        self._orphans = Orphans(self._broker, worker, self._deliveries) if self._is_redis else None
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(worker.start)
            if self._orphans is not None:
                self._orphans.start()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def end(self, grace: float) -> None:
        """Take no more messages; give the running jobs ``grace`` seconds; then return the rest to the broker."""
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.stop_taking)
        self._under_way.cut_waiting()
        async with trio.open_nursery() as nursery:
            over = trio.Event()
            nursery.start_soon(self._wind_up, over)
            try:
                with trio.move_on_after(grace):
                    await over.wait()
            finally:
                self._under_way.cut()

    async def _wind_up(self, over: trio.Event) -> None:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._stop)
        over.set()

    # Any thread.

    def stop_taking(self) -> None:
        """Have the worker take no more messages, and return those that wait here to the broker. Doesn't wait."""
        with self._lock:
            if self._under_way.is_ending:
                return
            self._under_way.is_ending = True
        worker = self._worker
        for thread in worker.workers:
            thread.stop()
        if self._is_redis:
            # The consumers of delayed messages go on: their requests are the heartbeat of this process.
            for name, consumer in worker.consumers.items():
                if name not in self._broker.delay_queues:
                    consumer.prefetch = 0
                    if consumer.consumer is not None:
                        vars(consumer.consumer)["prefetch"] = 0
            self._return_waiting()

    def _return_waiting(self) -> None:
        by_queue: dict[str, list[MessageProxy]] = {}
        items: Any = self._worker.work_queue
        for item in _take_all(items):
            by_queue.setdefault(item.message.queue_name, []).append(item.message)
        for name, messages in by_queue.items():
            try:
                self._worker.consumers[name].requeue_messages(messages)
            except Exception as error:  # still unacknowledged, they are redelivered after the end of the process
                report("%d messages could not be returned to the broker: %s", len(messages), in_words(error))

    def _stop(self) -> None:
        """Wait until all threads of the worker have ended."""
        for thread in self._worker.workers:
            while thread.is_alive():
                thread.join(0.05)
                if self._under_way.is_cut and self._stranded:
                    thread.join(_PATIENCE)
                    break
        if self._orphans is not None:
            self._orphans.stop()
        if self._is_redis:
            self._return_waiting()
        left = sum(thread.is_alive() for thread in self._worker.workers)
        try:
            self._worker.stop(timeout=5000)
        except Exception as error:  # the broker can't be reached
            report("dramatiq's worker did not stop well: %s", in_words(error))
        self._broker.middleware[:] = [
            m for m in self._broker.middleware if getattr(m, "worker", None) is not self._worker
        ]
        if left:
            report("%d messages could not be settled, as the broker can't be reached; they will come again", left)
        if self._starts is not None:
            try:
                self._starts.flush()
            except Exception as error:
                report("the starts of messages could not be forgotten: %s", in_words(error))

    # The threads of the worker.

    def perform(self, actor: PoolActor[..., Any], message: MessageProxy, args: Any, kwargs: Any) -> Any:
        """Run the job of a message, and store its outcome; after that, dramatiq acknowledges the message."""
        if self._under_way.is_ending:
            self._give_back(message, 0.0)
        key = message.message_id
        crashes = 0 if self._starts is None else self._insist(self._starts.begin, key)
        verdict = self._suspects.admit(key, crashes)
        if verdict == "wait" and self._starts is not None:
            self._insist(self._starts.withdraw, key)
            self._enqueue(message, self._suspects.pause())
        if verdict == "bury":
            self._reject(actor, message, f"its process has died {crashes} times")
        try:
            ending = self._run(actor, args, kwargs)
        finally:
            self._suspects.dismiss(key)
        times = 1 + message.options.get("overstays", 0)
        if ending.kind == "returned":
            self._give_back(message, ending.delay)
        if ending.kind == "overstayed" and times < self._max_overstays:
            self._give_back(message, float(2**times), overstays=times)
        if ending.kind != "done":
            self._reject(actor, message, ending.reason)
        return self._finish(actor, message, ending.result)

    def _run(self, actor: PoolActor[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ending:
        future: Future[Any] | None = None
        try:
            future = self._under_way.submit(*actor._jobs.make(args, kwargs))
            return Ending("done", future.result())
        except BaseException as error:
            if isinstance(error, PoolClosedError):
                self.stop_taking()
            return self._under_way.ending_of(error)
        finally:
            if future is not None:
                self._under_way.forget(future)

    def _finish(self, actor: PoolActor[..., Any], message: MessageProxy, result: Any) -> Any:
        stored_for = self._result_kept(actor, message)
        encoders = [] if stored_for is None else [self._results.backend.encoder]
        if message.options.get("pipe_target") is not None:
            encoders.append(get_encoder())
        try:
            for encoder in encoders:
                encoder.encode({"result": result})
        except Exception as error:
            self._reject(actor, message, f"its result can't be written: {in_words(error)}")
        if stored_for is not None:
            # Dramatiq stores it too, but tries only once, and acknowledges the message in any case.
            self._insist(self._results.backend.store_result, message, result, stored_for)
        if self._starts is not None:
            self._starts.end(message.message_id, at_once=False)
        return result if encoders else None

    def _result_kept(self, actor: PoolActor[..., Any], message: MessageProxy) -> int | None:
        """Return for how many milliseconds a result is kept, or None if it isn't."""
        middleware = self._results
        if middleware is None:
            return None

        def look_up(name: str, default: Any) -> Any:
            return message.options.get(name, actor.options.get(name, default))

        return (
            look_up("result_ttl", middleware.result_ttl) if look_up("store_results", middleware.store_results) else None
        )

    def _give_back(self, message: MessageProxy, delay: float, **options: int) -> NoReturn:
        """Enqueue a copy, and have dramatiq acknowledge the message."""
        if self._starts is not None:
            self._insist(partial(self._starts.end, message.message_id, at_once=True))
        self._enqueue(message, delay, **options)

    def _enqueue(self, message: MessageProxy, delay: float, **options: int) -> NoReturn:
        copy = message.copy(options=options)
        self._insist(partial(self._broker.enqueue, copy, delay=round(delay * 1000) if delay else None))
        vars(message)["_is_returned"] = True
        message.fail()  # otherwise None would be stored as its result; the middleware undoes this
        raise ReturnedMessage

    def _reject(self, actor: PoolActor[..., Any], message: MessageProxy, reason: str) -> NoReturn:
        """Store a dead message, and have dramatiq acknowledge or reject it."""
        report("%s of message %s is dead: %s", actor.actor_name, message.message_id, reason)
        kept = self._result_kept(actor, message)
        error = DeadJob(reason)
        if self.bury(message, reason):
            if self._results is not None and kept is not None:
                self._insist(self._results.backend.store_exception, message, error, kept)
        else:
            vars(message)["_is_rejected"] = True
            message.fail()
        if self._starts is not None:
            self._starts.end(message.message_id, at_once=False)
        raise error

    def bury(self, message: MessageProxy, reason: str) -> bool:
        """Send a message to the dead letters; return False if there is no actor for that."""
        letter = self._letter
        if letter is None:
            return False
        self._insist(letter.send, message.asdict(), reason)
        return True

    def _insist(self, call: Callable[..., X], *args: Any) -> X:
        """Repeat a call to the broker until it succeeds: otherwise a message would be lost or done twice."""
        pause = 0.1
        while True:
            try:
                return call(*args)
            except Exception as error:
                logger.warning("the broker can't be reached: %s", in_words(error))
            with self._lock:
                self._stranded += 1
            time.sleep(pause)
            with self._lock:
                self._stranded -= 1
            pause = min(2.0, 2 * pause)


def _take_all(items: Any) -> Generator[Any]:
    """Take everything that is in a queue."""
    try:
        while True:
            yield items.get_nowait()
    except Empty:
        return
