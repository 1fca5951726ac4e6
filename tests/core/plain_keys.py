"""What start-time fair queueing between keys comes to, as plainly as it can be said."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Waiting(NamedTuple):
    """A job that waits; jobs of equal priority and turn start in this order."""

    priority: int
    number: int
    key: str | None
    name: int


class PlainKeys:
    """So many workers that may run anything, and the jobs of keys that wait for them."""

    def __init__(self, workers: int, weights: Mapping[str | None, float], bounds: Mapping[str | None, float]) -> None:
        self.workers = workers
        self.weights = weights
        self.bounds = bounds
        self.waiting: list[Waiting] = []
        self.running: dict[int, str | None] = {}
        self.turns: dict[str | None, float] = defaultdict(float)
        self.time = 0.0
        self.started: list[int] = []

    def add(self, job: Waiting) -> None:
        if all(other.key != job.key for other in self.waiting):
            self.turns[job.key] = max(self.turns[job.key], self.time)
        self.waiting.append(job)

    def end(self, name: int, again: Waiting | None = None) -> None:
        """A job ends, or waits to run again."""
        key = self.running[name]
        was_full = self.is_full(key)
        del self.running[name]
        if again is not None:
            self.add(again)
        if was_full:
            self.turns[key] = max(self.turns[key], self.time)
        if not (self.running or self.waiting):
            self.time = max(self.turns.values())
        self.match()

    def match(self) -> None:
        while len(self.running) < self.workers and (open_ones := [job for job in self.waiting if self.is_open(job)]):
            first = min(open_ones, key=lambda job: (job.priority, self.turns[job.key], job.number))
            self.waiting.remove(first)
            self.running[first.name] = first.key
            self.started.append(first.name)
            self.time = max(self.time, self.turns[first.key])
            self.turns[first.key] += 1 / self.weights[first.key]

    def is_open(self, job: Waiting) -> bool:
        return not self.is_full(job.key)

    def is_full(self, key: str | None) -> bool:
        return list(self.running.values()).count(key) >= self.bounds[key]
