"""The programs of the tutorial run, and print what the tutorial shows."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import trio_pool

if TYPE_CHECKING:
    from types import ModuleType

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial"
PROGRAMS = sorted(path.stem for path in TUTORIAL.glob("step*.py"))
PAGE = (TUTORIAL.parent / "tutorial.rst").read_text(encoding="utf-8")


def load(name: str) -> ModuleType:
    """Import a program afresh: the API it uses remembers how often it was called."""
    spec = importlib.util.spec_from_file_location(name, TUTORIAL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_numbers(text: str) -> str:
    """What is left when the numbers, which differ from run to run, are taken out."""
    return re.sub(r" *\d+(\.\d+)?", " #", text)


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_prints_what_the_tutorial_shows(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(TUTORIAL), *sys.path])
    trio.run(load(name).main, clock=trio.testing.MockClock(autojump_threshold=0))

    shown = (TUTORIAL / f"{name}.txt").read_text(encoding="utf-8")
    assert without_numbers(capsys.readouterr().out) == without_numbers(shown)


def test_program_runs_as_a_script() -> None:
    paths = filter(None, [str(Path(trio_pool.__file__).parent.parent), os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, str(TUTORIAL / f"{PROGRAMS[0]}.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (TUTORIAL / f"{PROGRAMS[0]}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_is_shown_in_the_tutorial_with_what_it_prints(name: str) -> None:
    assert f"tutorial/{name}.py" in PAGE
    assert f"tutorial/{name}.txt" in PAGE
