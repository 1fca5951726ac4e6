"""A batch against a language model: keys with quotas of calls and of tokens, and one quota that both keys share."""

import httpx
import trio
from fake_model import PROMPTS, connect

from trio_pool import RateLimit, Resource, RetryAfter, RetryPolicy, current_job, open_pool

MAX_TOKENS = 200  # of an answer


async def ask(client: httpx.AsyncClient, prompt: str) -> str:
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "words", "messages": messages, "max_tokens": MAX_TOKENS}
    response = await client.post("/v1/chat/completions", json=body)
    if response.status_code == 429:  # somebody else uses the quota too
        current_job().set_used(tokens=0)
        raise RetryAfter.parse(response.headers.get("Retry-After"), default=10, rest=True, counts=False)
    response.raise_for_status()  # a call that failed counts as estimated
    answer = response.json()
    current_job().set_used(tokens=answer["usage"]["total_tokens"])  # in place of the estimate
    return str(answer["choices"][0]["message"]["content"])


def estimate(prompt: str) -> dict[str, float]:
    return {"tokens": len(prompt) / 4 + MAX_TOKENS}


async def main() -> None:
    calls = RateLimit(300, per=60, burst=20)  # of each key
    # The server allows 30,000 at once. Leave room for the largest call, and for some that come late.
    tokens = RateLimit(30_000, per=60, burst=29_000, unit="tokens").shared(name="organization")
    keys = [Resource(key, name=key, max_running=20, rate_limit=[calls, tokens]) for key in ("amber", "basil")]
    policy = RetryPolicy(max_attempts=4, retry_on=httpx.HTTPError, placement="other")
    started_at = trio.current_time()
    async with open_pool(keys, lifespan=connect, retry=policy, attempt_timeout=60) as pool:
        async with pool.map(ask, PROMPTS, uses=estimate) as answers:
            answered = [answer async for answer in answers]
        print(f"{len(answered)} of {len(PROMPTS)} prompts in {trio.current_time() - started_at:.0f} s")
        for key in pool.statistics().workers:
            print(f"{key.name}: {key.attempts} calls, {key.used['tokens']:.0f} tokens, {key.failed} failures")


if __name__ == "__main__":
    trio.run(main)
