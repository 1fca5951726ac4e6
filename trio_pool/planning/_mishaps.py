"""Failed attempts that the workers caused, whichever job they ran at the time."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._script import Contents, Line, Script

MOST_REPEATS = 1000
"""How many failed attempts beyond the recorded ones a job may have; without a limit, it might never end."""


class Mishaps:
    """Determines which attempts of a replay fail because of their workers.

    Three kinds of recorded failures count as a worker's own: those after which the worker had to rest, since it was
    used up; those after which the job was to be tried on another worker, where it was likely to succeed; and those
    that counted for the worker's circuit breaker.

    If nothing is changed, each mishap affects the recorded job if that job comes to the worker, otherwise the next job
    that does. If something is changed, each worker has as many mishaps among its attempts as the recorded worker. So
    has a worker with a circuit breaker in any case, since that depends on how many of them follow each other.

    Arguments:
      contents: the recording.
      source_of: the number of a worker in the recording.
      is_unchanged: whether everything is as recorded.
    """

    def __init__(self, contents: Contents, source_of: Callable[[Any], int], *, is_unchanged: bool) -> None:
        self._contents = contents
        self._sequences = contents.mishaps
        self._source_of = source_of
        self._is_unchanged = is_unchanged
        # How many attempts have begun on each worker; and for each recorded worker, the mishaps whose jobs have gone to
        # other workers.
        self._begun: dict[int, int] = {}
        self._missed: dict[int, deque[Line]] = {}

    def next_of(self, script: Script, worker: Any) -> Line | None:
        """The failed attempt that the worker causes for the job that it begins now; None if it causes none."""
        if not self._sequences or script.mishaps >= MOST_REPEATS:
            return None
        by_job = self._is_unchanged and not self._contents.has_breaker(self._source_of(worker))
        mishap = (self._by_job if by_job else self._by_turn)(script, worker)
        script.mishaps += mishap is not None
        return mishap

    def _by_job(self, script: Script, worker: Any) -> Line | None:
        source = self._source_of(worker)
        while script.at < len(script.recorded):
            attempt = script.recorded[script.at]
            script.at += 1
            if not attempt["is_mishap"]:
                break
            if attempt["worker"] == source:
                return attempt
            self._missed.setdefault(attempt["worker"], deque()).append(attempt)
        missed = self._missed.get(source)
        if not missed:
            return None
        script.at -= 1
        return missed.popleft()

    def _by_turn(self, script: Script, worker: Any) -> Line | None:
        sequence = self._sequences.get(self._source_of(worker))
        if sequence is None:
            return None
        turn = self._begun[worker.id] = self._begun.get(worker.id, -1) + 1
        return sequence[turn % len(sequence)]
