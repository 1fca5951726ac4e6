"""The random choice among idle workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from .._model.records import WorkerRecord
    from .tag_index import Fit

# How many random draws may be refused before all idle workers are checked.
_TRIES = 8


def draw(fits: list[Fit], rng: Random, may_take: Callable[[WorkerRecord], bool] | None) -> WorkerRecord | None:
    """Pick a random one of the idle workers of wide fits that ``may_take`` accepts."""
    urns = [fit.urn for fit in fits if fit.urn]
    if not urns:
        return None
    sizes = [len(urn) for urn in urns]
    for _ in range(_TRIES):
        urn = urns[0] if len(urns) == 1 else rng.choices(urns, sizes)[0]
        worker = rng.choice(urn)
        if may_take is None or may_take(worker):
            return worker
    found = [worker for urn in urns for worker in urn if may_take is None or may_take(worker)]
    return rng.choice(found) if found else None
