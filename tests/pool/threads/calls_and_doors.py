"""The kinds of threads that call a pool, and the jobs that they run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.threads import in_plain_thread, in_trios_thread

V = TypeVar("V")

InThread = Callable[..., Awaitable[Any]]
each_kind = pytest.mark.parametrize("in_thread", [in_plain_thread, in_trios_thread])


async def echo(*args: Any) -> Any:
    """Returns its last argument, which is never the resource."""
    await trio.lowlevel.checkpoint()
    return args[-1]


async def hand_back(_: object, value: V) -> V:
    """The same with exact types."""
    await trio.lowlevel.checkpoint()
    return value


class Doors:
    """Jobs that go on when they are let, and tell how far they are."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.opened = trio.Event()
        self.ended = False

    async def pass_through(self, _: object) -> str:
        self.started.set()
        try:
            await self.opened.wait()
        finally:
            with trio.CancelScope(shield=True):
                await wait_all_tasks_blocked()
            self.ended = True
        return "through"

    async def sulk(self, _: object) -> None:
        self.started.set()
        try:
            await self.opened.wait()
        except trio.Cancelled:
            raise ValueError("sulks") from None
