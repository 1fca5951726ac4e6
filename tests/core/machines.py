"""The state machines that hold the scheduler against the plain model of it, and how they are run."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import (
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]  # not annotated there
)

from tests.core.checked_machine import CheckedMachine
from tests.core.deadlock_machine import DeadlockMachine
from tests.core.elastic_machine import ElasticMachine
from tests.core.group_machine import GroupMachine
from tests.core.lending_machine import LendingMachine

MACHINES: tuple[type[CheckedMachine], ...] = (
    CheckedMachine,
    GroupMachine,
    LendingMachine,
    ElasticMachine,
    DeadlockMachine,
)


def run(
    machine: type[CheckedMachine],
    examples: int,
    *,
    steps: int = 40,
    drawn_by: int | None = None,
    shrinks: bool = False,
) -> None:
    """Let a machine live so many lives; each has to come to its end.

    Arguments:
      machine: which.
      examples: how many lives.
      steps: how many steps each of them has at most.
      drawn_by: the seed of all that is drawn, or None for what is drawn in each run of the tests.
      shrinks: whether what fails is made small, which takes minutes.
    """
    before = CheckedMachine.runs
    run_state_machine_as_test(
        machine if drawn_by is None else seed(drawn_by)(type(machine.__name__, (machine,), {})),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=drawn_by is None,
            report_multiple_bugs=False,
            print_blob=False,
            phases=[Phase.generate, Phase.shrink] if shrinks else [Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
    assert CheckedMachine.runs > before
