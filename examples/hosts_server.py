"""The other side of ``fair_crawler.py``: many hosts in one process, each on a free port of 127.0.0.1.

The first host has ten times as many pages as the others, the second one is slow. Pages link to others of their host, so
that each can be found from the host's front page, and to some of other hosts. The front page of the first one links to
those of all.

It prints the port of the first host, and ends when its input does. The last line of its output is what each host has
seen, as JSON. It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import threading
import time
from collections import Counter
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler

from site_server import Server

BIG = 10
"""How many times as many pages the big host has."""
DELAY, SLOW_DELAY = 0.02, 0.3
"""The seconds that an answer takes, and one of the slow host."""
FANOUT = 8
"""How many pages each page leads to, if there are as many."""
CROSS_LINKS = 3
"""To how many pages of any hosts each page links besides."""


class Host(Server):
    """One host, which notes who is being served."""

    request_queue_size = 128  # callers may open all their connections at once

    def __init__(self, kind: str, pages: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kind = kind
        self.delay = SLOW_DELAY if kind == "slow" else DELAY
        self.name = f"127.0.0.1:{self.server_port}"
        self.bodies = dict.fromkeys(map("/{}".format, range(pages)), b"")
        self._lock = threading.Lock()  # each connection has a thread of its own
        self._requests: Counter[str] = Counter()
        self._times: list[float] = []
        self._under_way = self._most_at_once = 0

    def url(self, path: str) -> str:
        return f"http://{self.name}{path}"

    def begin(self, path: str) -> None:
        with self._lock:
            self._requests[path] += 1
            self._times.append(time.perf_counter())
            self._under_way += 1
            self._most_at_once = max(self._most_at_once, self._under_way)

    def end(self) -> None:
        with self._lock:
            self._under_way -= 1

    def seen(self) -> dict[str, object]:
        """What has happened here: the fields of ``hosts_report.Host``."""
        with self._lock:
            return {
                "name": self.name,
                "kind": self.kind,
                "pages": len(self.bodies),
                "requests": self._requests.total(),
                "found": len(self._requests.keys() & self.bodies.keys()),
                "at_once": self._most_at_once,
                "busiest": busiest_second(self._times),
            }


class Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"  # which keeps the connection open for the next request
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its headers

    def do_GET(self) -> None:
        host = self.server
        assert isinstance(host, Host)
        host.begin(self.path)
        try:
            time.sleep(host.delay)
        finally:
            host.end()  # before the answer, as the next request may come as soon as that is there
        body = host.bodies.get(self.path)
        if body is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, as in the base class
        """Log nothing: the terminal belongs to the client."""


def busiest_second(times: list[float]) -> int:
    """The most requests that any second has seen, wherever it begins; the times are in order."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] < at - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def make_hosts(hosts: int, pages: int, seed: int) -> list[Host]:
    kinds = ["big", "slow", *["small"] * (hosts - 2)]
    made = [Host(kind, pages * BIG if kind == "big" else pages) for kind in kinds]
    fill(made, random.Random(seed))
    return made


def fill(hosts: list[Host], rng: random.Random) -> None:
    """Link the pages to each other."""
    for host in hosts:
        paths = list(host.bodies)
        for number, path in enumerate(paths):
            links = [host.url(other) for other in paths[number * FANOUT + 1 :][:FANOUT]]
            links += [other.url(f"/{rng.randrange(len(other.bodies))}") for other in rng.choices(hosts, k=CROSS_LINKS)]
            if host is hosts[0] and number == 0:
                links += [other.url("/0") for other in hosts]
            host.bodies[path] = "".join(f'<p><a href="{link}">a page</a></p>\n' for link in links).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve many hosts, each on a free port of 127.0.0.1.")
    parser.add_argument("--hosts", type=int, default=6, help="how many, at least 2 (default: 6)")
    parser.add_argument("--pages", type=int, default=20, help="how many each has; the first has ten times as many")
    parser.add_argument("--seed", type=int, default=0, help="repeats the links (default: 0)")
    options = parser.parse_args()
    hosts = make_hosts(options.hosts, options.pages, options.seed)
    for host in hosts:
        threading.Thread(target=host.serve_forever, daemon=True).start()
    print(hosts[0].server_port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    print(json.dumps([host.seen() for host in hosts]), flush=True)


if __name__ == "__main__":
    main()
