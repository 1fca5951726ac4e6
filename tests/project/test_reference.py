"""Every public name stands in the reference, with the parameters that it takes."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import trio_pool
import trio_pool.dramatiq
import trio_pool.engines
import trio_pool.journal
import trio_pool.otel
import trio_pool.planning
import trio_pool.rich
import trio_pool.testing
import trio_pool.timeline
from trio_pool._model.pool_config import Config
from trio_pool.testing import InjectedError

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = [DOCS / "reference.rst", *sorted((DOCS / "reference").glob("*.rst"))]
REFERENCE = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

MODULES: dict[str, ModuleType] = {
    module.__name__: module
    for module in (
        trio_pool,
        trio_pool.dramatiq,
        trio_pool.engines,
        trio_pool.journal,
        trio_pool.otel,
        trio_pool.planning,
        trio_pool.rich,
        trio_pool.testing,
        trio_pool.timeline,
    )
}
if find_spec("pgqueuer") is not None:  # which is for CPython alone
    MODULES["trio_pool.pgqueuer"] = importlib.import_module("trio_pool.pgqueuer")
NAMES = [f"{module}.{name}" for module, content in MODULES.items() for name in content.__all__]


SIGNATURES: dict[str, str] = {}
"""The parameters that the reference gives, by the full name, where it gives some."""


def directives() -> dict[str, str]:
    """What each directive about a name says below it, by the full name; notes the signatures as well."""
    found: dict[str, str] = {}
    module = owner = ""
    pattern = re.compile(r"^( *)\.\. (?:auto)?(\w+):: *([\w.]+)(?:\((.*)\).*)?\n((?:\1 +.*\n|\n)*)", re.MULTILINE)
    position = 0
    while (match := pattern.search(REFERENCE, position)) is not None:
        indent, kind, name, parameters, body = match.groups()
        position = match.start(5)  # what is nested comes next
        if kind == "currentmodule":
            module = owner = name
        if kind in ("currentmodule", "rubric"):
            continue
        full = f"{owner if indent else module}.{name}"
        found[full] = body
        if parameters:
            SIGNATURES[full] = parameters
        if not indent:
            owner = full
    return found


DIRECTIVES = directives()


def resolve(name: str) -> object:
    """The object of this full name."""
    module, _, own = name.rpartition(".")
    return getattr(MODULES[module], own)


def own_members(kind: type[Any]) -> dict[str, object]:
    """The methods and properties that this project has given a class for users, inherited ones included.

    What instruments are told of is the base class's.
    """
    found: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        # What a worker has from the scheduler is the scheduler's.
        if not base.__module__.startswith("trio_pool") or base.__module__ == "trio_pool._model.records":
            continue
        for name, value in vars(base).items():
            is_member = inspect.isroutine(value) or isinstance(value, (property, classmethod))
            if is_member and not name.startswith("_"):
                found[name] = value
    if issubclass(kind, trio_pool.Instrument) and kind is not trio_pool.Instrument:
        # What the pool tells an instrument is described where that is.
        return {name: value for name, value in found.items() if name not in vars(trio_pool.Instrument)}
    return found


MEMBERS = [
    (name, member)
    for name in NAMES
    if inspect.isclass(kind := resolve(name)) and not issubclass(kind, BaseException)
    for member in own_members(kind)
]


def object_of(name: str) -> Any:
    """The object of a full name, which may be a member of a class."""
    found: object = trio_pool
    for part in name.split(".")[1:]:
        found = getattr(found, part)
    return found


def parameters_of(name: str) -> list[tuple[str, object, object]]:
    """The parameters that an object takes: the name, the kind and the default of each."""
    taker = object_of(name)
    parameters = list(inspect.signature(taker).parameters.values())
    if taker is trio_pool.open_pool:  # takes the options of a pool as they are
        parameters = [parameters[0], *inspect.signature(Config).parameters.values()]
    if parameters[0].name == "self":
        del parameters[0]
    fields = attrs.fields_dict(taker) if inspect.isclass(taker) and attrs.has(taker) else {}
    found: list[tuple[str, object, object]] = []
    for parameter in parameters:
        default: Any = parameter.default
        if default is attrs.NOTHING:
            default = fields[parameter.name].default
            default = tuple(default.factory())  # whatever the empty collection is
        found.append((parameter.name, parameter.kind, default))
    return found


def written_parameters(text: str) -> list[tuple[str, object, object]]:
    """The same from the source of the parameters."""
    (function,) = ast.parse(f"def taker({text}): pass").body
    names: dict[str, Any] = {"json": json, **vars(trio_pool), "InjectedError": InjectedError}
    exec(compile(ast.Module([function], []), "<reference>", "exec"), names)
    return [(each.name, each.kind, each.default) for each in inspect.signature(names["taker"]).parameters.values()]


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_reference_gives_the_parameters_as_they_are(name: str) -> None:
    assert written_parameters(SIGNATURES[name]) == parameters_of(name)


@pytest.mark.parametrize("name", NAMES)
def test_public_name_is_in_the_reference(name: str) -> None:
    if name == "trio_pool.__version__":
        assert f"``{name}``" in REFERENCE
    else:
        assert name in DIRECTIVES


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_a_page_of_the_reference_begins_with_a_table_of_what_is_on_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    table = re.search(r"^\.\. autosummary::\n   :nosignatures:\n\n((?:   .+\n)+)", text, re.MULTILINE)
    assert table is not None
    entries = re.findall(r"^\.\. auto(?:class|exception|function):: ([\w.]+)", text, re.MULTILINE)
    assert table[1].split() == entries


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.stem)
def test_the_first_page_of_the_reference_lists_each_page(page: Path) -> None:
    index = PAGES[0].read_text(encoding="utf-8")
    assert f":doc:`reference/{page.stem}`" in index
    assert f"\n   reference/{page.stem}\n" in index


@pytest.mark.parametrize(("owner", "member"), MEMBERS)
def test_public_member_is_in_the_reference(owner: str, member: str) -> None:
    kind = resolve(owner)
    assert inspect.isclass(kind)
    if owner == "trio_pool.SlotPool" and f"{owner}.{member}" not in DIRECTIVES:
        # "What is not listed here is as in Pool."
        owner = "trio_pool.Pool"
    takes_all = re.search(r"^ +:members:$", DIRECTIVES[owner], re.MULTILINE) is not None
    assert f"{owner}.{member}" in DIRECTIVES or (takes_all and member in vars(kind))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "trio_pool.__version__"])
def test_public_name_has_a_docstring_of_its_own(name: str) -> None:
    thing = resolve(name)
    assert inspect.isclass(thing) or inspect.isfunction(thing)
    assert thing.__doc__


@pytest.mark.parametrize(("owner", "member"), MEMBERS)
def test_public_member_has_a_docstring(owner: str, member: str) -> None:
    kind = resolve(owner)
    assert inspect.isclass(kind)
    assert inspect.getdoc(own_members(kind)[member])


@pytest.mark.parametrize("name", sorted(DIRECTIVES))
def test_what_the_reference_lists_is_there(name: str) -> None:
    object_of(name)
