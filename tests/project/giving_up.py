"""Jobs that give up."""

from __future__ import annotations

from trio_pool import Discard, GiveUp


async def gives_up(resource: str) -> None:
    raise GiveUp


async def discards(resource: str) -> None:
    raise Discard
