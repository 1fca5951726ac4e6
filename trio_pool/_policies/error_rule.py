"""Which errors a rule matches."""

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
    """A base of errors that report on an attempt or on a resource: a rule made of types always matches them."""

    __slots__ = ()


def applies(name: str, rule: ErrorRule, error: Exception) -> bool:
    """Whether ``rule``, the field ``name`` of a policy, matches the error.

    A rule made of types also matches every `NotOfTheFunction`. A rule that is a function makes the
    decision itself.

    Raises:
      TypeError: if the rule is a function and returns something other than a bool.
    """
    if isinstance(rule, (type, tuple)):
        kinds = cast("tuple[type[Exception], ...]", rule if isinstance(rule, tuple) else (rule,))
        return matches(error, (*kinds, NotOfTheFunction))
    answer = rule(error)
    validate.answer(name, answer)
    return validate.instance(f"the result of {name}", answer, bool)


def matches(error: BaseException, kinds: tuple[type, ...]) -> bool:
    """Whether ``kinds`` match the error itself or, if the error is a group, each of its leaves.

    A nested group that ``kinds`` match counts as if all its leaves matched.
    """
    kind = type(error)  # as `is_a` does
    if not issubclass(kind, BaseExceptionGroup):
        return issubclass(kind, kinds)
    return all(is_a(each, (kinds, BaseExceptionGroup)) for each in walk(error, kinds))
