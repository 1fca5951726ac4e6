"""What users read has one spelling, the American one, and words that need no second reading."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    *ROOT.glob("*.rst"),
    *ROOT.glob("*.md"),
    *(path for folder in ("docs", "examples", "trio_pool") for path in (ROOT / folder).rglob("*")),
]
TEXTS = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in FILES
    if path.suffix in {".html", ".js", ".md", ".py", ".rst"} and "_build" not in path.parts
}
OTHERS = (
    r"colour|organis(?:e|ation)|licence|behaviour|favour|neighbour|serialis|recognis|normalis|\bfor ever\b|\banew\b"
)


def found(text: str) -> list[str]:
    """The words in a text that are written otherwise elsewhere."""
    return re.findall(OTHERS, text, re.IGNORECASE)


def test_words_are_written_in_one_way() -> None:
    assert {name: words for name, text in TEXTS.items() if (words := found(text))} == {}


@pytest.mark.parametrize("text", ["the colours", "Organisation", "waits for ever", "opened anew"])
def test_another_spelling_is_found(text: str) -> None:
    assert len(found(text)) == 1
