"""Finds the graph that ``build_graph.py`` builds: which files of the standard library import which.

The files are parsed, not imported. Names of modules stand for their files throughout.
"""

from __future__ import annotations

import ast
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
SKIPPED = {"site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib"}


class UnknownModuleError(Exception):
    """There is no source file of a module that was named."""


@dataclass(frozen=True)
class Unit:
    """What is built at once: a file, or all files of an import cycle.

    Attributes:
        name: The name of the file, or of a cycle the shortest one in it.
        modules: The names of the files.
        after: The names of the units that have what these files import.
    """

    name: str
    modules: tuple[str, ...]
    after: tuple[str, ...]

    def __str__(self) -> str:
        return self.name if len(self.modules) == 1 else f"{self.name} ({len(self.modules)})"


@dataclass(frozen=True)
class ImportGraph:
    """The files and the units made of them.

    Attributes:
        paths: Where each file is.
        imports: What each file imports, of the files that are here.
        units: The units by their names.
    """

    paths: Mapping[str, Path]
    imports: Mapping[str, Collection[str]]
    units: Mapping[str, Unit]


def find_graph(packages: Collection[str] = ()) -> ImportGraph:
    """Read the files of these packages and modules, or of the whole library, without its tests and IDLE.

    Raises:
        UnknownModuleError: If there is no such package or module.
    """
    files = [path for path in sorted(STDLIB.rglob("*.py")) if SKIPPED.isdisjoint(path.relative_to(STDLIB).parts)]
    paths = {module_name(path): path for path in files}
    if packages:
        for package in packages:
            if package not in paths:
                raise UnknownModuleError(f"there is no module {package!r} in the standard library's source")
        paths = {name: path for name, path in paths.items() if not family(name).isdisjoint(packages)}
    imports = {name: find_imports(name, path, paths) for name, path in paths.items()}
    return ImportGraph(paths, imports, make_units(imports))


def module_name(path: Path) -> str:
    parts = path.relative_to(STDLIB).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def family(name: str) -> set[str]:
    """The module itself and the packages it is in: all that ``import name`` imports."""
    parts = name.split(".")
    return {".".join(parts[:end]) for end in range(1, len(parts) + 1)}


# What a file imports.


def find_imports(name: str, path: Path, known: Collection[str]) -> list[str]:
    """What importing this module imports, of the known ones: the packages it is in, and what it names."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = family(name)
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        tree = ast.Module([], [])  # compiling will tell
    for statement in import_statements(tree):
        for target in targets(statement, package, known):
            found |= family(target)
    found.discard(name)
    return sorted(found.intersection(known))  # so that each run has the same order


def import_statements(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Those that run when the module is imported; what functions import, they import when they are called."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        match node:
            case ast.Import() | ast.ImportFrom():
                yield node
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.expr():
                pass
            case ast.If(test=test) if ast.unparse(test) == "__name__ == '__main__'":
                pass
            case _:
                todo.extend(ast.iter_child_nodes(node))


def targets(statement: ast.Import | ast.ImportFrom, package: str, known: Collection[str]) -> Iterator[str]:
    """The modules that a statement names."""
    names = [alias.name for alias in statement.names]
    if isinstance(statement, ast.Import):
        yield from names
        return
    base = statement.module or ""
    if statement.level:
        parts = package.split(".")
        base = ".".join([*parts[: len(parts) - statement.level + 1], *filter(None, [base])])
    for name in names:
        submodule = f"{base}.{name}"
        yield submodule if submodule in known else base


# Cycles.


def make_units(imports: Mapping[str, Collection[str]]) -> dict[str, Unit]:
    cycles = [sorted(cycle, key=lambda name: (len(name), name)) for cycle in find_cycles(imports)]
    unit_of = {name: cycle[0] for cycle in cycles for name in cycle}
    units: dict[str, Unit] = {}
    for cycle in cycles:
        after = {unit_of[other] for name in cycle for other in imports[name]} - {cycle[0]}
        units[cycle[0]] = Unit(cycle[0], tuple(cycle), tuple(sorted(after)))
    return units


def find_cycles(imports: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Put together what imports each other, be it in a roundabout way; most modules remain alone.

    This is Kosaraju's method. First it goes through the graph in depth, and lists each module when it is through with
    what that imports. From the last of them on, each then takes what imports it and is not taken yet. It doesn't
    recur, so the depth of the graph is not bounded.
    """
    listed: list[str] = []
    seen: set[str] = set()
    for root in imports:
        if root in seen:
            continue
        seen.add(root)
        path = [(root, iter(imports[root]))]
        while path:
            name, rest = path[-1]
            following = next((other for other in rest if other not in seen), None)
            if following is None:
                listed.append(name)
                path.pop()
            else:
                seen.add(following)
                path.append((following, iter(imports[following])))
    importers: dict[str, list[str]] = {name: [] for name in imports}
    for name, others in imports.items():
        for other in others:
            importers[other].append(name)
    cycles: list[list[str]] = []
    taken: set[str] = set()
    for root in reversed(listed):
        if root in taken:
            continue
        taken.add(root)
        cycle = [root]
        for name in cycle:  # it grows meanwhile
            fresh = [other for other in importers[name] if other not in taken]
            taken.update(fresh)
            cycle += fresh
        cycles.append(cycle)
    return cycles
