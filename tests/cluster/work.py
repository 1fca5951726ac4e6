"""What the jobs of the fleets in these tests do, whatever engine brings them; a process of its own each worker.

All that happens is a line in the file ``log`` of a folder that all processes share, so that it can be told apart what
was done, how often, where, and what was lost.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from trio_pool import HandBack

if TYPE_CHECKING:
    from collections.abc import Iterator


class Log:
    """The file of a folder; each line is written at once and whole."""

    def __init__(self, folder: str) -> None:
        self.path = Path(folder, "log")

    def write(self, what: str, number: int, note: str = "") -> None:
        line = json.dumps([what, number, os.getpid(), note]) + "\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self) -> Iterator[tuple[str, int, int, str]]:
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                what, number, pid, note = json.loads(line)
                yield what, number, pid, note

    def numbers(self, what: str) -> list[int]:
        """The numbers of the jobs that something was said of, in order."""
        return [number for said, number, _, _ in self.read() if said == what]


async def work(log: Log, number: int, kind: str, seconds: float) -> Any:
    """The function of all jobs."""
    log.write("start", number)
    if kind == "poison":
        await trio.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fails":
        raise ValueError("no luck")
    if kind == "returned" and log.numbers("start").count(number) == 1:
        raise HandBack(0.5, "later")
    await trio.sleep(seconds)
    log.write("end", number)
    return {1, 2} if kind == "unwritable" else number
