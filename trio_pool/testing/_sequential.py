"""Pools that run one attempt at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._api.open_pool import Adjuster, adjusters

if TYPE_CHECKING:
    from collections.abc import Generator

    from .._model.pool_config import Config


class _Sequential(Adjuster):
    """Makes pools run one attempt at a time."""

    def adjust(self, config: Config) -> None:
        config.max_running = 1


@contextmanager
def one_at_a_time() -> Generator[None]:
    """Make the pools that are opened inside the block run one attempt at a time.

    Such pools behave as if opened with ``max_running=1``, so that a test runs its jobs one after
    another. This includes pools opened by the code under test, as long as they are opened in this
    task or in one started inside the block.
    """
    token = adjusters.set((*adjusters.get(), _Sequential()))
    try:
        yield
    finally:
        adjusters.reset(token)
