"""What users can import bears the names by which they import it."""

from __future__ import annotations

import importlib
import inspect
import pickle
import traceback
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any, cast

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
from tests.actors import works
from trio_pool import JobFailedError, open_pool

MODULES = [
    trio_pool,
    trio_pool.dramatiq,
    trio_pool.engines,
    trio_pool.journal,
    trio_pool.otel,
    trio_pool.planning,
    trio_pool.rich,
    trio_pool.testing,
    trio_pool.timeline,
]
if find_spec("pgqueuer") is not None:  # which is for CPython alone
    MODULES.append(importlib.import_module("trio_pool.pgqueuer"))
PUBLIC = [(module, name) for module in MODULES for name in module.__all__ if name != "__version__"]
every_one = pytest.mark.parametrize(
    ("module", "name"), PUBLIC, ids=[f"{module.__name__}.{name}" for module, name in PUBLIC]
)
CLASSES = {id(thing): thing for module, name in PUBLIC if inspect.isclass(thing := getattr(module, name))}


def functions_of(member: Any) -> list[FunctionType]:
    """The functions that a member of a class comes to."""
    if isinstance(member, property):
        found: list[object] = [member.fget, member.fset, member.fdel]
    else:
        found = [getattr(member, "__func__", member)]
    return [each for each in found if isinstance(each, FunctionType)]


def members_of(kind: type) -> list[tuple[str, FunctionType]]:
    """The functions of a public class that are this project's, inherited ones included."""
    names = [name for name in dir(kind) if not name.startswith("_") or name == "__init__"]
    found = [(name, fn) for name in names for fn in functions_of(inspect.getattr_static(kind, name))]
    return [(name, fn) for name, fn in found if fn.__module__.startswith("trio_pool")]


@every_one
def test_it_names_its_module(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    assert (thing.__module__, thing.__qualname__) == (module.__name__, name)


@every_one
def test_it_is_pickled_by_that_name(module: ModuleType, name: str) -> None:
    thing = getattr(module, name)
    text = pickle.dumps(thing, 0).decode()
    assert "trio_pool._" not in text
    assert pickle.loads(text.encode()) is thing


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_its_methods_are_called_by_a_public_class(kind: type) -> None:
    owners = {base.__qualname__: base.__module__ for base in kind.__mro__ if id(base) in CLASSES}
    for name, fn in members_of(kind):
        owner, _, own = fn.__qualname__.partition(".")
        assert own == name
        assert owners[owner] == fn.__module__


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_its_own_methods_are_its_own(kind: type) -> None:
    inherited = [base for base in kind.__mro__[1:] if id(base) in CLASSES]
    for name, fn in members_of(kind):
        if not any(hasattr(base, name) for base in inherited):
            assert fn.__qualname__ == f"{kind.__qualname__}.{name}"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (trio_pool.Pool, "run"),
        (trio_pool.Pool, "close"),
        (trio_pool.SlotPool, "run"),
        (trio_pool.SlotPool, "join"),
        (trio_pool.JobGroup, "map"),
        (trio_pool.JobGroup, "submit_graph"),
        (trio_pool.SlotJobGroup, "submit"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_method_of_several_classes_is_one_of_each(kind: type, name: str) -> None:
    assert getattr(kind, name).__qualname__ == f"{kind.__qualname__}.{name}"


def test_a_property_of_a_private_class_is_one_of_the_public_one() -> None:
    state: Any = inspect.getattr_static(trio_pool.Worker, "state")
    assert state.fget.__qualname__ == "Worker.state"
    assert state.__doc__


async def test_a_call_that_nobody_awaited_is_told_by_its_public_name() -> None:
    async with open_pool(["a"]) as pool, pool.open_group() as group:
        for thing, name in ((pool, "Pool.run"), (group, "JobGroup.run")):
            call: Any = thing.run(works)
            assert (call.__qualname__, call.__name__) == (name, "run")
            call.close()
        submit: Any = pool.submit(works)
        assert submit.__qualname__ == "Pool.submit"
        submit.close()


def test_wrong_arguments_are_told_by_the_public_name() -> None:
    give_up: Any = trio_pool.GiveUp
    with pytest.raises(TypeError, match=r"^GiveUp\.__init__\(\) takes from 1 to 2 positional arguments"):
        give_up("one", "two")


async def test_a_traceback_shows_public_names() -> None:
    async def breaks(resource: object) -> None:
        raise trio_pool.ResourceBroken("jammed")

    def is_sync(resource: object) -> None:
        """Is no function for a job."""

    async with open_pool(["a"]) as pool:
        for fn, name in ((breaks, "trio_pool.ResourceBroken"), (cast("Any", is_sync), "TypeError")):
            with pytest.raises(JobFailedError) as caught:
                await pool.run(fn)
            lines = "".join(traceback.format_exception(caught.value)).splitlines()
            assert [line for line in lines if line.startswith(f"{name}: ")]
            assert [line for line in lines if line.startswith("trio_pool.JobFailedError: ")]
            assert type(caught.value.__cause__).__name__ == name.rpartition(".")[2]


def test_reprs_show_public_names() -> None:
    assert repr(trio_pool.Pool) == "<class 'trio_pool.Pool'>"
    assert repr(trio_pool.Pool[int]) == "trio_pool.Pool[int]"
    assert repr(trio_pool.RetryPolicy.never).endswith("of <class 'trio_pool.RetryPolicy'>>")


def test_what_is_public_still_says_what_it_takes() -> None:
    pool: Any = trio_pool.Pool
    assert str(inspect.signature(pool.join)) == "(self) -> 'None'"
    assert "idle_only" in inspect.signature(pool.submit_nowait).parameters
    assert inspect.iscoroutinefunction(pool.run)
