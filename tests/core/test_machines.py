"""The scheduler does what the plain model of it does, whatever comes in whatever order.

Each of these machines draws many short lives of a pool. They are the same with each run, and few enough to
wait for; ``python -m tests.core`` draws others.
"""

from __future__ import annotations

from tests.core.checked_machine import CheckedMachine
from tests.core.deadlock_machine import DeadlockMachine
from tests.core.elastic_machine import ElasticMachine
from tests.core.group_machine import GroupMachine
from tests.core.lending_machine import LendingMachine
from tests.core.machines import run
from tests.effort import part_of


def test_the_scheduler_agrees_with_the_model_and_holds_its_invariants() -> None:
    run(CheckedMachine, part_of(350))


def test_the_scheduler_agrees_with_the_model_about_groups() -> None:
    run(GroupMachine, part_of(350))


def test_the_scheduler_agrees_with_the_model_about_lending() -> None:
    run(LendingMachine, part_of(250))


def test_the_scheduler_agrees_with_the_model_about_elastic_pools() -> None:
    run(ElasticMachine, part_of(250))


def test_the_scheduler_agrees_with_the_model_about_waits_and_deadlocks() -> None:
    run(DeadlockMachine, part_of(800))
