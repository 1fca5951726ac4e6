"""Answer 2,000 prompts with a language model behind an API: four keys with quotas, of which two share one.

Each key takes 20 calls at a time, so many requests a minute, and so many tokens. Two keys belong to one organization,
which has quotas of its own. The pool knows all of these: it draws an estimate of a call's tokens when it starts, and
corrects it by the usage in the answer. So every key is used as much as it may be, and no call is refused.

The API is ``llm_server.py``, which this program starts beside itself on 127.0.0.1. A minute of it takes three seconds.

    python llm_batch.py --prompts 500
    python llm_batch.py --without-limits

With ``--without-limits`` the pool knows no quota. Calls are refused with 429, and the key rests for as long as the API
says, while the prompt goes to another one.

With ``--journal FILE`` each answer is in a journal before it is used. Stop the program in the middle, even with
``kill -9``, and start it again: it goes on, and no answer is paid for twice.

With ``--record FILE`` it writes down what the pool does, to be replayed with ``trio_pool.planning``: with other keys,
limits and retries.

The prompts and the answers are files of JSON lines, the answers in the order of the prompts. On a terminal, and if rich
is installed, it shows what the pool does while it works; with ``--no-live`` a line of progress instead.

The exit code is 0 if every prompt was answered, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from http import HTTPStatus
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TypedDict

import trio
from ctrl_c import run_until_interrupted
from llm_client import BrokenConnectionError, HttpClient, Response
from llm_report import Report, show_progress
from llm_server import KEYS, MINUTE, ORGANIZATIONS, Quota
from server_process import run_server_process

from trio_pool import (
    GiveUp,
    RateLimit,
    Resource,
    RetryAfter,
    RetryPolicy,
    current_job,
    current_worker,
    open_pool,
)
from trio_pool.journal import open_journal
from trio_pool.planning import Recorder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from trio_pool import SharedRateLimit
    from trio_pool.journal import Journal

HAS_RICH = find_spec("rich") is not None
SERVER = Path(__file__).with_name("llm_server.py")
FOLDER = Path(tempfile.gettempdir()) / "llm_batch"
CALLS_AT_ONCE = 20
LARGEST_CALL = 550
"""More tokens than any call of these prompts draws."""
MOST_DELAY = 0.3
"""The seconds by which one call may take longer than another to get to the API."""


class Prompt(TypedDict):
    """A line of the prompts."""

    id: int
    text: str
    max_tokens: int


class Result(TypedDict):
    """A line of the answers."""

    id: int
    key: str
    answer: str
    tokens: int


class ServerError(Exception):
    """The API has failed, and may do better the next time."""


async def ask(client: HttpClient, prompt: Prompt) -> Result:
    """Have one prompt answered: the function of every job. The pool fills in the client."""
    message = {"role": "user", "content": prompt["text"]}
    request = {"model": "words", "messages": [message], "max_tokens": prompt["max_tokens"], "stream": True}
    async with client.post("/v1/chat/completions", request) as response:
        if response.status != HTTPStatus.OK:
            current_job().set_used(tokens=0)  # it costs nothing
            await raise_for_status(response)
        answer, tokens = await read_answer(response)
    current_job().set_used(tokens=tokens)  # the limits get back what was estimated too high
    return {"id": prompt["id"], "key": current_worker().name, "answer": answer, "tokens": tokens}


def estimate(prompt: Prompt) -> dict[str, int]:
    """What a call is likely to use at most, as long as nobody knows: four letters make a token."""
    return {"tokens": len(prompt["text"]) // 4 + prompt["max_tokens"]}


async def raise_for_status(response: Response) -> None:
    body = await response.read()  # to the end, so that the connection can be used again
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        # It is the key that has to wait, not the prompt: that goes to another one, and has not used up a try.
        raise RetryAfter.parse(response.headers["retry-after"], rest=True, counts=False)
    if response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise GiveUp(f"{response.status}: {body.decode()}")  # no other key would do better
    raise ServerError(f"{response.status}: {body.decode()}")


async def read_answer(response: Response) -> tuple[str, int]:
    """The text of a streamed answer, and how many tokens it has cost."""
    text, tokens = "", None
    async for event in response.events():
        if event != "[DONE]":
            data = json.loads(event)
            text += "".join(choice["delta"].get("content", "") for choice in data["choices"])
            if "usage" in data:
                tokens = data["usage"]["total_tokens"]
    if tokens is None:
        raise BrokenConnectionError("the answer has no end")
    return text, tokens


def declare(quota: Quota) -> list[RateLimit]:
    """The limits with which a quota is never exceeded.

    A quota is a bucket that refills evenly, and so is a rate limit. But the API refuses a call that is larger than what
    is left, while a limit lets it start and waits for longer afterwards: that takes the room for one call. And calls
    may arrive closer together than they started, or draw a little more than estimated: that takes the room for what may
    start meanwhile. Both only lower what may be used at once. The rate needs no margin.
    """
    late = MOST_DELAY / MINUTE
    requests = quota.requests - math.ceil(quota.requests * late)
    tokens = quota.tokens - math.ceil(quota.tokens * late) - LARGEST_CALL
    return [
        RateLimit(quota.requests, per=MINUTE, burst=requests),
        RateLimit(quota.tokens, per=MINUTE, burst=tokens, unit="tokens"),
    ]


def describe_keys(with_limits: bool) -> Iterator[Resource[str]]:
    """Each key with its own limits and with those of its organization, which all of its keys draw from."""
    shared = {name: [limit.shared(name=name) for limit in declare(quota)] for name, quota in ORGANIZATIONS.items()}
    for name, key in KEYS.items():
        limits: list[RateLimit | SharedRateLimit] = []
        if with_limits:
            limits += declare(key.quota)
            if key.organization is not None:
                limits += shared[key.organization]
        yield Resource(name, name=name, max_running=CALLS_AT_ONCE, rate_limit=limits)


@asynccontextmanager
async def open_client(port: int, key: str) -> AsyncGenerator[HttpClient]:
    """The lifespan of a worker: a client for its key, which keeps its connections from job to job."""
    client = HttpClient(port, key)
    try:
        yield client
    finally:
        await client.aclose()


class Options(argparse.Namespace):
    """What the command line says."""

    prompts: int
    seed: int
    folder: Path
    without_limits: bool
    journal: Path | None
    record: Path | None
    live: bool


async def answer_all(options: Options, report: Report) -> None:
    recorders = [] if options.record is None else [Recorder(options.record)]
    opened: AbstractAsyncContextManager[Journal | None] = nullcontext()
    if options.journal is not None:
        opened = open_journal(options.journal)
    async with (
        opened as journal,
        run_server_process(SERVER, "--seed", str(options.seed), at_end=report.note_accounts) as port,
        trio.open_nursery() as nursery,
        open_pool(
            describe_keys(with_limits=not options.without_limits),
            lifespan=partial(open_client, port),
            retry=RetryPolicy(max_attempts=5, placement="other", retry_on=(ServerError, BrokenConnectionError)),
            attempt_timeout=10,
            instruments=[report, *recorders],
            name="llm batch",
            rng=Random(options.seed),
        ) as pool,
    ):
        if journal is not None:
            report.known = journal.statistics().done
        left = max(0, options.prompts - report.known)
        view: AbstractAsyncContextManager[None] = nullcontext()
        if options.live:
            from trio_pool.rich import live  # not at the top, since rich may be missing

            view = live(pool, total=left)
        else:
            nursery.start_soon(show_progress, pool, left)
        with (options.folder / "prompts.jsonl").open() as lines, (options.folder / "answers.jsonl").open("w") as file:
            prompts: Iterator[Prompt] = map(json.loads, lines)
            stream = pool.map if journal is None else partial(journal.map, pool)
            async with view, stream(ask, prompts, uses=estimate) as results:
                async for result in results:
                    print(json.dumps(result), file=file)
                    report.answered += 1


def make_prompts(count: int, seed: int) -> Iterator[Prompt]:
    """Prompts of different lengths, which ask for answers of different lengths."""
    rng = Random(seed)
    words = [
        "how",
        "many",
        "of",
        "these",
        "small",
        "words",
        "does",
        "it",
        "take",
        "until",
        "a",
        "prompt",
        "looks",
        "like",
        "something",
        "that",
        "people",
        "write",
    ]
    for number in range(count):
        text = " ".join(rng.choices(words, k=rng.randint(20, 100)))
        yield {"id": number, "text": text, "max_tokens": rng.randint(100, 400)}


def write_prompts(options: Options) -> None:
    options.folder.mkdir(parents=True, exist_ok=True)
    with (options.folder / "prompts.jsonl").open("w") as file:
        for prompt in make_prompts(options.prompts, options.seed):
            print(json.dumps(prompt), file=file)


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def run(options: Options) -> int:
    """Answer all prompts, print the report and return the exit code."""
    write_prompts(options)
    report = Report(options.prompts)
    interrupted = trio.run(run_until_interrupted, partial(answer_all, options, report))
    print(*report.lines(), f"answers in {options.folder / 'answers.jsonl'}", sep="\n")
    return 130 if interrupted else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer prompts with a language model, over four keys with quotas.")
    parser.add_argument("--prompts", type=positive, default=2000, help="how many prompts to make (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="repeats the prompts and the failures (default: 0)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"for the prompts and answers (default: {FOLDER})")
    parser.add_argument("--without-limits", action="store_true", help="declare no quota, and obey the API's 429s")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="keep each answer, and go on from what is there")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write down what the pool does, for planning")
    parser.add_argument(
        "--live",
        action=argparse.BooleanOptionalAction,
        default=HAS_RICH and sys.stderr.isatty(),
        help="show what the pool does, drawn with rich; done anyway on a terminal, if rich is installed",
    )
    options = parser.parse_args(namespace=Options())
    if options.live and not HAS_RICH:
        parser.error("--live needs rich. Install it with: python -m pip install rich")
    try:
        return run(options)
    except KeyboardInterrupt:  # before there is anything to report
        return 130


if __name__ == "__main__":
    sys.exit(main())
