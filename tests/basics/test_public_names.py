"""What a module hands to users bears its name, and so do the methods of its public classes."""

from __future__ import annotations

import inspect
import sys
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from trio_pool._basics.public_names import publish

if TYPE_CHECKING:
    from collections.abc import Callable


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
