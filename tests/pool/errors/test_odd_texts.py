"""What strikes while a text is made goes on."""

from __future__ import annotations

import pytest

from trio_pool.otel import _spans as _otel_spans


def test_an_interrupt_while_a_traceback_is_written_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def struck(error: Exception) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(_otel_spans, "format_exception", struck)
    with pytest.raises(KeyboardInterrupt):
        _otel_spans._traceback_of(ValueError())
