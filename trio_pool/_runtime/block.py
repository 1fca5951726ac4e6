"""The ``async with`` blocks of pools, groups and live views."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, TypeVar

import trio

from .._basics.attributes import OnlyAsync
from .._basics.tracebacks import set_traceback, traceback_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

T_co = TypeVar("T_co", covariant=True)


class Block(OnlyAsync, AbstractAsyncContextManager[T_co]):
    """A block, implemented by a generator that yields once; the exception of the block's body, or None, is sent to it.

    Unlike with `contextlib.asynccontextmanager`, the exception is not thrown into the generator. So
    it passes through no cancel scope, which would split an exception group. Nor are any of its
    attributes assigned, which some exceptions don't allow.

    Arguments:
      call: the function that returns the block, for error messages.
      generator: raises the exception that leaves the block, or ends if there is none.
    """

    __slots__ = ("_call", "_entered", "_generator")

    def __init__(self, call: str, generator: AsyncGenerator[T_co, BaseException | None]) -> None:
        self._call = call
        self._generator = generator
        self._entered = False

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> T_co:
        if self._entered:
            raise RuntimeError(f"what {self._call}() returns can be entered only once; call it again")
        self._entered = True
        return await anext(self._generator)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        shown = None if error is None else traceback_of(error)
        try:
            await self._generator.asend(error)
        except StopAsyncIteration:
            return error is not None  # noqa: ASYNC910  # the generator has a checkpoint
        except BaseException as outcome:
            if outcome is not error:
                raise
            # Propagate the exception as if the block had not been there.
            set_traceback(outcome, shown)
            return False  # noqa: ASYNC910
        raise AssertionError(f"the block of {self._call}() yields once")

    if not TYPE_CHECKING:  # a type checker reports missing attributes by itself

        def __getattr__(self, name: str) -> None:
            if name in Block.__slots__:
                raise AttributeError(name)  # a copy in progress has no attributes yet
            words = f"what {self._call}() returns has no attribute {name!r}"
            raise AttributeError(f"{words}; enter it first: 'async with {self._call}(...)'")

    def __repr__(self) -> str:
        return f"<{self._call}(...), {'entered' if self._entered else 'to be entered with async with'}>"
