"""Whatever a busy pool is disturbed by, and at whichever step: nothing is lost or left over."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.busy_tasks import GROUP_TASKS
from tests.busy_world import Session, World
from tests.harness import (
    Disturbance,
    break_a_lifespan,
    cancel_a_group,
    cancel_a_job,
    cancel_all_jobs,
    cancel_from_outside,
    cancel_the_pool,
    check,
    close_all_groups,
    close_the_pool,
    leave_alone,
    pause_all_workers,
    press_ctrl_c,
    remove_a_worker,
    remove_all_workers,
    run_at_every_moment,
    run_once,
)
from trio_pool import JobState


def test_undisturbed_it_settles_every_job() -> None:
    world = run_once(leave_alone).world
    ends = Counter(job.state for job in world.jobs)
    assert ends[JobState.SUCCEEDED] > 10
    assert ends[JobState.DEAD] > 3
    assert sum(bool(attempt.hedges) for job in world.jobs for attempt in job.attempts) > 2


DISTURBANCES: list[Disturbance] = [
    cancel_from_outside,
    cancel_the_pool,
    close_the_pool,
    cancel_a_job,
    cancel_all_jobs,
    remove_a_worker,
    remove_all_workers,
    pause_all_workers,
    break_a_lifespan,
]


@pytest.mark.parametrize("disturb", [*DISTURBANCES, press_ctrl_c])
def test_disturbed_at_any_step_it_settles_every_job_and_leaves_every_lifespan(disturb: Disturbance) -> None:
    assert run_at_every_moment(disturb) > 100


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_disturbed_by_an_instrument_at_any_event_it_settles_every_job_and_leaves_every_lifespan(
    disturb: Disturbance,
) -> None:
    assert run_at_every_moment(disturb, inside=True) > 100


def test_undisturbed_groups_settle_every_job() -> None:
    world = run_once(leave_alone, tasks=GROUP_TASKS).world
    ends = Counter(job.state for job in world.jobs)
    assert ends[JobState.SUCCEEDED] > 10
    assert min(ends[state] for state in (JobState.DEAD, JobState.CANCELLED, JobState.DISCARDED)) > 0


GROUP_DISTURBANCES: list[Disturbance] = [*DISTURBANCES, cancel_a_group, close_all_groups]


@pytest.mark.parametrize("disturb", [*GROUP_DISTURBANCES, press_ctrl_c])
def test_groups_that_are_disturbed_at_any_step_settle_every_job(disturb: Disturbance) -> None:
    assert run_at_every_moment(disturb, tasks=GROUP_TASKS) > 100


@pytest.mark.parametrize("disturb", GROUP_DISTURBANCES)
def test_groups_that_are_disturbed_by_an_instrument_at_any_event_settle_every_job(disturb: Disturbance) -> None:
    assert run_at_every_moment(disturb, inside=True, tasks=GROUP_TASKS) > 100


# The harness finds what it is there to find.


def test_it_notices_a_resource_used_by_two_attempts_at_once() -> None:
    session = Session(World())
    with session.used_by("one"), pytest.raises(AssertionError, match="two got what one is using"):
        session.used_by("two").__enter__()


def test_it_notices_a_resource_used_after_its_lifespan() -> None:
    with pytest.raises(AssertionError, match="has been left"):
        Session(World(), left=1).used_by("one").__enter__()


def test_it_notices_a_lifespan_that_was_not_left() -> None:
    world = World()
    world.devices[0].sessions.append(Session(world))
    with pytest.raises(AssertionError, match="left 0 times"):
        check(world)


def test_it_notices_a_job_that_has_not_ended() -> None:
    world = run_once(leave_alone).world
    world.jobs[0]._history = ()
    with pytest.raises(AssertionError, match="has been"):
        check(world)


def test_it_notices_an_attempt_that_has_not_ended() -> None:
    world = run_once(leave_alone).world
    world.begun[world.jobs[0]] += 1
    with pytest.raises(AssertionError, match="not every attempt"):
        check(world)
