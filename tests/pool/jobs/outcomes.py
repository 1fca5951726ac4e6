"""Functions that end in each way; their last argument is the job's own."""

from __future__ import annotations

from typing import Any

import trio

from trio_pool import Discard


async def echo(*args: Any) -> Any:
    return args[-1]


async def nap(*args: Any) -> Any:
    await trio.sleep(args[-1])
    return args[-1]


async def fail(*args: Any) -> None:
    raise ValueError("no luck")


async def discard(*args: Any) -> None:
    raise Discard("nobody wants it")
