"""What a timeline keeps of what it is told, and how that becomes spans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from ._spans import Recording, Row, Span
from ._words import full_label

if TYPE_CHECKING:
    from ._job import Job
    from ._spans import Kind

Record: TypeAlias = "tuple[Member, Kind, float, float, int, str, int, str, tuple[tuple[int, str], ...]]"
"""Something that is over, as a plain tuple, which is small: the worker; what it was; from when to when; of
which job by its id, its name and the number of its attempt; the error in words; who took part besides."""


class Pool:
    """A pool that has told something.

    Attributes:
      number: counted from 1, in the order in which they were seen.
      name: the pool's name, or None.
      shift: what to add to a time of its clock, for the time on the timeline's clock.
      members: its workers that have not left, by their ids.
    """

    __slots__ = ("members", "name", "number", "shift")

    def __init__(self, number: int, name: str | None, shift: float) -> None:
        self.number = number
        self.name = name
        self.shift = shift
        self.members: dict[int, Member] = {}


class Member:
    """A worker of a pool, and what keeps it from taking jobs.

    It refers to nothing of the pool's own, so that it keeps nothing alive.
    """

    __slots__ = ("holds", "id", "name", "pool", "started_at")

    def __init__(self, pool: Pool, number: int, name: str, started_at: float) -> None:
        self.pool = pool
        self.id = number
        self.name = name
        self.started_at = started_at
        self.holds: dict[Kind, Hold] = {}


class Hold:
    """What keeps a worker from taking jobs, until a time that may be ``inf``."""

    __slots__ = ("started_at", "text", "until")

    def __init__(self, started_at: float, until: float, text: str) -> None:
        self.started_at = started_at
        self.until = until
        self.text = text


class Setback:
    """A job whose last attempt has failed, and its delay, if ``until`` is not None."""

    __slots__ = ("member", "number", "started_at", "until")

    def __init__(self, member: Member, number: int) -> None:
        self.member = member
        self.number = number
        self.started_at = 0.0
        self.until: float | None = None


class Collector:
    """Makes spans of records, and of what is not over.

    Arguments:
      origin: when the timeline began, on its clock.
      now: the present, or when all was over.
    """

    def __init__(self, origin: float, now: float) -> None:
        self._origin = origin
        self._now = now
        self._rows: dict[Member, Row] = {}
        self._spans: list[Span] = []

    def add(self, record: Record, *, unfinished: bool = False, until: float = math.inf) -> None:
        """Add something that is over, or, if unfinished, was not when it was looked at."""
        member, kind, started_at, ended_at, job, name, number, text, hedges = record
        pool = member.pool
        end = self._time(ended_at, pool)
        if kind == "worker":
            self._row(member).end = None if unfinished else end
            return
        # A delay is the job's: it may last longer than anything that is known of the worker.
        row = _row_of(member) if kind == "delay" else self._row(member)
        due = None if until == math.inf else self._time(until, pool)
        start = self._time(started_at, pool)
        self._spans.append(Span(row, kind, start, end, job, name, number, text, hedges, unfinished, due))

    def add_open(
        self,
        member: Member,
        kind: Kind,
        started_at: float,
        until: float = math.inf,
        *,
        job: Job[Any] | None = None,
        number: int = 0,
        text: str = "",
    ) -> None:
        """Add something that lasts until then, which may have passed without anybody's telling."""
        now = self._now - member.pool.shift
        key, name = (0, "") if job is None else (job.id, full_label(job))
        record = (member, kind, started_at, min(until, now), key, name, number, text, ())
        if until <= now:
            self.add(record)
        else:
            self.add(record, unfinished=True, until=until)

    def recording(self, dropped: int) -> Recording:
        """All that was added."""
        rows = sorted(self._rows.values(), key=lambda row: (row.pool, row.id))
        spans = sorted(self._spans, key=lambda span: (span.start, -span.end))
        return Recording(rows, spans, round((self._now - self._origin) * 1e6), dropped)

    def _row(self, member: Member) -> Row:
        row = self._rows.get(member)
        if row is None:
            row = self._rows[member] = _row_of(member, self._time(member.started_at, member.pool))
        return row

    def _time(self, time: float, pool: Pool) -> int:
        return round((time + pool.shift - self._origin) * 1e6)


def _row_of(member: Member, start: int = 0) -> Row:
    return Row(member.pool.number, member.pool.name, member.id, member.name, start)
