"""The scheduler does what the plain model of it does, whatever comes in whatever order.

Each of these machines draws many short lives of a pool. They are the same with each run, and few enough to
wait for; with the variable ``TRIO_POOL_EXAMPLES`` in the environment there are so many times as many, which are
others with each run.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]  # not annotated there
)

from tests.core.checked_machine import CheckedMachine
from tests.core.deadlock_machine import DeadlockMachine
from tests.core.elastic_machine import ElasticMachine
from tests.core.group_machine import GroupMachine
from tests.core.lending_machine import LendingMachine
from tests.effort import part_of

TIMES = float(os.environ.get("TRIO_POOL_EXAMPLES", "0"))
# To find the shortest life that goes wrong takes longer than a test may.
PHASES = (Phase.generate, Phase.shrink) if TIMES else (Phase.generate,)


def run(machine: type[CheckedMachine], examples: int, steps: int = 40) -> None:
    """Let a machine live so many lives; each has to come to its end."""
    before = CheckedMachine.runs
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(part_of(examples) * (TIMES or 1)),
            stateful_step_count=steps,
            deadline=None,
            derandomize=not TIMES,
            report_multiple_bugs=False,
            phases=PHASES,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
    assert CheckedMachine.runs > before


def test_the_scheduler_agrees_with_the_model_and_holds_its_invariants() -> None:
    run(CheckedMachine, 350)


def test_the_scheduler_agrees_with_the_model_about_groups() -> None:
    run(GroupMachine, 350)


def test_the_scheduler_agrees_with_the_model_about_lending() -> None:
    run(LendingMachine, 250)


def test_the_scheduler_agrees_with_the_model_about_elastic_pools() -> None:
    run(ElasticMachine, 250)


def test_the_scheduler_agrees_with_the_model_about_waits_and_deadlocks() -> None:
    run(DeadlockMachine, 800)
