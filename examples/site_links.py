"""What a page of HTML holds for ``crawler.py``: where its links lead, and what can be linked to in it."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit


class Link(NamedTuple):
    """Where a link leads.

    Attributes:
        url: The file, as a path from the root of the site.
        fragment: The place in it, what stands behind the "#"; may be empty.
    """

    url: str
    fragment: str

    def __str__(self) -> str:
        return f"{self.url}#{self.fragment}" if self.fragment else self.url


@dataclass(frozen=True)
class Page:
    """A page that was read.

    Attributes:
        links: Those that lead to somewhere in the same site, each once.
        external: How many others there are, which nobody checks.
        anchors: The places in it that a fragment can name.
    """

    links: tuple[Link, ...]
    external: int
    anchors: frozenset[str]


class PageParser(HTMLParser):
    """Collects what refers to something, and what can be referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.references: dict[str, None] = {}
        self.anchors = {"", "top"}  # its beginning, in every page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value is not None:
                self.references[value.strip()] = None
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value or "")


def read_page(html: str, address: str) -> Page:
    """Parse a page that was found at this address, which is a whole one."""
    parser = PageParser()
    parser.feed(html)
    parser.close()
    site = urlsplit(address)[:2]
    targets = [urlsplit(urljoin(address, reference)) for reference in parser.references]
    internal = [target for target in targets if target[:2] == site]
    links = dict.fromkeys(Link(file_url(target.path, target.query), unquote(target.fragment)) for target in internal)
    return Page(tuple(links), len(targets) - len(internal), frozenset(parser.anchors))


def file_url(path: str, query: str = "") -> str:
    """One name for each file: a folder stands for the page that it is shown by."""
    path = f"/{path.lstrip('/')}"  # two strokes would begin the name of a host
    if path.endswith("/"):
        path += "index.html"
    return f"{path}?{query}" if query else path
