"""A graph of four jobs in the shape of a diamond, and a function that notes its calls."""

from __future__ import annotations

import trio

from trio_pool import Node


class Log:
    """A function that notes when it is called with what, and takes a second."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []

    async def __call__(self, resource: object, name: str) -> str:
        self.calls.append((name, trio.current_time()))
        await trio.sleep(1.0)
        return name.upper()

    @property
    def order(self) -> str:
        """What it was called with."""
        return "".join(name for name, _ in self.calls)


def diamond(log: Log) -> dict[str, Node]:
    """One, two after it, and one after both."""
    return {
        "d": Node(log, "d", after=["b", "c"]),
        "b": Node(log, "b", after=["a"]),
        "a": Node(log, "a"),
        "c": Node(log, "c", after=["a"]),
    }
