"""The output of a timeline as an HTML page with a chart."""

from __future__ import annotations

import json
from collections import defaultdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar

from .._model.time_account import CAUSES
from ._spans import HINDRANCES, OUTCOMES, WHOLE, pool_names, row_names, separate_lanes
from ._summary import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from ._spans import Recording, Row, Span

K = TypeVar("K", bound="Hashable")

# The characters that HTML's parser would interpret. In JSON they occur only in strings.
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def page(recording: Recording) -> str:
    """Return the whole page. It is pure ASCII, so that its encoding doesn't matter."""
    here = files("trio_pool.timeline")
    template = (here / "_page.html").read_text(encoding="ascii")
    script = (here / "_page.js").read_text(encoding="ascii")
    data = json.dumps(_data(recording), separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
    # The data is inserted last, so that placeholders inside it are not replaced.
    return template.replace("/* the script */", script).replace("{the data}", data)


def _data(recording: Recording) -> dict[str, Any]:
    """Return the script's data. The first lines of the script explain the positions in the lists."""
    pools, rows = pool_names(recording), row_names(recording)
    pool_at = {pool: place for place, pool in enumerate(pools)}
    row_at = {row: place for place, row in enumerate(rows)}
    jobs: dict[tuple[int, int], int] = {}
    names: list[tuple[int, str]] = []

    def job_at(span: Span) -> int:
        key = (span.row.pool, span.job)
        if key not in jobs:
            jobs[key] = len(names)
            names.append((span.job, span.name))
        return jobs[key]

    def rest(span: Span) -> list[object]:
        return [span.start, span.end, int(span.unfinished), span.until, span.text]

    attempts = [span for span in recording.spans if span.is_attempt]
    delays = [span for span in recording.spans if span.kind == "delay"]
    groups = [span for span in recording.spans if span.kind == "group"]
    holds = [span for span in recording.spans if span.kind in HINDRANCES]
    workers: defaultdict[int, dict[Row, str]] = defaultdict(dict)
    for row, name in rows.items():
        if row.id != WHOLE:
            workers[row.pool][row] = name
    by_pool: defaultdict[int, list[Span]] = defaultdict(list)
    for span in attempts:
        by_pool[span.row.pool].append(span)
    return {
        "end": recording.end,
        "dropped": recording.dropped,
        "pools": list(pools.values()),
        "workers": sum(row.id != WHOLE for row in rows),
        "rows": [[pool_at[row.pool], name, row.start, row.end] for row, name in rows.items()],
        "outcomes": OUTCOMES,
        "hindrances": HINDRANCES,
        "attempts": [
            [
                *(row_at[span.row], lane, OUTCOMES.index(span.kind), *rest(span), job_at(span), span.number),
                [name for _, name in span.hedges],
                span.progress,
            ]
            for lane, span in _in_lanes(attempts, lambda span: span.row)
        ],
        "holds": [[row_at[span.row], HINDRANCES.index(span.kind), *rest(span)] for span in holds],
        "delays": [
            [pool_at[span.row.pool], lane, *rest(span), job_at(span), span.number]
            for lane, span in _in_lanes(delays, lambda span: span.row.pool)
        ],
        "groups": [
            [pool_at[span.row.pool], lane, *rest(span), span.name]
            for lane, span in _in_lanes(groups, lambda span: span.row.pool)
        ],
        "jobs": names,
        "causes": CAUSES,
        "summaries": [
            summary(place, recording.accounts.get(pool), workers[pool], recording.left, by_pool[pool])
            for pool, place in pool_at.items()
        ],
    }


def _in_lanes(spans: list[Span], key: Callable[[Span], K]) -> Iterator[tuple[int, Span]]:
    """Yield each span with its lane among the spans of the same key."""
    groups: defaultdict[K, list[Span]] = defaultdict(list)
    for span in spans:
        groups[key(span)].append(span)
    for members in groups.values():
        members.sort(key=lambda span: (span.start, span.end))  # instantaneous spans come first
        yield from zip(separate_lanes(members), members, strict=True)
