"""Pools that run one attempt at a time."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import TYPE_CHECKING

from .._api.open_pool import Adjuster, adjusters

if TYPE_CHECKING:
    from contextvars import Token

    from .._model.pool_config import Config


class _Sequential(Adjuster, ContextDecorator):
    """Makes pools run one attempt at a time."""

    def __init__(self) -> None:
        self._tokens: list[Token[tuple[Adjuster, ...]]] = []

    def adjust(self, config: Config) -> None:
        config.max_running = 1

    def __enter__(self) -> None:
        self._tokens.append(adjusters.set((*adjusters.get(), self)))

    def __exit__(self, *_: object) -> None:
        adjusters.reset(self._tokens.pop())


def one_at_a_time() -> _Sequential:
    """Make the pools that are opened inside the block run one attempt at a time.

    Such pools behave as if opened with ``max_running=1``, so that a test runs its jobs one after
    another. This includes pools opened by the code under test, as long as they are opened in this
    task or in one started inside the block.
    """
    return _Sequential()
