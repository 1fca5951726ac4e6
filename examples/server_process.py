"""A server of the examples in a process of its own, which ends with the program that has started it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path


@asynccontextmanager
async def run_server_process(script: Path, *args: str, at_end: Callable[[str], object]) -> AsyncGenerator[int]:
    """Run a server that prints its port first, and one line more when its input ends.

    Yields the port on 127.0.0.1; ``at_end`` is called with the last line, also after Ctrl-C.
    """
    process = await trio.lowlevel.open_process(
        [sys.executable, str(script), *args],
        stdin=subprocess.PIPE,  # never written to: its end tells the server that this process is gone
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process alone
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = int(await receive_line(process.stdout))
        try:
            yield port
        finally:
            # Ctrl-C, too, is followed by the whole table.
            with trio.CancelScope(deadline=trio.current_time() + 5.0, shield=True):
                await process.stdin.aclose()
                at_end(await receive_line(process.stdout))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def receive_line(stream: trio.abc.ReceiveStream) -> str:
    """The next line of what a process of our own prints, which waits with the line after it until it is asked."""
    line = b""
    while not line.endswith(b"\n"):
        received = await stream.receive_some()
        if not received:
            raise RuntimeError("a process ended too early")
        line += received
    return line.decode().strip()
