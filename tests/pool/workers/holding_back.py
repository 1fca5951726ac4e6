"""Ways of keeping a worker from further jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio_pool import Worker


def pause(worker: Worker) -> None:
    worker.pause()


def rest(worker: Worker) -> None:
    worker.rest(100)
