"""How workers without a job are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .._basics.text import shown
from . import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def _check_fn(name: str, value: object) -> None:
    if not callable(value):
        raise TypeError(f"{name} must be callable, {validate.got(value)}")


@attrs.frozen
class HealthCheck:
    """A call that finds out whether the resource of an idle worker still works.

    The pool awaits ``fn(resource)``, with what jobs get, on each worker that has been idle for
    ``every`` seconds. If ``fn`` raises an exception or takes longer than ``timeout``, the worker
    leaves and reenters its lifespan, before a job finds out. Each failure is logged as a warning, an
    exception with its traceback.

    A job that is due at the same instant goes before the check; one that comes later waits for it,
    or goes to another worker. There is no check while the worker or the pool is paused, resting,
    quarantined or ending. ``Worker.remove()``, closing the pool and the end of its body cancel a
    check; ``on_cut`` applies then. A check is no attempt: it counts in no limit, breaker,
    ``max_jobs`` or idle time.

    An immutable value: instances compare and print by their fields.

    Arguments:
      fn: an async function of what jobs get; its return value is ignored.
      every: the seconds for which a worker has been idle, more than zero.
      timeout: the seconds that ``fn`` may take, more than zero; ``inf`` for no bound.

    Raises:
      ValueError, TypeError: if a field is out of its range or of the wrong type.
    """

    fn: Callable[[Any], Awaitable[object]] = attrs.field(validator=validate.by(_check_fn), repr=shown)
    every: float = attrs.field(default=30.0, validator=validate.by(validate.positive), kw_only=True)
    timeout: float = attrs.field(default=5.0, validator=validate.by(validate.positive), kw_only=True)
