"""``python -m benchmarks.llm``: measure the programs one after the other, and write a table of them."""

from __future__ import annotations

import argparse
import importlib
import io
import json
import subprocess
import sys
import time
import tokenize
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from llm_report import least_time

from . import EXAMPLES
from .api import make_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADING = f"{'program':<32}{'version':>9}{'lines':>7}{'calls':>8}{'refused':>9}{'elapsed':>10}{'of the least':>14}"


@attrs.frozen
class Program:
    """A program that answers the prompts.

    Attributes:
      what: what it is, for the table.
      module: where it is.
      package: the library whose version is told, or "".
      function: its function there.
    """

    what: str
    module: str
    package: str = ""
    function: str = "run"


PROGRAMS = {
    "ours": Program("trio_pool", "ours"),
    "by_hand": Program("asyncio, limiter by hand", "by_hand"),
    "aiometer": Program("aiometer, rate of requests", "with_aiometer", "aiometer"),
    "aiometer_tokens": Program("aiometer, rate by mean tokens", "with_aiometer", "aiometer", "run_by_tokens"),
    "litellm": Program("litellm's Router", "with_litellm", "litellm"),
}


@attrs.frozen
class Measured:
    """What a program has done."""

    elapsed: float
    accounts: dict[str, dict[str, int]]

    def count(self, field: str) -> int:
        """The sum over all keys."""
        return sum(account[field] for account in self.accounts.values())


def count_lines(source: str) -> int:
    """The lines with code; comments, docstrings and empty lines aside."""
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    previous = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        is_docstring = token.type == tokenize.STRING and previous in nothing
        if token.type not in nothing and not is_docstring:
            lines.update(range(token.start[0], token.end[0] + 1))
        previous = token.type
    return len(lines)


def measure(program: Program, prompts: int, minute: float) -> Measured:
    """Run it against a fresh server."""
    function = getattr(importlib.import_module(f"benchmarks.llm.{program.module}"), program.function)
    arguments = [sys.executable, str(EXAMPLES / "llm_server.py"), "--minute", str(minute)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        start = time.perf_counter()
        answers = function(url, minute, make_prompts(prompts))
        elapsed = time.perf_counter() - start
        server.stdin.close()
        accounts: dict[str, Any] = json.loads(server.stdout.readline())
    if len(answers) != prompts or not all(answers):
        raise RuntimeError(f"{program.what} has lost answers")
    return Measured(elapsed, accounts)


def line(program: Program, measured: Measured, minute: float) -> str:
    """A line of the table."""
    lines = count_lines(Path(__file__).with_name(f"{program.module}.py").read_text(encoding="utf-8"))
    least = least_time(measured.accounts, minute)
    return (
        f"{program.what:<32}{package_version(program.package):>9}{lines:>7}{measured.count('calls'):>8}"
        f"{measured.count('refused'):>9}{measured.elapsed:>8.2f} s{measured.elapsed / least:>14.2f}"
    )


def package_version(package: str) -> str:
    """The version of a package, or "-" if it is not installed or there is none."""
    try:
        return version(package) if package else "-"
    except PackageNotFoundError:
        return "-"


def measure_all(names: Sequence[str], prompts: int, minute: float) -> str:
    """The whole table."""
    lines = [HEADING]
    left_out: list[str] = []
    for name in names:
        program = PROGRAMS[name]
        try:
            measured = measure(program, prompts, minute)
        except ModuleNotFoundError as error:
            left_out.append(f"Left out: {program.what}, since {error.name} is not installed")
        else:
            lines.append(line(program, measured, minute))
        print(lines[-1], file=sys.stderr)
    python = ".".join(map(str, sys.version_info[:3]))
    lines += ["", f"{prompts} prompts; a minute of the server takes {minute:g} s; CPython {python}", *left_out]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm", description="Answer prompts by several programs.")
    parser.add_argument("--prompts", type=int, default=1000, help="how many prompts (default: 1000)")
    parser.add_argument("--minute", type=float, default=3.0, help="the seconds of a minute of the quotas (default: 3)")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, default=[*PROGRAMS], help="only these programs")
    parser.add_argument("--output", type=Path, help="the file for the table, besides standard output")
    options = parser.parse_args(arguments)
    table = measure_all(options.only, options.prompts, options.minute)
    print(table, end="")
    if options.output is not None:
        options.output.write_text(table, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
