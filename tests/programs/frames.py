"""Where a statement is executed, and what all who execute some have in common."""

from __future__ import annotations

import abc
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import trio

from tests.programs.language import Block
from tests.programs.world import Errand, GroupBook, JobBook, Usable, World
from trio_pool import Job


class Odd:
    """What a job's function returns: no other is the same."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand


@attrs.define(eq=False)
class Frame:
    """Where a statement is executed: one for each task."""

    world: World
    # Where jobs are submitted.
    to: Any
    group: GroupBook | None = None
    # The job that it is part of, if any, and what that uses.
    book: JobBook | None = None
    usable: Usable | None = None
    run: int = 0
    # How many shields are around it, and the scopes that it has opened.
    shields: int = 0
    scopes: tuple[trio.CancelScope, ...] = ()
    handles: list[Job[Any]] = attrs.field(factory=list[Job[Any]])

    def inner(self, **changes: Any) -> Frame:
        """The same within something."""
        return attrs.evolve(self, **changes)


class Base(abc.ABC):
    """What executes statements.

    Attributes:
      world: where.
    """

    def __init__(self, world: World) -> None:
        self.world: World = world

    @abc.abstractmethod
    async def block(self, frame: Frame, block: Block) -> None:
        """Execute statements one after another."""

    @property
    @abc.abstractmethod
    def fn(self) -> Callable[..., Coroutine[Any, Any, Odd]]:
        """The function of all jobs."""

    def place(self, frame: Frame, to_pool: bool) -> tuple[Any, GroupBook | None]:
        """Where a statement submits to: the group that it is in, or the pool."""
        return (self.world.pool, None) if to_pool else (frame.to, frame.group)
