"""The README reads well where people see it first: on the start page of the repository and on the package index."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.rst").read_text(encoding="utf-8")


def on_the_package_index() -> str:
    """The text that the package index shows, after the substitutions in pyproject.toml."""
    _, *tables = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("fancy-pypi-readme.substitutions]]\n")
    text = README
    for table in tables:
        pattern, replacement = re.findall(r"^(?:pattern|replacement) = '(.*)'$", table, re.MULTILINE)[:2]
        text = re.sub(pattern, replacement.replace("$HFPR_VERSION", "1.2.3"), text, flags=re.MULTILINE)
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


def test_the_package_index_gets_absolute_addresses() -> None:
    text = on_the_package_index()
    assert all("://" in target for target in targets(text))
    assert "\n.. image:: https://raw.githubusercontent.com/trio-pool/trio-pool/v1.2.3/docs/pictures/live.svg\n" in text
    assert "`tutorial <https://github.com/trio-pool/trio-pool/blob/v1.2.3/docs/tutorial.rst>`__" in text
    assert len(targets(text)) == len(targets(README))
