"""The folders of the package stand in one order, and what is in one imports only from those before it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import trio_pool

PACKAGE = Path(trio_pool.__file__).parent
FOLDERS = ("_basics", "_policies", "_model", "_core", "_runtime", "_api")
"""In their order. What stands in no such folder is an extra, or what users import, and may import from all of them."""

WITHOUT_TRIO = ("_policies", "_model", "_core")
BASE_CLASSES = "_model.errors"
"""Some errors are those of Trio too: programs that handle these handle them as well."""


def names_of(path: Path) -> tuple[str, ...]:
    """The module of a file, without the package's name; of a package's ``__init__``, the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


MODULES = {".".join(names_of(path)): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str, source: str) -> set[str]:
    """All that a module imports, wherever that stands, annotations included; own modules without the package's name."""
    path = MODULES.get(module)
    package = module.split(".") if path is not None and path.stem == "__init__" else module.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {foreign(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            if not node.level:
                found.add(foreign(origin))
                continue
            for alias in node.names:
                inner = f"{origin}.{alias.name}" if origin else alias.name
                found.add(inner if inner in MODULES else origin)
    return found


def foreign(name: str) -> str:
    """The name of a package of others', told apart from an extra that is named after it."""
    return f"{name} of others" if name.partition(".")[0] in MODULES else name


IMPORTS = {module: imports_of(module, path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def rank(module: str) -> int:
    """Where the folder of a module stands."""
    folder = module.partition(".")[0]
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS)


def wrong_arrows(imports: dict[str, set[str]]) -> list[str]:
    """The imports that point up, each as an arrow."""
    return sorted(
        f"{module} -> {other}"
        for module, others in imports.items()
        for other in others
        if other in MODULES and other != "_version" and rank(other) > rank(module)
    )


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The modules that import each other, directly or by way of others."""
    own = {module: {other for other in others if other in MODULES} for module, others in imports.items()}
    reached: dict[str, set[str]] = defaultdict(set)
    for module in own:
        pending = [module]
        while pending:
            for other in own[pending.pop()] - reached[module]:
                reached[module].add(other)
                pending.append(other)
    found: list[list[str]] = []
    for module in own:
        if module in reached[module] and not any(module in circle for circle in found):
            found.append(sorted(other for other in reached[module] if module in reached[other]))
    return found


def test_no_import_points_up() -> None:
    assert wrong_arrows(IMPORTS) == []


def test_an_import_that_points_up_is_named() -> None:
    wrong = imports_of("_policies.retry", "from __future__ import annotations\nfrom .._core import core\n")
    assert wrong_arrows({"_policies.retry": wrong}) == ["_policies.retry -> _core.core"]


def test_imports_for_annotations_are_found() -> None:
    source = "if TYPE_CHECKING:\n    from ..._api.pool import Pool\n    from . import resource\n"
    assert imports_of("_policies.inner.retry", source) == {"_api.pool", "_policies.inner"}


def test_no_modules_import_each_other() -> None:
    assert circles(IMPORTS) == []


def test_a_circle_is_named_with_all_that_are_in_it() -> None:
    imports = {"_core.core": {"_core.lanes"}, "_core.lanes": {"_core.settle"}, "_core.settle": {"_core.core"}}
    assert circles(imports) == [["_core.core", "_core.lanes", "_core.settle"]]


@pytest.mark.parametrize("folder", WITHOUT_TRIO)
def test_what_decides_does_without_trio(folder: str) -> None:
    using = {module for module, others in IMPORTS.items() if others & {"trio", "trio.lowlevel", "trio.abc"}}
    assert {module for module in using if module.startswith(f"{folder}.")} <= {BASE_CLASSES}


def test_modules_stay_small() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in MODULES.items()}
    assert {module: length for module, length in lengths.items() if length > 400} == {}


def classes_of(module: str) -> list[ast.ClassDef]:
    """The classes at the top of a module."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("folder", ["_core", "_runtime"])
def test_no_class_is_continued_in_another_module(folder: str) -> None:
    modules = [module for module in MODULES if module.startswith(f"{folder}.")]
    own = {node.name: module for module in modules for node in classes_of(module) if not is_protocol(node)}
    continued = [
        f"{module}: {node.name} of {own[base.id]}"
        for module in modules
        for node in classes_of(module)
        for base in node.bases
        if isinstance(base, ast.Name) and own.get(base.id, module) != module
    ]
    assert continued == []


def is_protocol(node: ast.ClassDef) -> bool:
    """Whether a class only says what others have."""
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)


def arguments_of(node: ast.ClassDef) -> int:
    """How many arguments its constructor takes."""
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return len(each.args.posonlyargs + each.args.args + each.args.kwonlyargs) - 1
    return 0


def test_no_constructor_of_the_core_takes_more_than_six_arguments() -> None:
    modules = [module for module in MODULES if module.startswith("_core.")]
    found = {f"{module}: {node.name}": arguments_of(node) for module in modules for node in classes_of(module)}
    assert max(found.values()) > 0
    assert {name: number for name, number in found.items() if number > 6} == {}


def test_importing_the_package_leaves_the_machinery_of_pools_to_the_first_pool() -> None:
    program = "import sys, trio_pool; sys.exit(any(f'trio_pool.{name}' in sys.modules for name in sys.argv[1:]))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program, "_core.core", "_runtime.engine"], check=True, env=env)
