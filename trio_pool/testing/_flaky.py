"""A function that fails a given number of times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, overload

import attrs
import trio

from .._policies import validate

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    V = TypeVar("V", default=None)
else:
    from typing import TypeVar

    V = TypeVar("V")


def check_error(name: str, value: object) -> None:
    given: Any = value
    if not isinstance(given, BaseException) and not (isinstance(given, type) and issubclass(given, BaseException)):
        raise TypeError(f"{name} must be an exception or a type of one, {validate.got(value)}")


@attrs.define(eq=False)
class Flaky(Generic[V]):
    """An async function that fails a given number of times, and then always returns a result.

    Submit it in place of a real function: it takes any arguments, is a checkpoint, and records the
    arguments of each call. Among concurrent calls, those that came first fail. A call that is
    cancelled doesn't count as a failure, so a later call fails instead.

    Arguments:
      times: exactly how many calls fail.
      result: the return value of the calls after those.
      error: what the failing calls raise, an exception or an exception type.

    Attributes:
      calls: the arguments of each call so far, including the resource.
    """

    times: int = attrs.field(validator=validate.by(validate.count, least=0))
    result: V = attrs.field(kw_only=True, default=None)
    error: Exception | type[Exception] = attrs.field(
        kw_only=True, default=RuntimeError, validator=validate.by(check_error)
    )
    calls: list[tuple[Any, ...]] = attrs.field(factory=list[tuple[Any, ...]], init=False)
    # How many calls have failed, or are running and will fail.
    _failures: int = attrs.field(default=0, init=False, repr=False)

    # Two signatures, so that type checkers accept it both for slots and for a resource.
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
