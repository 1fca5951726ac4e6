"""The options of a job, as they are given and as they are kept."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast

import attrs

from . import _validate
from ._job import NO_METADATA, Job
from ._limits import Hedge
from ._retry import RetryPolicy
from ._roster import ANYONE, Terms
from ._seat import Seat
from ._shown import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from ._group import Group
    from ._worker import Worker

T = TypeVar("T")
X = TypeVar("X")


class NodeOptions(TypedDict, total=False):
    """The options of a job wherever it is submitted. ``None`` is the default."""

    retry: RetryPolicy | None
    """whether, when and where it is tried again; the pool's policy by default"""
    attempt_timeout: float | None
    """seconds that one attempt may take; the pool's by default"""
    total_timeout: float | None
    """seconds from the call on that it may take in all; the pool's by default"""
    priority: float
    """lower starts first, 0 by default"""
    requires: Iterable[str]
    """tags that its worker must have, none by default"""
    worker: Worker | None
    """the only worker that may run it"""
    name: str | None
    """what it is called in messages; the function's name by default"""
    metadata: Mapping[str, Any] | None
    """whatever the program wants to keep with it, copied"""
    hedge: Hedge | None
    """when a slow attempt is started on further workers too; never by default"""


class JobOptions(NodeOptions, total=False):
    """The keyword arguments of everything that submits a job. ``None`` is the default."""

    after: Iterable[Job[Any]] | None
    """jobs of the pool that must have succeeded before it starts, none by default"""


if TYPE_CHECKING:
    # The same for all jobs of a stream, or a function of each one's item.
    OfItem: TypeAlias = "X | Callable[[T], X]"

if TYPE_CHECKING or sys.version_info >= (3, 11):

    class StreamOptions(TypedDict, Generic[T], total=False):
        """The keyword arguments of ``map`` and ``as_completed``: as `JobOptions`, or functions of the item."""

        retry: OfItem[RetryPolicy | None, T]
        attempt_timeout: OfItem[float | None, T]
        total_timeout: OfItem[float | None, T]
        priority: OfItem[float, T]
        requires: OfItem[Iterable[str], T]
        worker: OfItem[Worker | None, T]
        name: OfItem[str | None, T]
        metadata: OfItem[Mapping[str, Any] | None, T]
        hedge: OfItem[Hedge | None, T]
        after: OfItem[Iterable[Job[Any]] | None, T]

else:  # a typed dict can't be generic there

    class StreamOptions(dict):
        """The keyword arguments of ``map`` and ``as_completed``: as `JobOptions`, or functions of the item."""


def _terms(options: Options) -> Terms:
    gate = options.group if options.group is not None and options.group.is_gate else None
    if options.worker is None and not options.requires and gate is None:
        return ANYONE
    return Terms(options.requires, options.worker, gate=gate)


def _is_simple(options: Options) -> bool:
    return options.terms is ANYONE and not options.after


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Options:
    """The options of a job, checked. Shared by all jobs that were given none.

    ``retry`` is None where the pool's policy holds, which may change while the pool runs.
    """

    retry: RetryPolicy | None = None
    attempt_timeout: float = math.inf
    total_timeout: float = math.inf
    priority: float = 0
    requires: frozenset[str] = frozenset()
    worker: Seat | None = None
    name: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    hedge: Hedge | None = None
    # Until the job has entered: it isn't to hold on to what it has waited for.
    after: tuple[Job[Any], ...] = ()
    group: Group | None = None
    # Whether messages about the job show what its function is called with.
    show_arguments: bool = True
    # Who may take such a job, until it has failed.
    terms: Terms = attrs.field(init=False, default=attrs.Factory(_terms, takes_self=True))
    # Whether such a job may start at once, on whatever worker there is.
    is_simple: bool = attrs.field(init=False, default=attrs.Factory(_is_simple, takes_self=True))

    def replace(
        self,
        given: JobOptions | NodeOptions | Mapping[str, object],
        *,
        defaults: Options,
        roster: object,
        call: str,
        label: str = "{}",
    ) -> Options:
        """These options with what was ``given`` in their place.

        Arguments:
          given: the keyword arguments of a call, unchecked.
          defaults: where ``None`` is looked up.
          roster: what a ``worker`` must be a worker of.
          call: the name of the method that was called, for messages.
          label: what an option is called in messages.
        """
        changes: dict[str, Any] = {}
        for name, value in given.items():
            if name not in _CHECKS:
                raise TypeError(
                    f"{call}() got an unexpected keyword argument {name!r}; the options of a "
                    f"job are {', '.join(_CHECKS)}, and keyword arguments of the job's own "
                    "function go through functools.partial"
                )
            changes[name] = getattr(defaults, name) if value is None else _CHECKS[name](label.format(name), value)
        worker: Seat | None = changes.get("worker")
        if worker is not None and worker._roster is not roster:
            raise ValueError(f"{label.format('worker')} must be a worker of this pool, {_validate.got(worker)}")
        return attrs.evolve(self, **changes) if changes else self


class ItemOptions:
    """The options of a stream's jobs, of which some may be functions of the item.

    Arguments:
      given: the keyword arguments of a call, unchecked.
      defaults, roster, call: as for `Options.replace`.

    Attributes:
      fixed: those that all the jobs have.
      by_item: the functions, by the names of the options.
    """

    __slots__ = ("_call", "_defaults", "_roster", "by_item", "fixed")

    def __init__(self, given: Mapping[str, object], *, defaults: Options, roster: object, call: str) -> None:
        self._defaults = defaults
        self._roster = roster
        self._call = call
        self.by_item: dict[str, Callable[[Any], object]] = {
            name: value for name, value in given.items() if callable(value) and name in _CHECKS
        }
        for name, fn in self.by_item.items():
            if inspect.iscoroutinefunction(fn):
                raise TypeError(f"{name} must be a plain function of the item, not the async {shown(fn)}")
        rest = {name: value for name, value in given.items() if name not in self.by_item}
        self.fixed: Options = defaults.replace(rest, defaults=defaults, roster=roster, call=call)

    def of(self, item: Any) -> Options:
        """The options of the job of an item.

        Raises:
          ValueError, TypeError: if a function returns what is no such option.
          BaseException: whatever a function raises.
        """
        given = {name: fn(item) for name, fn in self.by_item.items()}
        for name, value in given.items():
            if inspect.iscoroutine(value):
                value.close()  # or Python warns that it was never awaited
                raise TypeError(
                    f"the result of {name} must be had without awaiting it, got {shown(cast('object', value))}"
                )
        return self.fixed.replace(
            given, defaults=self._defaults, roster=self._roster, call=self._call, label="the result of {}"
        )


def _policy(name: str, value: object) -> RetryPolicy:
    return _validate.instance(name, value, RetryPolicy)


def _after(name: str, value: object) -> tuple[Job[Any], ...]:
    if isinstance(value, Job):
        raise TypeError(f"{name} must be an iterable of jobs, not the single {shown(cast('object', value))}")
    try:
        jobs = tuple(cast("Iterable[Job[Any]]", value))
    except TypeError:
        raise TypeError(f"{name} must be an iterable of jobs, {_validate.got(value)}") from None
    for job in jobs:
        if not isinstance(cast("object", job), Job):
            raise TypeError(f"{name} must hold jobs, {_validate.got(job)}")
    return jobs


def _hedge(name: str, value: object) -> Hedge:
    return _validate.instance(name, value, Hedge)


def _worker(name: str, value: object) -> Seat:
    if not isinstance(value, Seat):
        raise TypeError(f"{name} must be a Worker, {_validate.got(value)}")
    return value


def _metadata(name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, {_validate.got(value)}")
    return MappingProxyType(dict(cast("Mapping[str, Any]", value)))


def _priority(name: str, value: object) -> float:
    _validate.real(name, value)
    return cast("float", value)


_CHECKS: Mapping[str, Any] = {
    "retry": _policy,
    "attempt_timeout": _validate.seconds,
    "total_timeout": _validate.seconds,
    "priority": _priority,
    "requires": _validate.tags,
    "worker": _worker,
    "name": _validate.text,
    "metadata": _metadata,
    "after": _after,
    "hedge": _hedge,
}
