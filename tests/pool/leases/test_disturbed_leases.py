"""Borrowed resources, disturbed at any step: nothing is lost or left over, and nothing hangs."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.harness import (
    Disturbance,
    cancel_a_group,
    cancel_a_job,
    cancel_all_jobs,
    cancel_from_outside,
    cancel_the_pool,
    close_all_groups,
    close_the_pool,
    leave_alone,
    press_ctrl_c,
    remove_a_worker,
    remove_all_workers,
    run_at_every_moment,
    run_once,
)
from tests.pool.leases.lease_tasks import LEASE_TASKS
from trio_pool import JobState

DISTURBANCES: list[Disturbance] = [
    cancel_from_outside,
    cancel_the_pool,
    close_the_pool,
    cancel_a_job,
    cancel_all_jobs,
    cancel_a_group,
    close_all_groups,
    remove_a_worker,
    remove_all_workers,
]


def test_undisturbed_they_settle_every_job() -> None:
    world = run_once(leave_alone, tasks=LEASE_TASKS).world
    ends = Counter(job.state for job in world.jobs)
    assert ends[JobState.SUCCEEDED] > 5
    assert ends[JobState.DEAD] >= 2  # the blocks that fail, and more


@pytest.mark.parametrize("disturb", [*DISTURBANCES, press_ctrl_c])
def test_disturbed_at_any_step_they_settle_every_job(disturb: Disturbance) -> None:
    assert run_at_every_moment(disturb, tasks=LEASE_TASKS) > 100


@pytest.mark.parametrize("disturb", DISTURBANCES)
def test_disturbed_by_an_instrument_at_any_event_they_settle_every_job(disturb: Disturbance) -> None:
    assert run_at_every_moment(disturb, inside=True, tasks=LEASE_TASKS) > 100
