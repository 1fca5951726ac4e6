"""The other side of ``api_tokens.py``: an HTTP API that is hard to get things out of.

It serves the source files of this interpreter's standard library on a free port of 127.0.0.1, to callers that send
``Authorization: Bearer <token>`` with one of the four tokens below. It prints its port on the first line of its
output, and ends when its input does: a parent that holds the other end of that pipe can't leave it behind, however
the parent ends. Started by hand it stops at Ctrl-C or Ctrl-D. The last line of its output is how many calls it has
refused with 429.

It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import random
import sys
import sysconfig
import threading
import time
import traceback
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(sysconfig.get_path("stdlib")).resolve()


@dataclass(frozen=True)
class Token:
    """What a token is worth.

    Attributes:
        quota: The calls it may make in a second. A token that has made none for a second may make as many at once.
        mortal: Whether all its calls are answered with 500 during the outage.
        failing: The share of its calls that is answered with 500.
        slow: The share of its calls that has to wait for the answer.
        slowness: The seconds such a call waits, at least and at most.
    """

    quota: int
    mortal: bool = False
    failing: float = 0.0
    slow: float = 0.0
    slowness: tuple[float, float] = (0.2, 2.0)


TOKENS = {
    "token-a": Token(quota=32),
    "token-b": Token(quota=16, failing=0.06),
    "token-c": Token(quota=8, slow=0.06),
    "token-d": Token(quota=8, mortal=True),
}


class Quota:
    """A bucket of ``limit`` calls: full at first, and refilled evenly with ``limit`` calls a second."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._full_at = -math.inf

    def take(self, now: float) -> float:
        """Count a call at ``now``.

        Returns:
            0.0 if the call may pass, or else the seconds until one may.
        """
        full_at = max(self._full_at, now) + 1 / self.limit
        if full_at > now + 1.0:  # an empty bucket is full again after a second
            return full_at - (now + 1.0)
        self._full_at = full_at
        return 0.0


@dataclass(frozen=True)
class Verdict:
    """What becomes of one call: how long it waits, and its status."""

    status: HTTPStatus
    delay: float = 0.0
    retry_after: int | None = None


class Account:
    """The state of one token. Each connection has a thread of its own, so calls come from several at once."""

    def __init__(self, token: Token, rng: random.Random) -> None:
        self.refused = 0
        self._token = token
        self._rng = rng
        self._quota = Quota(token.quota)
        self._lock = threading.Lock()

    def judge(self, now: float, outage: bool) -> Verdict:
        """Decide about a call at ``now``, in seconds of any steady clock, with or without an outage."""
        with self._lock:
            if outage and self._token.mortal:
                return Verdict(HTTPStatus.INTERNAL_SERVER_ERROR)
            if wait := self._quota.take(now):
                self.refused += 1
                # HTTP has whole seconds here; rounding up never sends anybody back too early.
                return Verdict(HTTPStatus.TOO_MANY_REQUESTS, retry_after=math.ceil(wait))
            if self._rng.random() < self._token.failing:
                return Verdict(HTTPStatus.INTERNAL_SERVER_ERROR)
            if self._rng.random() < self._token.slow:
                return Verdict(HTTPStatus.OK, delay=self._rng.uniform(*self._token.slowness))
            return Verdict(HTTPStatus.OK)


class Server(ThreadingHTTPServer):
    """A server on a free port of the loopback interface, with an account for each value of Authorization."""

    def __init__(self, seed: int, outage: range) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        # By the number of calls and not by the clock, so that it comes at the same part of a run on any machine.
        self.outage = outage
        self.call_numbers = itertools.count()
        # Each token has its own dice, so that its luck doesn't hang on what the others do.
        self.accounts = {
            f"Bearer {name}": Account(token, random.Random(f"{seed} {name}")) for name, token in TOKENS.items()
        }

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that hang up in the middle; anything else is a bug, and shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """Answers the calls of one connection."""

    protocol_version = "HTTP/1.1"  # which keeps the connection open for the next call
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its headers

    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        account = self.server.accounts.get(self.headers.get("Authorization", ""))
        if account is None:
            self.answer(HTTPStatus.UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})
            return
        verdict = account.judge(time.perf_counter(), outage=next(self.server.call_numbers) in self.server.outage)
        time.sleep(verdict.delay)
        if verdict.retry_after is not None:
            self.answer(verdict.status, {"Retry-After": str(verdict.retry_after)})
        elif verdict.status is not HTTPStatus.OK:
            self.answer(verdict.status)
        elif (body := read_source(self.path)) is None:
            self.answer(HTTPStatus.NOT_FOUND)
        else:
            self.answer(HTTPStatus.OK, {"Content-Type": "text/x-python"}, body)

    def answer(self, status: HTTPStatus, headers: dict[str, str] | None = None, body: bytes | None = None) -> None:
        """Send a whole response; without a body, the words for its status are sent."""
        if body is None:
            body = f"{status.phrase}\n".encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, as in the base class
        """Log nothing: the terminal belongs to the client."""


def read_source(url_path: str) -> bytes | None:
    """The content of the Python source file at this path below the standard library, or None if there is none."""
    with contextlib.suppress(OSError, ValueError):  # what the system says to a path that can't be one
        path = (ROOT / unquote(url_path).lstrip("/")).resolve()
        # Resolved first, so that no ".." leads out of the library.
        if path.suffix == ".py" and path.is_relative_to(ROOT):
            return path.read_bytes()
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the standard library's source files to four tokens.")
    parser.add_argument("--seed", type=int, default=0, help="repeats the failures and the slowness (default: 0)")
    parser.add_argument(
        "--outage",
        type=int,
        nargs=2,
        default=(0, 0),
        metavar=("FROM", "TO"),
        help="let token-d be dead from this call on until that one, counted from 0 over all tokens (default: never)",
    )
    options = parser.parse_args()
    server = Server(options.seed, range(*options.outage))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    print(sum(account.refused for account in server.accounts.values()), flush=True)


if __name__ == "__main__":
    main()
