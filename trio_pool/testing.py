"""Aids for testing programs that use a pool. Nothing else in the package imports this."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, overload

import attrs
import trio

from . import _validate
from ._base import checked_pool
from ._open import forced_max_running
from ._public import publish

if TYPE_CHECKING:
    from collections.abc import Generator

    from typing_extensions import TypeVar

    from ._pool import Pool, SlotPool

    V = TypeVar("V", default=None)
else:
    from typing import TypeVar

    V = TypeVar("V")

__all__ = ["Flaky", "assert_settled", "one_at_a_time"]


def _check_times(_: object, __: attrs.Attribute[int], value: int) -> None:
    _validate.count("times", value, least=0)


def _check_error(_: object, __: attrs.Attribute[Any], value: object) -> None:
    given: Any = value
    if not isinstance(given, BaseException) and not (isinstance(given, type) and issubclass(given, BaseException)):
        raise TypeError(f"error must be an exception or a type of one, {_validate.got(value)}")


@attrs.define(eq=False)
class Flaky(Generic[V]):
    """An async function that fails so many times, and then returns a result for ever.

    Submit it in place of a real function: it takes any arguments, makes a checkpoint, and
    remembers what it was called with. Of calls that are under way at once, those that came first
    fail. One that is cancelled has not failed, so another does in its place.

    Arguments:
      times: how many calls fail, exactly.
      result: what the calls after those return.
      error: what the failing calls raise, an exception or a type of one.

    Attributes:
      calls: the arguments of each call so far, the resource included.
    """

    times: int = attrs.field(validator=_check_times)
    result: V = attrs.field(kw_only=True, default=None)
    error: Exception | type[Exception] = attrs.field(kw_only=True, default=RuntimeError, validator=_check_error)
    calls: list[tuple[Any, ...]] = attrs.field(factory=list[tuple[Any, ...]], init=False)
    # How many have failed, or are under way and going to.
    _failures: int = attrs.field(default=0, init=False, repr=False)

    # Two signatures, so that it passes for a function of slots and for one of a resource.
    @overload
    async def __call__(self) -> V: ...

    @overload
    async def __call__(self, first: Any, /, *args: Any) -> V: ...

    async def __call__(self, *args: Any) -> V:
        """Fail or return. A checkpoint."""
        self.calls.append(args)
        fails = self._failures < self.times
        self._failures += fails
        try:
            await trio.lowlevel.checkpoint()
        except BaseException:
            self._failures -= fails
            raise
        if not fails:
            return self.result
        error = self.error
        raise error if isinstance(error, type) else error.with_traceback(None)


@contextmanager
def one_at_a_time() -> Generator[None]:
    """Make the pools that are opened inside the block run one attempt at a time.

    As if they were opened with ``max_running=1``, so that a test sees its jobs one after
    another. Works for pools opened by the code under test too, as long as they are opened
    in this task or one started in the block.
    """
    token = forced_max_running.set(1)
    try:
        yield
    finally:
        forced_max_running.reset(token)


_MOST_NAMED = 10  # jobs


def assert_settled(pool: Pool[Any] | SlotPool) -> None:
    """Check that every job of a pool has ended.

    Call it after the pool's block, or after ``join``.

    Raises:
      AssertionError: if one hasn't; it names those that have not.
      TypeError: if ``pool`` is no pool.
    """
    checked_pool(pool)
    unsettled = list(pool.jobs())
    if unsettled:
        named = ", ".join(map(repr, unsettled[:_MOST_NAMED]))
        rest = len(unsettled) - _MOST_NAMED
        raise AssertionError(f"jobs that have not ended: [{named}]{f' and {rest} more' if rest > 0 else ''}")


publish(__name__, __all__)
