"""What the library has logged as errors."""

from __future__ import annotations

import logging

import pytest


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the library has logged as errors."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "trio_pool" and record.levelno == logging.ERROR
    ]
