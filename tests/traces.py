"""Reads the traces that `Timeline` writes, as a viewer of them would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from trio_pool.timeline import Timeline

NEEDED = {
    "X": {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"},
    "M": {"name", "ph", "pid", "tid", "args"},
    "s": {"name", "cat", "ph", "ts", "pid", "tid", "id"},
    "t": {"name", "cat", "ph", "ts", "pid", "tid", "id"},
    "f": {"name", "cat", "ph", "ts", "pid", "tid", "id", "bp"},
    "b": {"name", "cat", "ph", "ts", "pid", "tid", "id2", "args"},
    "e": {"name", "cat", "ph", "ts", "pid", "tid", "id2"},
    "i": {"name", "cat", "ph", "ts", "pid", "tid", "s"},
}
"""The fields that each kind of event must have."""


@attrs.frozen
class Slice:
    """A slice, with its times in seconds."""

    pool: str
    thread: str
    name: str
    start: float
    end: float
    args: dict[str, Any]

    @property
    def brief(self) -> tuple[str, str, float, float]:
        """Where it is, what it is called, from when to when."""
        return self.thread, self.name, self.start, self.end


class Trace:
    """The trace that a timeline would write now."""

    def __init__(self, timeline: Timeline) -> None:
        self.whole: dict[str, Any] = json.loads(json.dumps(timeline.trace(), allow_nan=False))
        self.events: list[dict[str, Any]] = self.whole["traceEvents"]
        self.pools = {event["pid"]: event["args"]["name"] for event in self._metadata("process_name")}
        self.threads = {event["tid"]: event["args"]["name"] for event in self._metadata("thread_name")}

    def _metadata(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.of("M") if event["name"] == name]

    def of(self, phase: str) -> list[dict[str, Any]]:
        """The events of this phase."""
        return [event for event in self.events if event["ph"] == phase]

    def slices(self, category: str) -> list[Slice]:
        """The slices of this category: ``attempt`` or ``worker``."""
        return [self._slice(event) for event in self.of("X") if event["cat"] == category]

    @property
    def attempts(self) -> list[Slice]:
        """The attempts, by their starts."""
        return self.slices("attempt")

    @property
    def holds(self) -> list[Slice]:
        """What kept workers from taking jobs, by their starts."""
        return self.slices("worker")

    @property
    def delays(self) -> list[Slice]:
        """The delays of jobs, by their starts; they are on no thread."""
        return [attrs.evolve(each, name=each.args["name"]) for each in self._asynchronous("delay")]

    @property
    def groups(self) -> list[Slice]:
        """The groups, by their starts; they are on no thread."""
        return self._asynchronous("group")

    def _asynchronous(self, category: str) -> list[Slice]:
        ends = {(event["pid"], event["id2"]["local"]): event["ts"] for event in self.of("e")}
        return [
            Slice(
                self.pools[event["pid"]],
                "",
                event["name"],
                event["ts"] / 1e6,
                ends[event["pid"], event["id2"]["local"]] / 1e6,
                event["args"],
            )
            for event in self.of("b")
            if event["cat"] == category
        ]

    @property
    def outcomes(self) -> list[str]:
        """What came of the attempts, in the order of their starts."""
        return [attempt.args["outcome"] for attempt in self.attempts]

    @property
    def flows(self) -> list[list[tuple[str, str, float]]]:
        """Each flow: its phases, each with the thread and the time of the slice it is bound to."""
        flows: dict[int, list[tuple[str, str, float]]] = {}
        begun = {(event["tid"], event["ts"]) for event in self.of("X")}
        for event in self.events:
            if event["ph"] in ("s", "t", "f"):
                assert (event["tid"], event["ts"]) in begun
                place = (event["ph"], self.threads[event["tid"]], event["ts"] / 1e6)
                flows.setdefault(event["id"], []).append(place)
        return list(flows.values())

    def _slice(self, event: dict[str, Any]) -> Slice:
        start, end = event["ts"] / 1e6, (event["ts"] + event["dur"]) / 1e6
        return Slice(
            self.pools[event["pid"]], self.threads[event["tid"]], event["name"], start, end, event.get("args", {})
        )


def check(trace: Trace) -> None:
    """Check what the format asks for, which viewers don't forgive."""
    assert trace.whole["displayTimeUnit"] == "ms"
    for event in trace.events:
        assert NEEDED[event["ph"]] <= set(event)
        assert all(type(event[field]) is int for field in ("ts", "dur", "pid", "tid") if field in event)
        assert event.get("ts", 0) >= 0
        assert event.get("dur", 0) >= 0
    begun = sorted((event["pid"], event["id2"]["local"], event["ts"]) for event in trace.of("b"))
    ended = sorted((event["pid"], event["id2"]["local"], event["ts"]) for event in trace.of("e"))
    assert [each[:2] for each in begun] == [each[:2] for each in ended]
    assert len({each[:2] for each in begun}) == len(begun)
    assert all(one[2] <= other[2] for one, other in zip(begun, ended, strict=True))
    # Perfetto tells threads apart by their numbers alone.
    names = [(event["pid"], event["tid"]) for event in trace.of("M") if event["name"] == "thread_name"]
    assert len({thread for _, thread in names}) == len(names)
    for flow in trace.flows:
        assert "".join(phase for phase, _, _ in flow) == "s" + "t" * (len(flow) - 2) + "f"
    for thread in trace.threads:
        check_nesting([event for event in trace.of("X") if event["tid"] == thread])


def check_nesting(events: list[dict[str, Any]]) -> None:
    """Check that of two slices on a thread that overlap one is part of the other, in the order of the file."""
    ends: list[int] = []
    last = 0
    for event in events:
        start, end = event["ts"], event["ts"] + event["dur"]
        assert start >= last
        last = start
        while ends and ends[-1] <= start:
            ends.pop()
        assert not ends or end <= ends[-1]
        ends.append(end)
