"""The data that a timeline passes to its output formats, and the assignment of overlapping spans to lanes."""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count, groupby
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ._accounts import Accounts, Seconds

Outcome: TypeAlias = Literal["succeeded", "failed", "dead", "put off", "discarded", "cut short", "running"]
Hindrance: TypeAlias = Literal["resting", "quarantined", "paused", "reopening"]
Kind: TypeAlias = Literal[Outcome, Hindrance, "delay", "worker", "group"]

OUTCOMES: tuple[Outcome, ...] = ("succeeded", "failed", "dead", "put off", "discarded", "cut short", "running")
HINDRANCES: tuple[Hindrance, ...] = ("resting", "quarantined", "paused", "reopening")


WHOLE = 0
"""The number of a row for the whole pool. Workers are counted from 1."""


@attrs.define(eq=False)
class Row:
    """A worker, or the whole pool.

    Attributes:
      pool: the pool's number, in the order in which the pools were first seen.
      pool_name: the pool's name, or None.
      id: the worker's number, or `WHOLE`.
      name: the worker's name.
      start: when the worker was first seen, in microseconds.
      end: when the worker left, or None.
    """

    pool: int
    pool_name: str | None
    id: int
    name: str
    start: int
    end: int | None = None


@attrs.define(eq=False)
class Span:
    """A recorded period of time.

    Attributes:
      row: the worker; for a delay, the worker on which the previous attempt failed; for a group, the whole pool.
      kind: the outcome of an attempt, what kept a worker from taking jobs, "delay" or "group".
      start: in microseconds.
      end: in microseconds; for an unfinished span, when it was read.
      job: the job's id, or 0.
      name: the name of the job or the group, or "".
      number: the number of the attempt, or of the attempt before the delay; or 0.
      text: the error in words, or ""; for a group, its jobs.
      hedges: the (id, name) of each further worker that took part.
      unfinished: whether the period had not ended when it was read.
      until: the expected end of an unfinished span, if known.
      progress: what the attempt has last reported, in words, or "".
      waited: for a job's first attempt, the microseconds since the job was submitted; or None.
    """

    row: Row
    kind: Kind
    start: int
    end: int
    job: int
    name: str
    number: int
    text: str
    hedges: tuple[tuple[int, str], ...]
    unfinished: bool
    until: int | None
    progress: str
    waited: int | None

    @property
    def is_attempt(self) -> bool:
        """Whether the span is an attempt of a job."""
        return self.kind in OUTCOMES


@attrs.frozen(eq=False)
class Recording:
    """The content of a timeline at one moment.

    Attributes:
      rows: the workers, by pool and number.
      spans: the spans, sorted by start; of spans with the same start, the longest first.
      end: the moment, in microseconds.
      dropped: how many records were dropped.
      accounts: what the places of each pool have spent their time on, by the pool's number.
      left: the same for the workers that have left.
    """

    rows: list[Row]
    spans: list[Span]
    end: int
    dropped: int
    accounts: Mapping[int, Accounts]
    left: Mapping[Row, Seconds]


def nested_lanes(spans: Sequence[Span]) -> list[int]:
    """Assign each span to a lane, so that if two spans in a lane overlap, one contains the other.

    Arguments:
      spans: in the order of a `Recording`.
    """
    lanes: list[list[int]] = []  # the ends of the open spans, the innermost last
    found: list[int] = []
    for span in spans:
        lane = 0
        while lane < len(lanes) and not _has_room(lanes[lane], span):
            lane += 1
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append(span.end)
        found.append(lane)
    return found


def _has_room(ends: list[int], span: Span) -> bool:
    while ends and ends[-1] <= span.start:
        ends.pop()
    return not ends or span.end <= ends[-1]


def separate_lanes(spans: Sequence[Span]) -> list[int]:
    """Assign each span to the lowest free lane, so that no two spans in a lane overlap.

    Arguments:
      spans: sorted by start; of spans with the same start, the shortest first.
    """
    busy: list[tuple[int, int]] = []  # a heap of the ends, each with its lane
    free: list[int] = []
    found: list[int] = []
    for span in spans:
        while busy and busy[0][0] <= span.start:
            heappush(free, heappop(busy)[1])
        lane = heappop(free) if free else len(busy)
        heappush(busy, (span.end, lane))
        found.append(lane)
    return found


def pool_names(recording: Recording) -> dict[int, str]:
    """Return a distinct name for each pool, by the pools' numbers."""
    rows = {row.pool: row for row in (*recording.rows, *(span.row for span in recording.spans))}
    pools = sorted(rows)
    names = (rows[pool].pool_name for pool in pools)
    given = [f"pool {pool}" if name is None else name for pool, name in zip(pools, names, strict=True)]
    return dict(zip(pools, _told_apart(given), strict=True))


def row_names(recording: Recording) -> dict[Row, str]:
    """Return a name for each worker, distinct within its pool."""
    found: dict[Row, str] = {}
    for _, rows in groupby(recording.rows, key=lambda row: row.pool):
        members = list(rows)
        found.update(zip(members, _told_apart([row.name for row in members]), strict=True))
    return found


def _told_apart(names: Iterable[str]) -> Iterator[str]:
    """Yield the names, with a number appended to each name that occurred before."""
    taken: set[str] = set()
    for name in names:
        label = name
        numbers = count(2)
        while label in taken:
            label = f"{name} ({next(numbers)})"
        taken.add(label)
        yield label
