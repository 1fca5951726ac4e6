"""The random choices around a pool, so that they can be repeated."""

from __future__ import annotations

import random
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


def _scheduler() -> Any:
    """Trio's scheduler, if its choices can be seeded; otherwise None.

    Trio has no public way to do so. These are the two names that pytest-trio uses too, for Hypothesis.
    """
    try:
        module: Any = import_module("trio._core._run")
    except ImportError:
        return None
    is_known = isinstance(getattr(module, "_r", None), random.Random)
    return module if is_known and hasattr(module, "_ALLOW_DETERMINISTIC_SCHEDULING") else None


@contextmanager
def seeded(seed: str) -> Generator[None]:
    """Seed the ``random`` module, and the order in which Trio runs tasks that are ready at the same time."""
    scheduler = _scheduler()
    kept = random.getstate()
    random.seed(seed)
    if scheduler is None:
        try:
            yield
        finally:
            random.setstate(kept)
        return
    before, was_sorted = scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING
    scheduler._r.seed(seed)
    scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        scheduler._r.setstate(before)
        scheduler._ALLOW_DETERMINISTIC_SCHEDULING = was_sorted
        random.setstate(kept)
