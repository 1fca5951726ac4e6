"""Blocking functions: each runs in a thread of its own, and a session of a blocking library in one at a time."""

from __future__ import annotations

import hashlib
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import trio

from trio_pool import open_pool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
V = TypeVar("V")


def in_thread(fn: Callable[P, V]) -> Callable[P, Awaitable[V]]:
    """Make an async function of a blocking one."""

    @wraps(fn)  # so that the job has its name
    async def run(*args: P.args, **kwargs: P.kwargs) -> V:
        return await trio.to_thread.run_sync(partial(fn, *args, **kwargs))

    return run


class Session:
    """Stands for a session of a library that blocks, and that no two threads may use at once."""

    def __init__(self, name: str) -> None:
        self.name = name

    def sign(self, text: str) -> str:
        return hashlib.pbkdf2_hmac("sha256", text.encode(), self.name.encode(), 10_000).hex()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


async def main() -> None:
    texts = [f"text {number}" for number in range(20)]
    async with open_pool(4) as slots, slots.map(in_thread(digest), texts) as digests:
        print(len({each async for each in digests}), "digests by four threads at most")
    async with open_pool([Session("one"), Session("two")]) as pool:
        async with pool.map(in_thread(Session.sign), texts) as signatures:
            print(len([each async for each in signatures]), "signatures by two sessions")
        job = await pool.submit(in_thread(Session.sign), "a text")
        print(f"{job.name} of {len(await job.wait())} characters")


if __name__ == "__main__":
    trio.run(main)
