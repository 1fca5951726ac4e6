"""Whoever searches the documentation for a word of the field finds the page, by a heading or an entry of the index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"

PAGE_OF = {
    "429": "limits",
    "API key": "recipes_apis",
    "autoscaling": "elastic",
    "backpressure": "jobs",
    "bulkhead": "groups",
    "cancellation": "cancelling",
    "checkpoint": "jobs",
    "circuit breaker": "health",
    "concurrency limit": "workers",
    "connection pool": "borrowing",
    "dead letter": "jobs",
    "deadline": "cancelling",
    "deadlock": "waiting",
    "dependency graph": "graphs",
    "exponential backoff": "retrying",
    "fairness": "keys",
    "graceful shutdown": "ending",
    "health check": "health",
    "heartbeat": "health",
    "hedged request": "hedging",
    "idempotent": "retrying",
    "jitter": "retrying",
    "job queue": "jobs",
    "lifespan": "workers",
    "load shedding": "jobs",
    "distributed workers": "machines",
    "multi-tenant": "keys",
    "OpenTelemetry": "telemetry",
    "priority queue": "jobs",
    "progress bar": "live_view",
    "rate limit": "limits",
    "requests per minute": "limits",
    "resume": "resuming",
    "Retry-After": "retrying",
    "semaphore": "workers",
    "tail latency": "hedging",
    "thread safety": "threads",
    "throttle": "limits",
    "timeout": "cancelling",
    "token bucket": "limits",
    "tokens per minute": "quotas",
    "web server": "recipes_databases",
    "worker pool": "workers",
}
"""The words that people search for, and the page that each must lead to; a plural or a longer word will do."""


def headings(text: str) -> list[str]:
    """The titles of the page and of its sections."""
    return [match[1] for match in re.finditer(r"^(\S.*)\n([=~-])\2{2,}$", text, re.MULTILINE)]


def index_entries(text: str) -> list[str]:
    """What the page adds to the index."""
    found: list[str] = []
    for match in re.finditer(r"^\.\. index:: *(.*)\n((?:   \S.*\n)*)", text, re.MULTILINE):
        found += [entry.strip() for line in (match[1], *match[2].splitlines()) for entry in line.split(",")]
    return found


@pytest.mark.parametrize("word", PAGE_OF)
def test_a_word_of_the_field_leads_to_its_page(word: str) -> None:
    text = (DOCS / f"{PAGE_OF[word]}.rst").read_text(encoding="utf-8")
    assert any(word.lower() in entry.lower() for entry in headings(text) + index_entries(text))


INDEX = (DOCS / "index.rst").read_text(encoding="utf-8")
CHAPTERS = [line.strip() for block in INDEX.split(".. toctree::")[1:] for line in block.splitlines() if ":" not in line]


@pytest.mark.parametrize("page", sorted({page for page in CHAPTERS if page}))
def test_the_start_page_tells_the_chapter_in_a_line(page: str) -> None:
    assert re.search(rf"^:doc:`{page}` +\S", INDEX, re.MULTILINE)
