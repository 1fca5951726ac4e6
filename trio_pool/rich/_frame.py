"""The layout of a reading: a frame for a terminal, a line for other output."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs
from rich.cells import cell_len

from .._basics.text import shown
from .._model.explanation import bottleneck
from .._model.states import WorkerState
from .._model.text import how_far, label, places, reservation
from ._layout import FAINT, GAP, PLAIN, Column, apart, cut, fit, segment, table
from ._text import clock, encodable, error_in_words, one_line, pace, per_period, short, span

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from rich.segment import Segment

    from .._model.statistics import KeyStatistics, PoolStatistics, WorkerStatistics
    from ._layout import Piece
    from ._readings import Failure, Reading
    from ._units import UnitReading, Usage

IN_THE_POOL = {"running": "cyan", "queued": "blue", "delayed": "magenta", "blocked": "dim"}
ENDED = {"succeeded": "green", "dead": "red", "cancelled": "yellow", "discarded": "bright_yellow"}
WORKERS = {
    WorkerState.STARTING: "yellow",
    WorkerState.IDLE: "dim",
    WorkerState.BUSY: "cyan",
    WorkerState.PAUSED: "magenta",
    WorkerState.QUARANTINED: "red",
    WorkerState.RESTING: "yellow",
    WorkerState.REOPENING: "yellow",
    WorkerState.STOPPED: "dim",
}
HELD_BACK = {
    WorkerState.QUARANTINED: "left",
    WorkerState.RESTING: "left",
    WorkerState.IDLE: "until its rate limit allows a job",
}
"""The explanation after the time for which a worker gets no job."""

HEAD = 4
"""Lines of a frame above its tables and the use of units."""
ROOMY = 16
"""The number of lines below the head from which on there is room for the bottleneck."""
TABLE_HEAD = 2
"""Lines of a table above its rows, including an empty one."""

CREW = (
    Column("worker", 0),
    Column("state", len("quarantined")),
    Column("", len("1:00:00"), is_number=True),
    Column("job", None),
    Column("attempts", len("attempts"), is_number=True, from_width=96),  # the sum of the next two columns
    Column("ok", 6, is_number=True, from_width=50),
    Column("failed", 6, is_number=True, from_width=50),
    Column("rate", len("59.9/min"), is_number=True, from_width=66),
)
BESIDE_UNITS = 42
"""The width reserved for the columns that are always shown; columns of units need additional width."""
JOB_BESIDE_UNITS = 10
"""How much wider the terminal must be for other columns beside columns of units, so that jobs stay readable."""
AMOUNT = 5
"""The width of an amount."""
LONGEST_UNIT = 16
"""The maximum width that a column gets for the name of its unit in the header."""
FAILURES = (
    Column("worker", 0),
    Column("failed", len("1:00:00 ago")),
    Column("job", 0),
    Column("error", None),
)


KEYS = (
    Column("key", None),
    Column("running", len("running"), is_number=True),
    Column("queued", len("queued"), is_number=True),
    Column("delayed", len("delayed"), is_number=True, from_width=50),
    Column("held back", len("1:00:00 left"), is_number=True, from_width=66),
)
GROUPS = (
    Column("group", None),
    Column("running", len("running"), is_number=True),
    Column("queued", len("queued"), is_number=True),
    Column("delayed", len("delayed"), is_number=True, from_width=50),
    Column("ended", len("ended"), is_number=True),
    Column("dead", len("dead"), is_number=True, from_width=50),
)


def frame(reading: Reading, width: int, height: int, encoding: str = "utf-8") -> list[list[Segment]]:
    """Return the lines of a frame.

    Arguments:
      reading: what to show.
      width, height: the available columns and lines; the top of a frame always takes four lines.
      encoding: the terminal's encoding; characters that it doesn't have become question marks.
    """
    units = _units(reading, width)[: max(0, (height - HEAD) // 4)]
    lines = height - HEAD - len(units)
    explains = lines >= ROOMY and reading.elapsed > 0
    lines -= explains
    failures = min(len(reading.failures), max(0, lines // 3 - TABLE_HEAD))
    if failures:
        lines -= failures + TABLE_HEAD
    keys = min(len(reading.keys), max(0, lines // 2 - TABLE_HEAD))
    if keys:
        lines -= keys + TABLE_HEAD
    groups = min(len(reading.groups), max(0, lines // 2 - TABLE_HEAD))
    if groups:
        lines -= groups + TABLE_HEAD
    rows = [
        apart(_name(reading), (clock(reading.elapsed), FAINT), width),
        _bar(reading, width, ("━", "─", "┈") if encoding.startswith("utf") else ("#", "=", ".")),
        apart(_counts(reading, IN_THE_POOL), (GAP.join(_speed(reading)), "bold"), width),
        apart(_counts(reading, ENDED), (_done(reading), PLAIN), width),
        *units,
        *([cut([(_bottleneck(reading), FAINT)], width)] if explains else []),
    ]
    if lines > TABLE_HEAD:
        rows += _crew(reading, width, lines - TABLE_HEAD)
    if keys:
        rows += table(KEYS, width, [_key(reading, *each) for each in reading.keys[:keys]])
    if groups:
        rows += table(GROUPS, width, [_group(each) for each in reading.groups[:groups]])
    if failures:
        rows += _failures(reading, width, failures)
    return [[segment(piece, encoding) for piece in row] for row in rows]


def plain_line(reading: Reading, encoding: str = "utf-8") -> str:
    """Format the reading as one line of plain text."""
    pool = reading.pool
    of = f" of {reading.expected}" if reading.is_total else ""
    words = [f"{reading.ended}{of} ended{_percent(reading)}", *_speed(reading)]
    words += [f"{getattr(pool, state)} {state}" for state in ("running", "queued", "delayed")]
    rare = {state: getattr(pool, state) for state in ("blocked", "dead", "cancelled", "discarded")}
    words += [f"{count} {state}" for state, count in rare.items() if count]
    name = f"{one_line(pool.name)} " if pool.name is not None else ""
    words += [hold] if (hold := _hold(reading)) else []
    workers = _in_states(pool.workers) or "none"
    line = f"{name}{clock(reading.elapsed)}  {', '.join(words)}; workers: {workers}"
    used = ", ".join(_used(unit) for unit in reading.units)
    return encodable(f"{line}; used: {used}" if used else line, encoding)


# The top of a frame


def _bottleneck(reading: Reading) -> str:
    words = bottleneck(reading.pool)
    return words[0].lower() + words[1:]


def _name(reading: Reading) -> list[Piece]:
    name: Piece = ("pool" if reading.pool.name is None else one_line(reading.pool.name), "bold")
    if reading.hold is None:
        return [name]
    state = WorkerState.PAUSED if reading.hold == "paused" else WorkerState.RESTING
    return [name, (f"{GAP}{_hold(reading)}", WORKERS[state])]


def _hold(reading: Reading) -> str:
    """What keeps the whole pool from starting anything."""
    hold = reading.hold
    if hold is None:
        return ""
    return hold if isinstance(hold, str) else f"resting, {span(hold)} left"


def _bar(reading: Reading, width: int, chars: tuple[str, str, str]) -> list[Piece]:
    """All jobs by state: ended jobs as a thick line, jobs in the pool thin, future jobs dotted."""
    ended, inside, to_come = chars
    parts = [(getattr(reading.pool, state), ended, style) for state, style in ENDED.items()]
    parts += [(getattr(reading.pool, state), inside, style) for state, style in IN_THE_POOL.items()]
    pieces: list[Piece] = []
    so_far = drawn = 0
    for count, char, style in parts:
        so_far += count
        # The ends of the parts are rounded, and not their lengths, so that the parts fill the line
        # exactly.
        end = round(width * so_far / reading.expected) if count else drawn
        pieces.append((char * (end - drawn), style))
        drawn = end
    return [*pieces, (to_come * (width - drawn), FAINT)]


def _counts(reading: Reading, styles: dict[str, str]) -> list[Piece]:
    """How many jobs are in these states, aligned so that the two lines of counts match."""
    pieces: list[Piece] = []
    for above, below in zip(IN_THE_POOL, ENDED, strict=True):
        state = above if above in styles else below
        count: int = getattr(reading.pool, state)
        digits = max(4, *(len(str(getattr(reading.pool, each))) for each in (above, below)))
        label = max(len(above), len(below))
        pieces.append((f"{count:>{digits}} {state:<{label}} ", styles[state] if count else FAINT))
    return pieces


def _speed(reading: Reading) -> list[str]:
    """How many jobs end per second, and how long the rest will take."""
    words = [pace(reading.rate)] if reading.rate is not None else []
    if reading.left is not None and reading.ended < reading.expected:
        words.append(f"{span(reading.left, digits=0)} left")
    return words


def _done(reading: Reading) -> str:
    return f"{reading.ended} of {reading.expected}{_percent(reading) if reading.is_total else ' so far'}"


def _percent(reading: Reading) -> str:
    """The percentage of jobs that have ended."""
    if not reading.is_total or not reading.expected:
        return ""
    # Rounded down, so that 100 means that all jobs have ended.
    return f" ({100 * reading.ended // reading.expected} %)"


# The use of units


def _units(reading: Reading, width: int) -> list[list[Piece]]:
    """A line for each unit, with what the whole pool used, and what its workers used of each shared limit."""
    rows: list[list[Piece]] = []
    for unit in reading.units:
        row: list[Piece] = []
        for name, usage in _uses(unit):
            row += [(f"{name} ", FAINT), _usage(usage), (GAP, PLAIN)]
        rows.append(cut(row[:-1], width))
    return rows


def _used(unit: UnitReading) -> str:
    """The use of a unit as plain text."""
    total, *shared = [f"{name} {_usage(usage)[0]}" for name, usage in _uses(unit)]
    return f"{total} ({', '.join(shared)})" if shared else total


def _uses(unit: UnitReading) -> list[tuple[str, Usage]]:
    """The use of the pool and of each shared limit, with their names."""
    shared = [("shared" if name is None else one_line(name), usage) for name, usage in unit.shared]
    return [(one_line(unit.unit), unit.pool), *shared]


def _usage(usage: Usage) -> Piece:
    return f"{short(usage.amount)}{_bound(usage)}", PLAIN if usage.amount else FAINT


def _bound(usage: Usage) -> str:
    """What an amount is compared to: `` of 90k/min``, or only ``/min`` if there is no limit."""
    per = per_period(usage.per)
    return per if usage.count is None else f" of {short(usage.count)}{per}"


# The tables


def _crew(reading: Reading, width: int, lines: int) -> list[list[Piece]]:
    """The workers in at most ``lines`` rows; if they don't fit, the last row summarizes the rest."""
    workers = reading.pool.workers
    if not workers:
        return [[], [("no workers", FAINT)]]
    shown = workers if len(workers) <= lines else workers[: lines - 1]
    uses = [[unit.of(worker) for unit in reading.units] for worker in shown]
    columns = _crew_columns(reading, uses, width)
    cells = [_worker(reading, worker, used) for worker, used in zip(shown, uses, strict=True)]
    rows = table(columns, width, cells)
    if len(shown) < len(workers):
        rest = workers[len(shown) :]
        rows.append([(fit(f"and {len(rest)} more: {_in_states(rest)}", width), FAINT)])
    return rows


def _worker(reading: Reading, worker: WorkerStatistics, used: Sequence[Usage | None]) -> list[Piece]:
    style = WORKERS[worker.state]
    seconds, what = _doing(reading, worker)
    return [
        (one_line(worker.name), PLAIN),
        (_state(worker), style),
        ("" if seconds is None else span(seconds), style),
        what,
        (str(worker.attempts), PLAIN),
        (str(worker.succeeded), "green" if worker.succeeded else FAINT),
        (str(worker.failed), "red" if worker.failed else FAINT),
        (pace(reading.rate_of(worker)), PLAIN),
        *(("", PLAIN) if usage is None else _usage(usage) for usage in used),
    ]


def _crew_columns(reading: Reading, uses: Sequence[Sequence[Usage | None]], width: int) -> Sequence[Column]:
    """The columns of the workers, with one for each unit as far as there is room, before some of the others."""
    columns: list[Column] = []
    taken = 0
    for unit, column in zip(reading.units, zip(*uses, strict=True), strict=True):
        bounds = [len(_bound(usage)) for usage in column if usage is not None]
        header = one_line(unit.unit)
        # The limits determine the width, not the amounts, so that the table doesn't move.
        needed = max(AMOUNT + max(bounds, default=0), min(cell_len(header), LONGEST_UNIT))
        if taken + len(GAP) + needed > width - BESIDE_UNITS:
            break
        taken += len(GAP) + needed
        columns.append(Column(header, needed, is_number=True))
    if not columns:
        return CREW
    more = taken + JOB_BESIDE_UNITS
    return [*(attrs.evolve(each, from_width=each.from_width and each.from_width + more) for each in CREW), *columns]


def _state(worker: WorkerStatistics) -> str:
    """The worker's state, and how many of its places are taken if it may have several: ``busy 12/20``."""
    state = worker.state.value
    return state if worker.max_running == 1 else f"{state} {places(worker.running, worker.max_running)}"


def _doing(reading: Reading, worker: WorkerStatistics) -> tuple[float | None, Piece]:
    """How long a worker has been busy and with what, or how long it still gets no job and why."""
    handle = reading.crew.get(worker.id)
    if run := None if handle is None else next(iter(handle._runs), None):
        what = f"{run.job.id} {one_line(label(run.job))}"
        progress = run.job._extras.progress
        return reading.now - run.started_at, (what if progress is None else f"{what}  {how_far(progress)}", PLAIN)
    if worker.state is WorkerState.REOPENING and worker.last_error is not None:
        return None, (error_in_words(worker.last_error), FAINT)
    if worker.available_at is not None and worker.state in HELD_BACK:
        return max(0.0, worker.available_at - reading.now), (HELD_BACK[worker.state], FAINT)
    if handle is not None and worker.state is WorkerState.IDLE:
        return None, (reservation(handle), FAINT)
    return None, ("", PLAIN)


def _key(reading: Reading, key: Hashable, statistics: KeyStatistics) -> list[Piece]:
    until = statistics.available_at
    held_back = "" if until is None else f"{span(max(0.0, until - reading.now))} left"
    return [
        (one_line(key if isinstance(key, str) else shown(key)), PLAIN),
        *[(str(count), PLAIN if count else FAINT) for count in (statistics.running, statistics.queued)],
        (str(statistics.delayed), PLAIN if statistics.delayed else FAINT),
        (held_back, WORKERS[WorkerState.RESTING]),
    ]


def _group(group: PoolStatistics) -> list[Piece]:
    ended = group.succeeded + group.dead + group.cancelled + group.discarded
    counts = (group.running, group.queued, group.delayed, ended)
    return [
        ("a group" if group.name is None else one_line(group.name), PLAIN),
        *[(str(count), PLAIN if count else FAINT) for count in counts],
        (str(group.dead), "red" if group.dead else FAINT),
    ]


def _failures(reading: Reading, width: int, count: int) -> list[list[Piece]]:
    """The last failures, the newest first."""
    newest = list(reversed(reading.failures))[:count]
    return table(FAILURES, width, [_failure(reading, failure) for failure in newest])


def _failure(reading: Reading, failure: Failure) -> list[Piece]:
    words = one_line(failure.job.reason) if failure.error is None else error_in_words(failure.error)
    return [
        (one_line(failure.worker or ""), PLAIN),
        (f"{span(reading.now - failure.at)} ago", FAINT),
        (f"{failure.job.id} {one_line(label(failure.job))}", PLAIN),
        (f"dead: {words}", "red") if failure.is_last else (words, "yellow"),
    ]


def _in_states(workers: Iterable[WorkerStatistics]) -> str:
    """How many workers are in each state."""
    count = Counter(worker.state for worker in workers)
    return ", ".join(f"{count[state]} {state.value}" for state in WorkerState if count[state])
