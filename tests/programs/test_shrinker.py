"""Programs that fail are made small."""

from __future__ import annotations

from tests.programs.language import (
    Call,
    Device,
    Finally,
    Nursery,
    Program,
    Raise,
    Run,
    Scope,
    Setup,
    Sleep,
    Submit,
    Wait,
)
from tests.programs.shrinker import shrunk, signature, simpler


def test_a_program_that_fails_is_made_small() -> None:
    program = Program(
        (
            Sleep(2.0),
            Nursery(((Sleep(1.0), Run(Call((Sleep(3.0), Raise("os", 2)), priority=1))), (Wait(),))),
            Scope((Finally((Submit(Call((Raise("value"),))),)),), 3.0),
        ),
        Setup((Device(), Device(("a",))), max_running=2),
        cancel_at=7.0,
        seed=5,
    )

    def fails(candidate: Program) -> bool:
        return "'os'" in repr(candidate)

    assert shrunk(program, fails) == Program((Run(Call((Raise("os"),))),))


def test_making_small_ends_when_its_time_is_up() -> None:
    program = Program((Sleep(2.0), Sleep(3.0)))
    assert shrunk(program, lambda _: True, seconds=0.0) == program


def test_failures_of_a_kind_have_one_signature() -> None:
    assert signature("slow: job 3 waits") == signature("slow: job 4 waits")
    assert signature("slow: job 3 waits") != signature("late: job 3 waits")


def test_what_is_simpler_is_another_program() -> None:
    program = Program((Run(Call((Sleep(2.0),), attempt_timeout=3.0)),), cancel_at=2.0)
    candidates = list(simpler(program))
    assert program not in candidates
    assert Program((Run(Call((Sleep(2.0),))),), cancel_at=2.0) in candidates
    assert all(isinstance(candidate, Program) for candidate in candidates)
