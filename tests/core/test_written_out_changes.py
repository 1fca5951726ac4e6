"""The most frequent changes of a job's state, each written out, have the effect of the general one."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from tests.core.makers import Core, make_core, make_job
from tests.lives import in_plain
from trio_pool import JobState
from trio_pool._core.waits import Wait
from trio_pool._model.records import JobRecord, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_pool import Job
    from trio_pool._model.records import Group, WorkerRecord

    Change = Callable[[Core, Job[Any], WorkerRecord], None]


def enter(core: Core, job: Job[Any], _: WorkerRecord) -> None:
    core.lifecycle.enter(job, 1.0)


def enter_by_a_move(core: Core, job: Job[Any], _: WorkerRecord) -> None:
    core.lifecycle.move(job, JobState.QUEUED, 1.0)


def start(core: Core, job: Job[Any], worker: WorkerRecord) -> None:
    core.lifecycle.move(job, JobState.QUEUED, 1.0)
    core.lifecycle.start(job, worker, 2.0)


def start_by_a_move(core: Core, job: Job[Any], worker: WorkerRecord) -> None:
    core.lifecycle.move(job, JobState.QUEUED, 1.0)
    core.lifecycle.move(job, JobState.RUNNING, 2.0, worker)


def start_again(core: Core, job: Job[Any], worker: WorkerRecord) -> None:
    start_by_a_move(core, job, worker)
    core.lifecycle.move(job, JobState.QUEUED, 3.0)
    core.lifecycle.start(job, worker, 4.0)


def start_again_by_a_move(core: Core, job: Job[Any], worker: WorkerRecord) -> None:
    start_by_a_move(core, job, worker)
    core.lifecycle.move(job, JobState.QUEUED, 3.0)
    core.lifecycle.move(job, JobState.RUNNING, 4.0, worker)


def enter_running(core: Core, job: Job[Any], worker: WorkerRecord) -> None:
    straight_way: Any = core.scheduler.submit_straight
    straight_way.__self__.enter_running(job, worker, 1.0)


def enter_running_by_moves(core: Core, job: Job[Any], worker: WorkerRecord) -> None:
    core.lifecycle.move(job, JobState.QUEUED, 1.0)
    core.lifecycle.move(job, JobState.RUNNING, 1.0, worker)


PAIRS = [
    (enter, enter_by_a_move),
    (start, start_by_a_move),
    (start_again, start_again_by_a_move),
    (enter_running, enter_running_by_moves),
]


def seen(core: Core, job: Job[Any], group: Group) -> object:
    """All that a change may have an effect on."""
    lifecycle = core.lifecycle
    fields = [name for name in JobRecord.__slots__ if name not in ("__weakref__", "_id", "_host", "_context")]
    commands = [(kind, in_plain(subject)) for kind, subject in core.commands]
    return (
        {name: in_plain(getattr(job, name)) for name in fields},
        [(kind, str(words).replace(f"Job {job.id}", "the job")) for kind, words in commands],
        [lifecycle.count, lifecycle.unstarted, lifecycle.tallies, len(lifecycle.news), len(lifecycle.newcomers)],
        [list(lifecycle.live.values()) == [job], group.count, list(group.live) == [job]],
        core.scheduler.waits.standing(),
    )


@pytest.mark.parametrize("change", PAIRS, ids=lambda pair: pair[0].__name__)
@pytest.mark.parametrize("has_instruments", [False, True])
@pytest.mark.parametrize("keep_history", [False, True])
def test_a_change_that_is_written_out_is_a_move(
    change: tuple[Change, Change], has_instruments: bool, keep_history: bool
) -> None:
    # In a group whose end is awaited or not; awaited by tasks outside till its start or its end, or by another job.
    for in_group, group_is_awaited, start_is_awaited, is_watched, is_waited_for in product((False, True), repeat=5):
        if change[0] is enter_running and (in_group or start_is_awaited):
            continue  # it is a plain job, and nobody has its handle yet
        found: list[object] = []
        for way in change:
            core = make_core(keep_history=keep_history, instruments=[object()] if has_instruments else [])
            group = core.open_group(max_running=1)
            group.awaited = int(group_is_awaited)
            job = make_job(group=group if in_group else None)
            worker = core.make_worker()
            if start_is_awaited:
                job._extras.is_start_awaited = True
            if is_watched:
                job._watchers = {print: None}
            if is_waited_for:
                core.scheduler.waits.begin(Wait(Run(make_job(), worker, 0.0, 9.0), None, lambda: [job]))  # noqa: B023
            way(core, job, worker)
            found.append(seen(core, job, group))
        assert found[0] == found[1]
