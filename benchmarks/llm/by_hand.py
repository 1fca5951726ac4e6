"""asyncio with a limiter as people write or copy it: a bucket of requests and one of estimated tokens for each key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack

import httpx

from .api import CALLS_AT_ONCE, KEYS, ORGANIZATIONS, PATH, Prompt, Quota, estimate


class Limiter:
    def __init__(self, quota: Quota, minute: float) -> None:
        self.quota, self.minute = quota, minute
        self.requests, self.tokens = float(quota.requests), float(quota.tokens)
        self.updated_at = time.monotonic()
        self.lock = asyncio.Lock()

    async def take(self, tokens: int) -> None:
        async with self.lock:
            while True:
                now = time.monotonic()
                minutes = (now - self.updated_at) / self.minute
                self.requests = min(self.quota.requests, self.requests + minutes * self.quota.requests)
                self.tokens = min(self.quota.tokens, self.tokens + minutes * self.quota.tokens)
                self.updated_at = now
                if self.requests >= 1 and self.tokens >= tokens:
                    self.requests -= 1
                    self.tokens -= tokens
                    return
                await asyncio.sleep(0.01)


async def ask(client: httpx.AsyncClient, limiters: list[Limiter], prompt: Prompt) -> str:
    while True:
        for limiter in limiters:
            await limiter.take(estimate(prompt))
        response = await client.post(PATH, json=prompt.body)
        if response.is_success:
            return str(response.json()["choices"][0]["message"]["content"])
        await asyncio.sleep(float(response.headers.get("Retry-After", 1)))


async def work(
    client: httpx.AsyncClient, limiters: list[Limiter], queue: list[tuple[int, Prompt]], answers: list[str]
) -> None:
    while queue:
        number, prompt = queue.pop()
        answers[number] = await ask(client, limiters, prompt)


async def answer_all(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    shared = {name: Limiter(quota, minute) for name, quota in ORGANIZATIONS.items()}
    queue = list(enumerate(prompts))[::-1]
    answers = [""] * len(prompts)
    tasks: list[Coroutine[None, None, None]] = []
    async with AsyncExitStack() as stack:
        for name, key in KEYS.items():
            headers = {"Authorization": f"Bearer {name}"}
            client = httpx.AsyncClient(base_url=url, headers=headers, timeout=None, trust_env=False)
            await stack.enter_async_context(client)
            limiters = [Limiter(key.quota, minute)]
            if key.organization is not None:
                limiters.append(shared[key.organization])
            tasks += [work(client, limiters, queue, answers) for _ in range(CALLS_AT_ONCE)]
        await asyncio.gather(*tasks)
    return answers


def run(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    """See the package."""
    return asyncio.run(answer_all(url, minute, prompts))
