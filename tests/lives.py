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

from tests.general_way import straight_way_forbidden
from tests.programs.raising import in_words
from trio_pool import Job, Worker
from trio_pool._api.job_group import BaseGroup
from trio_pool._api.pool import BasePool
from trio_pool._core.lifecycle import Lifecycle
from trio_pool._core.straight_way import StraightWay
from trio_pool._runtime.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable


@attrs.define(eq=False)
class Life(trio.abc.Instrument):
    """All that is seen of the pools of a run of Trio that is `watched`.

    Attributes:
      pools: the pools.
      groups: their groups.
      jobs: all jobs that have entered them, in this order.
      heard: what they have told instruments.
      steps: how the jobs stood at each step of Trio's tasks.
    """

    pools: list[BasePool] = attrs.field(factory=list[BasePool])
    groups: list[BaseGroup] = attrs.field(factory=list[BaseGroup])
    jobs: dict[Job[Any], None] = attrs.field(factory=dict[Job[Any], None])
    heard: list[object] = attrs.field(factory=list[object])
    steps: list[object] = attrs.field(factory=list[object])

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note how the jobs stand."""
        for pool in self.pools:
            lifecycle = pool._engine.lifecycle
            self.steps.append((trio.current_time(), task.name, *lifecycle.count.values(), lifecycle.unstarted))

    def seen(self) -> Generator[str]:
        """Each thing in words: what came first is first."""
        for kind, found in (("step", self.steps), ("heard", self.heard)):
            for number, each in enumerate(found):
                yield f"{kind} {number}: {each}"
        for job in self.jobs:
            yield f"job {job.id}: {in_plain(told_of(job))}"
        yield from (f"pool: {in_plain(pool.statistics())}" for pool in self.pools)
        yield from (f"group: {in_plain(group.statistics())}" for group in self.groups)


def difference(one: Life, other: Life) -> str:
    """The first thing in which two lives differ, or nothing."""
    pairs = zip_longest(one.seen(), other.seen())
    return next((f"{first}\nbut {second}" for first, second in pairs if first != second), "")


def told_of(job: Job[Any]) -> dict[str, object]:
    """What a handle tells of a job, and what is left in it."""
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
    if isinstance(value, Worker):
        return f"Worker {value.id}"
    if isinstance(value, Job):
        return f"Job {cast('Any', value).id}"
    if isinstance(value, dict):
        return {key: in_plain(each) for key, each in cast("dict[str, object]", value).items()}
    if isinstance(value, (tuple, list)):
        return [in_plain(each) for each in cast("Iterable[object]", value)]
    if attrs.has(type(value)):
        fields = [field.name for field in attrs.fields(cast("Any", type(value)))]
        return {name: in_plain(getattr(value, name)) for name in fields if hasattr(value, name)}
    return type(value).__name__


@contextmanager
def watched(*, is_general: bool = False, note: Callable[[Job[Any]], object] = id) -> Generator[Life]:
    """Watch the pools that are made in this block.

    Arguments:
      is_general: whether they are forbidden the straight way of plain jobs.
      note: is called with each job that enters one.
    """
    life = Life()

    def noting(way: Callable[..., None], seen: Callable[..., object]) -> Callable[..., None]:
        def noted(*arguments: Any, **options: Any) -> None:
            way(*arguments, **options)
            seen(*arguments)

        return noted

    def opens(pool: BasePool, *_: object) -> None:
        life.pools.append(pool)
        trio.lowlevel.add_instrument(life)

    def enters(_: object, job: Job[Any], *__: object) -> None:
        if job not in life.jobs:
            life.jobs[job] = None
            note(job)

    def tells(_: Engine, told: tuple[str, object]) -> None:
        life.heard.append((trio.current_time(), told[0], in_plain(told[1])))

    def opens_group(group: BaseGroup, *_: object) -> None:
        life.groups.append(group)

    ways: tuple[tuple[type[Any], str, Callable[..., object]], ...] = (
        (BasePool, "__init__", opens),
        (BaseGroup, "__init__", opens_group),
        (Lifecycle, "move", enters),
        (Lifecycle, "enter", enters),
        (StraightWay, "enter_running", enters),
        (Engine, "_on_tell", tells),
    )
    with ExitStack() as patches:
        if is_general:
            patches.enter_context(straight_way_forbidden())
        for owner, name, seen in ways:
            patches.enter_context(patch.object(owner, name, noting(getattr(owner, name), seen)))
        yield life
