"""A queue in memory. PgQueuer is for CPython alone, so on others these tests are not collected."""

from __future__ import annotations

import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.extras.pgqueuer.memory import MemoryQueue

collect_ignore_glob = [] if find_spec("pgqueuer") and find_spec("psycopg") else ["test_*.py"]


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """The worker looks often for what there is to do, and its thread doesn't outlive the block of a test."""
    from trio_pool.pgqueuer import _consumption

    monkeypatch.setattr(_consumption, "POLL", 0.01)
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("trio_pool")] == []


@pytest.fixture
def queue() -> MemoryQueue:
    from tests.extras.pgqueuer.memory import MemoryQueue

    return MemoryQueue()
