"""Random programs do what the pool promises; a fixed number of them, the same each time."""

from __future__ import annotations

from collections import Counter

import attrs
import pytest

from tests.programs.generator import FEATURES, Choice, program_of
from tests.programs.language import Program, Statement, parts_of, written
from tests.programs.running import failures_of

PROGRAMS = 300
TOGETHER = 20


@pytest.mark.parametrize("first", range(0, PROGRAMS, TOGETHER))
def test_nothing_hangs_and_nothing_lies(first: int) -> None:
    for seed in range(first, first + TOGETHER):
        program = program_of(seed)
        failures = failures_of(program)
        assert not failures, f"{failures}\nof seed {seed}; make it small by:\n{how_to_repeat(seed)}\n{written(program)}"


def how_to_repeat(seed: int) -> str:
    """The command that runs the program of a seed, and makes it small if it fails."""
    return f"python -m tests.programs --seed {seed} --number 1"


def test_a_program_runs_in_the_same_way_each_time() -> None:
    assert program_of(3) == program_of(3)
    assert failures_of(program_of(3)) == failures_of(program_of(3))


def test_the_programs_have_statements_of_each_kind() -> None:
    seen = Counter(type(part) for seed in range(PROGRAMS) for part in parts_of(program_of(seed)))
    kinds = set(Statement.__subclasses__())
    assert kinds <= seen.keys()


def test_what_is_left_out_is_not_in_the_programs() -> None:
    choice = Choice(without=frozenset({"graphs", "after", "hedges"}))
    assert choice.without <= {*FEATURES}
    for seed in range(100):
        words = repr(program_of(seed, choice))
        assert "Graph(" not in words
        assert " after=" not in words
        assert "hedge=" not in words


def test_a_program_is_printed_as_the_expression_that_makes_it() -> None:
    names = {kind.__name__: kind for kind in _kinds_of_parts()}
    for seed in range(100):
        program = program_of(seed)
        assert eval(written(program), names) == program
        assert eval(repr(program), names) == program


def _kinds_of_parts() -> set[type]:
    return {type(part) for seed in range(PROGRAMS) for part in parts_of(program_of(seed))} | {Program}


def test_parts_can_be_replaced() -> None:
    program = program_of(1)
    assert attrs.evolve(program, seed=2) != program
