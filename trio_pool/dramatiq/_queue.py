"""The queue of a pool, as programs use it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

import dramatiq

from .._policies import validate
from ..engines import Suspects
from ..engines._jobs import JobMaker, at_once, check_fit, mention_idle_places
from ._actor import check_owned, make_actor, refuse
from ._brokers import kind_of, put_right, starts_of
from ._consumption import WORKER_TIMEOUT, Consumption
from ._middleware import DeadJob, Deliveries

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from typing import Concatenate

    from typing_extensions import ParamSpec, Unpack

    from .._api.pool import Pool, SlotPool
    from ..engines import ActorOptions
    from ._actor import PoolActor
    from ._starts import Starts

    P = ParamSpec("P")

V = TypeVar("V")


class PoolQueue:
    """Actors of a dramatiq broker whose messages become jobs of a pool.

    Messages are delivered at least once: a message is acknowledged when its job has ended, so it is
    redelivered if the process dies before that. It must be safe to run a job twice.

    The pool handles the attempts, the backoff and the timeouts of a message. The broker handles crashes
    of the process and messages that wait for a long time.

    This sets up the broker: a ``RedisBroker`` redelivers messages of dead processes after 10 seconds.
    Settings of the program that would redeliver them too late are rejected.

    Arguments:
      broker: a ``RedisBroker`` or a ``RabbitmqBroker``; for tests also a ``StubBroker``.
      max_crashes: how many processes a message may take down before it is dead; ``None`` for no bound.
      max_overstays: how often a message may exceed its ``total_timeout``, in one process or another,
          before it is dead.
      dead_letter: the name of an actor that gets each dead message, as a dict, and the reason; without one,
          dead messages are in the broker's own dead-letter queue, where dramatiq keeps them for a week.
      starts: counts the starts of messages, for ``max_crashes``; by default in the Redis of a ``RedisBroker``.

    Raises:
      ValueError, TypeError: if an argument or a setting of the broker is out of its range or of the
          wrong type.
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        *,
        max_crashes: int | None = 3,
        max_overstays: int = 3,
        dead_letter: str | None = None,
        starts: Starts | None = None,
    ) -> None:
        self._broker: Any = validate.instance("broker", broker, dramatiq.Broker)
        self._suspects = Suspects(max_crashes)
        self._max_overstays = validate.count("max_overstays", max_overstays, least=1)
        self._dead_letter = validate.optional("dead_letter", dead_letter, str)
        if kind_of(broker) == "redis":
            put_right(broker)
        self._starts = starts_of(broker, starts, self._suspects.max_crashes)
        self._actors: list[PoolActor[..., Any]] = []
        self._consumption: Consumption | None = None
        self._deliveries = Deliveries.of(broker)
        self._deliveries.declared.append(self._actors)

    @overload
    def actor(self, fn: Callable[Concatenate[Any, P], Awaitable[V]], /) -> PoolActor[P, V]: ...

    @overload
    def actor(
        self,
        *,
        resource: Literal[True] = True,
        actor_name: str | None = None,
        queue_name: str = "default",
        broker_options: Mapping[str, Any] | None = None,
        **options: Unpack[ActorOptions],
    ) -> Callable[[Callable[Concatenate[Any, P], Awaitable[V]]], PoolActor[P, V]]: ...

    @overload
    def actor(
        self,
        *,
        resource: Literal[False],
        actor_name: str | None = None,
        queue_name: str = "default",
        broker_options: Mapping[str, Any] | None = None,
        **options: Unpack[ActorOptions],
    ) -> Callable[[Callable[P, Awaitable[V]]], PoolActor[P, V]]: ...

    def actor(
        self,
        *fn: Callable[..., Any],
        resource: bool = True,
        actor_name: str | None = None,
        queue_name: str = "default",
        broker_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Make an actor from a job's function; used as a decorator, with or without arguments.

        Arguments:
          fn: the function of the jobs; its first argument is the resource.
          resource: whether the function gets a resource; False for a pool of slots.
          actor_name: the actor's name, the same in all processes; the function's name by default.
          queue_name: the queue of the broker that the actor's messages go to.
          broker_options: options of the actor for dramatiq, such as ``store_results``.
          **options: options of the jobs; each can be a function of the message's arguments.

        Returns:
          PoolActor: the actor; its ``send`` takes the function's arguments without the resource.

        Raises:
          ValueError, TypeError: if an option is out of its range, of the wrong type, or one that the pool handles.
        """
        passed_on = {} if broker_options is None else dict(broker_options)
        check_owned(passed_on)
        jobs = partial(JobMaker, options=options)
        priority = options.get("priority", 0)
        jobs(fn=print)  # which checks the options now

        def declare(fn: Callable[..., Any]) -> PoolActor[..., Any]:
            actor: Any = dramatiq.actor(
                actor_class=partial(make_actor, perform=self._perform, takes_resource=resource, jobs=jobs(fn)),
                actor_name=actor_name,
                queue_name=queue_name,
                priority=priority,
                broker=self._broker,
                **passed_on,
            )(fn)
            actor.options["throws"] = DeadJob
            self._actors.append(actor)
            return cast("PoolActor[..., Any]", actor)

        return declare(*fn) if fn else declare

    def consume(
        self,
        pool: Pool[Any] | SlotPool,
        *,
        threads: int | None = None,
        prefetch: int | None = None,
        grace: float = 30.0,
    ) -> AbstractAsyncContextManager[None]:
        """Run the messages' jobs in a pool while the block lasts; also run the broker's other actors.

        Entering starts a dramatiq worker in threads of this process; a broker that can't be
        reached is waited for. At the end of the block the worker takes no more messages. The jobs under way
        have ``grace`` seconds to end; then they are cancelled, and their messages go back to the broker at
        once. If the block is left by an exception or a cancellation, there is no grace. If the broker can't
        be reached at the end, messages stay unacknowledged, which is logged: the broker redelivers them.

        The end of the block is a checkpoint. A cancellation while it waits ends the grace.

        Arguments:
          pool: the pool that runs the jobs; it must belong to the current Trio run.
          threads: how many messages may be under way at once, including those whose jobs back off or wait for a worker.
              By default twice the number of places of the pool's workers.
          prefetch: how many messages the process may hold, including those under way. By default twice
              ``threads``. If jobs take minutes, use at most ``threads``, so that other machines are kept busy.
          grace: seconds for the jobs under way at the end.

        Raises:
          RuntimeError: if the queue is being consumed already, or the pool is of another Trio run.
          ValueError, TypeError: if an argument is out of its range or of the wrong type, an actor doesn't fit the
              pool, or there is no actor for dead letters.
        """
        check_fit(pool, {actor.actor_name: actor._takes_resource for actor in self._actors})
        number = at_once(pool) if threads is None else validate.count("threads", threads, least=1)
        held = min(2 * number, 65535) if prefetch is None else validate.count("prefetch", prefetch, least=1)
        seconds = validate.seconds("grace", grace)
        if self._dead_letter is not None and self._dead_letter not in self._broker.actors:
            raise ValueError(f"dead_letter is {self._dead_letter!r}, and the broker has no actor of that name")
        mention_idle_places(pool, number, "threads")
        return self._consume(pool, number, held, seconds)

    @asynccontextmanager
    async def _consume(
        self, pool: Pool[Any] | SlotPool, threads: int, prefetch: int, grace: float
    ) -> AsyncGenerator[None]:
        if self._consumption is not None:
            raise RuntimeError("the queue is being consumed already")
        letter = None if self._dead_letter is None else self._broker.actors[self._dead_letter]
        consumption = self._consumption = Consumption(
            self._broker,
            self._deliveries,
            pool,
            starts=self._starts,
            suspects=self._suspects,
            letter=letter,
            max_overstays=self._max_overstays,
        )
        worker = dramatiq.Worker(
            self._broker, queues=self._queue_names(), worker_timeout=WORKER_TIMEOUT, worker_threads=threads
        )
        worker.queue_prefetch = prefetch
        left = 0.0
        self._deliveries.consumptions.append(consumption)
        try:
            try:
                await consumption.begin(worker)
                yield
                left = grace
            finally:
                await consumption.end(left)
        finally:
            self._deliveries.consumptions.remove(consumption)
            self._consumption = None

    def _queue_names(self) -> set[str] | None:
        """The queues whose messages this process takes, without those of other pools' queues; None for all queues."""
        others = [actors for actors in self._deliveries.declared if actors is not self._actors]
        if not others:
            return None
        foreign = {actor for actors in others for actor in actors}
        return {actor.queue_name for actor in self._broker.actors.values() if actor not in foreign}

    def _perform(self, actor: PoolActor[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        message = self._deliveries.message
        if message is None or self._consumption is None:
            refuse(actor.actor_name)
        return self._consumption.perform(actor, message, args, kwargs)
