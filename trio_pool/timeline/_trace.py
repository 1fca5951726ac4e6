"""The output of a timeline in the Trace Event Format, for Perfetto and for Chrome.

The format is Google's:
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from .._version import __version__
from ._spans import nested_lanes, pool_names, row_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._spans import Kind, Recording, Row, Span

_Event: TypeAlias = dict[str, Any]

# The colors in Chrome's viewer, by its own names. Perfetto chooses colors by the slices' names.
_COLORS: dict[Kind, str] = {
    "succeeded": "good",
    "failed": "bad",
    "dead": "terrible",
    "put off": "yellow",
    "discarded": "grey",
    "cut short": "grey",
    "running": "rail_animation",
}


def trace_events(recording: Recording) -> dict[str, Any]:
    """Return the whole trace."""
    numbers = count(1)
    processes = {pool: next(numbers) for pool in pool_names(recording)}
    threads: dict[Span, int] = {}
    events = [*_processes(recording, processes), *_threads(recording, processes, threads, numbers)]
    if recording.dropped:
        name = f"{recording.dropped} older records were dropped"
        first = recording.spans[0].start if recording.spans else recording.end
        events.append({"ph": "i", "s": "g", "name": name, "cat": "dropped", "ts": first, "pid": 1, "tid": 1})

    turns = _turns(recording)
    for number, span in enumerate(recording.spans, 1):
        process = processes[span.row.pool]
        if span.kind in ("delay", "group"):
            # These may overlap, so they are asynchronous slices: each has a number within its
            # process.
            common = {
                "cat": span.kind,
                "name": "backing off" if span.kind == "delay" else span.name,
                "id2": {"local": f"{number:#x}"},
                "pid": process,
                "tid": process,
            }
            events.append({"ph": "b", "ts": span.start, "args": _arguments(span), **common})
            events.append({"ph": "e", "ts": span.end, **common})
            continue
        common = {"pid": process, "tid": threads[span], "ts": span.start}
        events.append({"ph": "X", "dur": span.end - span.start, **_slice(span), **common})
        if span in turns:
            # Viewers expect a flow event at the start of its slice and right after it in the list.
            events.append({"cat": "job", "name": "next attempt", **turns[span], **common})
    return {
        "traceEvents": events,
        "displayTimeUnit": "ms",
        "otherData": {"recorder": f"trio_pool {__version__}", "dropped_records": recording.dropped},
    }


def _processes(recording: Recording, processes: dict[int, int]) -> Iterator[_Event]:
    for pool, name in pool_names(recording).items():
        process = processes[pool]
        yield _metadata("process_name", process, process, name=name)
        yield _metadata("process_sort_index", process, process, sort_index=process)


def _threads(
    recording: Recording, processes: dict[int, int], threads: dict[Span, int], numbers: Iterator[int]
) -> Iterator[_Event]:
    """Yield a thread for each lane of each worker, and store the threads of the spans in ``threads``.

    Perfetto identifies a thread by its number alone, so thread numbers are unique across processes.
    """
    by_row: defaultdict[Row, list[Span]] = defaultdict(list)
    for span in recording.spans:
        if span.kind not in ("delay", "group"):
            by_row[span.row].append(span)
    for row, name in row_names(recording).items():
        spans = by_row[row]
        lanes = nested_lanes(spans)
        thread_of = [next(numbers) for _ in range(max(lanes, default=0) + 1)]
        threads.update(zip(spans, (thread_of[lane] for lane in lanes), strict=True))
        for lane, thread in enumerate(thread_of):
            label = f"{name} (overlapping)" if lane else name
            yield _metadata("thread_name", processes[row.pool], thread, name=label)
            yield _metadata("thread_sort_index", processes[row.pool], thread, sort_index=thread)


def _metadata(what: str, process: int, thread: int, **arguments: object) -> _Event:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": arguments}


def _turns(recording: Recording) -> dict[Span, _Event]:
    """For each attempt of a job with several attempts, return the attempt's flow event."""
    attempts: defaultdict[tuple[int, int], list[Span]] = defaultdict(list)
    for span in recording.spans:
        if span.is_attempt:
            attempts[span.row.pool, span.job].append(span)
    turns: dict[Span, _Event] = {}
    for flow, spans in enumerate(attempts.values(), 1):
        if len(spans) > 1:
            turns.update((span, {"ph": "t", "id": flow}) for span in spans)
            turns[spans[0]]["ph"] = "s"
            turns[spans[-1]].update(ph="f", bp="e")
    return turns


def _slice(span: Span) -> _Event:
    if span.is_attempt:
        return {"cat": "attempt", "name": span.name, "cname": _COLORS[span.kind], "args": _arguments(span)}
    return {"cat": "worker", "name": span.kind, "args": _arguments(span)}


def _arguments(span: Span) -> dict[str, Any]:
    """Return what a viewer shows of a span besides its name and its times."""
    found: dict[str, Any] = {}
    if span.job:
        found |= {"job": span.job, "name": span.name, "attempt": span.number}
    if span.is_attempt:
        found["outcome"] = span.kind
    if span.progress:
        found["progress"] = span.progress
    if span.text:
        found["jobs" if span.kind == "group" else "error"] = span.text
    if span.hedges:
        found["hedges"] = [name for _, name in span.hedges]
    if span.unfinished:
        found["unfinished"] = True
    if span.until is not None:
        found["until"] = span.until
    return found
