"""The random choices around a pool, so that they can be repeated."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Any


def _scheduler() -> Any:
    """Trio's scheduler, if its choices can be seeded; otherwise None.

    Trio has no public way to do so. The two private names are those that pytest-trio also uses, for Hypothesis.
    """
    try:
        module: Any = import_module("trio._core._run")
    except ImportError:
        return None
    is_known = isinstance(getattr(module, "_r", None), random.Random)
    return module if is_known and hasattr(module, "_ALLOW_DETERMINISTIC_SCHEDULING") else None


class Seeded:
    """Seeds the ``random`` module, and the order in which Trio runs tasks that are ready at the same time.

    This is not a generator with contextlib, which assigns to exceptions that pass through.
    """

    __slots__ = ("_kept", "_scheduler", "_seed")

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._scheduler = _scheduler()
        self._kept: list[Any] = []

    def __enter__(self) -> None:
        self._kept.append(random.getstate())
        random.seed(self._seed)
        scheduler = self._scheduler
        if scheduler is not None:
            self._kept += [scheduler._r.getstate(), scheduler._ALLOW_DETERMINISTIC_SCHEDULING]
            scheduler._r.seed(self._seed)
            scheduler._ALLOW_DETERMINISTIC_SCHEDULING = True

    def __exit__(self, *_: object) -> None:
        scheduler = self._scheduler
        if scheduler is not None:
            scheduler._ALLOW_DETERMINISTIC_SCHEDULING = self._kept.pop()
            scheduler._r.setstate(self._kept.pop())
        random.setstate(self._kept.pop())
