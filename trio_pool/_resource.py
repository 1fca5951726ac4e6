"""The description of a resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from . import _validate

if TYPE_CHECKING:
    from collections.abc import Iterable

R_co = TypeVar("R_co", covariant=True)


def _check_name(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    _validate.text(attribute.name, value)


def _as_tags(value: Iterable[str]) -> frozenset[str]:
    return _validate.tags("tags", value)


@attrs.frozen
class Resource(Generic[R_co]):
    """A resource and what the pool should know about it.

    Arguments:
      value: what the worker holds: any object.
      name: what the worker is called; made from its number by default.
      tags: what jobs may ask for by ``requires``.

    Raises:
      TypeError: if an argument is of the wrong type, such as a string for ``tags``.
    """

    value: R_co
    name: str | None = attrs.field(default=None, kw_only=True, validator=_check_name)
    tags: frozenset[str] = attrs.field(factory=frozenset[str], kw_only=True, converter=_as_tags)
