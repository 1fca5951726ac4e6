"""Calls that other threads schedule in the pool's thread."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from trio_pool._runtime.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable


def in_a_thread(fn: Callable[[], object]) -> None:
    """Run it to its end while the calling thread, and so its Trio run, does nothing else."""
    thread = threading.Thread(target=fn)
    thread.start()
    thread.join()


class Token:
    """Counts how often the Trio run is woken."""

    def __init__(self) -> None:
        self.count = 0
        self._token = trio.lowlevel.current_trio_token()

    def run_sync_soon(self, fn: Callable[[], object]) -> None:
        self.count += 1
        self._token.run_sync_soon(fn)


async def test_the_trio_run_is_woken_once_for_all_calls_and_makes_them_in_their_order() -> None:
    home = Home()
    token: Any = Token()
    home._token = token
    calls: list[int] = []

    def schedule() -> None:
        for number in range(10):
            home.call_soon(partial(calls.append, number))

    for _ in range(2):
        in_a_thread(schedule)
        await trio.testing.wait_all_tasks_blocked()
    assert calls == [*range(10), *range(10)]
    assert token.count == 2


async def test_a_call_that_schedules_another_one_wakes_the_run_again() -> None:
    home = Home()
    calls: list[str] = []

    def first() -> None:
        calls.append("first")
        home.call_soon(lambda: calls.append("second"))

    in_a_thread(lambda: home.call_soon(first))
    await trio.testing.wait_all_tasks_blocked()
    assert calls == ["first", "second"]


def test_when_the_run_has_ended_each_call_is_refused_and_none_is_kept() -> None:
    async def main() -> Home:
        await trio.lowlevel.checkpoint()
        return Home()

    home = trio.run(main)
    calls: list[int] = []
    for _ in range(2):
        with pytest.raises(trio.RunFinishedError):
            home.call_soon(lambda: calls.append(1))
    assert not home._calls
    assert not calls
