"""Health checks of workers that are paused or rest, or whose pool does."""

# A block that raises has bound its names all the same.
# pyright: reportPossiblyUnboundVariable=false

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.pool.workers.pings import Ping, checked
from tests.pool.workers.server import Server


@pytest.mark.parametrize("whole_pool", [False, True])
async def test_not_while_paused(whole_pool: bool, autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping) as pool:
        held: Any = pool if whole_pool else pool.workers[0]
        held.pause()
        await trio.sleep(95)
        assert ping.called == []
        held.resume()
        await trio.sleep(11)
        assert len(ping.called) == 1


@pytest.mark.parametrize("whole_pool", [False, True])
async def test_not_while_resting(whole_pool: bool, autojump_clock: MockClock) -> None:
    ping = Ping()
    async with checked(ping) as pool:
        held: Any = pool if whole_pool else pool.workers[0]
        held.rest(95)
        await trio.sleep(95)
        assert ping.called == []
        await trio.sleep(11)
        assert len(ping.called) == 1


@pytest.mark.parametrize("whole_pool", [False, True])
@pytest.mark.parametrize("how", ["pause", "rest", "both"])
@pytest.mark.parametrize(("begin", "end"), [(0, 13), (3, 5), (10, 20), (5, 10)])
async def test_a_worker_idles_anew_from_the_end_of_a_pause_or_a_rest_on(
    begin: int, end: int, how: str, whole_pool: bool, autojump_clock: MockClock
) -> None:
    ping = Ping()
    async with checked(ping) as pool:
        held: Any = pool if whole_pool else pool.workers[0]
        await trio.sleep(begin)
        if how != "rest":
            held.pause()
        if how != "pause":
            held.rest(end - begin)
        await trio.sleep((end - begin) / 2)
        if how == "both":
            held.resume()
        await trio.sleep((end - begin) / 2)
        held.resume()
        await trio.sleep(11)
        assert ping.times == [end + 10]


async def test_one_under_way_goes_on_when_the_worker_or_the_pool_is_paused(autojump_clock: MockClock) -> None:
    ping = Ping(seconds=4.0, error=OSError())
    server = Server()
    async with checked(ping, server) as pool:
        await trio.sleep(11)
        pool.pause()
        pool.workers[0].pause()
        await trio.sleep(4)
        assert (ping.times, server.tries) == ([10], [0, 14])
