"""The example of a fleet is as short as it says, and says what it needs. ``tests/cluster`` is about what it does."""

from __future__ import annotations

import ast
import os
from typing import TYPE_CHECKING

import pytest

from tests.project.test_examples import EXAMPLES, PATIENCE, running

if TYPE_CHECKING:
    from pathlib import Path


def lines_of(program: str) -> int:
    """The lines of a program that are neither empty nor imports, text or a comment."""
    tree = ast.parse((EXAMPLES / "cluster" / program).read_text(encoding="utf-8"))
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) or not isinstance(node, (ast.stmt, ast.expr)):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if not isinstance(node, ast.Constant):
            lines.add(node.lineno)
    return len(lines)


@pytest.mark.parametrize(
    ("program", "most"), [("worker_dramatiq.py", 20), ("worker_pgqueuer.py", 20), ("submit.py", 5)]
)
def test_programs_are_short(program: str, most: int) -> None:
    assert 1 < lines_of(program) <= most


@pytest.mark.parametrize(("option", "module"), [("--kill", "dramatiq"), ("--postgres", "pgqueuer")])
def test_it_says_what_to_install_where_something_is_missing(option: str, module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\nfind = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name == {module!r} else find(name, *rest)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with running("cluster/run.py", option, PYTHONPATH=path) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert "Traceback" not in errors
    assert "Install it with: python -m pip install httpx" in errors


def test_the_number_of_files_is_checked() -> None:
    with running("cluster/run.py", "--files", "0") as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "--files must be at least 1" in errors
