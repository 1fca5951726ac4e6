"""A process whose lines are read as they come, and that can be stopped and killed at any moment."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

PATIENCE = 120.0
"""Seconds after which what should have come is taken for lost."""


class Life:
    """One life of a program; it is over at the end of the block at the latest.

    What a process has written into a pipe is there after it is killed. So its output is the record of what it did,
    in order and whole, and tells also when it has ended.

    Attributes:
        lines: What it has said so far, as words.
        code: The exit code, or None before its end has been seen.
        errors: What it has written to its standard error, once its end has been seen.
        seconds: How long it took until its first line.
    """

    def __init__(self, script: Path, *arguments: str, **environment: str) -> None:
        variables = {**os.environ, **environment}
        # It uses the library under test, whether that is installed or not.
        path = [str(Path(trio_pool.__file__).parent.parent), variables.get("PYTHONPATH")]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed with the block
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            env={**variables, "PYTHONPATH": os.pathsep.join(filter(None, path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        assert self._process.stdout is not None
        self._output = self._process.stdout.fileno()
        self._rest = b""
        self.lines: list[list[str]] = []
        self.code: int | None = None
        self.errors = ""
        self.seconds = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()  # nothing to a process that has been waited for
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, is_reached: Callable[[Sequence[list[str]]], bool]) -> bool:
        """Read lines until the condition holds for them; False if the process ends before."""
        while not is_reached(self.lines):
            if not self._receive(PATIENCE):
                return False
        return True

    def wait_for(self, count: int, *kinds: str) -> bool:
        """Read lines until so many of these kinds are there; False if the process ends before."""
        return self.wait_until(lambda lines: sum(line[0] in kinds for line in lines) >= count)

    def finish(self) -> int:
        """Read to its end; returns the exit code."""
        while self._receive(PATIENCE):
            pass
        self.code = self._process.wait(PATIENCE)
        self._errors.seek(0)
        self.errors = self._errors.read().decode(errors="replace")
        return self.code

    def kill(self) -> int:
        """Kill it, and read what it has said until then.

        Returns:
            The exit code, which is another one if it has ended before.
        """
        self._process.kill()
        return self.finish()

    def interrupt(self) -> int:
        """Press Ctrl-C, and read what it says until its end; returns the exit code."""
        self._process.send_signal(signal.SIGINT)
        return self.finish()

    def stop(self) -> bool:
        """Let it stand still, and read what it has said until then; False if it has ended."""
        os.kill(self.pid, signal.SIGSTOP)
        # It has stopped, or ended, once this returns; the end itself is left to be waited for.
        state = os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert state is not None
        while self._receive(0):
            pass
        return state.si_code == os.CLD_STOPPED

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _receive(self, timeout: float) -> bool:
        """Read what is there, or wait for more; False at the end, or if there is nothing to wait for."""
        ready, _, _ = select.select([self._output], [], [], timeout)
        if not ready:
            assert timeout == 0, f"nothing came for {timeout:g} s after {self.lines[-1:]}"
            return False
        received = os.read(self._output, 1 << 16)
        *lines, self._rest = (self._rest + received).split(b"\n")
        if lines and not self.lines:
            self.seconds = time.monotonic() - self._began
        self.lines += [line.decode().split(" ") for line in lines]
        return bool(received)
