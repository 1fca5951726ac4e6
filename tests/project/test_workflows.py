"""What runs on GitHub is what runs anywhere: sessions of noxfile.py, on each supported Python."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob(".github/workflows/*.yml"))}
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
INSTALL = 'python -m pip install "nox[uv]"'


def commands(workflow: str) -> list[str]:
    return re.findall(r"^ *(?:- )?run: (.+)$", WORKFLOWS[workflow], re.MULTILINE)


def sessions() -> list[str]:
    """Those that the workflows run, without the Python of each."""
    found = re.findall(r"--session (\w+)|NOXSESSION: (\w+)", "\n".join(WORKFLOWS.values()))
    return ["".join(each) for each in found]


def test_workflows_run_sessions_and_nothing_else() -> None:
    assert commands("ci") == [INSTALL, "python -m nox --session check", INSTALL, "python -m nox", "exit 1"]
    assert commands("release") == [INSTALL, 'python -m nox --session package -- "$GITHUB_REF_NAME"']


def test_sessions_that_workflows_run_exist() -> None:
    defined = re.findall(r"^@nox\.session\(.*\)\ndef (\w+)", NOXFILE, re.MULTILINE)
    assert sorted(sessions()) == ["check", "package", "tests"]
    assert set(sessions()) <= set(defined)


def test_continuous_integration_runs_the_tests_on_each_supported_python() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    supported = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', pyproject)
    (others,) = re.findall(r'^OTHERS = .* for version in \("([\w.]+)", "([\w.]+)"\)', NOXFILE, re.MULTILINE)
    (checked,) = re.findall(r"python-version: \|\n((?: +[\w.]+\n)+)", WORKFLOWS["ci"])
    (matrix,) = re.findall(r"^ +python: \[(.+)\]$", WORKFLOWS["ci"], re.MULTILINE)
    included = re.findall(r'{ python: "([\w.]+)", system: (\w+)-\w+ }', WORKFLOWS["ci"])
    oldest, *between, newest = supported
    assert checked.split() == [oldest, newest]
    assert re.findall(r'"([\w.]+)"', matrix) == [*between, *others]
    assert included == [(version, system) for system in ("macos", "windows") for version in (oldest, newest)]


def test_a_release_is_built_with_the_newest_python() -> None:
    (versions,) = re.findall(r"python-version: \|\n((?: +[\w.]+\n)+)", WORKFLOWS["release"])
    assert versions in WORKFLOWS["ci"]
