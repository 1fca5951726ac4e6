"""The example that compiles the standard library does it in the order of the imports, and tells how that went."""

from __future__ import annotations

import importlib
import re
import signal
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.platforms import sends_signals
from tests.project.test_examples import EXAMPLES, PATIENCE, STDLIB, first_line, running
from trio_pool import Node, open_pool

if TYPE_CHECKING:
    from pathlib import Path


def table_of(output: str) -> dict[str, tuple[int, int]]:
    """The nodes and the files of each line of the table that has both."""
    rows = re.findall(r"^([a-z ]+?) +(\d+) +(\d+)(?:   .*)?$", output, re.MULTILINE)
    return {name: (int(nodes), int(files)) for name, nodes, files in rows}


def seconds_of(output: str) -> dict[str, float]:
    return {name: float(number) for name, number in re.findall(r"^([a-z ]+?) +([\d.]+) s\b", output, re.MULTILINE)}


def source_files(package: str) -> int:
    return len(list((STDLIB / package).rglob("*.py")))


def test_each_file_is_compiled_and_the_table_adds_up() -> None:
    with running("build_graph.py", "--packages", "json", "email", "html") as process:
        output, progress = process.communicate(timeout=PATIENCE)

    assert process.returncode == 0, progress
    table = table_of(output)
    assert table["compiled"] == table["to compile"]
    assert table["compiled"][1] == sum(map(source_files, ("json", "email", "html")))
    assert table["failed"] == table["discarded"] == table["cancelled"] == (0, 0)
    nodes, files = table["to compile"]
    cycles, files_in_cycles = table["cycles contracted"]
    assert files - nodes == files_in_cycles - cycles
    assert re.search(r"^largest cycle +1 +4   with json$", output, re.MULTILINE)
    seconds = seconds_of(output)
    assert seconds["at least"] == pytest.approx(max(seconds["critical path"], seconds["work"] / 4), abs=0.01)
    assert seconds["elapsed"] >= seconds["at least"]
    assert f" {nodes} nodes compiled, " in progress


def test_what_depends_on_a_file_that_fails_is_discarded_and_all_else_is_compiled() -> None:
    with running("build_graph.py", "--packages", "json", "email", "--fail", "json.scanner") as process:
        output, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1, errors
    table = table_of(output)
    assert table["failed"] == (1, 4)  # the cycle that it is in
    assert table["discarded"] == (source_files("json") - 4,) * 2
    assert table["compiled"] == (source_files("email"),) * 2
    assert re.search(r"^json \(4\) failed: not retryable: PyCompileError: .*SyntaxError", output, re.MULTILINE)
    assert "Traceback" not in errors


@sends_signals
def test_ctrl_c_leaves_in_good_order_and_with_a_table() -> None:
    packages = ("asyncio", "email", "encodings", "importlib", "multiprocessing", "unittest", "xml")
    with running("build_graph.py", "--packages", *packages, "--slots", "1") as process:
        progress = [first_line(process.stderr) for _ in range(2)]  # reading, and then the first look at the pool
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate(timeout=PATIENCE)

    assert process.returncode == 130
    assert "Traceback" not in "".join([*progress, rest])
    table = table_of(output)
    assert table["cancelled"][0] > 0
    assert table["compiled"][0] + table["cancelled"][0] == table["to compile"][0]


@pytest.mark.parametrize(
    ("args", "blamed"),
    [
        (["--packages", "nothing"], "no module 'nothing' in the standard library"),
        (["--packages", "json", "--fail", "email"], "no module 'email' among the"),
        (["--slots", "0"], "--slots: must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(args: list[str], blamed: str) -> None:
    with running("build_graph.py", *args) as process:
        _, errors = process.communicate(timeout=PATIENCE)

    assert process.returncode == 2
    assert blamed in errors
    assert "Traceback" not in errors


# Its parts.

ImportModule = Callable[[str], ModuleType]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ImportModule:
    """Imports a module of the examples."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    return importlib.import_module


def imports_of(example: ImportModule, folder: Path, name: str, source: str, *known: str) -> list[str]:
    path = folder / "source.py"
    path.write_text(source)
    found: list[str] = example("import_graph").find_imports(name, path, {name, *known})
    return found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import os, sys", ["os", "p"]),
        ("import q.r as x", ["p", "q", "q.r"]),
        ("from q import r, s", ["p", "q", "q.r"]),
        ("from . import b", ["p", "p.b"]),
        ("from .b import c", ["p", "p.b"]),
        ("try:\n    import os\nexcept ImportError:\n    import q", ["os", "p", "q"]),
        ("class C:\n    import os", ["os", "p"]),
        ("def f():\n    import os", ["p"]),
        ("if __name__ == '__main__':\n    import os", ["p"]),
        ("This is not Python.", ["p"]),
    ],
)
def test_a_file_depends_on_what_its_import_imports(
    example: ImportModule, tmp_path: Path, source: str, expected: list[str]
) -> None:
    assert imports_of(example, tmp_path, "p.a", source, "os", "p", "p.b", "q", "q.r") == expected


def test_files_that_import_each_other_in_a_cycle_are_one_node(example: ImportModule) -> None:
    imports = {"aa": ["b"], "b": ["ccc"], "ccc": ["aa", "d"], "d": ["e"], "e": [], "f": ["ccc", "e"]}

    units = example("import_graph").make_units(imports)

    assert {name: (unit.modules, unit.after) for name, unit in units.items()} == {
        "b": (("b", "aa", "ccc"), ("d",)),
        "d": (("d",), ("e",)),
        "e": (("e",), ()),
        "f": (("f",), ("b", "e")),
    }


@pytest.mark.parametrize("last", [[], ["0"]], ids=["chain", "cycle"])
def test_a_graph_may_be_deeper_than_recursion_goes(example: ImportModule, last: list[str]) -> None:
    length = sys.getrecursionlimit() * 3
    imports = {str(number): [str(number + 1)] for number in range(length - 1)} | {str(length - 1): last}

    assert len(example("import_graph").find_cycles(imports)) == (1 if last else length)


def test_a_file_that_was_compiled_before_what_it_imports_is_noticed(example: ImportModule, tmp_path: Path) -> None:
    example_module = example("build_graph")
    graph = example("import_graph").find_graph(["json"])
    build = example_module.Build(graph, tmp_path)
    tool = graph.units["json.tool"]

    with pytest.raises(example_module.TooEarlyError, match=r"json.tool was compiled before json, which it imports"):
        build.check_order(tool, "json.tool", started=1.0)

    build.times["json"] = example_module.Times(started=0.0, ended=1.5, cpu=1.0)
    with pytest.raises(example_module.TooEarlyError):
        build.check_order(tool, "json.tool", started=1.0)

    build.check_order(tool, "json.tool", started=1.5)


async def report_on(example: ImportModule, times: dict[str, tuple[float, list[str]]], slots: int, said: int) -> Any:
    """The report on a graph of sleeps, which ran in this many slots, and is said to have run in that many."""
    graphs = example("import_graph")
    units = {name: graphs.Unit(name, (name,), tuple(after)) for name, (_, after) in times.items()}
    async with open_pool(slots) as pool:
        jobs = await pool.submit_graph(
            {name: Node(trio.sleep, seconds, after=after) for name, (seconds, after) in times.items()}
        )
    return example("build_report").Report(graphs.ImportGraph({}, {}, units), jobs, said, 0.0, 0.0)


GRAPH: dict[str, tuple[float, list[str]]] = {"a": (1, []), "b": (2, ["a"]), "c": (2.5, []), "d": (0.25, ["b", "c"])}


async def test_the_critical_path_is_the_one_that_takes_longest(
    example: ImportModule, autojump_clock: trio.testing.MockClock
) -> None:
    report = await report_on(example, GRAPH, slots=2, said=2)

    assert [unit.name for unit in report.critical_path()] == ["a", "b", "d"]
    seconds = seconds_of("\n".join(report.lines()))
    assert seconds["critical path"] == seconds["at least"] == seconds["elapsed"] == 3.25
    assert seconds["work"] == 5.75


async def test_slots_that_idle_while_a_node_is_ready_are_noticed(
    example: ImportModule, autojump_clock: trio.testing.MockClock
) -> None:
    busy = partial(report_on, example, {"a": (1, []), "b": (2, []), "c": (3, ["a"])})

    assert (await busy(slots=1, said=1)).idle_seconds() == 0
    assert (await busy(slots=1, said=2)).idle_seconds() == 3
