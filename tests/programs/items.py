"""Where the items of streams come from: iterables of all kinds, well-behaved or not."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any

import trio

from tests.programs.language import Items
from tests.programs.world import World, has_rudeness


def source_of(world: World, items: Items, make: Callable[[], Any]) -> Iterable[Any] | AsyncIterable[Any]:
    """An iterable or async iterable of so many items, each made when it is asked for."""
    if items.kind == "list":
        return [make() for _ in range(items.number)]
    if items.kind == "generator":
        return _generator(world, items, make)
    if items.kind == "async":
        return _async_generator(world, items, make)
    return _Class(world, items, make)


def _generator(world: World, items: Items, make: Callable[[], Any]) -> Iterable[Any]:
    for number in range(items.number):
        if number == items.fails_at:
            raise _failure(world, items)
        yield make()


class _Class:
    def __init__(self, world: World, items: Items, make: Callable[[], Any]) -> None:
        self._world = world
        self._items = items
        self._make = make
        self._number = -1

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        self._number += 1
        if self._number >= self._items.number:
            raise StopAsyncIteration
        await _wait(self._world, self._items)
        if self._number == self._items.fails_at:
            raise _failure(self._world, self._items)
        return self._make()


def _failure(world: World, items: Items) -> BaseException:
    error = world.raising(items.failure)
    if has_rudeness(error):
        world.ends("items raised what is no Exception")
    return error


async def _wait(world: World, items: Items) -> None:
    if items.around == "wait in nursery":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, items.delay)
    else:
        await trio.sleep(items.delay)


async def _async_generator(world: World, items: Items, make: Callable[[], Any]) -> AsyncIterator[Any]:
    try:
        async with _Around(items, "scope", "nursery"):
            for number in range(items.number):
                async with _Around(items, "each"):
                    await _wait(world, items)
                    if number == items.fails_at:
                        raise _failure(world, items)
                    yield make()
    finally:
        if items.cleanup:
            await world.clean_up(items.cleanup)


class _Around:
    """What the items keep open while they yield, if it is one of these.

    No generator: those of contextlib assign to what is raised.
    """

    def __init__(self, items: Items, *where: str) -> None:
        self._items = items
        self._is_there = items.around in where
        self._scope = trio.CancelScope()
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> None:
        if not self._is_there:
            return
        if self._items.around == "nursery":
            nursery = await self._manager.__aenter__()
            self._scope = nursery.cancel_scope
            nursery.start_soon(trio.sleep, self._items.deadline)
        else:
            self._scope.deadline = trio.current_time() + self._items.deadline
            self._scope.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        if not self._is_there:
            return None
        if self._items.around == "nursery":
            if kind is None:
                self._scope.cancel()
            return await self._manager.__aexit__(kind, error, traceback)
        return self._scope.__exit__(kind, error, traceback)
