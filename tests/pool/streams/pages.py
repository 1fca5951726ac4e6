"""Pages as items, each source that they may come from, and the jobs for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from trio_pool import Job

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator


@attrs.frozen
class Page:
    rank: int
    url: str = ""


PAGES = [Page(3, "c"), Page(1, "a"), Page(2, "b")]


async def fetch(page: Page) -> str:
    await trio.sleep(1)
    return page.url


async def collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [each.result() if isinstance(each, Job) else each async for each in stream]


def a_list() -> list[Page]:
    return PAGES


def an_iterator() -> Iterator[Page]:
    return iter(PAGES)


async def async_pages() -> AsyncGenerator[Page]:
    for page in PAGES:
        yield page


EVERY_SOURCE = pytest.mark.parametrize("pages", [a_list, an_iterator, async_pages])
