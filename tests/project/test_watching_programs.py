"""The programs of the chapter on watching run, and print what the chapter shows."""

from __future__ import annotations

import importlib.util
import logging
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
    from collections.abc import Generator

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "watching"
PAGE = "".join(
    (FOLDER.parent / f"{name}.rst").read_text(encoding="utf-8") for name in ("watching", "logging", "telemetry", "why")
)


def shown(name: str) -> str:
    """What the chapter says that the program prints."""
    return (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


@pytest.fixture
def logging_as_before(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Keeps what a program sets up for its logs from the other tests."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    loggers = [logging.getLogger(name) for name in ("trio_pool", "trio_pool.jobs")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("logging_as_before")
@pytest.mark.parametrize("name", ["table", "logged", "trace", "explained"])
def test_program_prints_what_the_chapter_shows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    trio.run(module.main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert capsys.readouterr().out == shown(name)


def essence(printed: str) -> list[str]:
    """What is the same on every Python: the failures themselves, without paths and times."""
    failures = printed.partition("+-+")[2].splitlines()
    return [re.sub(r'\d+\.\d+ s|"[^"]*failure\.py"', "#", line) for line in failures]


def test_program_fails_as_the_chapter_shows() -> None:
    paths = filter(None, [str(Path(trio_pool.__file__).parent.parent), os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, str(FOLDER / "failure.py")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert essence(done.stderr) == essence(shown("failure"))
    assert len(essence(done.stderr)) == 13


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_program_is_shown_in_the_chapter_with_what_it_prints(name: str) -> None:
    assert f"watching/{name}.py" in PAGE
    assert f"watching/{name}.txt" in PAGE
