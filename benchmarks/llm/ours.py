"""``trio_pool``: the limits of the keys and of the organization declared, and corrected by the usage."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import httpx
import trio

from trio_pool import RateLimit, Resource, RetryAfter, RetryPolicy, SharedRateLimit, current_job, open_pool

from .api import CALLS_AT_ONCE, KEYS, LARGEST_CALL, MOST_DELAY, ORGANIZATIONS, PATH, Prompt, Quota, estimate


async def ask(client: httpx.AsyncClient, prompt: Prompt) -> str:
    response = await client.post(PATH, json=prompt.body)
    answer = response.json()
    current_job().set_used(tokens=answer["usage"]["total_tokens"] if response.is_success else 0)
    if response.status_code == 429:
        raise RetryAfter.parse(response.headers["Retry-After"], rest=True, counts=False)
    response.raise_for_status()
    return str(answer["choices"][0]["message"]["content"])


def declare(quota: Quota, minute: float) -> list[RateLimit]:
    late = MOST_DELAY / minute
    requests = quota.requests - math.ceil(quota.requests * late)
    tokens = quota.tokens - math.ceil(quota.tokens * late) - LARGEST_CALL
    return [RateLimit(quota.requests, minute, requests), RateLimit(quota.tokens, minute, tokens, unit="tokens")]


def describe(url: str, minute: float) -> Iterator[Resource[httpx.AsyncClient]]:
    shared = {name: [limit.shared() for limit in declare(quota, minute)] for name, quota in ORGANIZATIONS.items()}
    for name, key in KEYS.items():
        headers = {"Authorization": f"Bearer {name}"}
        client = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False)
        limits: list[RateLimit | SharedRateLimit] = [*declare(key.quota, minute)]
        if key.organization is not None:
            limits += shared[key.organization]
        yield Resource(client, name=name, max_running=CALLS_AT_ONCE, rate_limit=limits)


async def answer_all(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    async with (
        open_pool(
            describe(url, minute),
            lifespan=lambda client: client,
            retry=RetryPolicy(max_attempts=5, placement="other", retry_on=httpx.HTTPError),
        ) as pool,
        pool.map(ask, prompts, uses=lambda prompt: {"tokens": estimate(prompt)}) as answers,
    ):
        return [answer async for answer in answers]


def run(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    """See the package."""
    return trio.run(answer_all, url, minute, prompts)
