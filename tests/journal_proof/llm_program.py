"""Answers prompts as ``examples/llm_batch.py`` does, at a server that runs already, and says what it does.

``start``, ``fail`` and ``end`` come from within the attempts, ``given`` from what the stream gives out.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from random import Random

import llm_batch
import trio
from llm_batch import Prompt, Result, ServerError, ask, describe_keys, estimate, make_prompts, open_client
from llm_client import BrokenConnectionError, HttpClient

from trio_pool import RetryPolicy, open_pool
from trio_pool.journal import open_journal

PERIOD = "MINUTE"
"""Its name in the example: the seconds of a minute of the quotas."""


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def ask_and_say(client: HttpClient, prompt: Prompt) -> Result:
    say("start", prompt["id"])
    try:
        result = await ask(client, prompt)
    except Exception:
        say("fail", prompt["id"])
        raise
    say("end", prompt["id"])
    return result


def name_of(prompt: Prompt) -> str:
    return f"item {prompt['id']}"


async def main(port: int, journal_file: str, prompts: int, minute: float) -> None:
    setattr(llm_batch, PERIOD, minute)
    async with (
        open_journal(journal_file) as journal,
        open_pool(
            describe_keys(with_limits=True),
            lifespan=partial(open_client, port),
            retry=RetryPolicy(max_attempts=5, placement="other", retry_on=(ServerError, BrokenConnectionError)),
            attempt_timeout=10,
            name="llm batch",
            rng=Random(0),
        ) as pool,
        journal.as_completed(pool, ask_and_say, make_prompts(prompts, 0), item_id=name_of, uses=estimate) as entries,
    ):
        async for entry in entries:
            assert entry.result is not None
            say("given", entry.result["id"])
    say("done")


if __name__ == "__main__":
    file, number, minute = json.loads(sys.argv[2])
    trio.run(main, int(sys.argv[1]), file, number, minute)
