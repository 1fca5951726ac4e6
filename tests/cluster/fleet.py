"""A broker, workers and submitters, each a process, for one test; and what can be seen of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import trio_pool
from tests.cluster.work import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

LONG = 60.0
"""Seconds after which what should have happened is taken for lost."""

HERE = Path(__file__).parent


class Broker(Protocol):
    url: str

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Fleet:
    """Made by the fixture of this name.

    Attributes:
      keeps_results: whether the engine keeps results.

    Arguments:
      program: the module in this folder that has a worker and a submitter of an engine.
      broker: not yet started.
      folder: for the log of what the jobs do, and what the workers write.
    """

    def __init__(self, program: str, broker: Broker, folder: Path, *, keeps_results: bool) -> None:
        self.broker = broker
        self.log = Log(str(folder))
        self.workers: list[subprocess.Popen[str]] = []
        self.keeps_results = keeps_results
        self._program = program
        self._folder = folder
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
        self._stack.close()

    def _run(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        # The package that is tested, installed or not, and these tests.
        path = [str(Path(trio_pool.__file__).parent.parent), str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a process is started often here
        command = [sys.executable, str(HERE / f"{self._program}.py"), *arguments]
        process = subprocess.Popen(command, env=environment, text=True, **options)
        return self._stack.enter_context(process)

    def start_worker(self, *, grace: float = 10.0, heartbeat: float = 2.0) -> subprocess.Popen[str]:
        """Start a worker, and wait until it takes jobs."""
        errors = self._stack.enter_context((self._folder / f"worker-{len(self.workers)}").open("w"))
        arguments = ["serve", self.broker.url, str(self._folder), str(grace), str(heartbeat)]
        worker = self._run(*arguments, stdout=subprocess.PIPE, stderr=errors)
        self.workers.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n", self.errors()
        return worker

    def submit(self, *jobs: tuple[Any, ...], wait: bool = True) -> subprocess.Popen[str]:
        """Submit jobs, each a number, its kind and its seconds, by a process of its own."""
        submitter = self._run("submit", self.broker.url, str(self._folder), json.dumps(jobs))
        if wait:
            assert submitter.wait(LONG) == 0
        return submitter

    def wait_for(self, what: str, numbers: Iterable[int]) -> None:
        """Wait until the log says so of all these jobs."""
        wanted = set(numbers)
        self.wait_until(lambda: wanted <= set(self.log.numbers(what)), lambda: wanted - set(self.log.numbers(what)))

    def wait_until(self, condition: Callable[[], bool], missing: Callable[[], object] = str) -> None:
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline, f"still missing: {missing()}\n{self.errors()}"
            time.sleep(0.05)

    def keep_alive(self, count: int, **options: float) -> None:
        """Start workers in the place of those that have died."""
        for _ in range(count - sum(worker.poll() is None for worker in self.workers)):
            self.start_worker(**options)

    def end(self, worker: subprocess.Popen[str]) -> int:
        """Have a worker end, and return its exit code."""
        worker.send_signal(signal.SIGTERM)
        return worker.wait(LONG)

    def dead(self) -> dict[int, str]:
        """The reasons of dead jobs."""
        return {number: note for what, number, _, note in self.log.read() if what == "dead"}

    def errors(self) -> str:
        """What the workers have written."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self._folder.glob("worker-*")))
