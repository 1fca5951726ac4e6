"""Stands for the API of a language model, so that the recipe needs no network: two keys of one organization."""

from __future__ import annotations

import json
import math
from random import Random

import httpx
import trio

TOKENS_PER_MINUTE = 30_000
"""What both keys together may use. A minute without use allows as much at once."""

PROMPTS = [f"Tell me about the number {number}. " * (1 + number % 5) for number in range(600)]


class Quota:
    """A token bucket: full at first, and refilled evenly."""

    def __init__(self) -> None:
        self._level = float(TOKENS_PER_MINUTE)
        self._at = -math.inf

    def take(self, amount: float) -> float:
        """Take that much, or return the seconds until there will be as much; what is negative is given back."""
        now = trio.current_time()
        rate = TOKENS_PER_MINUTE / 60
        self._level = min(TOKENS_PER_MINUTE, self._level + max(0.0, now - self._at) * rate)
        self._at = now
        if self._level < amount:
            return (amount - self._level) / rate
        self._level -= amount
        return 0.0


_quota = Quota()
_random = Random(1)


async def _answer(request: httpx.Request) -> httpx.Response:
    body = json.loads(request.content)
    prompt_tokens = len(body["messages"][0]["content"].split())
    await trio.sleep(0.05)
    if wait := _quota.take(prompt_tokens + body["max_tokens"]):
        return httpx.Response(429, headers={"Retry-After": str(math.ceil(wait))})
    answer_tokens = _random.randint(20, body["max_tokens"])
    await trio.sleep(0.2 + answer_tokens / 200)
    _quota.take(answer_tokens - body["max_tokens"])
    if _random.random() < 0.02:
        return httpx.Response(500)
    usage = {"total_tokens": prompt_tokens + answer_tokens}
    return httpx.Response(200, json={"choices": [{"message": {"content": "It is a number."}}], "usage": usage})


def connect(key: str) -> httpx.AsyncClient:
    """A session that uses one key."""
    return httpx.AsyncClient(
        base_url="https://model.example",
        headers={"Authorization": f"Bearer {key}"},
        transport=httpx.MockTransport(_answer),
    )
