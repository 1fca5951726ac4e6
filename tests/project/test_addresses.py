"""The addresses of the project stand in pyproject.toml; what other files name is one of them, or below it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / "pyproject.toml",
    *ROOT.glob("*.rst"),
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.rst"),
    *(path for path in ROOT.glob(".github/**/*") if path.is_file()),
    *ROOT.glob("trio_pool/**/*.py"),
]


def addresses() -> list[str]:
    """Those of the table of addresses in pyproject.toml."""
    _, _, rest = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\n[project.urls]\n")
    table, _, _ = rest.partition("\n[")
    return re.findall(r'^\w+ = "(https://\S+)"$', table, re.MULTILINE)


def strangers(text: str) -> list[str]:
    """The addresses of the project in a text that don't begin with a known one."""
    named = re.findall(
        r"https?://[\w./-]*\btrio[-_]pool[^\s`'\"<>)\]]*", text.replace("//raw.githubusercontent.com/", "//github.com/")
    )
    return [address for address in named if not address.startswith(tuple(addresses()))]


def test_addresses_of_the_project_are_those_of_its_metadata() -> None:
    assert len(addresses()) == 4
    assert {path.name: found for path in FILES if (found := strangers(path.read_text(encoding="utf-8")))} == {}


def test_another_address_of_the_project_is_found() -> None:
    right, wrong = f"{addresses()[0]}page.html", ["https://github.com/someone/trio_pool", "http://trio-pool.example/"]
    assert strangers(f"<{right}> `it <{wrong[0]}>`__ {wrong[1]}") == wrong
