"""What users can import bears the names by which they import it."""

from __future__ import annotations

import inspect
import pickle
import sys
import traceback
from collections.abc import Callable
from functools import wraps
from types import FunctionType, ModuleType
from typing import Any, cast

import pytest
import trio

import trio_pool
import trio_pool.otel
import trio_pool.rich
import trio_pool.testing
import trio_pool.timeline
from tests.actors import works
from trio_pool import JobFailedError, open_pool
from trio_pool._public import publish

MODULES = [trio_pool, trio_pool.otel, trio_pool.rich, trio_pool.testing, trio_pool.timeline]
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


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: kind.__qualname__)
def test_its_methods_are_called_by_a_public_class(kind: type) -> None:
    owners = {base.__qualname__: base.__module__ for base in kind.__mro__ if id(base) in CLASSES}
    for name, fn in members_of(kind):
        owner, _, own = fn.__qualname__.partition(".")
        assert own == name
        assert owners[owner] == fn.__module__


@pytest.mark.parametrize("kind", CLASSES.values(), ids=lambda kind: kind.__qualname__)
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


# How it is done


def wrapped(fn: Callable[..., Any]) -> Callable[..., Any]:
    """What older versions of Trio make of a function: something around it."""

    @wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


def made_up_module() -> ModuleType:
    """A module with a public class that has a private base, as if they were of this package."""

    class Base:
        @wrapped
        async def run(self) -> str:
            return "run"

        @classmethod
        def make(cls) -> str:
            return cls.__name__

        @staticmethod
        def add(first: int, second: int = 2, *, third: int = 3) -> int:
            return first + second + third

        def overridden(self) -> str:
            return "by the private one"

        @property
        def size(self) -> int:
            """How large it is."""
            return 1

        @size.setter
        def size(self, value: int) -> None:
            raise ValueError(value)

        constant = 5

        def _private(self) -> None:
            """Is left where it is."""

    class Middle(Base):
        def overridden(self) -> str:
            return super().overridden() + ", and the public one"

    class Last(Middle):
        pass

    def function() -> None:
        """Does nothing."""

    for kind in (Base, Middle, Last):
        kind.__qualname__ = kind.__name__
        kind.__module__ = "trio_pool._made_up"
    module: Any = ModuleType("trio_pool.made_up")
    module.Middle, module.Last, module.function, module.version = Middle, Last, function, "1"
    return cast("ModuleType", module)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = made_up_module()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    publish(module.__name__, ["Last", "Middle", "function", "version"])
    return module


def test_functions_and_classes_get_the_modules_name(made_up: Any) -> None:
    assert (made_up.Last.__module__, made_up.function.__module__) == ("trio_pool.made_up", "trio_pool.made_up")


async def test_a_function_inside_a_decorator_is_renamed_too(made_up: Any) -> None:
    call = made_up.Last().run()
    assert call.__qualname__ == "Last.run"
    assert await call == "run"
    assert made_up.Last.run.__wrapped__.__qualname__ == "Last.run"
    await trio.lowlevel.checkpoint()


def test_class_methods_and_static_ones_stay_what_they_are(made_up: Any) -> None:
    assert made_up.Last.make() == "Last"
    assert made_up.Last.make.__qualname__ == "Last.make"
    assert made_up.Last.add(1) == made_up.Last().add(1) == 6
    assert made_up.Last.add.__qualname__ == "Last.add"


def test_a_property_keeps_its_parts(made_up: Any) -> None:
    assert made_up.Last().size == 1
    with pytest.raises(ValueError, match="3"):
        made_up.Last().size = 3
    size: Any = inspect.getattr_static(made_up.Last, "size")
    assert size.__doc__ == "How large it is."


def test_what_a_public_class_overrides_is_not_undone_below_it(made_up: Any) -> None:
    assert made_up.Last().overridden() == "by the private one, and the public one"


def test_what_is_private_or_no_function_is_left_where_it_is(made_up: Any) -> None:
    assert "constant" not in vars(made_up.Last)
    assert "_private" not in vars(made_up.Last)
    assert made_up.Last.constant == 5


def test_the_private_class_is_left_as_it_was(made_up: Any) -> None:
    [base] = made_up.Middle.__bases__
    assert base.run.__qualname__.endswith("Base.run")
    assert base.__module__ == "trio_pool._made_up"
