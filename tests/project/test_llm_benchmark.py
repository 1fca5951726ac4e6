"""The comparison of programs that answer prompts with a language model measures what it says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from benchmarks.llm import __main__ as command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.llm.api import Prompt


def rows(table: str) -> dict[str, list[float]]:
    """The lines, calls, refused calls, seconds and ratio of each program."""
    found = re.findall(r"^(\S.{31}) +\S+ +(\d+) +(\d+) +(\d+) +([\d.]+) s +([\d.]+)$", table, re.MULTILINE)
    return {name.strip(): [float(number) for number in numbers] for name, *numbers in found}


def test_each_program_answers_all_prompts_and_the_table_says_how(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "table.txt"
    assert command.main(["--prompts", "12", "--only", "ours", "by_hand", "--output", str(file)]) == 0

    table = file.read_text(encoding="utf-8")
    assert capsys.readouterr().out == table
    ours, by_hand = rows(table).values()
    for lines, calls, refused, elapsed, ratio in (ours, by_hand):
        assert lines > 30
        assert calls >= 12
        assert refused == 0
        assert ratio == pytest.approx(elapsed / 0.2, abs=0.03)  # no quota binds, so the least is that of one answer
    assert "12 prompts; a minute of the server takes 3 s; CPython 3." in table


def test_a_program_whose_library_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.PROGRAMS, "litellm", command.Program("another one", "nothing"))

    table = command.measure_all(["litellm"], prompts=1, minute=3.0)
    assert rows(table) == {}
    assert "Left out: another one, since benchmarks.llm.nothing is not installed" in table


def test_a_program_that_loses_answers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
        return ["", "an answer"]

    monkeypatch.setattr("benchmarks.llm.by_hand.run", run)
    with pytest.raises(RuntimeError, match="lost answers"):
        command.measure(command.PROGRAMS["by_hand"], prompts=2, minute=3.0)


SOURCE = '''"""What it is."""

import os  # for paths


def f(
    x: int,
) -> str:
    """Do it.

    Now."""
    # a comment
    return """two
    lines"""
'''


def test_lines_are_those_with_code() -> None:
    assert command.count_lines(SOURCE) == 6
