"""Texts that can't be shown as they are, and what strikes while they are made."""

from __future__ import annotations

import pytest

from trio_pool import _otel_spans
from trio_pool._shown import shown


class Several:
    def __repr__(self) -> str:
        return "<several\nlines>"


def test_a_repr_of_several_lines_is_shown_in_one() -> None:
    assert shown(Several()) == "<several lines>"


def test_an_interrupt_while_a_traceback_is_written_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def struck(error: Exception) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(_otel_spans, "format_exception", struck)
    with pytest.raises(KeyboardInterrupt):
        _otel_spans._traceback_of(ValueError())
