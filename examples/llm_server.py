"""The other side of ``llm_batch.py``: an API of language models with quotas, failures and answers that take time.

It answers ``POST /v1/chat/completions`` on a free port of 127.0.0.1, in the form that many such APIs share: streamed or
whole, with the usage in the answer, to callers that send ``Authorization: Bearer <key>`` with one of the keys below.
What it says is made of random words, one a token, and is the same each time for the same prompt.

Each key has quotas of requests and of tokens, and two keys share those of their organization. A request draws the
tokens of its prompt and its ``max_tokens`` when it arrives; what it has not used is given back with the end of its
answer. If any quota has too little left, the answer is 429 with ``Retry-After``.

It prints its port on the first line of its output, and ends when its input does. The last line of its output is what
each key has done, as JSON. It needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import re
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MINUTE = 3.0
"""The seconds of a minute here, so that nobody has to wait for a real one."""

SHORTEST_ANSWER = 0.2
"""The seconds that any answer takes at least."""

PIECES_EVERY = 0.1
SECONDS_PER_TOKEN = 0.0015
WORDS = ("a", "model", "of", "words", "that", "follow", "each", "other", "as", "if", "somebody", "knew", "them")


@dataclass(frozen=True)
class Quota:
    """What may be used in a minute. After a minute without use, as much may be used at once."""

    requests: int
    tokens: int


@dataclass(frozen=True)
class Key:
    quota: Quota
    organization: str | None = None


ORGANIZATIONS = {"acme": Quota(66, 13_500)}
KEYS = {
    "key-a": Key(Quota(72, 15_000)),
    "key-b": Key(Quota(54, 11_250)),
    "key-c": Key(Quota(44, 9_000), "acme"),
    "key-d": Key(Quota(44, 9_000), "acme"),
}


class Bucket:
    """A token bucket: full at first, and refilled evenly with its whole content a minute."""

    def __init__(self, size: int, minute: float = MINUTE) -> None:
        self.size = size
        self._rate = size / minute
        self._level = float(size)
        self._at = -math.inf

    def level(self, now: float) -> float:
        if now > self._at:
            self._level = min(self.size, self._level + (now - self._at) * self._rate)
            self._at = now
        return self._level

    def wait(self, amount: float, now: float) -> float:
        """The seconds until that much can be drawn."""
        return max(0.0, (min(amount, self.size) - self.level(now)) / self._rate)

    def draw(self, amount: float, now: float) -> None:
        """Draw it, whatever is left; a negative amount is given back."""
        self._level = min(self.size, self.level(now) - amount)


class Meter:
    """The two buckets of a quota."""

    def __init__(self, quota: Quota, minute: float) -> None:
        self.requests = Bucket(quota.requests, minute)
        self.tokens = Bucket(quota.tokens, minute)


@dataclass
class Counts:
    calls: int = 0
    refused: int = 0
    failed: int = 0
    tokens: int = 0


class Account:
    """The state of one key. Each connection has a thread of its own, so calls come from several at once."""

    def __init__(self, meters: list[Meter], lock: threading.Lock) -> None:
        self.counts = Counts()
        self._meters = meters
        self._lock = lock  # one for all keys, since keys share meters

    def admit(self, tokens: int, now: float) -> float:
        """Draw a request and its tokens; or else return the seconds until that will be possible."""
        with self._lock:
            self.counts.calls += 1
            wait = max(max(meter.requests.wait(1, now), meter.tokens.wait(tokens, now)) for meter in self._meters)
            if wait:
                self.counts.refused += 1
                return wait
            for meter in self._meters:
                meter.requests.draw(1, now)
                meter.tokens.draw(tokens, now)
            return 0.0

    def settle(self, drawn: int, used: int, now: float) -> None:
        """Replace the tokens that a request has drawn by those that it has used."""
        with self._lock:
            self.counts.tokens += used
            for meter in self._meters:
                meter.tokens.draw(used - drawn, now)

    def headers(self, now: float) -> dict[str, str]:
        """What the key has left, as such APIs tell it."""
        with self._lock:
            buckets = {
                "requests": min((meter.requests for meter in self._meters), key=lambda bucket: bucket.level(now)),
                "tokens": min((meter.tokens for meter in self._meters), key=lambda bucket: bucket.level(now)),
            }
            return {
                name: str(value)
                for unit, bucket in buckets.items()
                for name, value in (
                    (f"x-ratelimit-limit-{unit}", bucket.size),
                    (f"x-ratelimit-remaining-{unit}", max(0, int(bucket.level(now)))),
                )
            }


def open_accounts(minute: float) -> dict[str, Account]:
    """An account for each value of Authorization."""
    lock = threading.Lock()
    shared = {name: Meter(quota, minute) for name, quota in ORGANIZATIONS.items()}
    accounts: dict[str, Account] = {}
    for name, key in KEYS.items():
        meters = [Meter(key.quota, minute)]
        if key.organization is not None:
            meters.append(shared[key.organization])
        accounts[f"Bearer {name}"] = Account(meters, lock)
    return accounts


def count_tokens(text: str) -> int:
    """No two models count alike, and no caller counts as they do."""
    return len(re.findall(r"\w{1,5}|[^\w\s]", text))


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    prompt: str
    max_tokens: int
    stream: bool

    @classmethod
    def parse(cls, body: bytes) -> Request:
        data: dict[str, Any] = json.loads(body)
        prompt = "\n".join(str(message["content"]) for message in data["messages"])
        return cls(prompt, int(data.get("max_tokens") or 256), bool(data.get("stream")))


@dataclass(frozen=True)
class Answer:
    """What will be answered, and how long that takes."""

    words: list[str]
    prompt_tokens: int
    seconds: float

    @classmethod
    def make(cls, request: Request) -> Answer:
        rng = random.Random(request.prompt)
        count = max(1, round(request.max_tokens * rng.uniform(0.4, 1.0)))
        stall = rng.uniform(0.2, 1.0) if rng.random() < 0.03 else 0.0
        seconds = min(2.0, SHORTEST_ANSWER + count * SECONDS_PER_TOKEN + stall)
        return cls(rng.choices(WORDS, k=count), count_tokens(request.prompt), seconds)

    @property
    def usage(self) -> dict[str, int]:
        prompt, completion = self.prompt_tokens, len(self.words)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def pieces(self) -> Iterator[str]:
        """The answer in pieces, each as it comes."""
        count = max(1, round(self.seconds / PIECES_EVERY))
        for number in range(count):
            time.sleep(self.seconds / count)
            start, end = (len(self.words) * each // count for each in (number, number + 1))
            yield "".join(f"{word} " for word in self.words[start:end])


class Server(ThreadingHTTPServer):
    """A server on a free port of the loopback interface."""

    request_queue_size = 128  # callers may open all their connections at once

    def __init__(self, seed: int, failing: float, minute: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failing = failing
        self.rng = random.Random(seed)
        self.accounts = open_accounts(minute)

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over clients that hang up in the middle; anything else is a bug, and shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """Answers the calls of one connection."""

    protocol_version = "HTTP/1.1"  # which keeps the connection open for the next call
    disable_nagle_algorithm = True  # or each answer waits 40 ms for the acknowledgement of its headers

    @property
    def api(self) -> Server:
        assert isinstance(self.server, Server)
        return self.server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        account = self.api.accounts.get(self.headers.get("Authorization", ""))
        if account is None:
            self.refuse(HTTPStatus.UNAUTHORIZED, "no such key")
        elif self.path != "/v1/chat/completions":
            self.refuse(HTTPStatus.NOT_FOUND, "no such path")
        else:
            try:
                request = Request.parse(body)
            except (ValueError, KeyError, TypeError, AttributeError):
                self.refuse(HTTPStatus.BAD_REQUEST, "not a request for a completion")
            else:
                self.complete(account, request)

    def complete(self, account: Account, request: Request) -> None:
        drawn = count_tokens(request.prompt) + request.max_tokens
        if wait := account.admit(drawn, time.perf_counter()):
            # HTTP has whole seconds here; rounding up never sends anybody back too early.
            headers = {"Retry-After": str(math.ceil(wait)), **account.headers(time.perf_counter())}
            self.refuse(HTTPStatus.TOO_MANY_REQUESTS, "rate limit reached", headers)
            return
        if self.api.rng.random() < self.api.failing:
            account.counts.failed += 1
            account.settle(drawn, 0, time.perf_counter())
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "the server had an error")
            return
        answer = Answer.make(request)
        respond = self.respond_in_pieces if request.stream else self.respond_whole
        respond(answer, account, drawn)

    def respond_whole(self, answer: Answer, account: Account, drawn: int) -> None:
        text = "".join(answer.pieces())
        account.settle(drawn, answer.usage["total_tokens"], time.perf_counter())
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.send(HTTPStatus.OK, completion("chat.completion", [choice], answer), account.headers(time.perf_counter()))

    def respond_in_pieces(self, answer: Answer, account: Account, drawn: int) -> None:
        """Answer with server-sent events, the last of which has the usage."""
        self.send_response(HTTPStatus.OK)
        headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        self.send_headers({**headers, **account.headers(time.perf_counter())})
        try:
            for text in answer.pieces():
                choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
                self.send_event(completion("chat.completion.chunk", [choice]))
        finally:  # also for a client that has hung up
            account.settle(drawn, answer.usage["total_tokens"], time.perf_counter())
        end: dict[str, object] = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self.send_event(completion("chat.completion.chunk", [end]))
        self.send_event(completion("chat.completion.chunk", [], answer))
        self.send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def refuse(self, status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> None:
        self.send(status, {"error": {"message": message, "type": status.phrase}}, headers or {})

    def send(self, status: HTTPStatus, body: object, headers: dict[str, str]) -> None:
        """Send a whole response."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_headers({"Content-Type": "application/json", "Content-Length": str(len(content)), **headers})
        self.wfile.write(content)

    def send_headers(self, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def send_event(self, data: object) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        event = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, as in the base class
        """Log nothing: the terminal belongs to the client."""


def completion(kind: str, choices: Iterable[object], answer: Answer | None = None) -> dict[str, object]:
    """The body of an answer, or one event of it."""
    body: dict[str, object] = {"id": "chatcmpl-1", "object": kind, "created": 0, "model": "words", "choices": choices}
    if answer is not None:
        body["usage"] = answer.usage
    return body


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a language model of random words to four keys.")
    parser.add_argument("--seed", type=int, default=0, help="repeats the failures (default: 0)")
    parser.add_argument("--failing", type=float, default=0.01, help="the share of calls answered with 500")
    parser.add_argument("--minute", type=float, default=MINUTE, help="the seconds of a minute of the quotas")
    options = parser.parse_args()
    server = Server(options.seed, options.failing, options.minute)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    accounts = zip(KEYS, server.accounts.values(), strict=True)
    print(json.dumps({name: asdict(account.counts) for name, account in accounts}), flush=True)


if __name__ == "__main__":
    main()
