"""What public objects say when an attribute is assigned that can't be."""

from __future__ import annotations


class FixedAttributes:
    """A base that refuses every attribute but the declared ones, and says which can be assigned.

    A class with slots refuses them anyway, but a slip such as ``pool.max_queue = 3`` deserves the
    names. For objects that are seldom assigned to: it makes assigning several times slower.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        if not _is_assignable(getattr(type(self), name, None)):
            own = type(self)
            known = sorted(each for each in dir(own) if each[0] != "_" and _is_assignable(getattr(own, each)))
            others = f"; what can be: {', '.join(known)}" if known else ""
            raise AttributeError(f"{own.__name__}.{name} can't be assigned{others}")
        object.__setattr__(self, name, value)


def _is_assignable(member: object) -> bool:
    """Whether a member of a class is a slot, or a property with a setter."""
    return member.fset is not None if isinstance(member, property) else hasattr(type(member), "__set__")
