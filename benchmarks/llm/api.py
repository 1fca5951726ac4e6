"""What all programs know of the API."""

from __future__ import annotations

import random
from typing import Any

import attrs
from llm_server import KEYS, ORGANIZATIONS, Quota

__all__ = ["KEYS", "ORGANIZATIONS", "Quota"]

PATH = "/v1/chat/completions"
CALLS_AT_ONCE = 20
LARGEST_CALL = 550
MOST_DELAY = 0.3  # seconds by which one call may take longer than another to arrive
WORDS = (
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
    "somebody",
    "understands",
    "them",
)


@attrs.frozen
class Prompt:
    """A prompt, and how long its answer may be."""

    text: str
    max_tokens: int

    @property
    def messages(self) -> list[dict[str, str]]:
        """The prompt as the API takes it."""
        return [{"role": "user", "content": self.text}]

    @property
    def body(self) -> dict[str, Any]:
        """The whole request."""
        return {"model": "words", "messages": self.messages, "max_tokens": self.max_tokens}


def make_prompts(count: int) -> list[Prompt]:
    """The same prompts each time."""
    rng = random.Random(0)
    return [Prompt(" ".join(rng.choices(WORDS, k=rng.randint(20, 100))), rng.randint(100, 400)) for _ in range(count)]


def estimate(prompt: Prompt) -> int:
    """The tokens that a call may use."""
    return len(prompt.text) // 4 + prompt.max_tokens
