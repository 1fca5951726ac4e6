"""The README reads well where people see it first: on the start page of the repository and on the package index."""

from __future__ import annotations

import importlib.util
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")


@pytest.fixture
def build_hook(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The hook of the build backend, loaded without the backend."""
    interface: Any = types.ModuleType("hatchling.metadata.plugin.interface")
    interface.MetadataHookInterface = object
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


def readme_of(build_hook: Any, project: dict[str, Any]) -> str:
    """The text that the package index shows."""
    hook = build_hook.Readme()
    hook.root = ROOT
    hook.update(project)
    assert project["readme"]["content-type"] == "text/x-rst"
    text: str = project["readme"]["text"]
    return text


def targets(text: str) -> list[str]:
    """The addresses of all pictures and links."""
    pictures = re.findall(r"^\.\. image:: (\S+)", text, re.MULTILINE)
    return pictures + re.findall(r"`[^`<]*<([^`>]+)>`__", text)


def test_the_first_screen_has_a_program_a_picture_and_two_commands() -> None:
    screen = README.splitlines()[:45]
    start, end = screen.index(".. code-block:: python"), screen.index("   trio.run(main)")
    assert len([line for line in screen[start + 1 : end + 1] if line]) <= 15
    assert sum(line.startswith(".. image::") for line in screen) == 1
    assert sum(line.startswith("    python3 ") for line in screen) == 2


def test_the_readme_names_only_files_that_exist() -> None:
    files = [target for target in targets(README) if "://" not in target]
    assert files
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_package_index_gets_absolute_addresses(build_hook: Any) -> None:
    text = readme_of(build_hook, {"urls": {"Source": "https://host.example/trio_pool"}})
    assert all("://" in target for target in targets(text))
    assert "\n.. image:: https://host.example/trio_pool/raw/HEAD/docs/pictures/live.svg\n" in text
    assert "`tutorial <https://host.example/trio_pool/blob/HEAD/docs/tutorial.rst>`__" in text
    assert len(targets(text)) == len(targets(README))


def test_without_an_address_of_the_repository_the_readme_stays_as_it_is(build_hook: Any) -> None:
    assert readme_of(build_hook, {}) == README
