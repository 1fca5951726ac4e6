"""The options of a job, as given by users and as stored."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, cast

import attrs

from .._basics.text import shown
from .._policies import validate
from .._policies.draws import checked_uses
from .._policies.hedge import Hedge
from .._policies.retry import RetryPolicy
from .handles import Job
from .records import JobSpec, WorkerRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import TypeAlias

    from .handles import Worker

T = TypeVar("T")
X = TypeVar("X")


class NodeOptions(TypedDict, total=False):
    """The options of a job in every call that submits one. ``None`` means the default."""

    retry: RetryPolicy | None
    """whether, when and where the job is tried again; the pool's policy by default"""
    attempt_timeout: float | None
    """seconds that one attempt may take; the pool's by default"""
    total_timeout: float | None
    """seconds that the job may take in total, from the call on; the pool's by default"""
    priority: float
    """lower numbers start first, 0 by default"""
    requires: Iterable[str]
    """tags that the job's worker must have, none by default"""
    worker: Worker | None
    """the only worker that may run the job"""
    name: str | None
    """the job's name in messages; the function's name by default"""
    metadata: Mapping[str, Any] | None
    """any data that the program wants to keep with the job, copied"""
    key: Hashable
    """on whose behalf the job runs, such as a tenant or a host; nobody's by default"""
    hedge: Hedge | None
    """when a slow attempt also starts on other workers; never by default"""
    uses: Mapping[str, float] | None
    """how much of what each attempt uses, by the units of limits, nothing by default"""


class JobOptions(NodeOptions, total=False):
    """The keyword arguments of every call that submits a job. ``None`` means the default."""

    after: Iterable[Job[Any]] | None
    """jobs of the pool that must have succeeded before the job starts, none by default"""


if TYPE_CHECKING:
    # One value for all jobs of a stream, or a function of each job's item.
    OfItem: TypeAlias = "X | Callable[[T], X]"

if TYPE_CHECKING or sys.version_info >= (3, 11):

    class StreamOptions(TypedDict, Generic[T], total=False):
        """The keyword arguments of ``map`` and ``as_completed``: `JobOptions`, or functions of the item."""

        retry: OfItem[RetryPolicy | None, T]
        attempt_timeout: OfItem[float | None, T]
        total_timeout: OfItem[float | None, T]
        priority: OfItem[float, T]
        requires: OfItem[Iterable[str], T]
        worker: OfItem[Worker | None, T]
        name: OfItem[str | None, T]
        metadata: OfItem[Mapping[str, Any] | None, T]
        key: OfItem[Hashable, T]
        hedge: OfItem[Hedge | None, T]
        uses: OfItem[Mapping[str, float] | None, T]
        after: OfItem[Iterable[Job[Any]] | None, T]


if not TYPE_CHECKING and sys.version_info < (3, 11):  # a TypedDict can't be generic there

    class StreamOptions(dict):
        """The keyword arguments of ``map`` and ``as_completed``: `JobOptions`, or functions of the item."""


def revised(
    options: JobSpec,
    given: JobOptions | NodeOptions | Mapping[str, object],
    *,
    defaults: JobSpec,
    crew: object,
    call: str,
    label: str = "{}",
) -> JobSpec:
    """Return ``options``, with the given ones replaced.

    Arguments:
      given: the keyword arguments of a call, unchecked.
      defaults: the options that replace ``None``.
      crew: the crew to which a ``worker`` must belong.
      call: the name of the called method, for messages.
      label: the format of an option's name in messages.
    """
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _CHECKS:
            raise TypeError(f"{call}() got an unexpected keyword argument {name!r}; {_hint(name)}")
        changes[name] = getattr(defaults, name) if value is None else _CHECKS[name](label.format(name), value)
    worker: WorkerRecord | None = changes.get("worker")
    if worker is not None and worker._crew is not crew:
        raise ValueError(f"{label.format('worker')} must be a worker of this pool, {validate.got(worker)}")
    # The same as attrs.evolve, which would take longer than everything else here.
    return JobSpec(**(dict(zip(_FIELDS, _fields_of(options), strict=True)) | changes)) if changes else options


def _hint(name: str) -> str:
    if name == "max_running":
        return (
            "max_running bounds a pool, a resource, or a group of jobs: "
            f"'async with pool.open_group({name}=...) as group:', and call the group's method"
        )
    if name == "buffer":
        return "buffer is an argument of map() and as_completed()"
    options = f"the options of a job are {', '.join(_CHECKS)}"
    return f"{options}, and keyword arguments of the job's own function go through functools.partial"


class ItemSpec:
    """The options of a stream's jobs; some can be functions of the item.

    Arguments:
      given: the keyword arguments of a call, unchecked.
      defaults, crew, call: as for `revised`.

    Attributes:
      fixed: the options that all the jobs share.
      by_item: the functions, by the names of the options.
    """

    __slots__ = ("_call", "_crew", "_defaults", "by_item", "fixed")

    def __init__(self, given: Mapping[str, object], *, defaults: JobSpec, crew: object, call: str) -> None:
        self._defaults = defaults
        self._crew = crew
        self._call = call
        self.by_item: dict[str, Callable[[Any], object]] = {
            name: value for name, value in given.items() if callable(value) and name in _CHECKS
        }
        for name, fn in self.by_item.items():
            if inspect.iscoroutinefunction(fn):
                raise TypeError(f"{name} must be a plain function of the item, not the async {shown(fn)}")
        rest = {name: value for name, value in given.items() if name not in self.by_item}
        self.fixed: JobSpec = revised(defaults, rest, defaults=defaults, crew=crew, call=call)

    def of(self, item: Any) -> JobSpec:
        """Return the options of the job of an item.

        Raises:
          ValueError, TypeError: if a function returns an invalid option.
          BaseException: whatever a function raises.
        """
        given = {name: fn(item) for name, fn in self.by_item.items()}
        for name, value in given.items():
            if inspect.iscoroutine(value):
                value.close()  # otherwise Python warns that the coroutine was never awaited
                made = shown(cast("object", value))
                raise TypeError(f"{name} must be a plain function of the item, which returned {made}")
        return revised(
            self.fixed, given, defaults=self._defaults, crew=self._crew, call=self._call, label="the result of {}"
        )


def _policy(name: str, value: object) -> RetryPolicy:
    return validate.instance(name, value, RetryPolicy)


def _after(name: str, value: object) -> tuple[Job[Any], ...]:
    if isinstance(value, Job):
        raise TypeError(f"{name} must be an iterable of jobs, not the single {shown(cast('object', value))}")
    try:
        jobs = tuple(cast("Iterable[Job[Any]]", value))
    except TypeError:
        raise TypeError(f"{name} must be an iterable of jobs, {validate.got(value)}") from None
    for job in jobs:
        if not isinstance(cast("object", job), Job):
            raise TypeError(f"{name} must hold jobs, {validate.got(job)}")
    return jobs


def _hedge(name: str, value: object) -> Hedge:
    return validate.instance(name, value, Hedge)


def _key(name: str, value: object) -> Hashable:
    try:
        hash(value)
    except TypeError:
        raise TypeError(f"{name} must be hashable, {validate.got(value)}") from None
    return value


def _worker(name: str, value: object) -> WorkerRecord:
    if not isinstance(value, WorkerRecord):
        hint = "; see pool.workers" if isinstance(value, str) else ""
        raise TypeError(f"{name} must be a Worker, {validate.got(value)}{hint}")
    return value


def _priority(name: str, value: object) -> float:
    validate.real(name, value)
    return cast("float", value)


_FIELDS = tuple(field.name for field in attrs.fields(JobSpec) if field.init)
_fields_of = attrgetter(*_FIELDS)

_CHECKS: Mapping[str, Any] = {
    "retry": _policy,
    "attempt_timeout": validate.seconds,
    "total_timeout": validate.seconds,
    "priority": _priority,
    "requires": validate.tags,
    "worker": _worker,
    "name": validate.text,
    "metadata": validate.metadata,
    "after": _after,
    "key": _key,
    "hedge": _hedge,
    "uses": checked_uses,
}
