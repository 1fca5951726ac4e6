"""What can be seen of the life of a pool, so that two lives can be held against each other."""

from __future__ import annotations

import enum
import re
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import attrs
import trio

from tests.programs.raising import in_words
from trio_pool import Instrument, Job, Worker
from trio_pool._core.lifecycle import Lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

EVENTS = [name for name in vars(Instrument) if not name.startswith("_")]


@attrs.define(eq=False)
class Life:
    """All that is seen of one life of a pool.

    Attributes:
      pool: the pool, once there is one.
      jobs: all jobs that have entered it, in this order.
      groups: the groups of the pool.
      heard: what the pool has told an instrument.
      steps: how the jobs stood at each step of Trio's tasks.
    """

    pool: Any = None
    jobs: list[Job[Any]] = attrs.field(factory=list[Job[Any]])
    groups: list[Any] = attrs.field(factory=list[Any])
    heard: list[object] = attrs.field(factory=list[object])
    steps: list[object] = attrs.field(factory=list[object])

    def seen(self) -> Generator[str]:
        """Each thing in words: what came first is first."""
        for kind, found in (("step", self.steps), ("heard", self.heard)):
            for number, each in enumerate(found):
                yield f"{kind} {number}: {each}"
        for job in self.jobs:
            yield f"job {job.id}: {in_plain(told_of(job))}"
        if self.pool is not None:
            yield f"pool: {in_plain(self.pool.statistics())}"
        for number, group in enumerate(self.groups):
            yield f"group {number}: {in_plain(group.statistics())}"


def difference(one: Life, other: Life) -> str:
    """The first thing in which two lives differ, or nothing."""
    pairs = zip_longest(one.seen(), other.seen())
    return next((f"{first}\nbut {second}" for first, second in pairs if first != second), "")


def told_of(job: Job[Any]) -> dict[str, object]:
    """What a handle tells of a job."""
    return {
        "name": job.name,
        "state": job.state,
        "history": [(transition.state, transition.at) for transition in job.history],
        "attempts": job.attempts,
        "value": job._value,
        "reason": job.reason,
        "dead": job.dead_reason,
        "error": job._error,
        "finished": job.finished_at,
        "left over": (job._run, job._context, job._setback, job._lane, job._ticket, job._window, job.worker),
    }


def in_plain(value: object) -> object:
    """The same in words and numbers, without the addresses of objects."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, BaseException):
        return re.sub(" at 0x[0-9a-f]+", "", in_words(value))
    if isinstance(value, (Job, Worker)):
        return f"{type(value).__name__} {value.id}"
    if isinstance(value, dict):
        return {str(key): in_plain(each) for key, each in cast("dict[object, object]", value).items()}
    if isinstance(value, (tuple, list)):
        return [in_plain(each) for each in cast("Iterable[object]", value)]
    if attrs.has(type(value)):
        fields = attrs.fields(cast("Any", type(value)))
        return {field.name: in_plain(getattr(value, field.name)) for field in fields if hasattr(value, field.name)}
    return type(value).__name__


class Listener(Instrument):
    """Notes what a pool tells."""

    def __init__(self, life: Life) -> None:
        self._life = life

    if not TYPE_CHECKING:

        def __getattribute__(self, name: str) -> Any:
            if name not in EVENTS:
                return super().__getattribute__(name)
            heard = self._life.heard
            return lambda *arguments: heard.append((trio.current_time(), name, in_plain(arguments)))


class Steps(trio.abc.Instrument):
    """Notes at each step of Trio's tasks how the jobs of a pool stand."""

    def __init__(self, life: Life, pool: Callable[[], Any]) -> None:
        self._life = life
        self._pool = pool

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note it."""
        pool = self._pool()
        if pool is not None:
            lifecycle = pool._engine.lifecycle
            self._life.steps.append((trio.current_time(), task.name, *lifecycle.count.values(), lifecycle.unstarted))


@contextmanager
def entries_noted(note: Callable[[Job[Any]], object]) -> Generator[None]:
    """Call ``note`` with each job that enters a pool in this block, without an instrument."""

    noted: set[Job[Any]] = set()

    def noting(way: Callable[..., None]) -> Callable[..., None]:
        def enters(lifecycle: Lifecycle, job: Job[Any], *arguments: Any) -> None:
            way(lifecycle, job, *arguments)
            if job not in noted:  # one way may go through another
                noted.add(job)
                note(job)

        return enters

    with ExitStack() as patches:
        for name in ("move", "enter", "enter_running"):
            patches.enter_context(patch.object(Lifecycle, name, noting(getattr(Lifecycle, name))))
        yield
