"""Which errors a rule is about."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeAlias, cast

from .._basics.exceptions import walk
from .._basics.is_a import is_a
from . import validate

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import Callable

ErrorRule: TypeAlias = "type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]"


class NotOfTheFunction:
    """A base of errors that tell of an attempt or of a resource: rules made of types are about these in any case."""

    __slots__ = ()


def applies(name: str, rule: ErrorRule, error: Exception) -> bool:
    """Whether a rule, the field ``name`` of a policy, is about such an error.

    Types are about what is `NotOfTheFunction` besides; a function is asked.

    Raises:
      TypeError: if it is a function and returns something else than a bool.
    """
    if isinstance(rule, (type, tuple)):
        kinds = cast("tuple[type[Exception], ...]", rule if isinstance(rule, tuple) else (rule,))
        return matches(error, (*kinds, NotOfTheFunction))
    answer = rule(error)
    validate.answer(name, answer)
    return validate.instance(f"the result of {name}", answer, bool)


def matches(error: BaseException, kinds: tuple[type, ...]) -> bool:
    """Whether ``kinds`` match the error itself, or each leaf of the group that it is.

    A group inside the group that ``kinds`` match counts as if all its leaves did.
    """
    if not is_a(error, BaseExceptionGroup):
        return is_a(error, kinds)
    return all(is_a(each, (kinds, BaseExceptionGroup)) for each in walk(error, kinds))
