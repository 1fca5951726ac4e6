"""Graphs of jobs: what they are made of, and whether they can be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import _validate
from ._error_words import MOST_OF_ERROR
from ._errors import GraphError
from ._shown import own_text, said, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    from typing_extensions import Unpack

    from ._options import NodeOptions

K = TypeVar("K")

_MOST_OF_CYCLE = 20  # keys of a cycle that are told


class Node:
    """One job of a graph, for ``submit_graph``.

    Arguments:
      fn: an async function; in a pool with resources its first argument is the resource.
      *args: its other arguments.
      after: the keys of the nodes that must have succeeded before it starts; of those that
          start after it, if the graph is read with ``reverse=True``.
      **options: options of the job, as for ``submit``. Its name is the node's key by default.

    Raises:
      TypeError: if ``after`` is no iterable of keys.
    """

    __slots__ = ("after", "args", "fn", "options")

    def __init__(
        self,
        fn: Callable[..., Awaitable[Any]],
        *args: Any,
        after: Iterable[Hashable] = (),
        **options: Unpack[NodeOptions],
    ) -> None:
        if isinstance(after, (str, bytes)):
            raise TypeError(f"after must be an iterable of keys, not the single {shown(after)}")
        self.fn: Callable[..., Awaitable[Any]] = fn
        self.args: tuple[Any, ...] = args
        try:
            self.after: tuple[Hashable, ...] = tuple(after)
        except TypeError:
            raise TypeError(f"after must be an iterable of keys, {_validate.got(after)}") from None
        self.options: NodeOptions = options

    def __repr__(self) -> str:
        parts = [own_text(self.fn, "__qualname__") or shown(self.fn), *map(shown, self.args)]
        if self.after:
            parts.append(f"after={shown(list(self.after))}")
        parts += [f"{option}={shown(value)}" for option, value in self.options.items()]
        return f"Node({', '.join(parts)})"


def in_order(nodes: Mapping[K, Node], *, reverse: bool) -> dict[K, list[K]]:
    """By each key, those that must come before it; each stands behind these.

    Raises:
      GraphError: if a key is unknown, an edge stands there twice, or there is a cycle.
      TypeError: if it isn't a mapping of nodes.
    """
    # Not at the top, since few programs need it.
    from graphlib import CycleError, TopologicalSorter

    _validate.instance("reverse", reverse, bool)
    if not isinstance(cast("object", nodes), Mapping):
        raise TypeError(f"a graph must be a mapping of keys to Nodes, {_validate.got(nodes)}")
    before: dict[K, list[K]] = {key: [] for key in nodes}
    for key, node in nodes.items():
        if not isinstance(cast("object", node), Node):
            raise TypeError(f"a graph must be a mapping of keys to Nodes, {_validate.got(node)} for {shown(key)}")
        seen: set[object] = set()
        for other in node.after:
            if other not in nodes:
                raise GraphError(f"{shown(key)} is after {shown(other)}, which is not in the graph")
            if other in seen:
                raise GraphError(f"{shown(key)} is after {shown(other)} twice")
            seen.add(other)
            if reverse:
                before[cast("K", other)].append(key)
            else:
                before[key].append(cast("K", other))
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        cycle: list[object] = error.args[1]
        keys = [shown(key) for key in cycle[:_MOST_OF_CYCLE]] + ["…"] * (len(cycle) > _MOST_OF_CYCLE)
        raise GraphError(f"the graph has a cycle: {' -> '.join(keys)}") from None
    return {key: before[key] for key in order}


def about_node(key: object, error: Exception) -> Exception:
    """The same kind of error, which says too in which node of the graph something is wrong."""
    return type(error)(f"{said(error, MOST_OF_ERROR)} (the node {shown(key)})")
