"""A broker in memory, and a queue of a pool on it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.extras.dramatiq.stub import Stub
from trio_pool.dramatiq import PoolQueue, _queue

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Dramatiq's threads look often for what there is to do, and none of them outlives the block of a test."""
    monkeypatch.setattr(_queue, "WORKER_TIMEOUT", 10)
    yield
    left = [thread.name for thread in threading.enumerate() if "dramatiq" in type(thread).__module__]
    assert left == []


@pytest.fixture
def broker() -> Stub:
    return Stub()


@pytest.fixture
def queue(broker: Stub) -> PoolQueue:
    return PoolQueue(broker)
