"""Byte-compile Python's standard library in the order of its imports: each file after all that it imports.

What each file imports is found by parsing it. That makes a graph of hundreds of nodes, which goes into a pool of four
slots as a whole; files that import each other in a cycle are one node. A node starts when those before it have
succeeded. The results go into a temporary directory. Of each file it is checked that it was started after the last of
what it imports was done.

    python build_graph.py
    python build_graph.py --packages asyncio concurrent json
    python build_graph.py --fail tokenize

With ``--fail`` a file has an error in it. All that depends on it is discarded, and the rest is compiled.

Compiling holds Python's global lock; only the reading and writing of files go on beside it. So four slots are not four
times as fast: a file takes longer beside three others than alone, and Trio's own thread has to wait for the lock, too.
The table at the end has the time for which the slots were busy, in which the critical path is measured, and how much of
it was work on a processor.

The exit code is 0 if every file was compiled, 1 if one was not, and 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import py_compile
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio
from build_report import Report, show_progress
from ctrl_c import run_until_interrupted
from import_graph import STDLIB, ImportGraph, Unit, UnknownModuleError, find_graph

from trio_pool import Job, Node, RetryPolicy, open_pool


class Options(argparse.Namespace):
    """The options of the command line."""

    slots: int
    packages: list[str]
    fail: str | None


@dataclass(frozen=True)
class Times:
    """When a file was compiled, by a steady clock, and how long a processor was at it; all in seconds."""

    started: float
    ended: float
    cpu: float


class TooEarlyError(BaseException):
    """A file was compiled before one that it imports. It is no ``Exception``, so everything stops."""


def compile_file(source: Path, target: Path) -> Times:
    """Write the byte code of a file. It blocks, so it is called in a thread."""
    started, cpu = time.perf_counter(), time.thread_time()
    py_compile.compile(str(source), str(target), doraise=True)
    return Times(started, time.perf_counter(), time.thread_time() - cpu)


@dataclass
class Build:
    """What is to be done, and what has been done so far.

    Attributes:
        graph: The files and the units.
        folder: Where the results go.
        fail: The file that is to fail.
        times: Those of each file that is compiled.
        jobs: The job of each unit.
    """

    graph: ImportGraph
    folder: Path
    fail: str | None = None
    times: dict[str, Times] = field(default_factory=dict[str, Times])
    jobs: dict[str, Job[Any]] = field(default_factory=dict[str, Job[Any]])

    async def compile_all(self, slots: int) -> None:
        async with (
            trio.open_nursery() as nursery,
            open_pool(
                slots,
                retry=RetryPolicy(retry_on=OSError),  # there may be room on the disk again, but no other syntax
                on_dead="keep",
            ) as pool,
        ):
            nursery.start_soon(show_progress, pool)
            nodes = {name: Node(self.compile_unit, unit, after=unit.after) for name, unit in self.graph.units.items()}
            try:
                self.jobs = await pool.submit_graph(nodes)
                await pool.join()
            finally:
                pool.dead.pop_all()  # the table will tell

    async def compile_unit(self, unit: Unit) -> None:
        """Compile a file, or those of a cycle one after another: the function of every job."""
        for name in unit.modules:
            source = self.graph.paths[name]
            target = self.folder / source.relative_to(STDLIB).with_suffix(".pyc")
            if name == self.fail:
                source = self.folder / "broken.py"
                source.write_text("This is not Python.\n")
            # A thread can't be cancelled, so Trio waits for its end, and the slot stays busy until then.
            times = await trio.to_thread.run_sync(compile_file, source, target)
            self.check_order(unit, name, times.started)
            self.times[name] = times

    def check_order(self, unit: Unit, name: str, started: float) -> None:
        """Check that what this file imports was done when it was started, other files of its cycle aside.

        Raises:
            TooEarlyError: If something was not.
        """
        for other in self.graph.imports[name]:
            if other not in unit.modules and not (other in self.times and self.times[other].ended <= started):
                raise TooEarlyError(f"{name} was compiled before {other}, which it imports")


# The program around it.


def run(options: Options) -> int:
    """Compile, print the table and return the exit code."""
    print("reading the imports ...", file=sys.stderr, flush=True)
    graph = find_graph(options.packages)
    if options.fail is not None and options.fail not in graph.paths:
        raise UnknownModuleError(f"there is no module {options.fail!r} among the {len(graph.paths)} to compile")
    with TemporaryDirectory() as folder:
        build = Build(graph, Path(folder), options.fail)
        interrupted = trio.run(run_until_interrupted, partial(build.compile_all, options.slots))
    thread_seconds = sum(times.ended - times.started for times in build.times.values())
    cpu_seconds = sum(times.cpu for times in build.times.values())
    print(*Report(graph, build.jobs, options.slots, thread_seconds, cpu_seconds).lines(), sep="\n")
    if interrupted:
        return 130
    return 0 if len(build.times) == len(graph.paths) else 1


def positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {number}")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description="Byte-compile the standard library in the order of its imports.")
    parser.add_argument("--slots", type=positive, default=4, help="how many nodes at once (default: 4)")
    parser.add_argument(
        "--packages",
        nargs="+",
        default=[],
        metavar="NAME",
        help="compile these packages and modules alone (default: all, without the tests and IDLE)",
    )
    parser.add_argument("--fail", metavar="NAME", help="a module that is to have an error in it, such as tokenize")
    options = parser.parse_args(namespace=Options())
    try:
        return run(options)
    except UnknownModuleError as error:
        parser.error(str(error))
    except KeyboardInterrupt:  # before there is anything to report
        return 130


if __name__ == "__main__":
    sys.exit(main())
