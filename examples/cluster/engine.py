"""The engine between the machines: streaQ, over Redis or Valkey, with the settings that this use of it needs.

The program that submits and the workers must agree on what is said here. Each setting is there for a reason, and most
of the reasons only show when something goes wrong.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from needs import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

try:
    from streaq import Worker
except ImportError:
    sys.exit(MISSING)

Context = TypeVar("Context")

QUEUE = "files"

IDLE_TIMEOUT = 5.0
"""Seconds after which a job that its worker says nothing more about is given to another one.

This is what a crash costs, or up to twice as much where no other jobs come in. It must be longer than anything that
holds up the event loop. And it must be longer than a job takes. A worker renews its claim on the jobs that it is
running, but not on the one that it has fetched ahead: if that one waits for so long, it is done elsewhere meanwhile,
and then its first worker finds nothing there and puts "Task expired!" in the place of its result.
"""

GRACE_PERIOD = 5
"""Whole seconds that the jobs under way get to finish at SIGTERM. The default, 0, would cancel them all at once."""


def connect_submitter(url: str, *, waiters: int) -> Worker[None]:
    """The engine for a program that only submits, and waits for so many results at once.

    Arguments:
      url: where Redis or Valkey is, as in ``redis://127.0.0.1:6379``.
      waiters: the results that are waited for at once.
    """
    return Worker(
        url,
        queue_name=QUEUE,
        # Whoever waits for a result holds a connection for it, and needs another one for a moment. There are 64 by
        # default: with as many waiters none is left, and all of them wait for ever.
        redis_kwargs={"max_connections": waiters + 16},
        # Without repr for what JSON has no form of: an argument that a worker would not get as it is is refused here.
        serializer=json.dumps,
        deserializer=json.loads,
        anyio_backend="trio",
    )


def connect_worker(
    url: str,
    *,
    name: str,
    slots: int,
    idle_timeout: float,
    lifespan: Callable[[], AbstractAsyncContextManager[Context]],
) -> Worker[Context]:
    """The engine for a process that does jobs.

    Arguments:
      url: where Redis or Valkey is.
      name: what this process is called; no two may be called the same at the same time.
      slots: the jobs that are under way here at once.
      idle_timeout: see `IDLE_TIMEOUT`; the same for all workers.
      lifespan: opens what the jobs use, and stays open until the last has ended.
    """
    return Worker(
        url,
        queue_name=QUEUE,
        id=name,
        concurrency=slots,
        # When a worker stops, those that it has fetched and not started wait for idle_timeout, as after a crash. One is
        # the fewest there can be; by default it would be as many as there are slots.
        prefetch=1,
        lifespan=lifespan,
        idle_timeout=idle_timeout,
        grace_period=GRACE_PERIOD,
        # A result or an error that can't be serialised ends the whole worker, not just the job. With repr nearly all
        # can be: not a dict with keys that are no strings or numbers, and not what contains itself, so no task here
        # returns such things. Pickle, the default, lets whoever can write to Redis run any code in each worker.
        serializer=partial(json.dumps, default=repr),
        deserializer=json.loads,
        anyio_backend="trio",
    )
