"""``aiometer``: one run for each key, with the prompts divided beforehand by what each key may do."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial

import aiometer
import httpx

from .api import CALLS_AT_ONCE, KEYS, ORGANIZATIONS, PATH, Prompt, estimate


async def ask(client: httpx.AsyncClient, prompt: Prompt) -> str:
    while True:
        response = await client.post(PATH, json=prompt.body)
        if response.is_success:
            return str(response.json()["choices"][0]["message"]["content"])
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)))


async def ask_all(url: str, name: str, per_second: float, prompts: Sequence[Prompt]) -> list[str]:
    headers = {"Authorization": f"Bearer {name}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False) as client:
        calls = [partial(ask, client, prompt) for prompt in prompts]
        return await aiometer.run_all(calls, max_at_once=CALLS_AT_ONCE, max_per_second=per_second)


def rates(minute: float, tokens: float) -> dict[str, float]:
    """The calls per second of each key, if a call takes so many tokens; of the organization's each key gets half."""
    found: dict[str, float] = {}
    for name, key in KEYS.items():
        quota, members = (key.quota, 1) if key.organization is None else (ORGANIZATIONS[key.organization], 2)
        found[name] = min(quota.requests, quota.tokens / tokens) / members / minute
    return found


async def answer_all(url: str, minute: float, prompts: Sequence[Prompt], tokens: float) -> list[str]:
    per_second = rates(minute, tokens)
    parts: list[Coroutine[None, None, list[str]]] = []
    start = end = 0.0
    for name, rate in per_second.items():
        start, end = end, end + len(prompts) * rate / sum(per_second.values())
        parts.append(ask_all(url, name, rate, prompts[round(start) : round(end)]))
    return [answer for answers in await asyncio.gather(*parts) for answer in answers]


def run(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    """See the package. The rate is that of the quota of requests: there is no limit on tokens."""
    return asyncio.run(answer_all(url, minute, prompts, tokens=1))


def run_by_tokens(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    """See the package. The rate is that at which calls of average size keep to the quota of tokens."""
    return asyncio.run(answer_all(url, minute, prompts, sum(map(estimate, prompts)) / len(prompts)))
