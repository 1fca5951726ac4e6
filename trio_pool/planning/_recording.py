"""A recording of a pool, to be replayed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from .._basics.attributes import FixedAttributes
from .._model.text import counted
from .._policies import validate
from ._file import read_lines
from ._play import replay_of
from ._results import Plan, PlanError, Replay, quantiles_of
from ._script import Contents
from ._setup import check_changes, checked_workers

if TYPE_CHECKING:
    from os import PathLike

    from typing_extensions import Self


class Recording(FixedAttributes):
    """What a `Recorder` has written.

    Made by `Recording.load` and `Recorder.recording`.
    """

    __slots__ = ("_contents",)

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a recording, even of a program that still runs or was killed.

        Jobs that were under way when the recording ended are left out, and so is a half-written last line.

        Raises:
          OSError: if the file can't be read.
          ValueError: if it is no recording, is damaged, is of a later version, or no pool was opened with the recorder.
        """
        file = Path(path)
        try:
            return cls(Contents(read_lines(file)))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{str(path)!r} is damaged: a line of it is not as a Recorder writes it") from error

    @property
    def elapsed(self) -> float:
        """Seconds from the opening of the pool to its end, or to the last event that was written."""
        return self._contents.elapsed

    def replay(self, *, workers: int | None = None, seed: int = 0, **changes: Any) -> Replay:
        """Run the recorded jobs again in a pool whose time passes as fast as the replay can be calculated.

        The pool is a real one, in a Trio run of its own. Each attempt lasts as long as the recorded one,
        and does nothing. Call it outside of Trio, or in a thread: ``await trio.to_thread.run_sync(recording.replay)``.

        Arguments:
          workers: the number of workers, whose resources are the recorded ones, repeated in turn; for an
              `~trio_pool.Elastic`, its ``max``. With this argument, the program's recorded additions and
              removals of workers are not repeated. By default as recorded.
          seed: the seed of all random choices. With the same seed, the result is the same.
          changes: options of `trio_pool.open_pool` to change. ``lifespan``, ``on_failure``, ``check``, ``rng`` and
              ``history`` can't be changed.

        Raises:
          RuntimeError: if called inside of Trio, or if nothing in the replay would ever happen again.
          TypeError: if an option is unknown, or of the wrong type.
          ValueError: if an option can't be changed, or is out of its range.
        """
        checked_workers(workers)
        validate.instance("seed", seed, int)
        check_changes(changes)
        _check_outside("replay")
        outcome = replay_of(self._contents, workers, seed, changes)
        return Replay(
            elapsed=outcome.elapsed,
            statistics=outcome.statistics,
            waiting=quantiles_of(outcome.waiting),
            total=quantiles_of(outcome.total),
            _explanation=outcome.explanation,
        )

    def plan(
        self, finish_within: float, workers: Iterable[int] = range(1, 101), *, seed: int = 0, **changes: Any
    ) -> Plan:
        """Find out how many workers are enough.

        A number is enough if the replay ends in time, and no fewer jobs succeed than with the largest number.

        This is a binary search for a number that is enough while the next smaller one is not. It assumes that more
        workers are not slower. That is true except for small irregularities, because of which a smaller number that was
        not tried might also be enough. If not even the largest number is enough, all numbers are tried.

        Arguments:
          finish_within: seconds that the replay may take.
          workers: the numbers to try.
          seed, changes: as for `replay`.

        Raises:
          PlanError: if none of the numbers is enough; the message names the bottleneck.
          RuntimeError, TypeError, ValueError: as for `replay`.
        """
        _check_outside("plan")
        limit = validate.seconds("finish_within", finish_within)
        if not isinstance(workers, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]  # untyped callers
            raise TypeError(f"workers must be an iterable of ints, {validate.got(workers)}")
        numbers = sorted({validate.count("workers", each, least=1) for each in workers})
        if not numbers:
            raise ValueError("workers must name at least one number")
        tried: dict[int, Replay] = {}

        def is_enough(number: int) -> bool:
            replay = tried[number] = self.replay(workers=number, seed=seed, **changes)
            # Too few workers can be faster, since there is none for jobs that require the tags of others.
            return replay.elapsed <= limit and replay.statistics.succeeded >= tried[numbers[-1]].statistics.succeeded

        low, high = 0, len(numbers) - 1
        if not is_enough(numbers[-1]):
            # More can be slower: look for one of the others, the most promising first.
            high = next((at for at in range(high - 1, -1, -1) if is_enough(numbers[at])), -1)
            if high < 0:
                best = min(tried, key=lambda number: (tried[number].elapsed, number))
                raise PlanError(_too_slow(limit, best, tried[best]))
        while low < high:
            middle = (low + high) // 2
            if is_enough(numbers[middle]):
                high = middle
            else:
                low = middle + 1
        found = numbers[high]
        elapsed = {number: tried[number].elapsed for number in sorted(tried)}
        return Plan(workers=found, replay=tried[found], tried=elapsed)

    def __repr__(self) -> str:
        return f"<trio_pool.planning.Recording: {len(self._contents.scripts)} jobs in {self.elapsed:g} s>"


def _too_slow(limit: float, workers: int, replay: Replay) -> str:
    best = f"it takes {replay.elapsed:g} s with {counted(workers, 'worker')}"
    return f"no number of workers finishes within {limit:g} s: {best}; {replay.explain().splitlines()[0]}"


def _check_outside(call: str) -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{call}() runs Trio itself: call it outside of Trio, or in a thread, as by trio.to_thread.run_sync()"
    )
