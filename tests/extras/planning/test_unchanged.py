"""A replay with nothing changed comes out as recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from trio_pool import Instrument
from trio_pool.planning import Recorder, Recording

from .lives import LIVES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import Any


class Times(Instrument):
    """When the pool was opened and closed, and what it did."""

    def pool_opened(self, pool: Any) -> None:
        self.opened_at = trio.current_time()

    def pool_closed(self, pool: Any) -> None:
        self.elapsed = trio.current_time() - self.opened_at
        self.statistics = pool.statistics()


def record(life: Callable[[Recorder], Awaitable[None]], path: Path) -> tuple[Recording, Times]:
    times = Times()

    class Both(Recorder):
        def pool_opened(self, pool: Any) -> None:
            super().pool_opened(pool)
            pool.add_instrument(times)
            times.pool_opened(pool)

    recorder = Both(path)
    trio.run(life, recorder, clock=MockClock(autojump_threshold=0))
    return recorder.recording(), times


COUNTS = ("submitted", "succeeded", "dead", "cancelled", "discarded", "attempts", "failures", "retries")


@pytest.mark.parametrize("life", LIVES)
def test_it_takes_as_long_as_recorded(life: Callable[[Recorder], Awaitable[None]], tmp_path: Path) -> None:
    recording, times = record(life, tmp_path / "recording.jsonl")
    replay = recording.replay()
    counted = {name: getattr(times.statistics, name) for name in COUNTS}
    assert recording.elapsed == pytest.approx(times.elapsed)
    assert replay.elapsed == pytest.approx(times.elapsed, rel=0.02)
    assert {name: getattr(replay.statistics, name) for name in COUNTS} == counted


@pytest.mark.parametrize("life", LIVES)
def test_the_same_seed_gives_the_same(life: Callable[[Recorder], Awaitable[None]], tmp_path: Path) -> None:
    recording, _ = record(life, tmp_path / "recording.jsonl")
    first = recording.replay(seed=3)
    assert all(recording.replay(seed=3) == first for _ in range(3))
