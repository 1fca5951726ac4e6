"""Plain jobs go straight, and all that can be seen is as if they went the general way."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import product
from random import Random
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
import trio
from trio.testing import MockClock

from tests.busy_tasks import GROUP_TASKS, TASKS
from tests.effort import FIRST, SHARE, part_of
from tests.harness import (
    Disturbance,
    break_a_lifespan,
    cancel_a_group,
    cancel_a_job,
    cancel_all_jobs,
    cancel_from_outside,
    cancel_the_pool,
    close_the_pool,
    leave_alone,
    pause_all_workers,
    press_ctrl_c,
    remove_a_worker,
    remove_all_workers,
    repeatable_schedule,
    run_once,
)
from tests.lives import difference, watched
from tests.plain_lives import live
from tests.pool.waiting.test_random_lending import run_program
from tests.programs.both_ways import differences_of
from tests.programs.generator import program_of
from tests.programs.language import written
from tests.programs.test_meddling import Run as Meddled
from tests.programs.test_meddling import main
from tests.stream_tasks import STREAM_TASKS
from trio_pool._core.straight_way import StraightWay
from trio_pool._model.records import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.busy_world import Task
    from trio_pool._model.records import JobRecord

PROGRAMS = 200
TOGETHER = 20


@pytest.mark.parametrize("first", range(0, PROGRAMS, TOGETHER))
def test_random_programs_do_the_same_both_ways(first: int) -> None:
    for seed in range(first + FIRST, first + TOGETHER, SHARE):
        program = program_of(seed)
        found = differences_of(program)
        assert not found, f"{found}\nof seed {seed}:\n{written(program)}"


def difference_in(lives: Callable[[], object]) -> str:
    """What differs where something is done both ways."""
    with watched() as straight:
        lives()
    with watched(is_general=True) as general:
        lives()
    assert straight.jobs
    return difference(straight, general)


@pytest.mark.parametrize("part", range(4))
def test_pools_with_whose_jobs_an_instrument_meddles_do_the_same_both_ways(
    part: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="trio_pool")
    number = part_of(100)

    def lives(seed: int) -> None:
        with repeatable_schedule(seed):
            trio.run(main, Meddled(Random(seed)), clock=MockClock(autojump_threshold=0))

    for seed in range(part * number // 4, (part + 1) * number // 4):
        assert not difference_in(lambda: lives(seed)), seed  # noqa: B023  # called at once


@pytest.mark.parametrize("part", range(4))
def test_jobs_that_lend_do_the_same_both_ways(part: int) -> None:
    number = part_of(100)
    for seed in range(part * number // 4, (part + 1) * number // 4):
        assert not difference_in(lambda: run_program(seed)), seed  # noqa: B023  # called at once


DISTURBANCES: list[Disturbance] = [
    leave_alone,
    cancel_from_outside,
    cancel_the_pool,
    close_the_pool,
    cancel_a_job,
    cancel_all_jobs,
    cancel_a_group,
    remove_a_worker,
    remove_all_workers,
    pause_all_workers,
    break_a_lifespan,
    press_ctrl_c,
]


@pytest.mark.parametrize("is_quiet", [False, True], ids=["told", "quiet"])
@pytest.mark.parametrize("tasks", [TASKS, GROUP_TASKS, STREAM_TASKS], ids=["jobs", "groups", "streams"])
@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_a_busy_pool_that_is_disturbed_does_the_same_both_ways(
    disturb: Disturbance, tasks: tuple[Task, ...], is_quiet: bool
) -> None:
    moments = list(range(31, 400, 47))[FIRST % 2 :: SHARE]
    for at, inside in product(moments, [False] if is_quiet else [False, True]):
        if disturb is press_ctrl_c and inside:
            continue

        def lives() -> None:
            run_once(disturb, at, inside=inside, tasks=tasks, is_quiet=is_quiet)  # noqa: B023  # called at once

        assert not difference_in(lives), (at, inside)


def plain_life(seed: int) -> None:
    with repeatable_schedule(seed):
        trio.run(live, seed, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("part", range(4))
def test_lives_with_very_many_plain_jobs_are_the_same_both_ways(part: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="trio_pool")
    number = part_of(24)
    for seed in range(part * number // 4, (part + 1) * number // 4):
        assert not difference_in(lambda: plain_life(seed)), seed  # noqa: B023  # called at once


def test_in_these_lives_very_many_jobs_go_straight(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="trio_pool")
    ways: Counter[type] = Counter()
    submit = StraightWay.submit

    def noting(self: StraightWay, job: JobRecord, now: float) -> Run | bool:
        done = submit(self, job, now)
        ways[type(done) if done else type(None)] += 1
        return done

    with patch.object(StraightWay, "submit", noting):
        for seed in range(8):
            plain_life(seed)
    assert ways[bool] > 200  # queued
    assert ways[Run] > 25
    assert ways[type(None)] > 100  # not taken
