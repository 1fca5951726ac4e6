"""All that is measured, and what is to be reached."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

from . import (
    backing_off,
    crowds,
    ending,
    growth,
    imports,
    instructions,
    journals,
    limits,
    programs,
    queueing,
    waiting,
    way,
)
from .measure import CallCounter, in_turn, ratio
from .rows import Row

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .measure import Cost, Figure
    from .rows import Scale


def against(peer: str, run: Callable[..., Awaitable[list[int] | None]], **options: Any) -> Callable[[Scale], Figure]:
    """Measures a program of the pool against a peer.

    The peer is imported when it is measured, as it may need what isn't installed.
    """

    def measure(scale: Scale) -> Figure:
        other = importlib.import_module(f".peers.{peer}", __package__)
        subject = programs.whole(run, scale.jobs, **options)
        return in_turn(subject, programs.whole(other.run, scale.jobs), scale.rounds)

    return measure


def against_run(
    acquire: Callable[..., Awaitable[list[int]]], run: Callable[..., Awaitable[list[int]]]
) -> Callable[[Scale], Figure]:
    """Measures blocks of ``acquire`` against ``run``."""
    return lambda scale: in_turn(programs.whole(acquire, scale.jobs), programs.whole(run, scale.jobs), scale.rounds)


def in_calls(
    subject: Callable[[Scale], Cost],
    reference: Callable[[Scale], Cost],
) -> Callable[[Scale], Figure]:
    """Measures growth in calls of functions; once, since they hardly vary."""
    return lambda scale: ratio([(subject(scale)(), reference(scale)())])


CATALOGUE = (
    Row(
        name="submit",
        what="submit all, join, each result(); a retry policy set; against bare",
        measure=against("bare", programs.submit_all),
        bound=1.6,
        aim=1.4,
    ),
    Row(
        name="instructions",
        what="the same in instructions of the processor",
        measure=partial(instructions.against, "bare"),
        # No count for `check`: it depends on how the interpreter was built.
        bound=1.48,
        aim=1.38,
    ),
    Row(
        name="timeouts",
        what="the same with both timeouts, against handwritten",
        measure=against("handwritten", programs.submit_all, **programs.TIMEOUTS),
        bound=0.9,
        aim=0.75,
    ),
    Row(
        name="nowait",
        what="submit_nowait all, join; against bare",
        measure=against("bare", programs.submit_all_nowait),
        bound=0.8,
        aim=0.65,
    ),
    Row(
        name="callers",
        what="run from 1,000 tasks at once, against a CapacityLimiter around the call",
        measure=against("limited_callers", programs.run_from_tasks),
        bound=1.0,
        aim=0.8,
    ),
    Row(
        name="acquire",
        what="acquire against run, one after the other",
        measure=against_run(programs.acquire_each, programs.run_each),
        bound=1.1,
        aim=1.0,
    ),
    Row(
        name="acquire-calls",
        what="the same in calls of functions per block",
        measure=in_calls(
            lambda scale: programs.whole(programs.acquire_each, scale.counted, meter=CallCounter),
            lambda scale: programs.whole(programs.run_each, scale.counted, meter=CallCounter),
        ),
        bound=1.1,
        aim=1.0,
        counts=True,
    ),
    Row(
        name="acquire-callers",
        what="acquire against run, from 1,000 tasks at once",
        measure=against_run(programs.acquire_from_tasks, programs.run_from_tasks),
        bound=1.4,
        aim=1.2,
    ),
    Row(
        name="limiter",
        what="submit all, join, each result(); against limiter, for comparison",
        measure=against("limiter", programs.submit_all),
        bound=None,
    ),
    Row(
        name="map",
        what="map against aiometer",
        measure=against("aiometer", programs.map_all),
        bound=0.45,
    ),
    Row(
        name="tenacity",
        what="map with a retry policy, against aiometer_tenacity",
        measure=against("aiometer_tenacity", programs.map_all, retry=programs.RETRY),
        bound=0.18,
    ),
    Row(
        name="stamina",
        what="map with a retry policy, against aiometer_stamina",
        measure=against("aiometer_stamina", programs.map_all, retry=programs.RETRY),
        bound=0.2,
    ),
    Row(
        name="queued",
        what="cost per job, {many_queued:,} queued against {few_queued:,}",
        measure=growth.queued_jobs,
        bound=1.6,
    ),
    Row(
        name="queued-calls",
        what="calls of functions per job, {some_queued:,} queued against {few_queued:,}",
        measure=in_calls(
            lambda scale: growth.through_the_queue(scale.some_queued, scale.some_queued, CallCounter),
            lambda scale: growth.through_the_queue(scale.few_queued, scale.few_queued, CallCounter),
        ),
        bound=1.6,
        counts=True,
    ),
    Row(
        name="comparisons",
        what="comparisons per pick, {many_compared:,} queued against {few_compared:,}",
        measure=growth.comparisons,
        bound=2.5,
        counts=True,
    ),
    Row(
        name="workers-many",
        what="cost per job by submit, {many_workers:,} workers against 4",
        measure=lambda scale: growth.workers(scale.many_workers, scale),
        bound=2.0,
    ),
    Row(
        name="workers-some",
        what="the same, {some_workers:,} workers against 4",
        measure=lambda scale: growth.workers(scale.some_workers, scale),
        bound=1.2,
    ),
    Row(
        name="workers-calls",
        what="calls of functions per job by submit, 1,000 workers against 4",
        measure=in_calls(
            lambda scale: growth.by_workers(1_000, scale.counted, CallCounter),
            lambda scale: growth.by_workers(programs.WORKERS, scale.counted, CallCounter),
        ),
        bound=2.0,
        counts=True,
    ),
    Row(
        name="waiting",
        what="cost per job, 100 kinds of requires and 100 bounce sets waiting against none",
        measure=waiting.waiting_jobs,
        bound=2.0,
    ),
    Row(
        name="waiting-calls",
        what="the same in calls of functions per job",
        measure=in_calls(
            lambda scale: waiting.beside_waiting(scale.counted, waiting=True, meter=CallCounter),
            lambda scale: waiting.beside_waiting(scale.counted, waiting=False, meter=CallCounter),
        ),
        bound=2.0,
        counts=True,
    ),
    Row(
        name="leaving-400",
        what="calls per job when the block is left without join, 400 workers against 4",
        measure=crowds.against_few(crowds.leave, 400),
        bound=1.3,
        aim=1.1,
        counts=True,
    ),
    Row(
        name="leaving-4000",
        what="the same, 4,000 workers against 4",
        measure=crowds.against_few(crowds.leave, 4_000),
        bound=1.3,
        aim=1.1,
        counts=True,
    ),
    Row(
        name="waiting-for-one",
        what="calls per job while others wait for one, 1,000 against 1",
        measure=crowds.against_few(partial(crowds.wait_for_one, draining=False), 1_000, 1),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="draining-for-one",
        what="the same when the block is left",
        measure=crowds.against_few(partial(crowds.wait_for_one, draining=True), 1_000, 1),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="tag-sets-400",
        what="calls per job, 400 workers with a tag of their own each against 4",
        measure=crowds.against_few(crowds.require, 400),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="tag-sets-1600",
        what="the same, 1,600 against 4",
        measure=crowds.against_few(crowds.require, 1_600),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="pinned",
        what="calls per job for one worker alone, all but one at work at once, 400 workers against 4",
        measure=crowds.against_few(crowds.pin, 400),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="reserving",
        what="calls per job that ends while a group waits for all workers, 400 workers against 4",
        measure=crowds.against_few(crowds.reserve, 400),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="reserving-groups",
        what="calls per group that waits for a worker of its own, 400 groups against 4",
        measure=crowds.against_few(crowds.queue_groups, 400),
        bound=1.3,
        counts=True,
    ),
    Row(
        name="worker-limit",
        what="calls per job under a rate limit of its worker that is never reached, against a plain one",
        measure=limits.against_plain(limits.under_limit_of_worker),
        bound=1.4,
        aim=1.2,
        counts=True,
    ),
    Row(
        name="pool-limit",
        what="the same under one of the pool",
        measure=limits.against_plain(limits.under_limit_of_pool),
        bound=1.4,
        aim=1.2,
        counts=True,
    ),
    Row(
        name="group-limit",
        what="the same in a group with max_running",
        measure=limits.against_plain(limits.in_bounded_group),
        bound=1.4,
        aim=1.2,
        counts=True,
    ),
    Row(
        name="requires",
        what="the same with requires, among 400 workers with a tag of their own each",
        measure=limits.against_plain(limits.with_tags),
        bound=1.4,
        aim=1.2,
        counts=True,
    ),
    Row(
        name="hedged",
        what="the same with a hedge whose time never comes",
        measure=limits.against_plain(limits.hedged),
        bound=1.4,
        aim=1.2,
        counts=True,
    ),
    Row(
        name="memory",
        what="memory per queued job, {remembered:,} queued, history=False",
        measure=partial(queueing.memory, history=False),
        bound=520,
        aim=450,
        unit="bytes",
        counts=True,
    ),
    Row(
        name="memory-history",
        what="memory per queued job, {remembered:,} queued, history=True",
        measure=partial(queueing.memory, history=True),
        bound=590,
        aim=520,
        unit="bytes",
        counts=True,
    ),
    Row(
        name="way",
        what="calls of the library's functions for run() on an idle worker",
        measure=way.calls,
        bound=55,
        unit="calls",
        counts=True,
    ),
    Row(
        name="way-files",
        what="files that these are in",
        measure=way.files,
        bound=14,
        aim=10,
        unit="files",
        counts=True,
    ),
    Row(
        name="way-retry",
        what="calls of the library's functions for run() whose first attempt fails, with a delay",
        measure=way.calls_of_retry,
        bound=140,
        aim=120,
        unit="calls",
        counts=True,
    ),
    Row(
        name="backoff-tasks",
        what="Trio tasks used by {delayed:,} jobs that back off at once",
        measure=backing_off.tasks,
        bound=0,
        unit="tasks",
        counts=True,
    ),
    Row(
        name="backoff",
        what="cost per attempt, {delayed:,} jobs that back off at once against jobs that don't fail",
        measure=backing_off.cost,
        bound=1.5,
        aim=1.3,
    ),
    Row(
        name="ideal",
        what="2 workers, 100 jobs that fail once and wait, 100 that don't; against the ideal",
        measure=backing_off.against_ideal,
        bound=1.1,
    ),
    Row(
        name="cancel",
        what="pool.cancel() with {cancelled:,} queued, per job, against submitting one",
        measure=queueing.cancelling,
        bound=0.5,
    ),
    Row(
        name="dead",
        what="leaving the block with 1,000 jobs that die, per job, against jobs that succeed",
        measure=ending.dead_jobs,
        bound=3.0,
    ),
    Row(
        name="journal",
        what="journal.map against pool.map, in seconds, the disk included",
        measure=journals.against_map,
        bound=2.5,
    ),
    Row(
        name="journal-again",
        what="a second run over {remembered:,} done items, against the first",
        measure=journals.again,
        bound=0.1,
    ),
    Row(
        name="journal-open",
        what="opening a journal of {remembered:,} results, against one of {some_queued:,}",
        measure=journals.opening,
        bound=1.5,
    ),
    Row(
        name="journal-memory",
        what="the peak of memory of two runs over four times {some_queued:,} items, against {some_queued:,}",
        measure=journals.memory,
        bound=1.25,
    ),
    Row(
        name="import",
        what="importing trio_pool beyond trio and attrs, against importing those",
        measure=imports.import_time,
        bound=0.25,
        aim=0.2,
    ),
)
