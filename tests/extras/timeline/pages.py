"""Resources for a timeline, and the page that it writes, taken apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from trio_pool import Resource
from trio_pool.timeline import Timeline

A, B = Resource("a", name="A"), Resource("b", name="B")


class Page(HTMLParser):
    """The page that a timeline would write now, as a browser takes it apart."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.text = timeline.html()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._inside: str | None = None
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self._inside = dict(attrs).get("type") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._inside == "application/json":
            self.data: dict[str, Any] = json.loads(data)
            self._inside = None
