"""How long the way of a job is: the calls of the library's functions, and the files that they are in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

import trio_pool
from trio_pool import RetryPolicy, open_pool

from .measure import Figure

if TYPE_CHECKING:
    from types import FrameType

    from typing_extensions import Self

    from .rows import Scale

LIBRARY = str(Path(trio_pool.__file__).parent)


class Way:
    """The files of the library's functions, one for each time that one is called or resumed."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __enter__(self) -> Self:
        sys.setprofile(self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(LIBRARY):
            self.files.append(frame.f_code.co_filename)


async def work() -> None:
    """A job that does nothing."""


async def _run_on_an_idle_worker() -> Way:
    async with open_pool(2) as pool:
        for _ in range(3):  # the first leave something behind that those after them use again
            await pool.run(work)
        await trio.testing.wait_all_tasks_blocked()
        with Way() as way:
            await pool.run(work)
    return way


async def _fail_once() -> Way:
    failed = False

    async def fails_once() -> None:
        nonlocal failed
        failed = not failed
        if failed:
            raise ValueError

    async with open_pool(2, retry=RetryPolicy(base_delay=1.0, jitter="none")) as pool:
        for _ in range(3):
            await pool.run(fails_once)
        await trio.testing.wait_all_tasks_blocked()
        with Way() as way:
            await pool.run(fails_once)
    return way


def calls(_: Scale) -> Figure:
    """The calls of one ``run``."""
    return Figure((len(trio.run(_run_on_an_idle_worker).files),))


def files(_: Scale) -> Figure:
    """The files that these are in."""
    return Figure((len(set(trio.run(_run_on_an_idle_worker).files)),))


def calls_of_retry(_: Scale) -> Figure:
    """The calls of one ``run`` whose first attempt fails."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    return Figure((len(trio.run(_fail_once, clock=clock).files),))
