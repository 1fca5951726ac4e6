"""The records of a timeline, and their conversion to spans."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from .._model.text import full_label
from ._spans import WHOLE, Recording, Row, Span

if TYPE_CHECKING:
    from .._api.job_group import JobGroup, SlotJobGroup
    from .._model.handles import Job
    from ._accounts import Accounts, Seconds
    from ._spans import Kind

AnyGroup: TypeAlias = "JobGroup[Any] | SlotJobGroup"

Record: TypeAlias = (
    "tuple[Member, Kind, float, float, int, str, int, str, tuple[tuple[int, str], ...], str, float | None]"
)
"""A finished period, as a plain tuple to save memory.

The items are the worker; the kind; the start and the end; the job's id, its name and the number of its attempt; the
error in words; the further workers that took part; the attempt's progress in words; and how long
the job waited from its submission if the attempt is its first. For a group, the worker is the whole
pool, the name is the group's, and its jobs in words take the place of the error.
"""


class Pool:
    """A pool that the timeline has seen.

    Attributes:
      number: counted from 1, in the order in which the pools were first seen.
      name: the pool's name, or None.
      shift: the difference between the timeline's clock and the pool's clock, to add to the pool's
          times.
      members: the workers that have not left, by their ids.
      whole: the pauses and rests of the whole pool, in a row of their own.
      groups: the open groups, and when each was opened.
      closing: the accounts at the pool's end, or None before.
    """

    __slots__ = ("closing", "groups", "members", "name", "number", "shift", "whole")

    def __init__(self, number: int, name: str | None, shift: float, started_at: float) -> None:
        self.number = number
        self.name = name
        self.shift = shift
        self.members: dict[int, Member] = {}
        self.whole: Member = Member(self, WHOLE, "the whole pool", started_at)
        self.groups: dict[AnyGroup, float] = {}
        self.closing: Accounts | None = None


class Member:
    """A worker of a pool, or the whole pool, and what keeps it from taking jobs.

    The instance has no references to the pool's objects, so it keeps none of them alive. After the
    worker has left, ``time`` is what its places have spent their time on, by cause.
    """

    __slots__ = ("holds", "id", "name", "pool", "started_at", "time")

    def __init__(self, pool: Pool, number: int, name: str, started_at: float) -> None:
        self.pool = pool
        self.id = number
        self.name = name
        self.started_at = started_at
        self.holds: dict[Kind, Hold] = {}
        self.time: Seconds | None = None


class Hold:
    """What keeps a worker from taking jobs, until a time that may be ``inf``."""

    __slots__ = ("started_at", "text", "until")

    def __init__(self, started_at: float, until: float, text: str) -> None:
        self.started_at = started_at
        self.until = until
        self.text = text


class Setback:
    """A job whose last attempt has failed; with its delay if ``until`` is not None."""

    __slots__ = ("member", "number", "started_at", "until")

    def __init__(self, member: Member, number: int) -> None:
        self.member = member
        self.number = number
        self.started_at = 0.0
        self.until: float | None = None


class Collector:
    """Converts records and unfinished periods to spans.

    Arguments:
      origin: the beginning of the timeline, on its clock.
      now: the current time, or the end of the last event if everything is over.
    """

    def __init__(self, origin: float, now: float) -> None:
        self._origin = origin
        self._now = now
        self._rows: dict[Member, Row] = {}
        self._pools: set[Pool] = set()
        self._accounts: dict[Pool, Accounts] = {}
        self._spans: list[Span] = []

    def add(self, record: Record, *, unfinished: bool = False, until: float = math.inf) -> None:
        """Add a record; ``unfinished`` if the period had not ended when it was read."""
        member, kind, started_at, ended_at, job, name, number, text, hedges, progress, waited = record
        pool = member.pool
        self._pools.add(pool)
        end = self._time(ended_at, pool)
        if kind == "worker":
            self._row(member).end = None if unfinished else end
            return
        # A delay belongs to the job and may last longer than the worker's row; a group has no row.
        row = _row_of(member) if kind in ("delay", "group") else self._row(member)
        due = None if until == math.inf else self._time(until, pool)
        start = self._time(started_at, pool)
        wait = None if waited is None else round(waited * 1e6)
        self._spans.append(
            Span(row, kind, start, end, job, name, number, text, hedges, unfinished, due, progress, wait)
        )

    def add_open(
        self,
        member: Member,
        kind: Kind,
        started_at: float,
        until: float = math.inf,
        *,
        job: Job[Any] | None = None,
        name: str = "",
        number: int = 0,
        text: str = "",
        progress: str = "",
        waited: float | None = None,
    ) -> None:
        """Add a period that lasts until the given time, which may have passed without an event."""
        now = self._now - member.pool.shift
        key, name = (0, name) if job is None else (job.id, full_label(job))
        record = (member, kind, started_at, min(until, now), key, name, number, text, (), progress, waited)
        if until <= now:
            self.add(record)
        else:
            self.add(record, unfinished=True, until=until)

    def add_accounts(self, pool: Pool, accounts: Accounts) -> None:
        """Add the current accounts of a pool that has not ended."""
        self._accounts[pool] = accounts

    def recording(self, dropped: int) -> Recording:
        """Return everything that was added."""
        pools = {pool: pool.closing for pool in self._pools if pool.closing is not None} | self._accounts
        accounts = {pool.number: each for pool, each in pools.items()}
        left = {row: member.time for member, row in self._rows.items() if member.time is not None}
        rows = sorted(self._rows.values(), key=lambda row: (row.pool, row.id))
        spans = sorted(self._spans, key=lambda span: (span.start, -span.end))
        return Recording(rows, spans, round((self._now - self._origin) * 1e6), dropped, accounts, left)

    def _row(self, member: Member) -> Row:
        row = self._rows.get(member)
        if row is None:
            row = self._rows[member] = _row_of(member, self._time(member.started_at, member.pool))
        return row

    def _time(self, time: float, pool: Pool) -> int:
        return round((time + pool.shift - self._origin) * 1e6)


def _row_of(member: Member, start: int = 0) -> Row:
    return Row(member.pool.number, member.pool.name, member.id, member.name, start)
