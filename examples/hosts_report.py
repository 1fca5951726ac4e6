"""What ``fair_crawler.py`` shows: a line of progress while it works, and a table of what has happened at its end."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from progress_line import progress_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_pool import SlotPool


@dataclass(frozen=True)
class Host:
    """What a host says at the end.

    Attributes:
        name: its address and port, which are the key of its jobs.
        kind: "big", "slow" or "small".
        pages: How many it has.
        requests: How often it was asked for something.
        found: How many of its pages were asked for.
        at_once: The most requests that were under way at once.
        busiest: The most requests within a second.
    """

    name: str
    kind: str
    pages: int
    requests: int
    found: int
    at_once: int
    busiest: int


@dataclass
class Report:
    """What has happened so far.

    Attributes:
        most_at_once: How many requests may be under way at once to one host.
        most_per_second: How many may reach one host within a second.
        found: The pages that were found, by their URLs.
        order: The host of each page that was read, in their order.
        done_at: The seconds after which the last page of a host was read, by its name.
        most_running: The most jobs of a host that the pool ran at once, by ``pool.keys``.
        most_queued: The most jobs of a host that waited, likewise.
        failed: What has gone wrong with a page, for each that could not be read.
        hosts: What the hosts say at the end.
        elapsed: The seconds that it took.
    """

    most_at_once: int
    most_per_second: int
    found: set[str] = field(default_factory=set[str])
    order: list[str] = field(default_factory=list[str])
    done_at: dict[str, float] = field(default_factory=dict[str, float])
    most_running: Counter[str] = field(default_factory=Counter[str])
    most_queued: Counter[str] = field(default_factory=Counter[str])
    failed: list[str] = field(default_factory=list[str])
    hosts: list[Host] = field(default_factory=list[Host])
    elapsed: float = 0.0
    _started_at: float = 0.0

    def start(self) -> None:
        self._started_at = time.perf_counter()

    def look_at(self, pool: SlotPool, host: str) -> None:
        """Note what the pool says of a host for which a job runs; nothing if the pool knows no keys."""
        if (now := pool.keys.get(host)) is not None:
            self.most_running[host] = max(self.most_running[host], now.running)
            self.most_queued[host] = max(self.most_queued[host], now.queued)

    def note_read(self, host: str) -> None:
        self.order.append(host)
        self.elapsed = self.done_at[host] = time.perf_counter() - self._started_at

    def note_hosts(self, line: str) -> None:
        self.hosts = [Host(**fields) for fields in json.loads(line)]

    # What is checked.

    def faults(self, interrupted: bool = False) -> Iterator[str]:
        """What is wrong. After an interruption, that pages are missing is not."""
        yield from self.failed
        for host in self.hosts:
            if host.requests > host.found:
                yield f"{host.name} was asked for {host.found} pages by {host.requests} requests"
            if (at_once := max(host.at_once, self.most_running[host.name])) > self.most_at_once:
                yield f"{host.name} had {at_once} requests at once, and not {self.most_at_once} at most"
            if host.busiest > self.most_per_second:
                yield f"{host.name} had {host.busiest} requests in a second, and not {self.most_per_second} at most"
        if not interrupted:
            yield from self._missing()
            yield from self._unfair()

    def _missing(self) -> Iterator[str]:
        if not self.hosts:
            yield "the hosts have said nothing"
        read = Counter(self.order)
        for host in self.hosts:
            if not host.found == read[host.name] == host.pages:
                yield f"{host.name} has {host.pages} pages: {host.found} were asked for, {read[host.name]} read"

    def _unfair(self) -> Iterator[str]:
        """Small hosts that had to wait for others, told by how many turns those had in the meantime."""
        for small in self.hosts:
            if small.kind != "small":
                continue
            read = self._read_before(small.name)
            for host in self.hosts:
                if host.kind == "big" and read[host.name] * 2 > host.pages:
                    yield f"{small.name} was done only after {read[host.name]} pages of the big host"
                elif host.kind == "slow" and read[host.name] == host.pages:
                    yield f"{small.name} was done only after the slow host"

    def _read_before(self, name: str) -> Counter[str]:
        """How many pages of each host had been read when this one was done."""
        backwards = self.order[::-1]
        turns = len(self.order) - backwards.index(name) if name in backwards else 0
        return Counter(self.order[:turns])

    # What is shown.

    def lines(self, interrupted: bool) -> Iterator[str]:
        heads = f"{'pages':>10}{'waiting':>9}{'at once':>11}{'in a second':>13}{'done after':>12}{'others':>8}"
        yield f"{'':<24}{heads}"
        read = Counter(self.order)
        for host in self.hosts:
            before = self._read_before(host.name)
            cells = (
                f"{f'{read[host.name]}/{host.pages}':>10}",
                f"{self.most_queued.get(host.name, '-'):>9}",
                f"{f'{host.at_once} of {self.most_at_once}':>11}",
                f"{f'{host.busiest} of {self.most_per_second}':>13}",
                f"{self.done_at.get(host.name, 0.0):>10.2f} s",
                f"{before.total() - before[host.name]:>8}",
            )
            yield f"{host.name:<18}{host.kind:<6}{''.join(cells)}"
        yield ""
        yield f"{'pages found':<18}{len(self.found):>16}"
        yield f"{'pages read':<18}{len(self.order):>16}"
        yield f"{'elapsed':<18}{self.elapsed:>14.2f} s"
        yield ""
        faults = list(self.faults(interrupted))
        yield from faults
        yield "the crawl was not as it should be" if faults else "each page once, politely, and in fair turns"


async def show_progress(pool: SlotPool, report: Report) -> None:
    with progress_line() as show:
        async for _ in pool.snapshots(show.interval):
            hosts = "  ".join(f"{key.running}+{key.queued}" for key in pool.keys.values())
            show(f"{len(report.order):>4}/{len(report.found)} pages  {hosts}")
