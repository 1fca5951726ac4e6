"""litellm's ``Router``, with the quotas of the keys as ``rpm`` and ``tpm``; it knows no quota that keys share."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from litellm import Router

from .api import CALLS_AT_ONCE, KEYS, Prompt


def open_router(url: str, minute: float) -> Router:
    minutes = 60 / minute  # the limits are those of a real minute, which is so many of the server's
    models: list[dict[str, object]] = [
        {
            "model_name": "words",
            "litellm_params": {
                "model": "openai/words",
                "api_base": f"{url}/v1",
                "api_key": name,
                "rpm": int(key.quota.requests * minutes),
                "tpm": int(key.quota.tokens * minutes),
                "max_parallel_requests": CALLS_AT_ONCE,
            },
        }
        for name, key in KEYS.items()
    ]
    return Router(models, num_retries=5, cooldown_time=5 / minutes)  # 5 s is the default


async def ask(router: Router, places: asyncio.Semaphore, prompt: Prompt) -> str:
    async with places:
        while True:
            try:
                answer = await router.acompletion("words", prompt.messages, max_tokens=prompt.max_tokens)
            except Exception:  # no deployment is left that has not just been refused
                await asyncio.sleep(0.5)
            else:
                return str(answer.choices[0].message.content)


async def answer_all(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    router = open_router(url, minute)
    places = asyncio.Semaphore(CALLS_AT_ONCE * len(KEYS))
    return await asyncio.gather(*(ask(router, places, prompt) for prompt in prompts))


def run(url: str, minute: float, prompts: Sequence[Prompt]) -> list[str]:
    """See the package."""
    return asyncio.run(answer_all(url, minute, prompts))
